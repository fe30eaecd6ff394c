//! What a product's or SKU's column `content` holds: optional fields, custom values and regional data, as they are listed.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};

use super::{Error, Result, custom_values};
use crate::domain::catalogue::{Data, Datum, FIELDS, ItemState, Kind, REGIONAL_FIELDS, RegionalState};
use crate::domain::orders::Values;
use crate::domain::scalars;
use crate::domain::scalars::time_text;

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
        Kind::Amount => Datum::Amount(Decimal::from_str_exact(&text()?).ok()?.normalize()),
        Kind::Currency | Kind::Text(_) => Datum::Text(text()?),
        Kind::Count => Datum::Count(serde_json::from_str(json).ok()?),
        Kind::Time => Datum::Time(scalars::time(&text()?)?),
        Kind::Flag => Datum::Flag(serde_json::from_str(json).ok()?),
        Kind::Tags | Kind::Texts(_) | Kind::Categories => Datum::Texts(serde_json::from_str(json).ok()?),
        Kind::Integers => Datum::Integers(serde_json::from_str(json).ok()?),
    })
}

/// What a state's column `content` holds.
pub(super) fn content(state: &ItemState) -> Json {
    let mut content = object(&state.data, &state.custom_fields);
    if !state.regional_data.is_empty() {
        let region = |regional: &RegionalState| {
            let mut region = object(&regional.data, &regional.custom_fields);
            region.insert("external_id".to_owned(), json!(regional.region));
            Json::Object(region)
        };
        content.insert(REGIONAL_DATA.to_owned(), state.regional_data.iter().map(region).collect());
    }
    Json::Object(content)
}

fn object(data: &Data, custom: &Values<'_>) -> Map<String, Json> {
    let value = |datum: &Datum| match datum {
        Datum::Text(text) => json!(text),
        Datum::Amount(amount) => json!(amount.to_string()),
        Datum::Count(count) => json!(count),
        Datum::Time(time) => json!(time_text(*time)),
        Datum::Flag(flag) => json!(flag),
        Datum::Texts(texts) => json!(texts),
        Datum::Integers(integers) => json!(integers),
    };
    let mut object: Map<_, _> = data.iter().map(|(key, datum)| ((*key).to_owned(), value(datum))).collect();
    if !custom.is_empty() {
        object.insert(CUSTOM_FIELDS.to_owned(), custom_values::object(custom));
    }
    object
}
