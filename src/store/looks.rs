//! What an import has to know of stored orders before it decides, without a lock.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::Result;
use super::orders::Digest;
use super::profiles::{self, Sought};
use super::references::Versions;

/// Stored orders by their external ids, as far as they tell whether they were sent like this before.
pub type Stored = HashMap<String, Known>;

/// A stored order, as far as it tells whether it was sent like this before.
#[derive(Debug)]
pub struct Known {
    /// Its internal id.
    pub id: i64,
    /// By what it is known, unless it was written another way.
    pub digest: Option<Digest>,
    /// By what its text is known.
    pub sent_digest: Option<Digest>,
}

/// Numbers for orders and for profiles that will be written, the next one last.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Of orders.
    pub orders: Vec<i64>,
    /// Of profiles.
    pub profiles: Vec<i64>,
}

impl Numbers {
    /// Descending, so that the lowest one is taken first.
    fn sorted(mut self) -> Self {
        for numbers in [&mut self.orders, &mut self.profiles] {
            numbers.sort_unstable();
            numbers.reverse();
        }
        self
    }
}

/// A stored order with its external id.
struct Row {
    external_id: String,
    id: i64,
    digest: Option<Digest>,
    sent_digest: Option<Digest>,
}

fn stored(rows: Vec<Row>) -> Stored {
    let known = |row: Row| Known { id: row.id, digest: row.digest, sent_digest: row.sent_digest };
    rows.into_iter().map(|mut row| (std::mem::take(&mut row.external_id), known(row))).collect()
}

/// The stored ones of those orders.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn by_key(conn: &mut PgConnection, account_id: i64, external_ids: &[&str]) -> Result<Stored> {
    let rows = sqlx::query_as!(
        Row,
        "-- orders.look
        select o.external_id, o.id, o.digest as \"digest: Digest\", o.sent_digest as \"sent_digest: Digest\"
        from unnest($2::text[]) as k (external_id)
        join lateral (select external_id, id, digest, sent_digest from orders o
            where o.account_id = $1 and o.external_id = k.external_id offset 0) o on true",
        account_id,
        external_ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(stored(rows))
}

/// The stored orders between two external ids, both included; `None` if there are more than `limit`. Where most of
/// them are wanted, this is several times as fast as [`by_key`].
///
/// # Errors
/// See [`by_key`].
pub async fn between(
    conn: &mut PgConnection,
    account_id: i64,
    first: &str,
    last: &str,
    limit: usize,
) -> Result<Option<Stored>> {
    let rows = sqlx::query_as!(
        Row,
        "-- orders.look_between
        select external_id, id, digest as \"digest: Digest\", sent_digest as \"sent_digest: Digest\" from orders
        where account_id = $1 and external_id between $2 and $3 order by external_id limit $4",
        account_id,
        first,
        last,
        i64::try_from(limit + 1).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await?;
    Ok((rows.len() <= limit).then(|| stored(rows)))
}

/// Numbers for so many orders and so many profiles.
///
/// # Errors
/// See [`by_key`].
pub async fn reserve_numbers(conn: &mut PgConnection, orders: usize, profiles: usize) -> Result<Numbers> {
    let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
    let numbers = sqlx::query_as!(
        Numbers,
        "-- orders.reserve_numbers
        select array(select nextval('orders_id_seq') from generate_series(1, $1::bigint)) as \"orders!\",
            array(select nextval('profiles_id_seq') from generate_series(1, $2::bigint)) as \"profiles!\"",
        count(orders),
        count(profiles),
    )
    .fetch_one(conn)
    .await?;
    Ok(numbers.sorted())
}

/// All that a few orders need.
#[derive(Debug)]
pub struct AtOnce {
    /// What the account has counts with these only.
    pub versions: Versions,
    /// The stored ones of the orders.
    pub stored: Stored,
    /// The profiles of identities, by the identity's place.
    pub profiles: Vec<(usize, i64)>,
    /// One for each order.
    pub numbers: Numbers,
}

/// All that so many orders need, in one round trip. Each gets its numbers, since two orders of one external id may have two
/// new customers.
///
/// # Errors
/// See [`by_key`].
pub async fn at_once(
    conn: &mut PgConnection,
    account_id: i64,
    external_ids: &[&str],
    identities: &[Sought<'_>],
    orders: usize,
) -> Result<AtOnce> {
    let columns = profiles::Columns::of(identities.iter().copied());
    let rows = sqlx::query!(
        "-- orders.look_at_once
        select 0 as \"kind!\", a.setup_version as \"one!\", a.tokens_version as \"two!\", null::bytea as \"digest: Digest\",
            null::bytea as \"sent_digest: Digest\", a.identity_kinds as kinds, a.first_revision
        from accounts a where a.id = $1
        union all
        select 1, k.place, o.id, o.digest, o.sent_digest, null, null
        from unnest($2::text[]) with ordinality as k (external_id, place)
        join lateral (select id, digest, sent_digest from orders o
            where o.account_id = $1 and o.external_id = k.external_id offset 0) o on true
        union all
        select 2, k.place, i.profile, null, null, null, null
        from unnest($3::bigint[], $4::text[], $5::text[], $6::text[]) with ordinality as k (database, kind, name, value, place)
        join lateral (select i.profile from identities i where i.account_id = $1 and i.profile_database_id = k.database
            and i.kind = k.kind and i.name = k.name and i.value = k.value offset 0) i on true
        union all
        select 3, nextval('orders_id_seq'), nextval('profiles_id_seq'), null, null, null, null from generate_series(1, $7::bigint)",
        account_id,
        external_ids as &[&str],
        &columns.databases,
        &columns.kinds as &[&str],
        &columns.names as &[&str],
        &columns.values as &[&str],
        i64::try_from(orders).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await?;
    let place = |one: i64| usize::try_from(one - 1).expect("places count from 1");
    let (stored, profiles, numbers) = Default::default();
    let mut at_once = AtOnce { versions: Versions::of(0, 0, &[], 1), stored, profiles, numbers };
    for row in rows {
        match row.kind {
            0 => {
                let (kinds, first_revision) = (row.kinds.unwrap_or_default(), row.first_revision.unwrap_or(1));
                at_once.versions = Versions::of(row.one, row.two, &kinds, first_revision);
            }
            1 => {
                let known = Known { id: row.two, digest: row.digest, sent_digest: row.sent_digest };
                at_once.stored.insert(external_ids[place(row.one)].to_owned(), known);
            }
            2 => at_once.profiles.push((place(row.one), row.two)),
            _ => {
                at_once.numbers.orders.push(row.one);
                at_once.numbers.profiles.push(row.two);
            }
        }
    }
    at_once.numbers = at_once.numbers.sorted();
    Ok(at_once)
}
