//! What a product's or SKU's column `content` holds: optional fields, custom values and regional data, as they are listed.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::{Error, Result, custom_values};
use crate::domain::catalogue::{Data, Datum, FIELDS, ItemState, Kind, REGIONAL_FIELDS, RegionalState};
use crate::domain::orders::Values;

fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::Corrupt { table: "products or skus", column: "content", what: format!("{what}") }
}

/// A state as it is stored.
pub(super) fn state(name: Option<String>, product: Option<String>, content: &str) -> Result<ItemState> {
    let content: BTreeMap<String, &RawValue> = serde_json::from_str(content).map_err(corrupt)?;
    let regions: Vec<BTreeMap<String, &RawValue>> = match content.get(REGIONAL_DATA) {
        Some(regions) => serde_json::from_str(regions.get()).map_err(corrupt)?,
        None => Vec::new(),
    };
    let regional = |content: BTreeMap<String, &RawValue>| {
        let region = content.get("external_id").ok_or_else(|| corrupt("a region without an id"))?;
        Ok(RegionalState {
            region: serde_json::from_str(region.get()).map_err(corrupt)?,
            data: data(&REGIONAL_FIELDS, &content)?,
            custom_fields: custom(&content)?,
        })
    };
    Ok(ItemState {
        name: name.ok_or_else(|| corrupt("no name"))?,
        product,
        data: data(&FIELDS, &content)?,
        custom_fields: custom(&content)?,
        regional_data: regions.into_iter().map(regional).collect::<Result<_>>()?,
    })
}

const REGIONAL_DATA: &str = "regional_data";
const CUSTOM_FIELDS: &str = "custom_fields";

fn custom(content: &BTreeMap<String, &RawValue>) -> Result<Values<'static>> {
    content.get(CUSTOM_FIELDS).map_or_else(|| Ok(BTreeMap::new()), |raw| custom_values::values("items", raw.get()))
}

fn data(fields: &[(&'static str, Kind)], content: &BTreeMap<String, &RawValue>) -> Result<Data> {
    let mut data = Data::new();
    for (key, kind) in fields {
        if let Some(raw) = content.get(*key) {
            data.insert(*key, datum(*kind, raw.get()).ok_or_else(|| corrupt(format!("{key}: {raw}")))?);
        }
    }
    Ok(data)
}

fn datum(kind: Kind, json: &str) -> Option<Datum> {
    let text = || serde_json::from_str::<String>(json).ok();
    Some(match kind {
        Kind::Price => Datum::Amount(Decimal::from_str_exact(&text()?).ok()?.normalize()),
        Kind::Currency | Kind::Text(_) => Datum::Text(text()?),
        Kind::Count => Datum::Count(serde_json::from_str(json).ok()?),
        Kind::Flag => Datum::Flag(serde_json::from_str(json).ok()?),
        Kind::Tags | Kind::Texts(_) | Kind::Categories => Datum::Texts(serde_json::from_str(json).ok()?),
        Kind::Codes => Datum::Integers(serde_json::from_str(json).ok()?),
    })
}

/// What a product or SKU holds in its column `content`, or what it holds there of one region.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'s> {
    data: &'s Data,
    custom: &'s Values<'s>,
    regions: &'s [RegionalState],
    region: Option<&'s str>,
}

impl<'s> Content<'s> {
    pub(super) fn of(ItemState { data, custom_fields, regional_data, .. }: &'s ItemState) -> Self {
        Content { data, custom: custom_fields, regions: regional_data, region: None }
    }

    fn of_region(RegionalState { region, data, custom_fields }: &'s RegionalState) -> Self {
        Content { data, custom: custom_fields, regions: &[], region: Some(region) }
    }
}

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (key, datum) in self.data {
            match datum {
                Datum::Text(text) => object.serialize_entry(key, text),
                Datum::Amount(amount) => object.serialize_entry(key, &amount.to_string()),
                Datum::Count(count) => object.serialize_entry(key, count),
                Datum::Flag(flag) => object.serialize_entry(key, flag),
                Datum::Texts(texts) => object.serialize_entry(key, texts),
                Datum::Integers(integers) => object.serialize_entry(key, integers),
            }?;
        }
        if let Some(region) = self.region {
            object.serialize_entry("external_id", region)?;
        }
        if !self.custom.is_empty() {
            object.serialize_entry(CUSTOM_FIELDS, &custom_values::object(self.custom))?;
        }
        if !self.regions.is_empty() {
            let regions: Vec<_> = self.regions.iter().map(Content::of_region).collect();
            object.serialize_entry(REGIONAL_DATA, &regions)?;
        }
        object.end()
    }
}
