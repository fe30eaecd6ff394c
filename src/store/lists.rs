//! Orders as clients list them and look them up.

use sqlx::PgConnection;

use super::Result;
use crate::domain::orders::ListedOrder;

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// What stands on it.
    pub items: Vec<T>,
    /// The internal id of the last one, unless nothing comes behind it.
    pub last: Option<i64>,
}

impl<T> Page<T> {
    /// A page of at most `limit` items, of which one more was read, if there is one more.
    pub(super) fn cut(mut items: Vec<T>, limit: i64, id: impl Fn(&T) -> i64) -> Self {
        let more = i64::try_from(items.len()).is_ok_and(|found| found > limit);
        if more {
            items.pop();
        }
        let last = items.last().map(id).filter(|_| more);
        Page { items, last }
    }
}

/// The orders of an account behind one, oldest first; only those of a touchpoint, if one is named.
///
/// # Errors
/// The database failed, or holds what cannot be.
pub async fn page(
    conn: &mut PgConnection,
    account_id: i64,
    after: i64,
    limit: i64,
    endpoint: Option<&str>,
) -> Result<Page<ListedOrder>> {
    let keys = sqlx::query!(
        "-- orders.page
        select o.id, o.external_id, p.profile_id from (
            select id, external_id, profile from orders
            where account_id = $1 and id > $2 and ($4::text is null or endpoint = $4)
            order by id limit $3
        ) o
        join lateral (select profile_id from profiles p where p.account_id = $1 and p.id = o.profile offset 0) p on true
        order by o.id",
        account_id,
        after,
        limit + 1,
        endpoint,
    )
    .fetch_all(&mut *conn)
    .await?;
    let Page { items: keys, last } = Page::cut(keys, limit, |key| key.id);
    let external_ids: Vec<&str> = keys.iter().map(|key| &*key.external_id).collect();
    let mut orders = super::orders::read(conn, account_id, &external_ids).await?;
    // One that went meanwhile is left out, as is one that is there again under another number: that comes later.
    let listed = keys.into_iter().filter_map(|key| {
        let order = orders.remove(&key.external_id).filter(|order| order.id == key.id)?;
        Some(ListedOrder { external_id: key.external_id, profile_id: key.profile_id, order })
    });
    Ok(Page { items: listed.collect(), last })
}

/// A stored order as far as look-ups show it.
#[derive(Debug)]
pub struct Found {
    /// The internal id.
    pub id: i64,
    /// The business key.
    pub external_id: String,
    /// A touchpoint's external id.
    pub endpoint: String,
    /// An order status.
    pub status: String,
}

/// The orders that one of two ids names.
///
/// # Errors
/// The database failed, or holds what cannot be.
pub async fn find(
    conn: &mut PgConnection,
    account_id: i64,
    id: Option<i64>,
    external_id: Option<&str>,
) -> Result<Vec<Found>> {
    let found = sqlx::query_as!(
        Found,
        "-- orders.find
        select id as \"id!\", external_id as \"external_id!\", endpoint as \"endpoint!\", status as \"status!\"
        from orders where account_id = $1 and id = $2
        union select id, external_id, endpoint, status from orders where account_id = $1 and external_id = $3",
        account_id,
        id,
        external_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(found)
}
