//! `ordergate import --explain`: what is read of a file; nothing is sent.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::read::{self, Piece, Record, Start};
use super::source::Source;
use super::table::Layout;
use super::{FileFormat, ImportArguments, What, known};
use crate::cli::output::print;

/// So many orders are shown.
const SHOWN: usize = 3;

/// Shows what is read of the first orders of each file; true if all of them can be sent.
pub(in crate::cli) fn explain(arguments: &ImportArguments, max_body_bytes: usize) -> anyhow::Result<bool> {
    let (layout, mut all_good) = (arguments.layout()?, true);
    for path in &arguments.files {
        let is_good = one(arguments, &layout, path, max_body_bytes);
        all_good &= is_good.with_context(|| path.display().to_string())?;
    }
    Ok(all_good)
}

fn one(arguments: &ImportArguments, layout: &Layout, path: &Path, max_bytes: usize) -> anyhow::Result<bool> {
    let source = Source::open(path, arguments.format(path)?, arguments.encoding()?)?;
    let (mut count, mut is_good, mut printed) = (0, true, Ok(()));
    let mut take = |piece| {
        let text = match piece {
            Piece::Start(start) => head(path, source.format, &start, layout),
            Piece::Field(name, text) => format!("{name}: {text}"),
            Piece::Record(record) => {
                count += 1;
                is_good &= record.fault.is_none();
                shown(arguments.what, source.format, &record)
            }
        };
        printed = print(&text);
        if printed.is_err() || count == SHOWN { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    read::read(&source, &Arc::default(), layout, max_bytes, &mut take)?;
    printed?;
    Ok(is_good)
}

/// How a file is written, and where its columns go.
fn head(path: &Path, format: FileFormat, start: &Start, layout: &Layout) -> String {
    let packing = if start.is_packed { "packed by gzip" } else { "not packed" };
    let file = format!("{}: {}, {packing}, {}", path.display(), format.name(), start.charset);
    let Some((delimiter, columns)) = &start.table else { return file };
    let separated = match delimiter {
        b',' => "commas".to_owned(),
        b';' => "semicolons".to_owned(),
        b'\t' => "tabs".to_owned(),
        other => char::from(*other).to_string(),
    };
    let columns = columns.iter().filter(|column| !column.name.is_empty()).map(|column| {
        let fields: Vec<String> = column.fields.iter().map(ToString::to_string).collect();
        (column.name.clone(), if fields.is_empty() { "left out".to_owned() } else { fields.join(", ") })
    });
    let constants = layout.map.iter().flat_map(|map| &map.constants);
    let constants = constants.map(|(field, value)| (format!("{value:?}"), field.to_string()));
    let rows: Vec<(String, String)> = columns.chain(constants).collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let rows = rows.into_iter().map(|(name, fields)| format!("  {name:width$}  {fields}"));
    let file = format!("{file}, separated by {separated}");
    std::iter::once(file).chain(rows).collect::<Vec<_>>().join("\n")
}

fn shown(what: What, format: FileFormat, record: &Record) -> String {
    if let Some(fault) = &record.fault {
        return format!("not sent: {fault}");
    }
    let shown = format!("line {}: {}", record.line, record.text);
    let unread: Vec<String> = known::unread(what, format, &record.text).into_iter().collect();
    if unread.is_empty() { shown } else { format!("{shown}\nnot read: {}", unread.join(", ")) }
}
