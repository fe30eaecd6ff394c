//! Orders as CSV: one row for each line of an order.

use std::borrow::Cow;
use std::fmt;
use std::io::{Read, Write};

use anyhow::{Context as _, bail};
use serde_json::{Map as JsonMap, Value as Json};

use super::cell::Kind;
use super::map::Map;
use super::read::Bounds;
use super::rows::{Row, Rows};
use super::scan::End;
use crate::wire::known::LINE_FIELDS;

/// The fields of an order. `tags` and `custom_fields` hold JSON.
pub(super) const ORDER: [&str; 19] = [
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
    TAGS,
    CUSTOM_FIELDS,
];
/// The fields of a line, behind `line.`. `custom_fields` holds JSON.
pub(super) const LINE: [&str; 9] = LINE_FIELDS;
const PREFIX: &str = "line.";
pub(super) const TAGS: &str = "tags";
pub(super) const CUSTOM_FIELDS: &str = "custom_fields";
/// A column with what a failed order was refused for.
const REASON: &str = "import_error";

/// A field of an order or of its lines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Field {
    pub(super) of_line: bool,
    pub(super) name: &'static str,
    /// Of a custom field, as in `custom_fields.note`.
    pub(super) key: Option<String>,
}

impl Field {
    /// The field of a name like `status`, `line.count` or `custom_fields.note`.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (of_line, name, names) = match name.strip_prefix(PREFIX) {
            Some(name) => (true, name, &LINE[..]),
            None => (false, name, &ORDER[..]),
        };
        let custom = name.split_once('.').filter(|(name, key)| *name == CUSTOM_FIELDS && !key.is_empty());
        let (name, key) = custom.map_or((name, None), |(name, key)| (name, Some(key.to_owned())));
        names.iter().find(|known| **known == name).map(|name| Field { of_line, name, key })
    }

    /// True for what names an order.
    pub(super) fn is_id(&self) -> bool {
        !self.of_line && self.name == "external_id"
    }

    /// What its cells are. Of a custom field only the account knows it.
    pub(super) fn kind(&self) -> Kind {
        match self.name {
            "external_id" | "profile_id" | "phone" | "subscription_id" | "field_value" | "product" | "sku" => Kind::Id,
            "total_price"
            | "delivery_cost"
            | "base_price_per_item"
            | "min_price_per_item"
            | "final_price_per_item"
            | "count" => Kind::Number,
            "create_time" | "update_time" => Kind::Time,
            _ => Kind::Other,
        }
    }

    /// True for what may be written as JSON.
    pub(super) fn is_json(&self) -> bool {
        self.name == TAGS || self.name == CUSTOM_FIELDS && self.key.is_none()
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.of_line { PREFIX } else { "" }, self.name)?;
        self.key.iter().try_for_each(|key| write!(f, ".{key}"))
    }
}

/// What an operator says of CSV files.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// What separates cells; the first line tells it otherwise.
    pub(super) delimiter: Option<u8>,
    /// Columns that are left out.
    pub(super) ignored: Vec<String>,
    /// Numbers have a comma for their point.
    pub(super) decimal_comma: bool,
    pub(super) map: Option<Map>,
}

/// A column, and the fields that its cells go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
}

/// What the first lines of a file say.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) delimiter: u8,
    pub(super) columns: Vec<Column>,
    /// The column with the order's id.
    id: usize,
}

impl Head {
    /// Reads it.
    pub(super) fn read(rows: &mut Rows<impl Read>, layout: &Layout, bounds: Bounds) -> anyhow::Result<Self> {
        let (mut text, mut separator) = (Vec::new(), None);
        loop {
            let place = rows.scanner.place();
            text.clear();
            let line_end = |ready: &[u8]| ready.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let end = rows.scanner.until(&mut text, bounds.max_bytes, line_end)?;
            let line = text.trim_ascii();
            if let Some(said) = said(line) {
                separator = Some(said);
            } else if !line.is_empty() {
                rows.delimiter = layout.delimiter.or(separator).unwrap_or_else(|| told(line));
                rows.scanner.back(&text, place);
                break;
            }
            if end == End::OfFile {
                bail!("{place}: expected the names of columns, found the end of the file");
            }
            rows.line_end()?;
        }
        let row = rows.next()?.context("a row was put back")?;
        let head = Self::of(&row, rows.delimiter, layout, bounds);
        let mut head = head.with_context(|| format!("line {}", row.place.line))?;
        if let Some(first) = rows.peek()? {
            head.widen(first);
        }
        Ok(head)
    }

    /// Some shops end each row but this one with a separator. The cells behind it have columns without names, if the first row
    /// has them: where only a later one is too long, its cells may be shifted.
    fn widen(&mut self, first: &Row) {
        let extra: Vec<_> = first.cells(self.delimiter).skip(self.columns.len()).collect();
        if first.fault.is_none() && extra.iter().all(|cell| cell.trim_ascii().is_empty()) {
            self.columns.extend(extra.iter().map(|_| Column { name: String::new(), fields: Vec::new() }));
        }
    }

    fn of(row: &Row, delimiter: u8, layout: &Layout, bounds: Bounds) -> anyhow::Result<Self> {
        if let Some(fault) = &row.fault {
            bail!("{fault}");
        }
        let mut columns: Vec<Column> = Vec::new();
        for cell in row.cells(delimiter) {
            let misfit = |error: std::str::Utf8Error| anyhow::anyhow!(bounds.misfit(cell[error.valid_up_to()]));
            let name = std::str::from_utf8(&cell).map_err(misfit)?.trim().to_owned();
            columns.push(Column { fields: Vec::new(), name });
        }
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        for (at, column) in columns.iter_mut().enumerate().filter(|(_, column)| !column.name.is_empty()) {
            column.fields = match &layout.map {
                Some(map) => map.fields(&column.name).to_vec(),
                None if layout.ignored.contains(&column.name) || column.name == REASON => Vec::new(),
                None => vec![Field::named(&column.name).with_context(|| unknown(&column.name, names.len()))?],
            };
            if !column.fields.is_empty() && names[..at].contains(&column.name) {
                bail!("expected each column once, found {:?} twice", column.name);
            }
        }
        if let Some(map) = &layout.map {
            map.check(&names)?;
        }
        let id = columns.iter().position(|column| column.fields.iter().any(Field::is_id));
        Ok(Head { delimiter, columns, id: id.context("expected a column external_id")? })
    }

    /// What names the order of a row: nothing where its cell is empty, `None` where it has none.
    pub(super) fn id(&self, row: &Row) -> Option<Vec<u8>> {
        row.cells(self.delimiter).nth(self.id).map(|cell| trimmed(&cell))
    }

    /// True if a row has as many cells as there are columns. Those without a name may lack.
    pub(super) fn fits(&self, cells: &[Cow<'_, [u8]>]) -> bool {
        cells.len() <= self.columns.len() && self.columns.iter().skip(cells.len()).all(|column| column.name.is_empty())
    }

    /// False if a row is so bad that what names its order may stand in any of its cells.
    pub(super) fn knows_order(&self, row: &Row) -> bool {
        match row.fault {
            Some(_) => row.sound_cells(self.delimiter) > self.id,
            None => self.id == 0 || self.fits(&row.cells(self.delimiter).collect::<Vec<_>>()),
        }
    }
}

/// A cell's text: blanks around it mean nothing, and `="00123"` is how a spreadsheet is told that it is no number.
pub(super) fn plain(cell: &str) -> &str {
    let cell = cell.trim();
    cell.strip_prefix("=\"").and_then(|text| text.strip_suffix('"')).map_or(cell, str::trim)
}

/// The same of a cell that may be no text.
pub(super) fn trimmed(cell: &[u8]) -> Vec<u8> {
    std::str::from_utf8(cell).map_or_else(|_| cell.trim_ascii().to_vec(), |text| plain(text).as_bytes().to_vec())
}

/// The separator that a line like `sep=;` names.
fn said(line: &[u8]) -> Option<u8> {
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    match line {
        [start @ .., separator] if start.eq_ignore_ascii_case(b"sep=") => Some(*separator),
        _ => None,
    }
}

/// The separator that a line of names has.
fn told(line: &[u8]) -> u8 {
    let (mut counts, mut is_quoted) = ([(b',', 0), (b';', 0), (b'\t', 0)], false);
    for byte in line {
        is_quoted ^= *byte == b'"';
        for (separator, count) in &mut counts {
            *count += usize::from(!is_quoted && separator == byte);
        }
    }
    // The first of them, if they are equal.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(separator, _)| separator)
}

fn unknown(name: &str, columns: usize) -> String {
    if columns == 1 {
        return format!(
            "expected columns with a comma, a semicolon or a tab between, found {name:.200?}; say --delimiter"
        );
    }
    format!(
        "expected columns of the names that README lists, found {name:.200?}; --ignore-columns leaves it out, --map says what it is"
    )
}

/// Writes the columns' names.
pub(super) fn write_head(out: &mut csv::Writer<impl Write>) -> anyhow::Result<()> {
    let lines = LINE.iter().map(|name| format!("{PREFIX}{name}"));
    Ok(out.write_record(ORDER.iter().map(ToString::to_string).chain(lines))?)
}

/// Writes a listed order.
pub(super) fn write(out: &mut csv::Writer<impl Write>, order: &str) -> anyhow::Result<()> {
    let order: JsonMap<String, Json> = serde_json::from_str(order)?;
    if order.get("money").is_some() {
        bail!("expected amounts as decimals, found minor units: the server's list_money has to be decimal for CSV");
    }
    let cell = |value: Option<&Json>| match value {
        None => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(Json::Object(object)) if object.is_empty() => String::new(),
        Some(other) => other.to_string(),
    };
    let profile = order.get("profile").and_then(|profile| profile.get("profile_id"));
    let of_order = |name: &str| match (name, profile) {
        ("matching", Some(_)) => "profile_id".to_owned(),
        ("profile_id", Some(id)) => cell(Some(id)),
        (name, _) => cell(order.get(name)),
    };
    let shared: Vec<String> = ORDER.iter().map(|name| of_order(name)).collect();
    for line in order.get("lines").and_then(Json::as_array).into_iter().flatten() {
        let cells = LINE.iter().map(|name| cell(line.get(*name)));
        out.write_record(shared.iter().cloned().chain(cells))?;
    }
    Ok(())
}
