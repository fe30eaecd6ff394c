//! Orders, products and SKUs as lists show them (contract, section 6): each can be sent back to the import of its kind.

use std::borrow::Cow;

use rust_decimal::Decimal;

use super::answer::{Object, Value};
use crate::config::ListMoney;
use crate::domain::catalogue::{Data, Datum, FIELDS, ItemType, Kind, ListedItem, REGIONAL_FIELDS, RegionalState};
use crate::domain::custom_fields;
use crate::domain::matching::{IdentityKind, StoredCustomer, StoredKey};
use crate::domain::orders::{LineState, ListedOrder, Values};
use crate::domain::rejection::MINOR;
use crate::domain::scalars::time_text;

/// Adds a field that may be without a value.
pub(super) fn add<'a>(object: &mut Object<'a>, key: &'static str, value: Option<Value<'a>>) {
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

/// An order; one with its customer names the profile by what goes into other accounts, too.
#[must_use]
pub fn order(listed: ListedOrder, style: ListMoney) -> Object<'static> {
    let ListedOrder { external_id, profile_id, order, customer } = listed;
    let state = order.state;
    let currency = state.currency;
    let mut object: Object<'static> = vec![("id", Value::Int(order.id))];
    match &customer {
        None => object.push(("profile", Value::Object(vec![("profile_id", Value::Text(profile_id.into()))]))),
        Some(customer) => object.extend(matching(customer)),
    }
    object.push(("external_id", Value::Text(external_id.into())));
    object.push(("endpoint", Value::Text(state.endpoint)));
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
    object.extend(customer.map(|customer| ("customer", Value::Object(customer_object(&customer)))));
    object
}

/// What is known of a customer.
#[must_use]
pub fn customer_object(customer: &StoredCustomer) -> Object<'static> {
    let key = |key: &StoredKey| {
        let mut object: Object<'static> = vec![("kind", Value::Text(key.kind.as_str().into()))];
        add(&mut object, "name", (!key.name.is_empty()).then(|| Value::Text(key.name.clone().into())));
        object.push(("value", Value::Text(key.value.clone().into())));
        object
    };
    vec![
        ("profile_id", Value::Text(customer.profile_id.clone().into())),
        ("keys", Value::Objects(customer.keys.iter().map(key).collect())),
    ]
}

/// `matching` with its key fields, by which an import finds the customer again, or makes one like it in another account: an
/// e-mail address with a phone number that are nobody else's, else the first key, among its own kind alone.
fn matching(customer: &StoredCustomer) -> Object<'static> {
    use IdentityKind as Kind;
    let key = |kind| customer.keys.iter().find(|key| key.kind == kind);
    let own = |kind| key(kind).filter(|key| !key.is_shared);
    let text = |text: &str| Value::Text(text.to_owned().into());
    for (mode, email, phone) in
        [("email_phone", Kind::EmailProfile, Kind::PhoneProfile), ("email_phone_sub", Kind::EmailSub, Kind::PhoneSub)]
    {
        if let (Some(email), Some(phone)) = (own(email), own(phone)) {
            return vec![("matching", text(mode)), ("email", text(&email.value)), ("phone", text(&phone.value))];
        }
    }
    for (mode, field, kind) in [
        ("email_profile", "email", Kind::EmailProfile),
        ("phone_profile", "phone", Kind::PhoneProfile),
        ("email_sub", "email", Kind::EmailSub),
        ("phone_sub", "phone", Kind::PhoneSub),
    ] {
        if let Some(key) = key(kind) {
            return vec![("matching", text(mode)), (field, text(&key.value))];
        }
    }
    for (mode, [name, value], kind) in [
        ("push_sub", ["provider", "subscription_id"], Kind::PushSub),
        ("custom", ["field_name", "field_value"], Kind::Custom),
        ("custom_sub", ["field_name", "field_value"], Kind::CustomSub),
    ] {
        if let Some(key) = key(kind) {
            return vec![("matching", text(mode)), (name, text(&key.name)), (value, text(&key.value))];
        }
    }
    vec![("matching", text("profile_id")), ("profile_id", text(&customer.profile_id))]
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

/// A product or SKU.
#[must_use]
pub fn item(listed: ListedItem, kind: ItemType, style: ListMoney) -> Object<'static> {
    let ListedItem { id, external_id, state, skus } = listed;
    let mut object: Object<'static> = vec![
        ("id", Value::Int(id)),
        ("external_id", Value::Text(external_id.into())),
        ("name", Value::Text(state.name.into())),
    ];
    add(&mut object, "product_external_id", state.product.map(|product| Value::Text(product.into())));
    add_data(&mut object, &FIELDS, state.data, style);
    object.push(("custom_fields", values(state.custom_fields)));
    let regional = |regional: RegionalState| {
        let mut object: Object<'static> = vec![("external_id", Value::Text(regional.region.into()))];
        add_data(&mut object, &REGIONAL_FIELDS, regional.data, style);
        object.push(("custom_fields", values(regional.custom_fields)));
        object
    };
    let regions: Vec<_> = state.regional_data.into_iter().map(regional).collect();
    add(&mut object, "regional_data", (!regions.is_empty()).then_some(Value::Objects(regions)));
    if kind == ItemType::Product {
        let skus = skus.into_iter().map(|sku| item(sku, ItemType::Sku, style)).collect();
        object.push(("sku", Value::Objects(skus)));
    }
    if style == ListMoney::Minor {
        object.push(("money", Value::Text(MINOR.into())));
    }
    object
}

/// Adds optional fields that have a value.
fn add_data(object: &mut Object<'static>, fields: &[(&'static str, Kind)], mut data: Data, style: ListMoney) {
    let texts = |texts: Vec<String>| Value::Texts(texts.into_iter().map(Cow::Owned).collect());
    for (key, _) in fields {
        let value = data.remove(key).map(|datum| match datum {
            Datum::Text(text) => Value::Text(text.into()),
            Datum::Amount(amount) => money(amount, style),
            Datum::Count(count) => Value::Int(count.into()),
            Datum::Flag(flag) => Value::Bool(flag),
            Datum::Texts(all) => texts(all),
            Datum::Integers(all) => Value::Ints(all),
        });
        add(object, key, value);
    }
}
