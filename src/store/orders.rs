//! Orders and their lines. Whoever changes a line holds the lock of its order.

use std::collections::HashMap;

use rust_decimal::Decimal;
use serde_json::Value as Json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::order_lines::{self, PlacedLine};
use super::order_rows::{OrderRow, Row, collect};
use super::references::Versions;
use super::{Result, SET, custom_values};
use crate::domain::orders::{Origin, StoredOrder};

/// Separates tags on their way to the database: no text that is stored can hold it.
const TAG_SEPARATOR: &str = "\u{1f}";

/// The stored orders of those external ids, with their lines, as of one moment; without a lock.
///
/// # Errors
/// The database failed, or holds what cannot be.
pub async fn read(
    conn: &mut PgConnection,
    account_id: i64,
    external_ids: &[&str],
) -> Result<HashMap<String, StoredOrder<'static>>> {
    let mut orders = HashMap::new();
    for external_ids in external_ids.chunks(SET) {
        // One statement for orders and lines: two would see two moments.
        let rows = sqlx::query_as!(
            Row,
            "-- orders.read
            select o.id, o.external_id, o.revision, o.profile, o.endpoint, o.status, o.total_price, o.currency,
                o.delivery_cost, o.region, o.tags, o.custom_fields::text as \"custom_fields!\", o.create_time, o.update_time,
                l.external_id as \"line_external_id?\", l.product as \"product?\", l.sku as \"sku?\", l.status as \"line_status?\",
                l.base_price_per_item as \"base_price_per_item?\", l.min_price_per_item as \"min_price_per_item?\",
                l.final_price_per_item as \"final_price_per_item?\", l.count as \"count?\",
                l.custom_fields::text as \"line_custom_fields?\"
            from unnest($2::text[]) as k (external_id)
            -- `offset 0` keeps the look-ups as they are written: by key, one by one.
            join lateral (select * from orders o where o.account_id = $1 and o.external_id = k.external_id offset 0) o on true
            left join lateral (select * from order_lines l where l.account_id = $1 and l.order_id = o.id offset 0) l on true
            order by o.id, l.position",
            account_id,
            external_ids as &[&str],
        )
        .fetch_all(&mut *conn)
        .await?;
        collect(rows, &mut orders)?;
    }
    Ok(orders)
}

/// 128 bits by which something is known.
pub type Digest = [u8; 16];

/// By what an order that is sent again is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digests {
    /// By what it means.
    pub order: Digest,
    /// By its text.
    pub sent: Digest,
}

/// An order with its key, on its way to the database.
#[derive(Debug, Clone, Copy)]
pub struct Keyed<'s, 'a> {
    /// The external id.
    pub external_id: &'s str,
    /// The order.
    pub order: &'s StoredOrder<'a>,
    /// Of the order as it was last sent.
    pub digests: &'s Digests,
    /// The request that writes it.
    pub origin: Origin<'s>,
}

/// Orders, as columns.
#[derive(Default)]
struct Columns<'s> {
    ids: Vec<i64>,
    external_ids: Vec<&'s str>,
    revisions: Vec<i64>,
    profiles: Vec<i64>,
    endpoints: Vec<&'s str>,
    statuses: Vec<&'s str>,
    total_prices: Vec<Decimal>,
    currencies: Vec<&'s str>,
    delivery_costs: Vec<Option<Decimal>>,
    regions: Vec<Option<&'s str>>,
    tags: Vec<String>,
    custom_fields: Vec<Json>,
    create_times: Vec<OffsetDateTime>,
    update_times: Vec<OffsetDateTime>,
    digests: Vec<&'s [u8]>,
    sent_digests: Vec<&'s [u8]>,
    token_ids: Vec<i64>,
    request_ids: Vec<&'s str>,
}

impl<'s> Columns<'s> {
    fn of(orders: &[Keyed<'s, '_>]) -> Self {
        let mut columns = Columns::default();
        for Keyed { external_id, order: StoredOrder { id, revision, state }, digests, origin } in orders {
            columns.ids.push(*id);
            columns.external_ids.push(external_id);
            columns.revisions.push(*revision);
            columns.profiles.push(state.profile);
            columns.endpoints.push(&state.endpoint);
            columns.statuses.push(&state.status);
            columns.total_prices.push(state.total_price);
            columns.currencies.push(&state.currency);
            columns.delivery_costs.push(state.delivery_cost);
            columns.regions.push(state.region.as_deref());
            columns.tags.push(state.tags.join(TAG_SEPARATOR));
            columns.custom_fields.push(custom_values::object(&state.custom_fields));
            columns.create_times.push(state.create_time);
            columns.update_times.push(state.update_time);
            columns.digests.push(&digests.order);
            columns.sent_digests.push(&digests.sent);
            columns.token_ids.push(origin.token_id);
            columns.request_ids.push(origin.request_id);
        }
        columns
    }
}

/// Inserts those orders that are not there and locks those that are, in the order of their keys;
/// returns the internal ids of the inserted ones. `orders` are sorted by key, each key once; `now` is when they are written.
///
/// # Errors
/// The database failed.
pub async fn insert_or_lock(
    conn: &mut PgConnection,
    account_id: i64,
    orders: &[Keyed<'_, '_>],
    now: OffsetDateTime,
) -> Result<HashMap<String, i64>> {
    let mut inserted = HashMap::new();
    for orders in orders.chunks(SET) {
        let columns = Columns::of(orders);
        let rows = sqlx::query!(
            "-- orders.insert_or_lock
            insert into orders (account_id, external_id, revision, profile, endpoint, status, total_price, currency,
                delivery_cost, region, tags, custom_fields, create_time, update_time, digest, sent_digest, written_at, token_id, request_id)
            select $1, k.external_id, k.revision, k.profile, k.endpoint, k.status, k.total_price, k.currency,
                k.delivery_cost, k.region, string_to_array(k.tags, $17), k.custom_fields, k.create_time, k.update_time,
                k.digest, k.sent_digest, $18, k.token_id, k.request_id
            from unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::numeric[], $8::text[],
                $9::numeric[], $10::text[], $11::text[], $12::jsonb[], $13::timestamptz[], $14::timestamptz[],
                $15::bytea[], $16::bytea[], $19::bigint[], $20::text[])
                with ordinality as k (external_id, revision, profile, endpoint, status, total_price, currency,
                delivery_cost, region, tags, custom_fields, create_time, update_time, digest, sent_digest, token_id, request_id, place)
            order by k.place
            on conflict (account_id, external_id) do update set revision = excluded.revision where false
            returning id, external_id",
            account_id,
            &columns.external_ids as &[&str],
            &columns.revisions,
            &columns.profiles,
            &columns.endpoints as &[&str],
            &columns.statuses as &[&str],
            &columns.total_prices,
            &columns.currencies as &[&str],
            &columns.delivery_costs as &[Option<Decimal>],
            &columns.regions as &[Option<&str>],
            &columns.tags,
            &columns.custom_fields,
            &columns.create_times,
            &columns.update_times,
            &columns.digests as &[&[u8]],
            &columns.sent_digests as &[&[u8]],
            TAG_SEPARATOR,
            now,
            &columns.token_ids,
            &columns.request_ids as &[&str],
        )
        .fetch_all(&mut *conn)
        .await?;
        inserted.extend(rows.into_iter().map(|row| (row.external_id, row.id)));
    }
    Ok(inserted)
}

/// Replaces what is stored of orders that the transaction has locked, their lines aside; `now` is when they are written.
///
/// # Errors
/// The database failed.
pub async fn update(
    conn: &mut PgConnection,
    account_id: i64,
    orders: &[Keyed<'_, '_>],
    now: OffsetDateTime,
) -> Result<()> {
    for orders in orders.chunks(SET) {
        let columns = Columns::of(orders);
        // An insert that always meets its row: no join that could be planned badly.
        sqlx::query!(
            "-- orders.update
            insert into orders (account_id, id, external_id, revision, profile, endpoint, status, total_price, currency,
                delivery_cost, region, tags, custom_fields, create_time, update_time, digest, sent_digest, written_at, token_id, request_id)
            overriding system value
            select $1, k.id, k.external_id, k.revision, k.profile, k.endpoint, k.status, k.total_price, k.currency,
                k.delivery_cost, k.region, string_to_array(k.tags, $18), k.custom_fields, k.create_time, k.update_time,
                k.digest, k.sent_digest, $19, k.token_id, k.request_id
            from unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::numeric[],
                $9::text[], $10::numeric[], $11::text[], $12::text[], $13::jsonb[], $14::timestamptz[], $15::timestamptz[],
                $16::bytea[], $17::bytea[], $20::bigint[], $21::text[])
                as k (id, external_id, revision, profile, endpoint, status, total_price, currency, delivery_cost, region,
                tags, custom_fields, create_time, update_time, digest, sent_digest, token_id, request_id)
            on conflict (account_id, external_id) do update set revision = excluded.revision, profile = excluded.profile,
                endpoint = excluded.endpoint, status = excluded.status, total_price = excluded.total_price,
                currency = excluded.currency, delivery_cost = excluded.delivery_cost, region = excluded.region,
                tags = excluded.tags, custom_fields = excluded.custom_fields, create_time = excluded.create_time,
                update_time = excluded.update_time, digest = excluded.digest, sent_digest = excluded.sent_digest,
                written_at = excluded.written_at, token_id = excluded.token_id, request_id = excluded.request_id",
            account_id,
            &columns.ids,
            &columns.external_ids as &[&str],
            &columns.revisions,
            &columns.profiles,
            &columns.endpoints as &[&str],
            &columns.statuses as &[&str],
            &columns.total_prices,
            &columns.currencies as &[&str],
            &columns.delivery_costs as &[Option<Decimal>],
            &columns.regions as &[Option<&str>],
            &columns.tags,
            &columns.custom_fields,
            &columns.create_times,
            &columns.update_times,
            &columns.digests as &[&[u8]],
            &columns.sent_digests as &[&[u8]],
            TAG_SEPARATOR,
            now,
            &columns.token_ids,
            &columns.request_ids as &[&str],
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Locks orders that are there, in the order of their keys, which are sorted; and reads them and their lines.
///
/// # Errors
/// The database failed, or holds what cannot be.
pub async fn lock_and_read(
    conn: &mut PgConnection,
    account_id: i64,
    external_ids: &[&str],
) -> Result<HashMap<String, StoredOrder<'static>>> {
    let mut orders = HashMap::with_capacity(external_ids.len());
    for external_ids in external_ids.chunks(SET) {
        let rows = sqlx::query_as!(
            OrderRow,
            "-- orders.lock_and_read
            select o.id, o.external_id, o.revision, o.profile, o.endpoint, o.status, o.total_price, o.currency,
                o.delivery_cost, o.region, o.tags, o.custom_fields::text as \"custom_fields!\", o.create_time, o.update_time
            from unnest($2::text[]) with ordinality as k (external_id, place)
            join lateral (select * from orders o where o.account_id = $1 and o.external_id = k.external_id
                for no key update offset 0) o on true
            order by k.place",
            account_id,
            external_ids as &[&str],
        )
        .fetch_all(&mut *conn)
        .await?;
        // Only now, when the locks are held: the statement above would see the lines from before it waited.
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let mut lines = order_lines::read(conn, account_id, &ids).await?;
        for row in rows {
            let of_order = lines.remove(&row.id).unwrap_or_default();
            let (external_id, mut order) = row.order()?;
            order.state.lines = of_order;
            orders.insert(external_id, order);
        }
    }
    Ok(orders)
}

/// Renews the digests of orders that were found as they were sent, unless another request is at them or has
/// changed them since. It waits for no lock.
///
/// # Errors
/// The database failed.
pub async fn renew_digests(conn: &mut PgConnection, account_id: i64, orders: &[Keyed<'_, '_>]) -> Result<()> {
    for orders in orders.chunks(SET) {
        let columns = Columns::of(orders);
        sqlx::query!(
            "-- orders.renew_digests
            update orders o set digest = k.digest, sent_digest = k.sent_digest
            from (
                select o.tid, k.digest, k.sent_digest
                from unnest($2::text[], $3::bigint[], $4::bytea[], $5::bytea[]) as k (external_id, revision, digest, sent_digest)
                join lateral (select o.ctid as tid from orders o where o.account_id = $1 and o.external_id = k.external_id
                    and o.revision = k.revision and o.digest is distinct from k.digest
                    for no key update skip locked offset 0) o on true
                offset 0
            ) k
            where o.account_id = $1 and o.ctid = k.tid",
            account_id,
            &columns.external_ids as &[&str],
            &columns.revisions,
            &columns.digests as &[&[u8]],
            &columns.sent_digests as &[&[u8]],
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Inserts at most a set of orders that are not there, their lines, and the pack of their events, if the account's
/// versions are these; else nothing, and false.
///
/// # Errors
/// The database failed: another request may have made one of them first.
pub async fn create(
    conn: &mut PgConnection,
    account_id: i64,
    orders: &[Keyed<'_, '_>],
    events: &str,
    now: OffsetDateTime,
    versions: Versions,
) -> Result<bool> {
    let columns = Columns::of(orders);
    let lines = order_lines::Columns::of(orders.iter().flat_map(|keyed| PlacedLine::all(keyed.order)));
    let done = sqlx::query!(
        "-- orders.create
        with current as (
            select id from accounts where id = $1 and setup_version = $32 and tokens_version = $33 and first_revision = $34
        ), made as (
            insert into orders (account_id, id, external_id, revision, profile, endpoint, status, total_price, currency,
                delivery_cost, region, tags, custom_fields, create_time, update_time, digest, sent_digest, written_at, token_id, request_id)
            overriding system value
            select $1, k.id, k.external_id, k.revision, k.profile, k.endpoint, k.status, k.total_price, k.currency,
                k.delivery_cost, k.region, string_to_array(k.tags, $18), k.custom_fields, k.create_time, k.update_time,
                k.digest, k.sent_digest, $31, k.token_id, k.request_id
            from unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::numeric[],
                $9::text[], $10::numeric[], $11::text[], $12::text[], $13::jsonb[], $14::timestamptz[], $15::timestamptz[],
                $16::bytea[], $17::bytea[], $35::bigint[], $36::text[])
                as k (id, external_id, revision, profile, endpoint, status, total_price, currency, delivery_cost, region,
                tags, custom_fields, create_time, update_time, digest, sent_digest, token_id, request_id), current
        ), told as (
            insert into outbox (account_id, events, created_at) select $1, $30, $31 from current where $30 <> ''
        )
        insert into order_lines (account_id, order_id, position, external_id, product, sku, status,
            base_price_per_item, min_price_per_item, final_price_per_item, count, custom_fields)
        select $1, k.* from unnest($19::bigint[], $20::int[], $21::text[], $22::text[], $23::text[], $24::text[],
            $25::numeric[], $26::numeric[], $27::numeric[], $28::int[], $29::jsonb[]) as k, current",
        account_id,
        &columns.ids,
        &columns.external_ids as &[&str],
        &columns.revisions,
        &columns.profiles,
        &columns.endpoints as &[&str],
        &columns.statuses as &[&str],
        &columns.total_prices,
        &columns.currencies as &[&str],
        &columns.delivery_costs as &[Option<Decimal>],
        &columns.regions as &[Option<&str>],
        &columns.tags,
        &columns.custom_fields,
        &columns.create_times,
        &columns.update_times,
        &columns.digests as &[&[u8]],
        &columns.sent_digests as &[&[u8]],
        TAG_SEPARATOR,
        &lines.order_ids,
        &lines.positions,
        &lines.external_ids as &[&str],
        &lines.products as &[Option<&str>],
        &lines.skus as &[Option<&str>],
        &lines.statuses as &[&str],
        &lines.base_prices as &[Option<Decimal>],
        &lines.min_prices as &[Option<Decimal>],
        &lines.final_prices as &[Option<Decimal>],
        &lines.counts,
        &lines.custom_fields,
        events,
        now,
        versions.setup,
        versions.tokens,
        versions.first_revision,
        &columns.token_ids,
        &columns.request_ids as &[&str],
    )
    .execute(conn)
    .await?;
    // Every order has a line.
    Ok(orders.is_empty() || done.rows_affected() > 0)
}
