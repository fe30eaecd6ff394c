//! What changed in an order, from and to: the text of its events.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json, json};

use crate::domain::orders::{LineState, OrderState, Values};
use crate::domain::scalars::time_text;
use crate::store::custom_values::to_json;

/// An event of an order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// The revision that it tells of.
    pub revision: i64,
    /// `order.created`, ….
    pub kind: &'static str,
    /// The line that it is about.
    pub line: Option<String>,
    /// Field to from and to, as JSON.
    pub changes: String,
}

/// The events of one change (contract, section 3).
pub(super) fn events(before: Option<&OrderState<'_>>, after: &OrderState<'_>, revision: i64) -> Vec<Event> {
    let event = |kind, line, changes| Event { revision, kind, line, changes };
    let Some(before) = before else {
        return vec![event("order.created", None, created(after))];
    };
    let mut events = vec![event("order.updated", None, Json::Object(order_changes(before, after)).to_string())];
    let status = |before, after| json!({"status": from_to(json!(before), json!(after))}).to_string();
    if before.status != after.status {
        events.push(event("order.status_changed", None, status(&before.status, &after.status)));
    }
    let stored = by_id(&before.lines);
    for line in &after.lines {
        if let Some(stored) = stored.get(&*line.external_id)
            && stored.status != line.status
        {
            let changes = status(&stored.status, &line.status);
            events.push(event("order_line.status_changed", Some(line.external_id.to_string()), changes));
        }
    }
    events
}

/// The event of an order that is gone.
pub(super) fn deleted(before: &OrderState<'_>, revision: i64) -> Event {
    let gone = json!({"status": from_to(json!(before.status), Json::Null)});
    Event { revision, kind: "order.deleted", line: None, changes: gone.to_string() }
}

/// What a new order's event tells.
fn created(after: &OrderState<'_>) -> String {
    let mut changes = String::with_capacity(128);
    changes.push_str("{\"status\":{\"from\":null,\"to\":");
    push_text(&mut changes, &after.status);
    let _ = write!(changes, "}},\"total_price\":{{\"from\":null,\"to\":\"{}\"}}", after.total_price);
    changes.push_str(",\"currency\":{\"from\":null,\"to\":");
    push_text(&mut changes, &after.currency);
    changes.push_str("}}");
    changes
}

fn push_text(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("a text is written as a JSON string"));
}

/// Events in one text: a JSON array (migrations, outbox).
#[derive(Debug, Default)]
pub(super) struct Pack(String);

impl Pack {
    /// Adds an event of an order, of that touchpoint.
    pub(super) fn push(&mut self, order_id: i64, external_id: &str, endpoint: &str, event: &Event) {
        let Event { revision, kind, line, changes } = event;
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        let _ = write!(self.0, "{{\"order_id\":{order_id},\"order\":");
        push_text(&mut self.0, external_id);
        self.0.push_str(",\"endpoint\":");
        push_text(&mut self.0, endpoint);
        let _ = write!(self.0, ",\"revision\":{revision},\"type\":\"{kind}\"");
        if let Some(line) = line {
            self.0.push_str(",\"line\":");
            push_text(&mut self.0, line);
        }
        let _ = write!(self.0, ",\"changes\":{changes}}}");
    }

    /// The text; empty without events.
    pub(super) fn text(mut self) -> String {
        if !self.0.is_empty() {
            self.0.push(']');
        }
        self.0
    }
}

fn by_id<'l, 'a>(lines: &'l [LineState<'a>]) -> HashMap<&'l str, &'l LineState<'a>> {
    lines.iter().map(|line| (&*line.external_id, line)).collect()
}

fn from_to(from: Json, to: Json) -> Json {
    let mut change = Map::new();
    change.insert("from".to_owned(), from);
    change.insert("to".to_owned(), to);
    Json::Object(change)
}

fn money(amount: Decimal) -> Json {
    Json::String(amount.to_string())
}

fn optional_money(amount: Option<Decimal>) -> Json {
    amount.map_or(Json::Null, money)
}

/// Adds a field that differs.
fn note(changes: &mut Map<String, Json>, field: &str, from: Json, to: Json) {
    if from != to {
        changes.insert(field.to_owned(), from_to(from, to));
    }
}

fn order_changes(before: &OrderState<'_>, after: &OrderState<'_>) -> Map<String, Json> {
    let mut changes = Map::new();
    note(&mut changes, "profile", json!(before.profile), json!(after.profile));
    note(&mut changes, "endpoint", json!(before.endpoint), json!(after.endpoint));
    note(&mut changes, "status", json!(before.status), json!(after.status));
    note(&mut changes, "total_price", money(before.total_price), money(after.total_price));
    note(&mut changes, "currency", json!(before.currency), json!(after.currency));
    note(&mut changes, "delivery_cost", optional_money(before.delivery_cost), optional_money(after.delivery_cost));
    note(&mut changes, "region", json!(before.region), json!(after.region));
    note(&mut changes, "tags", json!(before.tags), json!(after.tags));
    note(&mut changes, "create_time", json!(time_text(before.create_time)), json!(time_text(after.create_time)));
    note_values(&mut changes, &before.custom_fields, &after.custom_fields);
    let lines = line_changes(&before.lines, &after.lines);
    if !lines.is_empty() {
        changes.insert("lines".to_owned(), Json::Object(lines));
    }
    changes
}

fn note_values(changes: &mut Map<String, Json>, before: &Values<'_>, after: &Values<'_>) {
    let mut values = Map::new();
    for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let value = |values: &Values<'_>| values.get(key).map_or(Json::Null, to_json);
        note(&mut values, key, value(before), value(after));
    }
    if !values.is_empty() {
        changes.insert("custom_fields".to_owned(), Json::Object(values));
    }
}

/// The lines that came, that went, that differ, and whether the others changed places.
fn line_changes(before: &[LineState<'_>], after: &[LineState<'_>]) -> Map<String, Json> {
    let ids = |lines: &[LineState<'_>]| lines.iter().map(|line| line.external_id.to_string()).collect::<Vec<_>>();
    let (before_ids, after_ids) = (ids(before), ids(after));
    let (before_set, after_set) =
        (before_ids.iter().collect::<BTreeSet<_>>(), after_ids.iter().collect::<BTreeSet<_>>());
    let mut changes = Map::new();
    let added: Vec<_> = after_ids.iter().filter(|id| !before_set.contains(id)).collect();
    let removed: Vec<_> = before_ids.iter().filter(|id| !after_set.contains(id)).collect();
    let stayed = |ids: &[String], others: &BTreeSet<&String>| -> Vec<String> {
        ids.iter().filter(|id| others.contains(id)).cloned().collect()
    };
    let (stayed_before, stayed_after) = (stayed(&before_ids, &after_set), stayed(&after_ids, &before_set));
    let stored_by_id = by_id(before);
    let mut differing = Map::new();
    for line in after {
        if let Some(stored) = stored_by_id.get(&*line.external_id) {
            let fields = one_line_changes(stored, line);
            if !fields.is_empty() {
                differing.insert(line.external_id.to_string(), Json::Object(fields));
            }
        }
    }
    if !added.is_empty() {
        changes.insert("added".to_owned(), json!(added));
    }
    if !removed.is_empty() {
        changes.insert("removed".to_owned(), json!(removed));
    }
    if !differing.is_empty() {
        changes.insert("changed".to_owned(), Json::Object(differing));
    }
    note(&mut changes, "order", json!(stayed_before), json!(stayed_after));
    changes
}

fn one_line_changes(before: &LineState<'_>, after: &LineState<'_>) -> Map<String, Json> {
    let mut changes = Map::new();
    note(&mut changes, "product", json!(before.product), json!(after.product));
    note(&mut changes, "sku", json!(before.sku), json!(after.sku));
    note(&mut changes, "status", json!(before.status), json!(after.status));
    for (field, from, to) in [
        ("base_price_per_item", before.base_price_per_item, after.base_price_per_item),
        ("min_price_per_item", before.min_price_per_item, after.min_price_per_item),
        ("final_price_per_item", before.final_price_per_item, after.final_price_per_item),
    ] {
        note(&mut changes, field, optional_money(from), optional_money(to));
    }
    note(&mut changes, "count", json!(before.count), json!(after.count));
    note_values(&mut changes, &before.custom_fields, &after.custom_fields);
    changes
}
