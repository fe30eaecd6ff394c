//! Custom values as `jsonb` holds them: numbers, booleans and strings, by the external id of their field.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::{Error, Result};
use crate::domain::custom_fields::Value;
use crate::domain::orders::Values;

/// A value as it is stored.
#[must_use]
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Text(text) => Json::String(text.clone()),
        // Exact: a number is written as its digits.
        Value::Number(number) => {
            serde_json::from_str(&number.to_string()).expect("a decimal is written as a JSON number")
        }
        Value::Bool(bool) => Json::Bool(*bool),
    }
}

/// Values as they are stored.
#[must_use]
pub fn object(values: &Values<'_>) -> Json {
    Json::Object(values.iter().map(|(key, value)| (key.clone().into_owned(), to_json(value))).collect())
}

/// A stored value, from its JSON text.
///
/// # Errors
/// It is none of the three kinds.
pub fn from_text(table: &'static str, column: &'static str, json: &str) -> Result<Value> {
    let value = match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).ok().map(Value::Text),
        Some(b't' | b'f') => serde_json::from_str(json).ok().map(Value::Bool),
        _ => Decimal::from_str_exact(json).ok().map(|number| Value::Number(number.normalize())),
    };
    value.ok_or_else(|| Error::Corrupt { table, column, what: json.to_owned() })
}

/// Stored values, from their JSON text. Clients choose the keys, and `serde_json::Value` takes some keys for
/// its own: so they are read into a map.
///
/// # Errors
/// They are no object of such values.
pub fn values(table: &'static str, json: &str) -> Result<Values<'static>> {
    let column = "custom_fields";
    if json == "{}" {
        return Ok(Values::new());
    }
    let object: BTreeMap<String, &RawValue> =
        serde_json::from_str(json).map_err(|error| Error::Corrupt { table, column, what: error.to_string() })?;
    object.into_iter().map(|(key, value)| Ok((Cow::Owned(key), from_text(table, column, value.get())?))).collect()
}
