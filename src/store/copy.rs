//! New orders and their lines, products and SKUs by binary `copy`: the fastest way into PostgreSQL. The statements here are not
//! checked at compile time, as `copy` cannot be prepared: each has a test that runs it.

use serde::Serialize;
use serde_json::Map as JsonMap;
use sqlx::encode::{Encode, IsNull};
use sqlx::postgres::{PgArgumentBuffer, PgCopyIn};
use sqlx::{PgConnection, Postgres};
use time::OffsetDateTime;

use super::item_content::Content;
use super::items::NewItem;
use super::order_lines::PlacedLine;
use super::orders::Keyed;
use super::outage::Cause;
use super::{Error, Result, custom_values};
use crate::domain::catalogue::ItemType;
use crate::domain::orders::Values;

/// Fewer orders, products or SKUs go in by one statement as fast: a copy takes several round trips.
pub const MIN_ROWS: usize = 100;

/// The signature, no flags, no header extension: PostgreSQL's manual, page on `COPY`, binary format.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands in the place of a row's number of columns after the last row.
const END: [u8; 2] = (-1_i16).to_be_bytes();
/// The version of `jsonb` on the wire, which stands before its text.
const JSONB_VERSION: u8 = 1;

/// Rows as `copy` takes them.
#[derive(Debug)]
struct Rows(PgArgumentBuffer);

impl Rows {
    fn new(bytes: usize) -> Self {
        let mut buffer = PgArgumentBuffer::default();
        buffer.reserve(bytes);
        buffer.extend_from_slice(HEADER);
        Rows(buffer)
    }

    fn row(&mut self, columns: i16) {
        self.0.extend_from_slice(&columns.to_be_bytes());
    }

    /// A field: its length, or -1 for null, and its bytes.
    fn field<'q>(&mut self, value: impl Encode<'q, Postgres>) -> Result<()> {
        let start = self.0.len();
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
        let null = value.encode(&mut self.0).map_err(|error| Error::Other(Cause(sqlx::Error::Encode(error))))?;
        if let IsNull::No = null {
            self.note_length(start);
        }
        Ok(())
    }

    fn custom_values(&mut self, values: &Values<'_>) -> Result<()> {
        // Most have none.
        if values.is_empty() { self.json(&JsonMap::new()) } else { self.json(&custom_values::object(values)) }
    }

    fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        self.0.push(JSONB_VERSION);
        serde_json::to_writer(&mut *self.0, value)
            .map_err(|error| Error::Other(Cause(sqlx::Error::Encode(error.into()))))?;
        self.note_length(start);
        Ok(())
    }

    fn note_length(&mut self, start: usize) {
        let length = i32::try_from(self.0.len() - start - 4).expect("a field is shorter than its request");
        self.0[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// The columns that products and SKUs have alike.
    fn item(&mut self, account_id: i64, NewItem { external_id, state, sent_digest }: &NewItem<'_>) -> Result<()> {
        self.field(account_id)?;
        self.field(*external_id)?;
        self.field(false)?;
        self.field(&*state.name)?;
        self.json(&Content::of(state))?;
        self.field(sent_digest.map(|digest| &digest[..]))
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&END);
        std::mem::take(&mut *self.0)
    }
}

/// About how many bytes the row of an order, or of a line, takes.
const ROW_BYTES: usize = 256;

/// Encodes the rows of orders, which are written `now`.
///
/// # Errors
/// A value does not fit its column: our own mistake.
pub fn orders(account_id: i64, orders: &[Keyed<'_, '_>], now: OffsetDateTime) -> Result<Vec<u8>> {
    let mut rows = Rows::new(orders.len() * ROW_BYTES);
    for Keyed { external_id, order, digests, origin } in orders {
        let state = &order.state;
        rows.row(20);
        rows.field(account_id)?;
        rows.field(order.id)?;
        rows.field(*external_id)?;
        rows.field(order.revision)?;
        rows.field(state.profile)?;
        rows.field(&*state.endpoint)?;
        rows.field(&*state.status)?;
        rows.field(state.total_price)?;
        rows.field(&*state.currency)?;
        rows.field(state.delivery_cost)?;
        rows.field(state.region.as_deref())?;
        rows.field(state.tags.iter().map(|tag| &**tag).collect::<Vec<&str>>())?;
        rows.custom_values(&state.custom_fields)?;
        rows.field(state.create_time)?;
        rows.field(state.update_time)?;
        rows.field(&digests.order[..])?;
        rows.field(&digests.sent[..])?;
        rows.field(now)?;
        rows.field(origin.token_id)?;
        rows.field(origin.request_id)?;
    }
    Ok(rows.end())
}

/// Encodes the rows of the lines of orders.
///
/// # Errors
/// See [`orders`].
pub fn lines(account_id: i64, orders: &[Keyed<'_, '_>]) -> Result<Vec<u8>> {
    let mut rows = Rows::new(orders.iter().map(|keyed| keyed.order.state.lines.len()).sum::<usize>() * ROW_BYTES);
    for PlacedLine { order_id, position, line } in orders.iter().flat_map(|keyed| PlacedLine::all(keyed.order)) {
        rows.row(12);
        rows.field(account_id)?;
        rows.field(order_id)?;
        rows.field(position)?;
        rows.field(&*line.external_id)?;
        rows.field(line.product.as_deref())?;
        rows.field(line.sku.as_deref())?;
        rows.field(&*line.status)?;
        rows.field(line.base_price_per_item)?;
        rows.field(line.min_price_per_item)?;
        rows.field(line.final_price_per_item)?;
        rows.field(line.count)?;
        rows.custom_values(&line.custom_fields)?;
    }
    Ok(rows.end())
}

/// Encodes the rows of products, with their internal ids.
///
/// # Errors
/// See [`orders`].
pub fn products(account_id: i64, products: &[(i64, NewItem<'_>)]) -> Result<Vec<u8>> {
    let mut rows = Rows::new(products.len() * ROW_BYTES);
    for (id, item) in products {
        rows.row(7);
        rows.item(account_id, item)?;
        rows.field(*id)?;
    }
    Ok(rows.end())
}

/// Encodes the rows of SKUs, which their table numbers.
///
/// # Errors
/// See [`orders`].
pub fn skus(account_id: i64, skus: &[NewItem<'_>]) -> Result<Vec<u8>> {
    let mut rows = Rows::new(skus.len() * ROW_BYTES);
    for item in skus {
        rows.row(7);
        rows.item(account_id, item)?;
        rows.field(item.state.product.as_deref())?;
    }
    Ok(rows.end())
}

/// Sends rows of products or SKUs.
///
/// # Errors
/// The database failed.
pub async fn send_items(conn: &mut PgConnection, kind: ItemType, rows: Vec<u8>) -> Result<Sent<'_>> {
    let statement = match kind {
        ItemType::Product => {
            "-- products.copy
            copy products (account_id, external_id, stub, name, content, sent_digest, id) from stdin (format binary)"
        }
        ItemType::Sku => {
            "-- skus.copy
            copy skus (account_id, external_id, stub, name, content, sent_digest, product) from stdin (format binary)"
        }
    };
    send(conn, statement, rows).await
}

/// Sends rows of orders.
///
/// # Errors
/// The database failed.
pub async fn send_orders(conn: &mut PgConnection, rows: Vec<u8>) -> Result<Sent<'_>> {
    let statement = "-- orders.copy
        copy orders (account_id, id, external_id, revision, profile, endpoint, status, total_price, currency,
            delivery_cost, region, tags, custom_fields, create_time, update_time, digest, sent_digest, written_at,
            token_id, request_id)
        from stdin (format binary)";
    send(conn, statement, rows).await
}

/// Rows that were sent; the database may still be at work on them.
#[must_use = "they are copied when they are finished"]
pub struct Sent<'c>(PgCopyIn<&'c mut PgConnection>);

impl Sent<'_> {
    /// Waits until the rows are stored.
    ///
    /// # Errors
    /// The database failed: another request may have made one of the orders first.
    pub async fn finish(self) -> Result<()> {
        self.0.finish().await?;
        Ok(())
    }
}

/// Sends rows of lines.
///
/// # Errors
/// The database failed.
pub async fn send_lines(conn: &mut PgConnection, rows: Vec<u8>) -> Result<Sent<'_>> {
    let statement = "-- order_lines.copy
        copy order_lines (account_id, order_id, position, external_id, product, sku, status, base_price_per_item,
            min_price_per_item, final_price_per_item, count, custom_fields)
        from stdin (format binary)";
    send(conn, statement, rows).await
}

async fn send<'c>(conn: &'c mut PgConnection, statement: &str, rows: Vec<u8>) -> Result<Sent<'c>> {
    let mut copy = conn.copy_in_raw(statement).await?;
    copy.send(rows).await?;
    Ok(Sent(copy))
}
