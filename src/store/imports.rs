//! The records that imports leave of themselves.

use std::time::Duration;

use roaring::RoaringTreemap;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::subscriptions::interval;
use super::{Error, Result};

/// What an import leaves of itself.
#[derive(Debug, Clone)]
pub struct NewImport {
    /// When it was.
    pub created_at: OffsetDateTime,
    /// The internal id of its token.
    pub token_id: i64,
    /// No events were asked for.
    pub skip_triggers: bool,
    /// How many of its orders were new.
    pub created: i32,
    /// How many changed.
    pub updated: i32,
    /// How many were as they were sent.
    pub unchanged: i32,
    /// How many were refused.
    pub failed: i32,
    /// The orders that changed and whose events were skipped by request.
    pub skipped_orders: Vec<i64>,
    /// The orders that did not change.
    pub unchanged_orders: Vec<i64>,
}

/// The columns of records.
#[derive(Default)]
struct Columns {
    created_at: Vec<OffsetDateTime>,
    token_ids: Vec<i64>,
    skip_triggers: Vec<bool>,
    created: Vec<i32>,
    updated: Vec<i32>,
    unchanged: Vec<i32>,
    failed: Vec<i32>,
    skipped_orders: Vec<Option<Vec<u8>>>,
    unchanged_orders: Vec<Option<Vec<u8>>>,
    first_orders: Vec<Option<i64>>,
    last_orders: Vec<Option<i64>>,
}

impl Columns {
    fn of(imports: &[NewImport]) -> Self {
        let mut columns = Columns::default();
        for import in imports {
            columns.created_at.push(import.created_at);
            columns.token_ids.push(import.token_id);
            columns.skip_triggers.push(import.skip_triggers);
            columns.created.push(import.created);
            columns.updated.push(import.updated);
            columns.unchanged.push(import.unchanged);
            columns.failed.push(import.failed);
            columns.skipped_orders.push(packed(&import.skipped_orders));
            columns.unchanged_orders.push(packed(&import.unchanged_orders));
            let both = || import.skipped_orders.iter().chain(&import.unchanged_orders).copied();
            columns.first_orders.push(both().min());
            columns.last_orders.push(both().max());
        }
        columns
    }
}

fn packed(orders: &[i64]) -> Option<Vec<u8>> {
    if orders.is_empty() {
        return None;
    }
    let mut orders: Vec<u64> = orders.iter().filter_map(|&id| u64::try_from(id).ok()).collect();
    orders.sort_unstable();
    orders.dedup();
    let mut orders = RoaringTreemap::from_sorted_iter(orders).expect("they are sorted");
    // Runs of ids, which orders of one import mostly have, take a few bytes each.
    orders.optimize();
    let mut bytes = Vec::with_capacity(orders.serialized_size());
    orders.serialize_into(&mut bytes).expect("memory takes all bytes");
    Some(bytes)
}

/// Writes records of imports of an account.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn write(conn: &mut PgConnection, account_id: i64, imports: &[NewImport]) -> Result<()> {
    if imports.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(imports);
    sqlx::query!(
        "-- imports.write
        insert into imports (account_id, created_at, token_id, skip_triggers, created, updated, unchanged, failed,
            skipped_orders, unchanged_orders, first_order, last_order)
        select $1, i.* from unnest($2::timestamptz[], $3::bigint[], $4::boolean[], $5::int[], $6::int[], $7::int[], $8::int[],
            $9::bytea[], $10::bytea[], $11::bigint[], $12::bigint[]) as i",
        account_id,
        &columns.created_at,
        &columns.token_ids,
        &columns.skip_triggers,
        &columns.created,
        &columns.updated,
        &columns.unchanged,
        &columns.failed,
        &columns.skipped_orders as &[Option<Vec<u8>>],
        &columns.unchanged_orders as &[Option<Vec<u8>>],
        &columns.first_orders as &[Option<i64>],
        &columns.last_orders as &[Option<i64>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Of which orders an import made no events.
#[derive(Debug)]
pub struct Silent {
    /// The import.
    pub id: i64,
    /// When it was.
    pub created_at: OffsetDateTime,
    /// The orders that changed and whose events were skipped by request.
    pub skipped_orders: RoaringTreemap,
    /// The orders that did not change.
    pub unchanged_orders: RoaringTreemap,
}

/// The imports that skipped orders, or left some unchanged, as it is asked for; of one order if it is given, in a time;
/// newest first.
///
/// # Errors
/// See [`write()`]; or a record cannot be read.
pub async fn silent(
    conn: &mut PgConnection,
    account_id: i64,
    order_id: Option<i64>,
    (skipped, unchanged): (bool, bool),
    times: (OffsetDateTime, OffsetDateTime),
    before: i64,
    limit: i64,
) -> Result<Vec<Silent>> {
    let rows = sqlx::query!(
        "-- imports.silent
        select id, created_at, skipped_orders, unchanged_orders from imports
        where account_id = $1 and first_order <= coalesce($2, first_order) and last_order >= coalesce($2, last_order)
            and created_at >= $3 and created_at < $4 and id < $5
            and ($6 and skipped_orders is not null or $7 and unchanged_orders is not null)
        order by id desc limit $8",
        account_id,
        order_id,
        times.0,
        times.1,
        before,
        skipped,
        unchanged,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (skipped_orders, unchanged_orders) =
                (unpacked("skipped_orders", row.skipped_orders)?, unpacked("unchanged_orders", row.unchanged_orders)?);
            Ok(Silent { id: row.id, created_at: row.created_at, skipped_orders, unchanged_orders })
        })
        .collect()
}

fn unpacked(column: &'static str, bytes: Option<Vec<u8>>) -> Result<RoaringTreemap> {
    let Some(bytes) = bytes else { return Ok(RoaringTreemap::new()) };
    let corrupt = |error: std::io::Error| Error::Corrupt { table: "imports", column, what: error.to_string() };
    RoaringTreemap::deserialize_from(bytes.as_slice()).map_err(corrupt)
}

/// Deletes at most `limit` records that are older, by the database's clock; returns how many.
///
/// # Errors
/// See [`write()`].
pub async fn prune(conn: &mut PgConnection, max_age: Duration, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "-- imports.prune
        delete from imports where (account_id, id) in (
            select account_id, id from imports where created_at < now() - $1::interval order by created_at limit $2 for update skip locked)",
        interval(max_age),
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
