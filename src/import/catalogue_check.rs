//! Checks of products and SKUs that need no stored ones: currencies, regions, categories, types of custom values.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::check::{Converted, convert};
use super::setup::Setup;
use crate::domain::catalogue::{Datum, Item, Regional, RegionalState};
use crate::domain::custom_fields::Definition;
use crate::domain::place::Trail;
use crate::domain::rejection::{Problem, Rejection};

/// A product or SKU whose references are known and whose custom values fit.
pub(super) struct Checked<'a> {
    /// Its place among the answers, and in its request.
    pub slot: usize,
    /// As it was sent.
    pub item: Item<'a>,
    /// What it holds beside its data.
    pub values: Values<'a>,
    /// The same of its SKUs.
    pub sku_values: Vec<Values<'a>>,
}

/// What a product or SKU holds beside its data.
pub(super) struct Values<'a> {
    /// Its custom values.
    pub custom: Converted<'a>,
    /// What differs by region, if it was sent.
    pub regional_data: Option<Vec<RegionalState>>,
}

/// The categories that an item names.
pub(super) fn categories<'i>(item: &'i Item<'_>) -> impl Iterator<Item = &'i str> {
    let of = |item: &'i Item<'_>| match item.data.get("categories") {
        Some(Some(Datum::Texts(ids))) => ids.as_slice(),
        _ => &[],
    };
    std::iter::once(item).chain(&item.skus).flat_map(of).map(String::as_str)
}

/// Checks an item of a request; `categories` and `products` are those that are there, where others are refused.
pub(super) fn check<'a>(
    slot: usize,
    item: Item<'a>,
    setup: &Setup,
    categories: Option<&HashSet<String>>,
    products: Option<&HashSet<String>>,
) -> Result<Checked<'a>, Rejection> {
    let data = Trail::Field(&Trail::Root, "data");
    let place = Trail::Item(&data, slot);
    if let (Some(product), Some(products)) = (&item.product, products)
        && !products.contains(&**product)
    {
        let place = Trail::Field(&place, "product_external_id").place();
        return Err(Rejection::new(place, Problem::unknown("product", product)));
    }
    let fields = if item.product.is_none() { &setup.fields.product } else { &setup.fields.sku };
    let values = part(&item, setup, fields, categories, &place)?;
    let list = Trail::Field(&place, "sku");
    let sku = |(number, sku)| part(sku, setup, &setup.fields.sku, categories, &Trail::Item(&list, number));
    let sku_values = item.skus.iter().enumerate().map(sku).collect::<Result<_, _>>()?;
    Ok(Checked { slot, item, values, sku_values })
}

fn part<'a>(
    item: &Item<'a>,
    setup: &Setup,
    fields: &BTreeMap<String, Definition>,
    categories: Option<&HashSet<String>>,
    place: &Trail<'_>,
) -> Result<Values<'a>, Rejection> {
    currency(item.data.get("currency").and_then(Option::as_ref), setup, place)?;
    if let (Some(categories), Some(Some(Datum::Texts(ids)))) = (categories, item.data.get("categories"))
        && let Some((number, id)) = ids.iter().enumerate().find(|(_, id)| !categories.contains(*id))
    {
        let place = Trail::Item(&Trail::Field(place, "categories"), number).place();
        return Err(Rejection::new(place, Problem::unknown("category", id)));
    }
    let custom = convert(&item.custom_fields, fields, || place.place())?;
    let list = Trail::Field(place, "regional_data");
    let regional = |(number, sent)| regional(sent, setup, fields, &Trail::Item(&list, number));
    let regional_data = match &item.regional_data {
        None => None,
        Some(sent) => Some(sent.iter().enumerate().map(regional).collect::<Result<_, _>>()?),
    };
    Ok(Values { custom, regional_data })
}

fn currency(sent: Option<&Datum>, setup: &Setup, place: &Trail<'_>) -> Result<(), Rejection> {
    match sent {
        Some(Datum::Text(code)) if !setup.references.currencies.contains(code) => Err(Rejection::new(
            Trail::Field(place, "currency").place(),
            Problem::unknown_of("currency", code, &setup.names.currencies),
        )),
        _ => Ok(()),
    }
}

fn regional(
    sent: &Regional<'_>,
    setup: &Setup,
    fields: &BTreeMap<String, Definition>,
    place: &Trail<'_>,
) -> Result<RegionalState, Rejection> {
    if !setup.references.regions.contains(&*sent.region) {
        let place = Trail::Field(place, "external_id").place();
        return Err(Rejection::new(place, Problem::unknown_of("region", &sent.region, &setup.names.regions)));
    }
    currency(sent.data.get("currency"), setup, place)?;
    let custom = convert(&sent.custom_fields, fields, || place.place())?;
    let with_value = |(key, value): (Cow<'_, str>, Option<_>)| Some((Cow::Owned(key.into_owned()), value?));
    Ok(RegionalState {
        region: sent.region.clone().into_owned(),
        data: sent.data.clone(),
        custom_fields: custom.into_iter().filter_map(with_value).collect(),
    })
}
