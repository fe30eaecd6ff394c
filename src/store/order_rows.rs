//! Rows of orders, with and without a line, as they are read.

use std::collections::HashMap;

use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::order_lines::LineRow;
use super::{Error, Result, custom_values};
use crate::domain::orders::{LineState, OrderState, StoredOrder};

/// An order without its lines.
pub(super) struct OrderRow {
    pub id: i64,
    pub external_id: String,
    pub revision: i64,
    pub profile: i64,
    pub endpoint: String,
    pub status: String,
    pub total_price: Decimal,
    pub currency: String,
    pub delivery_cost: Option<Decimal>,
    pub region: Option<String>,
    pub tags: Vec<String>,
    pub custom_fields: String,
    pub create_time: OffsetDateTime,
    pub update_time: OffsetDateTime,
}

/// An order with one of its lines.
pub(super) struct Row {
    pub id: i64,
    pub external_id: String,
    pub revision: i64,
    pub profile: i64,
    pub endpoint: String,
    pub status: String,
    pub total_price: Decimal,
    pub currency: String,
    pub delivery_cost: Option<Decimal>,
    pub region: Option<String>,
    pub tags: Vec<String>,
    pub custom_fields: String,
    pub create_time: OffsetDateTime,
    pub update_time: OffsetDateTime,
    pub line_external_id: Option<String>,
    pub product: Option<String>,
    pub sku: Option<String>,
    pub line_status: Option<String>,
    pub base_price_per_item: Option<Decimal>,
    pub min_price_per_item: Option<Decimal>,
    pub final_price_per_item: Option<Decimal>,
    pub count: Option<i32>,
    pub line_custom_fields: Option<String>,
}

impl Row {
    /// The order; its line has to be taken before.
    fn order(self) -> OrderRow {
        OrderRow {
            id: self.id,
            external_id: self.external_id,
            revision: self.revision,
            profile: self.profile,
            endpoint: self.endpoint,
            status: self.status,
            total_price: self.total_price,
            currency: self.currency,
            delivery_cost: self.delivery_cost,
            region: self.region,
            tags: self.tags,
            custom_fields: self.custom_fields,
            create_time: self.create_time,
            update_time: self.update_time,
        }
    }

    fn take_line(&mut self) -> Result<Option<LineState<'static>>> {
        let Some(external_id) = self.line_external_id.take() else { return Ok(None) };
        let missing = |column| Error::Corrupt { table: "order_lines", column, what: "null".to_owned() };
        let line = LineRow {
            order_id: self.id,
            external_id,
            product: self.product.take(),
            sku: self.sku.take(),
            status: self.line_status.take().ok_or_else(|| missing("status"))?,
            base_price_per_item: self.base_price_per_item,
            min_price_per_item: self.min_price_per_item,
            final_price_per_item: self.final_price_per_item,
            count: self.count.ok_or_else(|| missing("count"))?,
            custom_fields: self.line_custom_fields.take().unwrap_or_else(|| "{}".to_owned()),
        };
        line.line().map(Some)
    }
}

/// Puts the lines to their orders; the rows of an order follow each other.
pub(super) fn collect(rows: Vec<Row>, orders: &mut HashMap<String, StoredOrder<'static>>) -> Result<()> {
    let mut open: Option<(String, StoredOrder<'static>)> = None;
    for mut row in rows {
        let line = row.take_line()?;
        if open.as_ref().is_none_or(|(_, order)| order.id != row.id) {
            orders.extend(open.take());
            open = Some(row.order().order()?);
        }
        if let (Some((_, order)), Some(line)) = (&mut open, line) {
            order.state.lines.push(line);
        }
    }
    orders.extend(open);
    Ok(())
}

impl OrderRow {
    /// The order, without lines, and its external id.
    pub(super) fn order(self) -> Result<(String, StoredOrder<'static>)> {
        let state = OrderState {
            profile: self.profile,
            endpoint: self.endpoint.into(),
            status: self.status.into(),
            total_price: self.total_price.normalize(),
            currency: self.currency.into(),
            delivery_cost: self.delivery_cost.map(|cost| cost.normalize()),
            region: self.region.map(Into::into),
            tags: self.tags.into_iter().map(Into::into).collect(),
            custom_fields: custom_values::values("orders", &self.custom_fields)?,
            create_time: self.create_time,
            update_time: self.update_time,
            lines: Vec::new(),
        };
        Ok((self.external_id, StoredOrder { id: self.id, revision: self.revision, state }))
    }
}
