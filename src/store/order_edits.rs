//! Changes of single orders beside imports. Whoever makes one holds the order's lock.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Result;
use super::subscriptions::interval;
use crate::domain::orders::{Origin, StoredOrder};

/// Notes a change, as of `now`, of an order that the transaction has locked and whose lines it changes by itself; the order is
/// known by no digest from now on.
///
/// # Errors
/// The database failed.
pub async fn touch(
    conn: &mut PgConnection,
    account_id: i64,
    order: &StoredOrder<'_>,
    now: OffsetDateTime,
    origin: Origin<'_>,
) -> Result<()> {
    sqlx::query!(
        "-- orders.touch
        update orders set revision = $3, update_time = $4, digest = null, sent_digest = null, written_at = $4, token_id = $5,
            request_id = $6
        where account_id = $1 and id = $2",
        account_id,
        order.id,
        order.revision,
        now,
        origin.token_id,
        origin.request_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes an order, which the transaction has locked, and its lines; orders that are made from now on count their changes
/// from `revision` at least. The account's row is locked, too.
///
/// # Errors
/// The database failed.
pub async fn delete(conn: &mut PgConnection, account_id: i64, id: i64, revision: i64) -> Result<()> {
    sqlx::query!(
        "-- orders.delete
        with lines as (
            delete from order_lines where account_id = $1 and order_id = $2
        ), gone as (
            delete from orders where account_id = $1 and id = $2 returning external_id
        ), raised as (
            update accounts set first_revision = $3 where id = $1 and first_revision < $3
        )
        insert into deleted_orders (account_id, external_id, order_id, deleted_at)
        select $1, external_id, $2, now() from gone",
        account_id,
        id,
        revision,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets at most `limit` deleted orders that went longer ago than that, by the database's clock; returns how many.
///
/// # Errors
/// The database failed.
pub async fn prune_deleted(conn: &mut PgConnection, max_age: Duration, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "-- deleted_orders.prune
        delete from deleted_orders where (account_id, external_id, order_id) in (
            select account_id, external_id, order_id from deleted_orders where deleted_at < now() - $1::interval
            order by deleted_at limit $2 for update skip locked)",
        interval(max_age),
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
