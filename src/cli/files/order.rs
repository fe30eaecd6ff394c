//! An order out of its rows.

use std::collections::BTreeMap;

use serde_json::{Map as JsonMap, Value as Json};

use super::cell;
use super::map::NUMBER;
use super::read::{Bounds, Record};
use super::rows::Row;
use super::table::{CUSTOM_FIELDS, Column, Field, Head, Layout, TAGS, plain};

/// What its fields hold, and the line where that stands.
type Cells<'h> = BTreeMap<&'h Field, (String, u64)>;

/// What helps where a spreadsheet left out cells, which nobody can tell from a row that was cut.
const CUT: &str = "; where Excel left out empty cells at the end of a row, put a column last that is never empty";

/// Puts an order together; one that cannot be is kept as it stands.
pub(super) fn order(rows: &[Row], head: &Head, layout: &Layout, bounds: Bounds) -> Record {
    let line = rows.first().map_or(0, |row| row.place.line);
    let mut order =
        Order { head, layout, bounds, cells: Cells::new(), lines: Vec::new(), rows: Vec::new(), is_begun: false };
    match rows.iter().try_for_each(|row| order.add(row)).and_then(|()| order.json()) {
        Ok(json) => Record { line, rows: order.rows, text: json.to_string(), fault: None },
        Err(fault) => bad(rows, fault),
    }
}

/// Rows that make no order, as they stand.
pub(super) fn bad(rows: &[Row], fault: String) -> Record {
    let texts: Vec<&[u8]> = rows.iter().map(|row| &*row.text).collect();
    Record::bad(rows.first().map_or(0, |row| row.place.line), &texts.join(&b'\n'), fault)
}

/// An order on its way.
struct Order<'h> {
    head: &'h Head,
    layout: &'h Layout,
    bounds: Bounds,
    cells: Cells<'h>,
    lines: Vec<Json>,
    /// Where they stand.
    rows: Vec<u64>,
    /// A row was read.
    is_begun: bool,
}

impl<'h> Order<'h> {
    fn add(&mut self, row: &Row) -> Result<(), String> {
        if let Some(fault) = &row.fault {
            return Err(fault.clone());
        }
        let (number, columns) = (row.place.line, &self.head.columns);
        let cells: Vec<_> = row.cells(self.head.delimiter).collect();
        if !self.head.fits(&cells) {
            let cut = if cells.len() < columns.len() { CUT } else { "" };
            return Err(format!("line {number}: expected {} cells, found {}{cut}", columns.len(), cells.len()));
        }
        let mut line = Cells::new();
        for (at, (column, cell)) in columns.iter().zip(&cells).enumerate() {
            let text = std::str::from_utf8(cell).map(plain).map_err(|error| {
                let misfit = self.bounds.misfit(cell[error.valid_up_to()]);
                format!("line {number}, {}: {misfit}", column.name)
            })?;
            if text.is_empty() {
                continue;
            }
            if column.name.is_empty() {
                let place = format!("line {number}, column {}", at + 1);
                return Err(format!("{place}: expected a name above the cell {text:.100?}"));
            }
            self.put(column, text, number, &mut line)?;
        }
        if line.is_empty() {
            // The first row may be that of the order alone.
            let of_lines = columns.iter().flat_map(|column| &column.fields).any(|field| field.of_line);
            let is_begun = std::mem::replace(&mut self.is_begun, true);
            let lacks = format!("line {number}: expected a cell of the order's line, found none");
            return if of_lines && is_begun { Err(lacks) } else { Ok(()) };
        }
        self.is_begun = true;
        let in_order = (self.lines.len() + 1).to_string();
        for (field, constant) in self.constants().filter(|(field, _)| field.of_line) {
            line.insert(field, (constant.replace(NUMBER, &in_order), number));
        }
        self.lines.push(Json::Object(object(&line)?));
        self.rows.push(number);
        Ok(())
    }

    fn constants(&self) -> impl Iterator<Item = &'h (Field, String)> + use<'h> {
        self.layout.map.iter().flat_map(|map| &map.constants)
    }

    /// Puts a cell where its column says.
    fn put(&mut self, column: &'h Column, text: &str, number: u64, line: &mut Cells<'h>) -> Result<(), String> {
        for field in &column.fields {
            let text = self.layout.map.as_ref().map_or(text, |map| map.meaning(field, text));
            if text.is_empty() {
                continue;
            }
            let text = cell::value(field.kind(), text, self.layout.decimal_comma)
                .map_err(|wrong| format!("line {number}: {field}: {wrong}"))?;
            if field.of_line {
                line.insert(field, (text.into_owned(), number));
                continue;
            }
            let (first, above) = self.cells.entry(field).or_insert_with(|| (text.to_string(), number));
            if *first != text {
                let place = format!("line {number}: {field}");
                return Err(format!("{place}: expected {first:.100?} as in line {above}, found {text:.100?}"));
            }
        }
        Ok(())
    }

    fn json(&mut self) -> Result<Json, String> {
        for (field, constant) in self.constants().filter(|(field, _)| !field.of_line) {
            self.cells.insert(field, (constant.clone(), 0));
        }
        if !self.cells.keys().any(|field| field.is_id()) {
            let line = self.cells.values().map(|(_, line)| *line).filter(|line| *line > 0).min();
            let line = line.or(self.rows.first().copied()).unwrap_or_default();
            return Err(format!(
                "line {line}: external_id: expected the order's id, found nothing, and no order above"
            ));
        }
        let mut order = object(&self.cells)?;
        if !self.lines.is_empty() {
            order.insert("lines".to_owned(), Json::Array(std::mem::take(&mut self.lines)));
        }
        Ok(Json::Object(order))
    }
}

/// Fields as JSON.
fn object(cells: &Cells<'_>) -> Result<JsonMap<String, Json>, String> {
    let mut object = JsonMap::new();
    for (field, (text, line)) in cells {
        let wrong = |expected: &str| format!("line {line}: {field}: expected {expected}, found {text:.200?}");
        if field.name == CUSTOM_FIELDS {
            let values = object.entry(field.name).or_insert_with(|| Json::Object(JsonMap::new()));
            let Json::Object(values) = values else { continue };
            match (&field.key, serde_json::from_str(text)) {
                (Some(key), _) if values.contains_key(key) => {
                    return Err(format!("line {line}: {field}: expected it once, found it in custom_fields, too"));
                }
                (Some(key), _) => {
                    values.insert(key.clone(), Json::String(text.clone()));
                }
                (None, Ok(Json::Object(all))) => values.extend(all),
                (None, Ok(Json::Array(none))) if none.is_empty() => {}
                (None, _) => return Err(wrong("a JSON object like {\"size\":1}")),
            }
            continue;
        }
        let value = match field.name {
            TAGS if text.starts_with('[') => {
                serde_json::from_str(text).map_err(|_| wrong("JSON like [\"a\",\"b\"]"))?
            }
            TAGS => text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(Json::from).collect(),
            _ => Json::String(text.clone()),
        };
        object.insert(field.name.to_owned(), value);
    }
    Ok(object)
}
