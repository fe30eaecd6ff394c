//! Products and SKUs: as a request sends them, and as they are stored (contract, section 6).

use std::borrow::Cow;
use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::orders::{SentValues, Values};
use super::rejection::Rejection;
use super::{MAX_KEY_CHARS, MAX_TEXT_CHARS};

/// Longest description, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 1_000;
/// Most pictures, bar codes or categories of a product or SKU.
pub const MAX_ITEMS: usize = 1_000;

/// What an optional field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An amount of money from 0.
    Price,
    /// A currency of the account.
    Currency,
    /// A text of at most so many characters.
    Text(usize),
    /// A number of items.
    Count,
    /// True or false.
    Flag,
    /// Tags.
    Tags,
    /// Texts of at most so many characters.
    Texts(usize),
    /// Bar codes: 64-bit integers.
    Codes,
    /// Categories of the account.
    Categories,
}

/// The optional fields of a product or SKU, in the order in which they are listed.
pub const FIELDS: [(&str, Kind); 15] = [
    ("price", Kind::Price),
    ("old_price", Kind::Price),
    ("currency", Kind::Currency),
    ("tags", Kind::Tags),
    ("manufacturer_name", Kind::Text(MAX_KEY_CHARS)),
    ("description", Kind::Text(MAX_DESCRIPTION_CHARS)),
    ("url", Kind::Text(MAX_TEXT_CHARS)),
    ("pictures", Kind::Texts(MAX_TEXT_CHARS)),
    ("count", Kind::Count),
    // Days of shelf life, says Altcraft's documentation: a text.
    ("expiration_time", Kind::Text(MAX_KEY_CHARS)),
    ("is_available", Kind::Flag),
    ("delivery", Kind::Flag),
    ("barcode", Kind::Codes),
    ("manufacturer_warranty", Kind::Flag),
    ("categories", Kind::Categories),
];

/// The optional fields of a product or SKU in one region.
pub const REGIONAL_FIELDS: [(&str, Kind); 6] = [
    ("price", Kind::Price),
    ("old_price", Kind::Price),
    ("currency", Kind::Currency),
    ("count", Kind::Count),
    ("is_available", Kind::Flag),
    ("delivery", Kind::Flag),
];

/// The value of an optional field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// A text or a currency.
    Text(String),
    /// An amount of money.
    Amount(Decimal),
    /// A number of items.
    Count(i32),
    /// True or false.
    Flag(bool),
    /// Tags, pictures or categories.
    Texts(Vec<String>),
    /// Bar codes.
    Integers(Vec<i64>),
}

/// Values of optional fields, by their names.
pub type Data = BTreeMap<&'static str, Datum>;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ItemType {
    /// A product.
    Product,
    /// A SKU.
    Sku,
}

/// A product or SKU as a request sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<'a> {
    /// The business key.
    pub external_id: Cow<'a, str>,
    /// What people call it.
    pub name: Cow<'a, str>,
    /// The external id of a SKU's product; `None` for products.
    pub product: Option<Cow<'a, str>>,
    /// The optional fields that were sent; `None` clears.
    pub data: BTreeMap<&'static str, Option<Datum>>,
    /// Values of its custom fields.
    pub custom_fields: SentValues<'a>,
    /// What differs by region, all of it. Absent: kept.
    pub regional_data: Option<Vec<Regional<'a>>>,
    /// A product's SKUs; those that are not sent stay.
    pub skus: Vec<Item<'a>>,
}

/// What differs in one region, as a request sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regional<'a> {
    /// The region's external id.
    pub region: Cow<'a, str>,
    /// The optional fields.
    pub data: Data,
    /// Values of custom fields.
    pub custom_fields: SentValues<'a>,
}

/// A product or SKU of a request, good or not.
#[derive(Debug)]
pub struct DecodedItem<'a> {
    /// The external id as the answer names it: empty if it is missing or unusable.
    pub external_id: Cow<'a, str>,
    /// The item, or why it was refused.
    pub item: Result<Item<'a>, Rejection>,
}

/// All of a product or SKU that can be read, its own SKUs aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemState {
    /// What people call it.
    pub name: String,
    /// The external id of a SKU's product.
    pub product: Option<String>,
    /// The optional fields.
    pub data: Data,
    /// By the external id of the field.
    pub custom_fields: Values<'static>,
    /// What differs by region.
    pub regional_data: Vec<RegionalState>,
}

/// What differs in one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionalState {
    /// The region's external id.
    pub region: String,
    /// The optional fields.
    pub data: Data,
    /// By the external id of the field.
    pub custom_fields: Values<'static>,
}

/// A product or SKU as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredItem {
    /// The internal id.
    pub id: i64,
    /// Counts the changes, a product's SKUs' included.
    pub revision: i64,
    /// What can be read; `None` for a stub, which only orders know of.
    pub state: Option<ItemState>,
    /// The external id of a SKU's product, a stub's, too.
    pub product: Option<String>,
}

/// A product or SKU as lists show it.
#[derive(Debug)]
pub struct ListedItem {
    /// The internal id.
    pub id: i64,
    /// The business key.
    pub external_id: String,
    /// What can be read.
    pub state: ItemState,
    /// A product's SKUs.
    pub skus: Vec<ListedItem>,
}

/// A category as a request sends it; what is absent keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentCategory {
    /// How products name it.
    pub external_id: String,
    /// What people call it.
    pub name: Option<String>,
    /// The category above it.
    pub parent: super::Patch<String>,
}

/// A category of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// How products name it.
    pub external_id: String,
    /// What people call it.
    pub name: String,
    /// The category above it.
    pub parent: Option<String>,
}
