//! Events, packed, in the transaction that caused them.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Result;
use super::subscriptions::interval;

/// Writes packs of events, each a JSON array; empty ones are left out.
///
/// # Errors
/// The database failed.
pub async fn write(conn: &mut PgConnection, account_id: i64, packs: &[String], now: OffsetDateTime) -> Result<()> {
    if packs.iter().all(String::is_empty) {
        return Ok(());
    }
    sqlx::query!(
        "-- outbox.write
        insert into outbox (account_id, events, created_at) select $1, events, $3
        from unnest($2::text[]) with ordinality as p (events, place) where events <> '' order by place",
        account_id,
        packs,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes at most `limit` packs of events that are older, by the database's clock, unless they wait for a subscription; returns how many.
///
/// # Errors
/// The database failed.
pub async fn prune(conn: &mut PgConnection, max_age: Duration, limit: i64) -> Result<u64> {
    // The only statement over all accounts: it is the janitor's, and age is all it looks at.
    let done = sqlx::query!(
        "-- outbox.prune
        delete from outbox where (account_id, id) in (
            select o.account_id, o.id from outbox o where o.created_at < now() - $1::interval and (o.spread_at is not null
                or not exists (select from subscriptions s where s.account_id = o.account_id))
            order by o.created_at limit $2 for update skip locked)",
        interval(max_age),
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
