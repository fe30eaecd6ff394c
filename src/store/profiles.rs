//! Customer profiles and the identities by which they are found.

use sqlx::PgConnection;

use super::{Error, Result, sets};
use crate::domain::matching::{Identity, IdentityKind};

/// An identity in its profile database.
pub type Scoped = (i64, Identity);

/// An identity that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sought<'i> {
    /// The profile database.
    pub database: i64,
    /// The kind of key.
    pub kind: IdentityKind,
    /// The provider or the field; empty for the other kinds.
    pub name: &'i str,
    /// The key.
    pub value: &'i str,
}

/// A profile that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProfile {
    /// The internal id.
    pub id: i64,
    /// Its profile database.
    pub database: i64,
    /// 24 lower-case hex digits.
    pub profile_id: String,
}

/// The profiles that the identities of so many orders belong to, by the identity's place in the slice.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn find(
    conn: &mut PgConnection,
    account_id: i64,
    identities: &[Sought<'_>],
    orders: usize,
) -> Result<Vec<(usize, i64)>> {
    let mut found = Vec::new();
    let mut first = 0;
    for identities in sets(identities, orders) {
        let columns = Columns::of(identities.iter().copied());
        let rows = sqlx::query!(
            "-- identities.find
            select k.place as \"place!\", i.profile from
                unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) with ordinality as k (database, kind, name, value, place)
            join lateral (select i.profile from identities i where i.account_id = $1 and i.profile_database_id = k.database
                and i.kind = k.kind and i.name = k.name and i.value = k.value offset 0) i on true",
            account_id,
            &columns.databases,
            &columns.kinds as &[&str],
            &columns.names as &[&str],
            &columns.values as &[&str],
        )
        .fetch_all(&mut *conn)
        .await?;
        for row in rows {
            let place = usize::try_from(row.place - 1).expect("places count from 1");
            found.push((first + place, row.profile));
        }
        first += identities.len();
    }
    Ok(found)
}

/// Identities, as columns.
#[derive(Default)]
pub(super) struct Columns<'i> {
    pub databases: Vec<i64>,
    pub kinds: Vec<&'i str>,
    pub names: Vec<&'i str>,
    pub values: Vec<&'i str>,
}

impl<'i> Columns<'i> {
    pub(super) fn of(identities: impl Iterator<Item = Sought<'i>>) -> Self {
        let mut columns = Columns::default();
        for Sought { database, kind, name, value } in identities {
            columns.databases.push(database);
            columns.kinds.push(kind.as_str());
            columns.names.push(name);
            columns.values.push(value);
        }
        columns
    }
}

/// Writes new profiles, each with its identities, and new identities of others; the identities sorted by key, so
/// that two transactions never wait for each other in a circle.
///
/// # Errors
/// [`Error::TryAgain`] if another transaction made one of the identities first.
pub async fn create(
    conn: &mut PgConnection,
    account_id: i64,
    profiles: &[NewProfile],
    mut identities: Vec<(Scoped, i64)>,
    orders: usize,
) -> Result<()> {
    identities.sort_unstable_by(|((a_database, a), _), ((b_database, b), _)| {
        (a_database, a.kind.as_str(), &a.name, &a.value).cmp(&(b_database, b.kind.as_str(), &b.name, &b.value))
    });
    // A profile has an identity at least, so there are no more sets of profiles.
    let mut profile_sets = sets(profiles, orders);
    for identities in sets(&identities, orders) {
        let profiles = profile_sets.next().unwrap_or_default();
        let ids: Vec<i64> = profiles.iter().map(|profile| profile.id).collect();
        let databases: Vec<i64> = profiles.iter().map(|profile| profile.database).collect();
        let profile_ids: Vec<&str> = profiles.iter().map(|profile| profile.profile_id.as_str()).collect();
        let columns = Columns::of(identities.iter().map(|((database, identity), _)| Sought {
            database: *database,
            kind: identity.kind,
            name: &identity.name,
            value: &identity.value,
        }));
        let owners: Vec<i64> = identities.iter().map(|(_, profile)| *profile).collect();
        let done = sqlx::query!(
            "-- profiles.create
            with made as (
                insert into profiles (account_id, id, profile_database_id, profile_id)
                select $1, * from unnest($2::bigint[], $3::bigint[], $4::text[])
            )
            insert into identities (account_id, profile_database_id, kind, name, value, profile)
            select $1, k.database, k.kind, k.name, k.value, k.profile from
                unnest($5::bigint[], $6::text[], $7::text[], $8::text[], $9::bigint[])
                with ordinality as k (database, kind, name, value, profile, place)
            order by k.place
            on conflict (account_id, profile_database_id, kind, name, value) do nothing",
            account_id,
            &ids,
            &databases,
            &profile_ids as &[&str],
            &columns.databases,
            &columns.kinds as &[&str],
            &columns.names as &[&str],
            &columns.values as &[&str],
            &owners,
        )
        .execute(&mut *conn)
        .await?;
        if done.rows_affected() != identities.len() as u64 {
            return Err(Error::TryAgain("a customer was made by another request"));
        }
    }
    Ok(())
}
