//! Lines of orders. Whoever writes one holds the lock of its order.

use std::collections::HashMap;

use rust_decimal::Decimal;
use serde_json::Value as Json;
use sqlx::PgConnection;

use super::{Result, custom_values, sets};
use crate::domain::orders::{LineState, StoredOrder};

/// A line with its order's internal id and its place, on its way to the database.
#[derive(Debug, Clone, Copy)]
pub struct PlacedLine<'s, 'a> {
    /// The order.
    pub order_id: i64,
    /// From 0.
    pub position: i32,
    /// The line.
    pub line: &'s LineState<'a>,
}

impl<'s, 'a> PlacedLine<'s, 'a> {
    /// All lines of an order.
    pub fn all(order: &'s StoredOrder<'a>) -> impl Iterator<Item = Self> {
        let places = 0_i32..;
        order.state.lines.iter().zip(places).map(|(line, position)| PlacedLine { order_id: order.id, position, line })
    }
}

/// Lines, as columns.
#[derive(Default)]
pub(super) struct Columns<'s> {
    pub order_ids: Vec<i64>,
    pub positions: Vec<i32>,
    pub external_ids: Vec<&'s str>,
    pub products: Vec<Option<&'s str>>,
    pub skus: Vec<Option<&'s str>>,
    pub statuses: Vec<&'s str>,
    pub base_prices: Vec<Option<Decimal>>,
    pub min_prices: Vec<Option<Decimal>>,
    pub final_prices: Vec<Option<Decimal>>,
    pub counts: Vec<i32>,
    pub custom_fields: Vec<Json>,
}

impl<'s> Columns<'s> {
    pub(super) fn of<'a: 's>(lines: impl Iterator<Item = PlacedLine<'s, 'a>>) -> Self {
        let mut columns = Columns::default();
        for PlacedLine { order_id, position, line } in lines {
            columns.order_ids.push(order_id);
            columns.positions.push(position);
            columns.external_ids.push(&line.external_id);
            columns.products.push(line.product.as_deref());
            columns.skus.push(line.sku.as_deref());
            columns.statuses.push(&line.status);
            columns.base_prices.push(line.base_price_per_item);
            columns.min_prices.push(line.min_price_per_item);
            columns.final_prices.push(line.final_price_per_item);
            columns.counts.push(line.count);
            columns.custom_fields.push(custom_values::object(&line.custom_fields));
        }
        columns
    }
}

/// A line as it is stored.
pub(super) struct LineRow {
    pub order_id: i64,
    pub external_id: String,
    pub product: Option<String>,
    pub sku: Option<String>,
    pub status: String,
    pub base_price_per_item: Option<Decimal>,
    pub min_price_per_item: Option<Decimal>,
    pub final_price_per_item: Option<Decimal>,
    pub count: i32,
    pub custom_fields: String,
}

impl LineRow {
    pub(super) fn line(self) -> Result<LineState<'static>> {
        Ok(LineState {
            external_id: self.external_id.into(),
            product: self.product.map(Into::into),
            sku: self.sku.map(Into::into),
            status: self.status.into(),
            base_price_per_item: self.base_price_per_item.map(|price| price.normalize()),
            min_price_per_item: self.min_price_per_item.map(|price| price.normalize()),
            final_price_per_item: self.final_price_per_item.map(|price| price.normalize()),
            count: self.count,
            custom_fields: custom_values::values("order_lines", &self.custom_fields)?,
        })
    }
}

/// The lines of some orders that the transaction has locked, by the orders' internal ids, in their places.
pub(super) async fn read(
    conn: &mut PgConnection,
    account_id: i64,
    order_ids: &[i64],
) -> Result<HashMap<i64, Vec<LineState<'static>>>> {
    let rows = sqlx::query_as!(
        LineRow,
        "-- order_lines.read
        select l.order_id, l.external_id, l.product, l.sku, l.status, l.base_price_per_item, l.min_price_per_item,
            l.final_price_per_item, l.count, l.custom_fields::text as \"custom_fields!\"
        from unnest($2::bigint[]) as k (id)
        join lateral (select * from order_lines l where l.account_id = $1 and l.order_id = k.id offset 0) l on true
        order by l.order_id, l.position",
        account_id,
        order_ids,
    )
    .fetch_all(conn)
    .await?;
    let mut lines: HashMap<i64, Vec<LineState<'static>>> = HashMap::with_capacity(order_ids.len());
    for row in rows {
        lines.entry(row.order_id).or_default().push(row.line()?);
    }
    Ok(lines)
}

/// Inserts lines of new orders and inserts or replaces lines of locked ones, of so many orders.
///
/// # Errors
/// The database failed.
pub async fn write(
    conn: &mut PgConnection,
    account_id: i64,
    lines: &[PlacedLine<'_, '_>],
    orders: usize,
) -> Result<()> {
    for lines in sets(lines, orders) {
        let columns = Columns::of(lines.iter().copied());
        sqlx::query!(
            "-- order_lines.write
            insert into order_lines (account_id, order_id, position, external_id, product, sku, status,
                base_price_per_item, min_price_per_item, final_price_per_item, count, custom_fields)
            select $1, * from unnest($2::bigint[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::numeric[], $9::numeric[], $10::numeric[], $11::int[], $12::jsonb[])
            on conflict (account_id, order_id, external_id) do update set
                position = excluded.position, product = excluded.product, sku = excluded.sku, status = excluded.status,
                base_price_per_item = excluded.base_price_per_item, min_price_per_item = excluded.min_price_per_item,
                final_price_per_item = excluded.final_price_per_item, count = excluded.count,
                custom_fields = excluded.custom_fields",
            account_id,
            &columns.order_ids,
            &columns.positions,
            &columns.external_ids as &[&str],
            &columns.products as &[Option<&str>],
            &columns.skus as &[Option<&str>],
            &columns.statuses as &[&str],
            &columns.base_prices as &[Option<Decimal>],
            &columns.min_prices as &[Option<Decimal>],
            &columns.final_prices as &[Option<Decimal>],
            &columns.counts,
            &columns.custom_fields,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// Deletes lines of so many locked orders, by order and external id. The locks keep the rows where they are.
///
/// # Errors
/// The database failed.
pub async fn delete(conn: &mut PgConnection, account_id: i64, lines: &[(i64, &str)], orders: usize) -> Result<()> {
    for lines in sets(lines, orders) {
        let order_ids: Vec<i64> = lines.iter().map(|(order_id, _)| *order_id).collect();
        let external_ids: Vec<&str> = lines.iter().map(|(_, external_id)| *external_id).collect();
        sqlx::query!(
            "-- order_lines.delete
            delete from order_lines where account_id = $1 and ctid = any (array(
                select l.ctid from unnest($2::bigint[], $3::text[]) as k (order_id, external_id)
                join lateral (select l.ctid from order_lines l where l.account_id = $1 and l.order_id = k.order_id
                    and l.external_id = k.external_id offset 0) l on true))",
            account_id,
            &order_ids,
            &external_ids as &[&str],
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
