//! Orders as CSV: one row for each line of an order. Rows of one order follow each other and repeat its columns.

use std::io::{BufRead, Write};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value as Json};

use super::read::{Piece, Take};

/// The columns of an order. `tags` and `custom_fields` hold JSON.
const ORDER: [&str; 19] = [
    "external_id",
    "matching",
    "email",
    "phone",
    "profile_id",
    "provider",
    "subscription_id",
    "field_name",
    "field_value",
    "endpoint",
    "status",
    "total_price",
    "currency",
    "delivery_cost",
    "create_time",
    "update_time",
    "region",
    "tags",
    "custom_fields",
];
/// The columns of a line, behind `line.`. `custom_fields` holds JSON.
const LINE: [&str; 9] = [
    "external_id",
    "product",
    "sku",
    "status",
    "base_price_per_item",
    "min_price_per_item",
    "final_price_per_item",
    "count",
    "custom_fields",
];
const PREFIX: &str = "line.";

/// Where the cells of a row go.
enum Column {
    Order(&'static str),
    Line(&'static str),
    /// What a failed order was refused for.
    Nothing,
}

fn column(name: &str) -> anyhow::Result<Column> {
    let known = |names: &[&'static str], name: &str| names.iter().find(|known| **known == name).copied();
    let name = name.trim().trim_start_matches('\u{feff}');
    Ok(match name.strip_prefix(PREFIX) {
        Some(line) => Column::Line(known(&LINE, line).with_context(|| unknown(name))?),
        None if name == "import_error" => Column::Nothing,
        None => Column::Order(known(&ORDER, name).with_context(|| unknown(name))?),
    })
}

fn unknown(name: &str) -> String {
    format!("column: expected one of {}, or {PREFIX} and one of {}, found {name:?}", ORDER.join(", "), LINE.join(", "))
}

fn value(name: &str, cell: &str) -> anyhow::Result<Json> {
    if ["tags", "custom_fields"].contains(&name) {
        return serde_json::from_str(cell).with_context(|| format!("{name}: expected JSON, found {cell:?}"));
    }
    Ok(Json::String(cell.to_owned()))
}

/// Reads orders.
pub(super) fn read(source: impl BufRead, take: Take<'_>) -> anyhow::Result<()> {
    let mut reader = csv::Reader::from_reader(source);
    let names = reader.headers().context("line 1")?;
    if let Some(twice) = names.iter().enumerate().find_map(|(at, name)| names.iter().take(at).find(|n| *n == name)) {
        bail!("line 1: expected each column once, found {twice:?} twice");
    }
    let columns = names.iter().map(column).collect::<anyhow::Result<Vec<_>>>()?;
    if !columns.iter().any(|column| matches!(column, Column::Order("external_id"))) {
        bail!("line 1: expected a column external_id");
    }
    let mut open: Option<Map<String, Json>> = None;
    for record in reader.records() {
        let record = record?;
        let number = record.position().map_or(0, csv::Position::line);
        let (mut order, mut line) = (Map::new(), Map::new());
        for (column, cell) in columns.iter().zip(&record).filter(|(_, cell)| !cell.is_empty()) {
            let (fields, name) = match column {
                Column::Order(name) => (&mut order, *name),
                Column::Line(name) => (&mut line, *name),
                Column::Nothing => continue,
            };
            fields.insert(name.to_owned(), value(name, cell).with_context(|| format!("line {number}"))?);
        }
        let line = Json::Object(line);
        match &mut open {
            Some(open) if open.get("external_id") == order.get("external_id") && order.contains_key("external_id") => {
                if let Some((name, cell)) = order.iter().find(|(name, cell)| open.get(*name) != Some(cell)) {
                    bail!("line {number}: {name}: expected what stands in the order's first row, found {cell}");
                }
                open.get_mut("lines").and_then(Json::as_array_mut).context("an order has lines")?.push(line);
            }
            _ => {
                order.insert("lines".to_owned(), Json::Array(vec![line]));
                if let Some(done) = open.replace(order)
                    && take(Piece::Item(Json::Object(done).to_string())).is_break()
                {
                    return Ok(());
                }
            }
        }
    }
    if let Some(done) = open {
        let _ = take(Piece::Item(Json::Object(done).to_string()));
    }
    Ok(())
}

/// Writes the columns' names.
pub(super) fn write_head(out: &mut csv::Writer<impl Write>) -> anyhow::Result<()> {
    let lines = LINE.iter().map(|name| format!("{PREFIX}{name}"));
    Ok(out.write_record(ORDER.iter().map(ToString::to_string).chain(lines))?)
}

/// Writes a listed order.
pub(super) fn write(out: &mut csv::Writer<impl Write>, order: &str) -> anyhow::Result<()> {
    let order: Map<String, Json> = serde_json::from_str(order)?;
    if order.get("money").is_some() {
        bail!("expected amounts as decimals, found minor units: the server's list_money has to be decimal for CSV");
    }
    let cell = |value: Option<&Json>| match value {
        None => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(Json::Object(object)) if object.is_empty() => String::new(),
        Some(other) => other.to_string(),
    };
    let of_order = |name: &str| match name {
        "matching" => "profile_id".to_owned(),
        "profile_id" => cell(order.get("profile").and_then(|profile| profile.get("profile_id"))),
        name => cell(order.get(name)),
    };
    let shared: Vec<String> = ORDER.iter().map(|name| of_order(name)).collect();
    for line in order.get("lines").and_then(Json::as_array).into_iter().flatten() {
        let cells = LINE.iter().map(|name| cell(line.get(*name)));
        out.write_record(shared.iter().cloned().chain(cells))?;
    }
    Ok(())
}
