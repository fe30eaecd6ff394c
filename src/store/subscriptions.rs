//! Subscriptions to events, and the secrets that sign what is sent to them.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;

use super::Result;

/// A subscription.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The internal id.
    pub id: i64,
    /// Where events are sent.
    pub url: String,
    /// Types of events, or `*`.
    pub events: Vec<String>,
    /// Only orders of these touchpoints; all if there are none.
    pub touchpoints: Vec<String>,
    /// What it is for.
    pub description: String,
    /// False: it gets no new deliveries, and those that wait stay.
    pub enabled: bool,
    /// Why it was disabled, if nobody did it by hand.
    pub disabled_reason: Option<String>,
    /// Since when nothing was delivered though it was tried.
    pub failing_since: Option<OffsetDateTime>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// Packs before this one happened before it was made or enabled.
    pub first_pack: i64,
}

/// What makes a subscription.
#[derive(Debug, Clone, Copy)]
pub struct NewSubscription<'n> {
    /// See [`Subscription`]; so for all of them.
    pub url: &'n str,
    /// Types of events, or `*`.
    pub events: &'n [String],
    /// Touchpoints.
    pub touchpoints: &'n [String],
    /// What it is for.
    pub description: &'n str,
    /// What signs its deliveries.
    pub secret: &'n str,
}

/// Makes a subscription, to what happens from now on.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn create(conn: &mut PgConnection, account_id: i64, new: NewSubscription<'_>) -> Result<i64> {
    let mut transaction = conn.begin().await?;
    if list(&mut transaction, account_id).await?.is_empty() {
        // Nobody spreads packs without subscriptions: these are for nobody, and need not be read.
        sqlx::query!(
            "-- outbox.skip
            update outbox set spread_at = now() where account_id = $1 and spread_at is null",
            account_id,
        )
        .execute(&mut *transaction)
        .await?;
    }
    let id = sqlx::query_scalar!(
        "-- subscriptions.create
        insert into subscriptions (account_id, url, events, touchpoints, description, first_pack)
        select $1, $2, $3, $4, $5, coalesce(max(id), 0) + 1 from outbox where account_id = $1 returning id",
        account_id,
        new.url,
        new.events,
        new.touchpoints,
        new.description,
    )
    .fetch_one(&mut *transaction)
    .await?;
    add_secret(&mut transaction, account_id, id, new.secret).await?;
    transaction.commit().await?;
    Ok(id)
}

async fn add_secret(conn: &mut PgConnection, account_id: i64, id: i64, secret: &str) -> Result<()> {
    sqlx::query!(
        "-- subscriptions.add_secret
        insert into subscription_secrets (account_id, subscription_id, secret) values ($1, $2, $3)",
        account_id,
        id,
        secret,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The subscriptions of an account, oldest first.
///
/// # Errors
/// See [`create`].
pub async fn list(conn: &mut PgConnection, account_id: i64) -> Result<Vec<Subscription>> {
    let rows = sqlx::query_as!(
        Subscription,
        "-- subscriptions.list
        select id, url, events, touchpoints, description, enabled, disabled_reason, failing_since, created_at, first_pack
        from subscriptions where account_id = $1 order by id",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The same, locked until the transaction ends: whoever spreads events or notes what became of deliveries holds them, so
/// that there is one such transaction at once for an account.
///
/// # Errors
/// See [`create`].
pub async fn lock(conn: &mut PgConnection, account_id: i64) -> Result<Vec<Subscription>> {
    let rows = sqlx::query_as!(
        Subscription,
        "-- subscriptions.lock
        select id, url, events, touchpoints, description, enabled, disabled_reason, failing_since, created_at, first_pack
        from subscriptions where account_id = $1 order by id for update",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Enables a subscription, or disables it by hand. False if there is none of that id.
///
/// # Errors
/// See [`create`].
pub async fn enable(conn: &mut PgConnection, account_id: i64, id: i64, enabled: bool) -> Result<bool> {
    let done = sqlx::query!(
        "-- subscriptions.enable
        update subscriptions set enabled = $3, disabled_reason = null, failing_since = null, first_pack = case
            when enabled then first_pack else (select coalesce(max(id), 0) + 1 from outbox where account_id = $1) end
        where account_id = $1 and id = $2",
        account_id,
        id,
        enabled,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Adds a secret; those that were there end after a while. False if there is no subscription of that id.
///
/// # Errors
/// See [`create`].
pub async fn rotate(conn: &mut PgConnection, account_id: i64, id: i64, secret: &str, keep: Duration) -> Result<bool> {
    let mut transaction = conn.begin().await?;
    if !lock(&mut transaction, account_id).await?.iter().any(|subscription| subscription.id == id) {
        return Ok(false);
    }
    sqlx::query!(
        "-- subscriptions.expire_secrets
        update subscription_secrets set expires_at = least(expires_at, now() + $3)
        where account_id = $1 and subscription_id = $2",
        account_id,
        id,
        interval(keep),
    )
    .execute(&mut *transaction)
    .await?;
    add_secret(&mut transaction, account_id, id, secret).await?;
    transaction.commit().await?;
    Ok(true)
}

/// A duration, for the database's clock.
pub(super) fn interval(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}

/// Deletes a subscription with all that waits for it. False if there is none of that id.
///
/// # Errors
/// See [`create`].
pub async fn delete(conn: &mut PgConnection, account_id: i64, id: i64) -> Result<bool> {
    let done = sqlx::query!(
        "-- subscriptions.delete
        delete from subscriptions where account_id = $1 and id = $2",
        account_id,
        id,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What was learned of a subscription by deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The subscription.
    pub id: i64,
    /// Something was delivered.
    pub delivered: bool,
    /// It said that it is gone.
    pub gone: bool,
}

/// Notes how subscriptions do; one that has failed for too long, or is gone, is disabled. Returns those that were
/// disabled, with the reason.
///
/// # Errors
/// See [`create`].
pub async fn note_health(
    conn: &mut PgConnection,
    account_id: i64,
    healths: &[Health],
    max_failing: Duration,
) -> Result<Vec<(i64, String)>> {
    let ids: Vec<i64> = healths.iter().map(|health| health.id).collect();
    let delivered: Vec<bool> = healths.iter().map(|health| health.delivered).collect();
    let gone: Vec<bool> = healths.iter().map(|health| health.gone).collect();
    let rows = sqlx::query!(
        "-- subscriptions.note_health
        with learned as (
            select s.id, case when h.delivered then null else coalesce(s.failing_since, now()) end as failing_since,
                case when h.gone then 'the receiver answered 410'
                    when not h.delivered and s.failing_since < now() - $5::interval then 'nothing was delivered since ' ||
                        to_char(s.failing_since at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') end as reason
            from unnest($2::bigint[], $3::boolean[], $4::boolean[]) as h (id, delivered, gone)
            join subscriptions s on s.account_id = $1 and s.id = h.id
        )
        update subscriptions s set failing_since = l.failing_since, enabled = s.enabled and l.reason is null,
            disabled_reason = case when s.enabled then l.reason else s.disabled_reason end
        from learned l where s.account_id = $1 and s.id = l.id
            and (s.failing_since is distinct from l.failing_since or (s.enabled and l.reason is not null))
        returning s.id, l.reason",
        account_id,
        &ids,
        &delivered,
        &gone,
        interval(max_failing),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.id, row.reason?))).collect())
}
