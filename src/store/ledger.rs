//! What became of events: what waits, what was done, what nobody waits for; and what goes back to wait.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Result;
use super::deliveries::{NewDelivery, Pack};

/// Which events are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Which {
    /// Those of one order.
    pub order_id: Option<i64>,
    /// One event: its pack and its place in it.
    pub event: Option<(i64, i32)>,
    /// Those for one subscription.
    pub subscription_id: Option<i64>,
    /// Those that happened from this time on ….
    pub from: OffsetDateTime,
    /// …, and before this one.
    pub to: OffsetDateTime,
}

/// A delivery that waits or is done.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its id: the later, the higher.
    pub id: i64,
    /// To whom.
    pub subscription_id: i64,
    /// The event's pack.
    pub pack_id: i64,
    /// The event's place in it.
    pub place: i32,
    /// The order that it is about.
    pub order_id: i64,
    /// The event.
    pub event: String,
    /// When it happened.
    pub created_at: OffsetDateTime,
    /// How often it was tried.
    pub attempts: i32,
    /// The HTTP status of the last answer.
    pub last_status: Option<i32>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// `waiting`, `delivered` or `dead`.
    pub outcome: String,
    /// When it is due, or was done; `None` while an earlier event of its order waits.
    pub at: Option<OffsetDateTime>,
}

/// The deliveries of events, newest first; of those outcomes.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn deliveries(
    conn: &mut PgConnection,
    account_id: i64,
    which: &Which,
    outcomes: &[&str],
    limit: i64,
) -> Result<Vec<Kept>> {
    let (pack_id, place) = which.event.unzip();
    // Two statements in one, of which one runs: plans are made once, and only the second can go by the order.
    let rows = sqlx::query_as!(
        Kept,
        "-- ledger.deliveries
        (select id as \"id!\", subscription_id as \"subscription_id!\", pack_id as \"pack_id!\", place as \"place!\",
            order_id as \"order_id!\", event as \"event!\", created_at as \"created_at!\", attempts as \"attempts!\",
            last_status, last_error, outcome as \"outcome!\", at
        from delivery_states
        where $3::bigint is null and account_id = $1 and outcome = any($2) and ($4::bigint is null or pack_id = $4)
            and ($5::int is null or place = $5) and ($6::bigint is null or subscription_id = $6)
            and created_at >= $7 and created_at < $8
        order by id desc limit $9)
        union all
        (select id, subscription_id, pack_id, place, order_id, event, created_at, attempts, last_status, last_error,
            outcome, at
        from delivery_states
        where account_id = $1 and order_id = $3 and outcome = any($2) and ($4::bigint is null or pack_id = $4)
            and ($5::int is null or place = $5) and ($6::bigint is null or subscription_id = $6)
            and created_at >= $7 and created_at < $8
        order by id desc limit $9)",
        account_id,
        outcomes as &[&str],
        which.order_id,
        pack_id,
        place,
        which.subscription_id,
        which.from,
        which.to,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The order that an event is about, if its pack is still kept.
///
/// # Errors
/// See [`deliveries`].
pub async fn order_of(conn: &mut PgConnection, account_id: i64, event: (i64, i32)) -> Result<Option<i64>> {
    let id = sqlx::query_scalar!(
        "-- ledger.order_of
        select (events::json -> $3::int ->> 'order_id')::bigint from outbox where account_id = $1 and id = $2",
        account_id,
        event.0,
        event.1,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.flatten())
}

/// The packs that hold such events, before a pack, newest first. They may hold others, too.
///
/// # Errors
/// See [`deliveries`].
pub async fn packs(
    conn: &mut PgConnection,
    account_id: i64,
    which: &Which,
    before: i64,
    limit: i64,
) -> Result<Vec<Pack>> {
    let names = which.order_id.map(|id| format!("\"order_id\":{id},"));
    let rows = sqlx::query_as!(
        Pack,
        "-- ledger.packs
        select id, events, created_at from outbox
        where account_id = $1 and id < $2 and ($3::bigint is null or id = $3) and created_at >= $4 and created_at < $5
            and ($6::text is null or strpos(events, $6) > 0)
        order by id desc limit $7",
        account_id,
        before,
        which.event.map(|(pack_id, _)| pack_id),
        which.from,
        which.to,
        names,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// The events of those packs, each by pack and place, that a subscription was to be told of.
///
/// # Errors
/// See [`deliveries`].
pub async fn heard(
    conn: &mut PgConnection,
    account_id: i64,
    packs: &[i64],
    order_id: Option<i64>,
) -> Result<Vec<(i64, i32)>> {
    let rows = sqlx::query!(
        "-- ledger.heard
        select pack_id as \"pack_id!\", place as \"place!\" from deliveries
        where account_id = $1 and pack_id = any($2) and ($3::bigint is null or order_id = $3)
        union select pack_id, place from deliveries_done
        where account_id = $1 and pack_id = any($2) and ($3::bigint is null or order_id = $3)",
        account_id,
        packs,
        order_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.pack_id, row.place)).collect())
}

/// The external ids of orders, by their internal ids.
///
/// # Errors
/// See [`deliveries`].
pub async fn external_ids(conn: &mut PgConnection, account_id: i64, ids: &[i64]) -> Result<Vec<(i64, String)>> {
    let rows = sqlx::query!(
        "-- ledger.external_ids
        select id, external_id from orders where account_id = $1 and id = any($2)",
        account_id,
        ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.external_id)).collect())
}

/// The internal id of an order.
///
/// # Errors
/// See [`deliveries`].
pub async fn order_id(conn: &mut PgConnection, account_id: i64, external_id: &str) -> Result<Option<i64>> {
    let id = sqlx::query_scalar!(
        "-- ledger.order_id
        select coalesce((select id from orders where account_id = $1 and external_id = $2),
            (select max(order_id) from deleted_orders where account_id = $1 and external_id = $2))",
        account_id,
        external_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id.flatten())
}

/// Now, by the database's clock.
///
/// # Errors
/// See [`deliveries`].
pub async fn now(conn: &mut PgConnection) -> Result<OffsetDateTime> {
    Ok(sqlx::query_scalar!("-- ledger.now\nselect now() as \"now!\"").fetch_one(conn).await?)
}

/// Takes at most `limit` deliveries back that were done until then, of those outcomes, to subscriptions that are there;
/// oldest first.
///
/// # Errors
/// See [`deliveries`].
pub async fn take_back(
    conn: &mut PgConnection,
    account_id: i64,
    which: &Which,
    outcomes: &[&str],
    done_until: OffsetDateTime,
    limit: i64,
) -> Result<Vec<NewDelivery>> {
    let (pack_id, place) = which.event.unzip();
    let mut rows = sqlx::query!(
        "-- ledger.take_back
        delete from deliveries_done d using (
            (select d.id from deliveries_done d join subscriptions s on s.account_id = d.account_id
                and s.id = d.subscription_id
            where $3::bigint is null and d.account_id = $1 and d.outcome = any($2) and ($4::bigint is null or d.pack_id = $4)
                and ($5::int is null or d.place = $5) and ($6::bigint is null or d.subscription_id = $6)
                and d.created_at >= $7 and d.created_at < $8 and d.done_at <= $9
            order by d.id limit $10)
            union all
            (select d.id from deliveries_done d join subscriptions s on s.account_id = d.account_id
                and s.id = d.subscription_id
            where d.account_id = $1 and d.order_id = $3 and d.outcome = any($2) and ($4::bigint is null or d.pack_id = $4)
                and ($5::int is null or d.place = $5) and ($6::bigint is null or d.subscription_id = $6)
                and d.created_at >= $7 and d.created_at < $8 and d.done_at <= $9
            order by d.id limit $10)
        ) t
        where d.account_id = $1 and d.id = t.id
        returning d.id, d.subscription_id, d.pack_id, d.place, d.order_id, d.event, d.created_at",
        account_id,
        outcomes as &[&str],
        which.order_id,
        pack_id,
        place,
        which.subscription_id,
        which.from,
        which.to,
        done_until,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.sort_unstable_by_key(|row| row.id);
    let mut seen = std::collections::HashSet::new();
    let new = rows.into_iter().map(|row| NewDelivery {
        is_first: seen.insert((row.subscription_id, row.order_id)),
        subscription_id: row.subscription_id,
        pack_id: row.pack_id,
        place: row.place,
        order_id: row.order_id,
        event: row.event,
        created_at: row.created_at,
    });
    Ok(new.collect())
}
