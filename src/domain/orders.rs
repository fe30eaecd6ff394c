//! Orders: as a request sends them, and as they are stored.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::Patch;
use super::custom_fields::{SentValue, Value};
use super::matching::{Customer, StoredCustomer};
use super::rejection::Rejection;

/// Custom values as they were sent, by the external id of their field.
pub type SentValues<'a> = BTreeMap<Cow<'a, str>, SentValue<'a>>;

/// What happens to stored lines that are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LinesMode {
    /// They go.
    #[default]
    Replace,
    /// They stay.
    Merge,
}

/// An order as a request sends it; its references are not yet checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Order<'a> {
    /// The business key.
    pub external_id: Cow<'a, str>,
    /// Whose order it is.
    pub customer: Customer<'a>,
    /// A touchpoint's external id.
    pub endpoint: Cow<'a, str>,
    /// An order status.
    pub status: Cow<'a, str>,
    /// Not checked against the lines.
    pub total_price: Decimal,
    /// Three letters, in upper case.
    pub currency: Cow<'a, str>,
    /// At least one, each external id once.
    pub lines: Vec<Line<'a>>,
    /// What happens to stored lines that are not sent.
    pub lines_mode: LinesMode,
    /// May be without a value.
    pub delivery_cost: Patch<Decimal>,
    /// Absent: kept, or now for a new order.
    pub create_time: Option<OffsetDateTime>,
    /// Absent: now, if anything else changes.
    pub update_time: Option<OffsetDateTime>,
    /// Absent: kept.
    pub tags: Option<Vec<Cow<'a, str>>>,
    /// A region's external id.
    pub region: Patch<Cow<'a, str>>,
    /// Values of custom fields of orders.
    pub custom_fields: SentValues<'a>,
    /// Its events are not written.
    pub skip_triggers: bool,
    /// A key of the customer that cannot be used and was left out.
    pub warning: Option<Box<Rejection>>,
}

/// A line as a request sends it. At least one of `product` and `sku` is there.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Line<'a> {
    /// Unique in the order.
    pub external_id: Cow<'a, str>,
    /// A product's external id.
    pub product: Option<Cow<'a, str>>,
    /// A SKU's external id.
    pub sku: Option<Cow<'a, str>>,
    /// A line status.
    pub status: Option<Cow<'a, str>>,
    /// May be without a value.
    pub base_price_per_item: Patch<Decimal>,
    /// May be without a value.
    pub min_price_per_item: Patch<Decimal>,
    /// May be without a value.
    pub final_price_per_item: Patch<Decimal>,
    /// From 0 to 2147483647.
    pub count: Option<i32>,
    /// Values of custom fields of lines.
    pub custom_fields: SentValues<'a>,
}

/// Custom values as they are stored.
pub type Values<'a> = BTreeMap<Cow<'a, str>, Value>;

/// All of an order that can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderState<'a> {
    /// The internal id of the profile.
    pub profile: i64,
    /// A touchpoint's external id.
    pub endpoint: Cow<'a, str>,
    /// An order status.
    pub status: Cow<'a, str>,
    /// In `currency`.
    pub total_price: Decimal,
    /// Three letters, in upper case.
    pub currency: Cow<'a, str>,
    /// In `currency`.
    pub delivery_cost: Option<Decimal>,
    /// A region's external id.
    pub region: Option<Cow<'a, str>>,
    /// In the order sent.
    pub tags: Vec<Cow<'a, str>>,
    /// By the external id of the field.
    pub custom_fields: Values<'a>,
    /// When the customer ordered.
    pub create_time: OffsetDateTime,
    /// When it last changed.
    pub update_time: OffsetDateTime,
    /// In the order of their places.
    pub lines: Vec<LineState<'a>>,
}

/// All of a line that can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct LineState<'a> {
    /// Unique in the order.
    pub external_id: Cow<'a, str>,
    /// A product's external id.
    pub product: Option<Cow<'a, str>>,
    /// A SKU's external id.
    pub sku: Option<Cow<'a, str>>,
    /// A line status.
    pub status: Cow<'a, str>,
    /// In the order's currency.
    pub base_price_per_item: Option<Decimal>,
    /// In the order's currency.
    pub min_price_per_item: Option<Decimal>,
    /// In the order's currency.
    pub final_price_per_item: Option<Decimal>,
    /// From 0.
    pub count: i32,
    /// By the external id of the field.
    pub custom_fields: Values<'a>,
}

/// A stored order with what names it to clients.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedOrder {
    /// The business key.
    pub external_id: String,
    /// The public id of the profile.
    pub profile_id: String,
    /// The order.
    pub order: StoredOrder<'static>,
    /// What is known of the customer, if that was asked for.
    pub customer: Option<Arc<StoredCustomer>>,
}

/// The request that writes an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'r> {
    /// The internal id of its token; 0 for a command of the program itself.
    pub token_id: i64,
    /// As its answer names it.
    pub request_id: &'r str,
}

/// Which orders a list shows, and from which end: those for which all of it holds that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderFilter {
    /// Business keys.
    pub external_ids: Option<Vec<String>>,
    /// Order statuses.
    pub statuses: Option<Vec<String>>,
    /// A touchpoint's external id.
    pub endpoint: Option<String>,
    /// Changed then or later.
    pub updated_from: Option<OffsetDateTime>,
    /// Changed before.
    pub updated_to: Option<OffsetDateTime>,
    /// An e-mail address of the customer, as it is compared.
    pub email: Option<String>,
    /// A phone number of the customer, as it is compared.
    pub phone: Option<String>,
    /// The highest internal id first.
    pub newest_first: bool,
}

/// An order as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredOrder<'a> {
    /// The internal id; 0 for one that the database has not numbered yet.
    pub id: i64,
    /// Counts the changes, from 1.
    pub revision: i64,
    /// What can be read.
    pub state: OrderState<'a>,
}
