//! Events, in the transaction that caused them.

use serde_json::Value as Json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Result, sets};

/// An event on its way to the database.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent<'s> {
    /// The order.
    pub order_id: i64,
    /// Its external id.
    pub order_external_id: &'s str,
    /// The revision that the event tells of.
    pub order_revision: i64,
    /// `order.created`, ….
    pub kind: &'static str,
    /// The line that it is about.
    pub line_external_id: Option<&'s str>,
    /// Field to from and to.
    pub changes: &'s Json,
}

/// Writes the events of so many orders, in order.
///
/// # Errors
/// The database failed.
pub async fn write(
    conn: &mut PgConnection,
    account_id: i64,
    events: &[NewEvent<'_>],
    orders: usize,
    now: OffsetDateTime,
) -> Result<()> {
    for events in sets(events, orders) {
        let order_ids: Vec<i64> = events.iter().map(|event| event.order_id).collect();
        let order_external_ids: Vec<&str> = events.iter().map(|event| event.order_external_id).collect();
        let revisions: Vec<i64> = events.iter().map(|event| event.order_revision).collect();
        let kinds: Vec<&str> = events.iter().map(|event| event.kind).collect();
        let lines: Vec<Option<&str>> = events.iter().map(|event| event.line_external_id).collect();
        let changes: Vec<&Json> = events.iter().map(|event| event.changes).collect();
        sqlx::query!(
            "-- outbox.write
            insert into outbox (account_id, order_id, order_external_id, order_revision, type, line_external_id, changes, created_at)
            select $1, k.order_id, k.order_external_id, k.order_revision, k.type, k.line_external_id, k.changes, $8
            from unnest($2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::jsonb[])
                with ordinality as k (order_id, order_external_id, order_revision, type, line_external_id, changes, place)
            order by k.place",
            account_id,
            &order_ids,
            &order_external_ids as &[&str],
            &revisions,
            &kinds as &[&str],
            &lines as &[Option<&str>],
            &changes as &[&Json],
            now,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Deletes at most `limit` events from before a time; returns how many.
///
/// # Errors
/// The database failed.
pub async fn prune(conn: &mut PgConnection, before: OffsetDateTime, limit: i64) -> Result<u64> {
    // The only statement over all accounts: it is the janitor's, and age is all it looks at.
    let done = sqlx::query!(
        "-- outbox.prune
        delete from outbox where (account_id, id) in (
            select account_id, id from outbox where created_at < $1 order by created_at limit $2 for update skip locked)",
        before,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
