//! What an order reads like after it was sent (contract, section 3, upsert rules).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use time::OffsetDateTime;

use super::check::{Converted, Ready};
use super::setup::Fields;
use crate::config::Limits;
use crate::domain::custom_fields::Definition;
use crate::domain::line_statuses::DEFAULT_LINE_STATUS;
use crate::domain::orders::{Line, LineState, LinesMode, OrderState, Values};
use crate::domain::place::Trail;
use crate::domain::rejection::{Problem, Rejection};

/// What all orders of a request are merged by.
pub(super) struct Rules<'r> {
    /// Required fields and defaults.
    pub fields: &'r Fields,
    /// Bounds on what is stored.
    pub limits: &'r Limits,
    /// From here new orders count their changes.
    pub first_revision: i64,
    /// The one 'now' of the request.
    pub now: OffsetDateTime,
}

/// The order afterwards. If it reads as before, it is equal to what is stored, `update_time` included.
pub(super) fn merge<'a>(
    ready: &Ready<'a>,
    profile: i64,
    stored: Option<&OrderState<'a>>,
    rules: &Rules<'_>,
) -> Result<OrderState<'a>, Rejection> {
    let order = &ready.order;
    let data = Trail::Field(&Trail::Root, "data");
    let place = Trail::Item(&data, ready.index);
    let custom_fields =
        values(&ready.custom, stored.map(|s| &s.custom_fields), &rules.fields.order, rules.limits, &place)?;
    let lines = lines(ready, stored, rules, &place)?;
    let mut merged = OrderState {
        profile,
        endpoint: order.endpoint.clone(),
        status: order.status.clone(),
        total_price: order.total_price,
        currency: order.currency.clone(),
        delivery_cost: stored.and_then(|s| s.delivery_cost),
        region: stored.and_then(|s| s.region.clone()),
        tags: order.tags.clone().or_else(|| stored.map(|s| s.tags.clone())).unwrap_or_default(),
        custom_fields,
        create_time: order.create_time.or(stored.map(|s| s.create_time)).unwrap_or(rules.now),
        update_time: stored.map_or(rules.now, |s| s.update_time),
        lines,
    };
    order.delivery_cost.apply(&mut merged.delivery_cost);
    order.region.apply(&mut merged.region);
    // `update_time` is never a change by itself.
    if stored != Some(&merged) {
        merged.update_time = order.update_time.unwrap_or(rules.now);
    }
    Ok(merged)
}

fn lines<'a>(
    ready: &Ready<'a>,
    stored: Option<&OrderState<'a>>,
    rules: &Rules<'_>,
    place: &Trail<'_>,
) -> Result<Vec<LineState<'a>>, Rejection> {
    let list = Trail::Field(place, "lines");
    let stored_lines = stored.map(|s| s.lines.as_slice()).unwrap_or_default();
    let stored_by_id: HashMap<&str, usize> =
        stored_lines.iter().enumerate().map(|(at, line)| (&*line.external_id, at)).collect();
    let keeps = ready.order.lines_mode == LinesMode::Merge;
    let mut merged: Vec<LineState<'a>> =
        if keeps { stored_lines.to_vec() } else { Vec::with_capacity(ready.order.lines.len()) };
    for (number, line) in ready.order.lines.iter().enumerate() {
        let before = stored_by_id.get(&*line.external_id).copied();
        let stored = before.map(|at| &stored_lines[at]);
        let after = merge_line(line, &ready.line_custom[number], stored, rules, &Trail::Item(&list, number))?;
        match before {
            Some(at) if keeps => merged[at] = after,
            _ => merged.push(after),
        }
    }
    if merged.len() > rules.limits.max_lines {
        let problem = Problem::TooMany { things: "lines", limit: rules.limits.max_lines, sent: Some(merged.len()) };
        return Err(Rejection::new(place.place().field("lines"), problem));
    }
    Ok(merged)
}

fn merge_line<'a>(
    line: &Line<'a>,
    custom: &Converted<'a>,
    stored: Option<&LineState<'a>>,
    rules: &Rules<'_>,
    place: &Trail<'_>,
) -> Result<LineState<'a>, Rejection> {
    let custom_fields = values(custom, stored.map(|s| &s.custom_fields), &rules.fields.line, rules.limits, place)?;
    let default_status = || Cow::Borrowed(DEFAULT_LINE_STATUS);
    let mut merged = LineState {
        external_id: line.external_id.clone(),
        product: line.product.clone(),
        sku: line.sku.clone(),
        status: line.status.clone().or_else(|| stored.map(|s| s.status.clone())).unwrap_or_else(default_status),
        base_price_per_item: stored.and_then(|s| s.base_price_per_item),
        min_price_per_item: stored.and_then(|s| s.min_price_per_item),
        final_price_per_item: stored.and_then(|s| s.final_price_per_item),
        count: line.count.or(stored.map(|s| s.count)).unwrap_or(1),
        custom_fields,
    };
    line.base_price_per_item.apply(&mut merged.base_price_per_item);
    line.min_price_per_item.apply(&mut merged.min_price_per_item);
    line.final_price_per_item.apply(&mut merged.final_price_per_item);
    Ok(merged)
}

/// Custom values afterwards, key by key; defaults and required ones count only for what is new.
pub(super) fn values<'a>(
    sent: &Converted<'a>,
    stored: Option<&Values<'a>>,
    definitions: &BTreeMap<String, Definition>,
    limits: &Limits,
    place: &Trail<'_>,
) -> Result<Values<'a>, Rejection> {
    let mut values = stored.cloned().unwrap_or_default();
    for (key, value) in sent {
        match value {
            Some(value) => values.insert(key.clone(), value.clone()),
            None => values.remove(key),
        };
    }
    if stored.is_none() {
        for definition in definitions.values().filter(|definition| definition.required || definition.default.is_some())
        {
            if sent.iter().any(|(key, _)| *key == definition.external_id) {
                continue;
            }
            if let Some(default) = &definition.default {
                values.insert(Cow::Owned(definition.external_id.clone()), default.clone())
            } else {
                let place = place.place().field("custom_fields").field(&definition.external_id);
                return Err(Rejection::new(place, Problem::Required));
            };
        }
    }
    if values.len() > limits.max_custom_values {
        let problem =
            Problem::TooMany { things: "custom values", limit: limits.max_custom_values, sent: Some(values.len()) };
        return Err(Rejection::new(place.place().field("custom_fields"), problem));
    }
    Ok(values)
}
