//! Orders as lists show them (contract, section 6): each can be sent back to `orders/import`.

use std::borrow::Cow;

use rust_decimal::Decimal;

use super::answer::{Object, Value};
use crate::config::ListMoney;
use crate::domain::custom_fields;
use crate::domain::orders::{LineState, ListedOrder, Values};
use crate::domain::rejection::MINOR;
use crate::domain::scalars::time_text;

/// Adds a field that may be without a value.
fn add<'a>(object: &mut Object<'a>, key: &'static str, value: Option<Value<'a>>) {
    object.extend(value.map(|value| (key, value)));
}

/// An amount as it is listed.
#[must_use]
pub fn money<'a>(amount: Decimal, style: ListMoney) -> Value<'a> {
    let amount = match style {
        ListMoney::Decimal => amount,
        ListMoney::Minor => amount * Decimal::ONE_HUNDRED,
    };
    Value::Text(amount.normalize().to_string().into())
}

/// Custom values as they are listed.
#[must_use]
pub fn values(values: Values<'_>) -> Value<'_> {
    let value = |value| match value {
        custom_fields::Value::Text(text) => Value::Text(text.into()),
        custom_fields::Value::Number(number) => Value::Number(number),
        custom_fields::Value::Bool(flag) => Value::Bool(flag),
    };
    Value::Free(values.into_iter().map(|(key, found)| (key, value(found))).collect())
}

/// An order.
#[must_use]
pub fn order(listed: ListedOrder, style: ListMoney) -> Object<'static> {
    let ListedOrder { external_id, profile_id, order } = listed;
    let state = order.state;
    let currency = state.currency;
    let mut object: Object<'static> = vec![
        ("id", Value::Int(order.id)),
        ("profile", Value::Object(vec![("profile_id", Value::Text(profile_id.into()))])),
        ("external_id", Value::Text(external_id.into())),
        ("endpoint", Value::Text(state.endpoint)),
    ];
    add(&mut object, "tags", (!state.tags.is_empty()).then_some(Value::Texts(state.tags)));
    object.push(("status", Value::Text(state.status)));
    add(&mut object, "delivery_cost", state.delivery_cost.map(|cost| money(cost, style)));
    object.push(("total_price", money(state.total_price, style)));
    object.push(("currency", Value::Text(currency.clone())));
    object.push(("custom_fields", values(state.custom_fields)));
    add(&mut object, "region", state.region.map(Value::Text));
    let lines = state.lines.into_iter().map(|line| line_object(line, currency.clone(), style)).collect();
    object.push(("lines", Value::Objects(lines)));
    object.push(("create_time", Value::Text(time_text(state.create_time).into())));
    object.push(("update_time", Value::Text(time_text(state.update_time).into())));
    if style == ListMoney::Minor {
        object.push(("money", Value::Text(MINOR.into())));
    }
    object
}

fn line_object(line: LineState<'static>, currency: Cow<'static, str>, style: ListMoney) -> Object<'static> {
    let price = |price: Option<Decimal>| price.map(|price| money(price, style));
    let mut object: Object<'static> = vec![("external_id", Value::Text(line.external_id))];
    add(&mut object, "product", line.product.map(Value::Text));
    add(&mut object, "sku", line.sku.map(Value::Text));
    object.push(("status", Value::Text(line.status)));
    add(&mut object, "base_price_per_item", price(line.base_price_per_item));
    add(&mut object, "min_price_per_item", price(line.min_price_per_item));
    add(&mut object, "final_price_per_item", price(line.final_price_per_item));
    object.push(("count", Value::Int(line.count.into())));
    object.push(("custom_fields", values(line.custom_fields)));
    object.push(("currency", Value::Text(currency)));
    object
}
