//! The schema of `products/import` and `sku/import` (contract, section 6).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::document::{Document, Wanted};
use super::fields::{Fields, set};
use super::format::Format;
use super::items::{decoded, items, refuse_minor};
use super::known;
use super::node::Node;
use super::orders_import::IN_PLACE_OF_DATA;
use crate::config::Limits;
use crate::domain::batch::Sent;
use crate::domain::catalogue::{
    Datum, DecodedItem, FIELDS, Item, ItemType, Kind, MAX_ITEMS, REGIONAL_FIELDS, Regional, SentCategory,
};
use crate::domain::place::Trail;
use crate::domain::rejection::{Problem, Rejection};
use crate::domain::{Patch, scalars};

/// The fields of the root that the calls read.
#[must_use]
pub fn wanted(limits: &Limits) -> Vec<Wanted> {
    let list = |name, max_items| Wanted { name, max_items, key: None };
    let scalar = |name| list(name, 0);
    let read = [
        scalar("token"),
        scalar("format"),
        list("custom_fields", limits.max_definitions),
        list("categories", limits.max_orders),
        Wanted { key: Some("external_id"), ..list("data", limits.max_orders) },
        scalar("on_error"),
        scalar("dry_run"),
        scalar("detail"),
        scalar("strict"),
    ];
    read.into_iter().chain(IN_PLACE_OF_DATA.map(scalar)).collect()
}

/// A breach of the number of items, definitions or categories, which answers 413.
#[must_use]
pub fn too_many(document: &Document<'_>, limits: &Limits) -> Option<Rejection> {
    document.too_many(&[
        ("data", "items", limits.max_orders),
        ("custom_fields", "definitions", limits.max_definitions),
        ("categories", "categories", limits.max_orders),
    ])
}

/// Decodes the categories of a request.
///
/// # Errors
/// The first field that is wrong.
pub fn categories(document: &Document<'_>, limits: &Limits) -> Result<Vec<SentCategory>, Rejection> {
    items(document, "categories", limits.max_values(), |fields| {
        let parent = match fields.id("parent_external_id")? {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(parent) => Patch::Set(parent.into_owned()),
        };
        Ok(SentCategory {
            external_id: fields.external_id("the fields of a category")?.into_owned(),
            name: set(fields.name("name")?).map(Cow::into_owned),
            parent,
        })
    })
}

/// The fields of a product, or of a SKU.
#[must_use]
pub fn known_fields(kind: ItemType) -> &'static known::Schema {
    match kind {
        ItemType::Product => &known::PRODUCT,
        ItemType::Sku => &known::SKU,
    }
}

/// Decodes one product or SKU of a document, of that place in it; `strict`: one with a field that is not known is refused.
#[must_use]
pub fn item<'a>(
    (format, kind, strict): (Format, ItemType, bool),
    index: usize,
    sent: &Sent<'a>,
    limits: &Limits,
) -> DecodedItem<'a> {
    let (external_id, item) = decoded(format, index, sent, limits, |fields| {
        let item = match kind {
            ItemType::Product => product(fields, limits),
            ItemType::Sku => sku(fields, limits),
        };
        if strict { known::strictly(fields, known_fields(kind), item) } else { item }
    });
    DecodedItem { external_id, item }
}

fn sku<'a>(fields: &Fields<'_, 'a>, limits: &Limits) -> Result<Item<'a>, Rejection> {
    // First, since it tells more where all fields are missing.
    fields.external_id("the fields of a SKU")?;
    let product = fields.required_id("product_external_id")?;
    item_fields(fields, limits, Some(product))
}

fn product<'a>(fields: &Fields<'_, 'a>, limits: &Limits) -> Result<Item<'a>, Rejection> {
    let mut product = item_fields(fields, limits, None)?;
    let list = Trail::Field(&fields.trail, "sku");
    let sent = fields.list("sku")?.unwrap_or_default();
    if sent.len() > limits.max_lines {
        let problem = Problem::TooMany { things: "SKUs", limit: limits.max_lines, sent: Some(sent.len()) };
        return Err(fields.refuse("sku", problem));
    }
    let mut seen = HashSet::new();
    for (index, node) in sent.into_iter().enumerate() {
        let fields = Fields::of(fields.format(), node, Trail::Item(&list, index))?;
        let sku = item_fields(&fields, limits, Some(product.external_id.clone()))?;
        let other = set(fields.id("product_external_id")?).filter(|other| *other != product.external_id);
        if let Some(other) = other {
            let problem = Problem::expected("the product that the SKU stands in", &other);
            return Err(fields.refuse("product_external_id", problem));
        }
        if !seen.insert(sku.external_id.clone()) {
            let id = sku.external_id.into_owned();
            return Err(fields.refuse("external_id", Problem::Twice { thing: "SKU", id }));
        }
        product.skus.push(sku);
    }
    Ok(product)
}

/// What products and SKUs have alike.
fn item_fields<'a>(
    fields: &Fields<'_, 'a>,
    limits: &Limits,
    product: Option<Cow<'a, str>>,
) -> Result<Item<'a>, Rejection> {
    refuse_minor(fields)?;
    let external_id =
        fields.external_id(if product.is_none() { "the fields of a product" } else { "the fields of a SKU" })?;
    let name = fields.required_name("name")?;
    let mut data = BTreeMap::new();
    for (key, kind) in FIELDS {
        match datum(fields, key, kind, limits)? {
            Patch::Keep => {}
            Patch::Clear => drop(data.insert(key, None)),
            Patch::Set(datum) => drop(data.insert(key, Some(datum))),
        }
    }
    let custom_fields = fields.custom_values("custom_fields", limits.max_custom_values)?;
    let regional_data = regional_data(fields, limits)?;
    Ok(Item { external_id, name, product, data, custom_fields, regional_data, skus: Vec::new() })
}

fn regional_data<'a>(fields: &Fields<'_, 'a>, limits: &Limits) -> Result<Option<Vec<Regional<'a>>>, Rejection> {
    let Some(sent) = fields.list("regional_data")? else { return Ok(None) };
    if sent.len() > MAX_ITEMS {
        let problem = Problem::TooMany { things: "regions", limit: MAX_ITEMS, sent: Some(sent.len()) };
        return Err(fields.refuse("regional_data", problem));
    }
    let list = Trail::Field(&fields.trail, "regional_data");
    let mut seen = HashSet::new();
    let regional = |(index, node): (usize, &Node<'a>)| {
        let fields = Fields::of(fields.format(), node, Trail::Item(&list, index))?;
        let region = fields.external_id("the fields of a region")?;
        if !seen.insert(region.clone()) {
            return Err(fields.refuse("external_id", Problem::Twice { thing: "region", id: region.into_owned() }));
        }
        let mut data = BTreeMap::new();
        for (key, kind) in REGIONAL_FIELDS {
            if let Patch::Set(datum) = datum(&fields, key, kind, limits)? {
                data.insert(key, datum);
            }
        }
        let custom_fields = fields.custom_values("custom_fields", limits.max_custom_values)?;
        Ok(Regional { region, data, custom_fields })
    };
    sent.into_iter().enumerate().map(regional).collect::<Result<_, _>>().map(Some)
}

const EXPECTED_CODE: &str = "digits without zeros in front, since a bar code is kept as a whole number of 64 bits";

/// The value of an optional field.
fn datum(fields: &Fields<'_, '_>, key: &'static str, kind: Kind, limits: &Limits) -> Result<Patch<Datum>, Rejection> {
    fn of<T>(patch: Patch<T>, datum: impl Fn(T) -> Datum) -> Patch<Datum> {
        match patch {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(value) => Patch::Set(datum(value)),
        }
    }
    let texts = |texts: Option<Vec<Cow<'_, str>>>| match texts {
        None => Patch::Keep,
        Some(texts) if texts.is_empty() => Patch::Clear,
        Some(texts) => Patch::Set(Datum::Texts(texts.into_iter().map(Cow::into_owned).collect())),
    };
    Ok(match kind {
        Kind::Price => of(fields.price(key)?, Datum::Amount),
        Kind::Currency => match fields.id(key)? {
            Patch::Set(sent) if !scalars::is_currency(&sent) => {
                return Err(fields.refuse(key, Problem::expected("three letters", &sent)));
            }
            sent => of(sent, |sent| Datum::Text(sent.to_ascii_uppercase())),
        },
        Kind::Text(limit) => of(fields.limited(key, limit)?, |text| Datum::Text(text.into_owned())),
        Kind::Count => of(fields.optional_count(key)?, Datum::Count),
        Kind::Flag => of(fields.optional_flag(key)?, Datum::Flag),
        Kind::Tags => texts(fields.names(key, key, limits.max_tags)?),
        Kind::Texts(max_chars) => texts(fields.texts(key, (key, MAX_ITEMS), max_chars, |text| text)?),
        Kind::Categories => texts(fields.ids(key, key, MAX_ITEMS)?),
        Kind::Codes => match fields.integers(key, (key, MAX_ITEMS), EXPECTED_CODE, scalars::code)? {
            None => Patch::Keep,
            Some(integers) if integers.is_empty() => Patch::Clear,
            Some(integers) => Patch::Set(Datum::Integers(integers)),
        },
    })
}
