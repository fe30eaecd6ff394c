//! Custom values as `jsonb` holds them: numbers, booleans and strings, by the external id of their field.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use super::{Error, Result};
use crate::domain::custom_fields::Value;
use crate::domain::orders::Values;

/// A value as it is stored.
#[must_use]
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Text(text) => Json::String(text.clone()),
        // Exact: a number is written as its digits.
        Value::Number(number) => serde_json::from_str(&number.to_string()).unwrap_or(Json::Null),
        Value::Bool(bool) => Json::Bool(*bool),
    }
}

/// Values as they are stored.
#[must_use]
pub fn object(values: &Values<'_>) -> Json {
    Json::Object(values.iter().map(|(key, value)| (key.clone().into_owned(), to_json(value))).collect())
}

/// A stored value.
///
/// # Errors
/// It is none of the three kinds.
pub fn from_json(table: &'static str, column: &'static str, json: Json) -> Result<Value> {
    match json {
        Json::String(text) => Ok(Value::Text(text)),
        Json::Bool(bool) => Ok(Value::Bool(bool)),
        Json::Number(number) => match Decimal::from_str_exact(&number.to_string()) {
            Ok(number) => Ok(Value::Number(number.normalize())),
            Err(_) => Err(Error::Corrupt { table, column, what: number.to_string() }),
        },
        other => Err(Error::Corrupt { table, column, what: other.to_string() }),
    }
}

/// Stored values.
///
/// # Errors
/// They are no object of such values.
pub fn values(table: &'static str, json: Json) -> Result<Values<'static>> {
    let column = "custom_fields";
    let Json::Object(object) = json else { return Err(Error::Corrupt { table, column, what: json.to_string() }) };
    let object: Map<String, Json> = object;
    object.into_iter().map(|(key, value)| Ok((Cow::Owned(key), from_json(table, column, value)?))).collect()
}
