//! What is read of a file, piece by piece: never more of it is in memory than one record and a buffer.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use encoding_rs::{Encoding, UTF_8};

use super::scan::{Place, Scanner};
use super::source::Source;
use super::table::{Column, Layout};
use super::{FileFormat, json, orders, xml};

/// A piece of a file, as it stands there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// What the file says of itself, before all others.
    Start(Start),
    /// A field of the call beside its items, which is sent along: its name, and its JSON or its elements. Or [`ROOT`], and the
    /// prefixes that the root of XML binds.
    Field(String, String),
    /// An order or a product.
    Record(Record),
}

/// What a file says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) charset: &'static str,
    pub(super) is_packed: bool,
    /// Of CSV: what separates cells, and the columns.
    pub(super) table: Option<(u8, Vec<Column>)>,
}

/// An order or a product: JSON, or an element. Or what stands where one was expected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The line where it begins.
    pub(super) line: u64,
    /// The lines where the lines of an order stand, if each has its own.
    pub(super) rows: Vec<u64>,
    pub(super) text: String,
    /// Why it cannot be sent.
    pub(super) fault: Option<String>,
}

/// So many characters of a record that is too large are shown.
const SHOWN: usize = 1_000;

/// How what could not be read stands in a file of failed orders.
const UNREAD: [&str; 2] = ["{\"import_error\":", "<data><import_error>"];

impl Record {
    /// One that can be sent, unless it is no order but the text of one.
    pub(super) fn new(place: Place, text: String) -> Self {
        let mut record = Record { line: place.line, text, ..Record::default() };
        record.fault = record.is_unread().then(|| {
            format!("{place}: expected an order, found the text of one that could not be read; correct it in the file that it came from")
        });
        record
    }

    /// True for what could not be read in an import before.
    pub(super) fn is_unread(&self) -> bool {
        UNREAD.iter().any(|start| self.text.starts_with(start))
    }

    /// One that cannot be sent.
    pub(super) fn bad(line: u64, text: &[u8], fault: String) -> Self {
        let text = String::from_utf8_lossy(text.trim_ascii()).into_owned();
        Record { line, rows: Vec::new(), text, fault: Some(fault) }
    }

    /// One that is larger than a request may be.
    pub(super) fn too_large(place: Place, text: &[u8], bounds: Bounds) -> Self {
        let fault = format!("{place}: expected an order of at most {} bytes", bounds.max_bytes);
        let mut record = Record::bad(place.line, &text[..text.len().min(4 * SHOWN)], fault);
        record.text = record.text.chars().take(SHOWN).chain("…".chars()).collect();
        record
    }
}

/// Takes pieces, until it has enough.
pub(super) type Take<'t> = &'t mut dyn FnMut(Piece) -> ControlFlow<()>;

/// What holds for every record of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// No record is larger.
    pub(super) max_bytes: usize,
    /// What the file is written in.
    pub(super) charset: &'static Encoding,
}

impl Bounds {
    /// A record's bytes as text; or where they are none.
    pub(super) fn text(self, bytes: &[u8], place: Place) -> Result<&str, String> {
        std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            format!("{}: {}", place.behind(&bytes[..at]), self.misfit(bytes[at]))
        })
    }

    /// Says that a byte does not fit the charset.
    pub(super) fn misfit(self, byte: u8) -> String {
        if self.charset == UTF_8 {
            return format!("expected UTF-8, found the byte 0x{byte:02x}; say --encoding, like windows-1251");
        }
        format!("expected {}, found bytes that it does not have", self.charset.name())
    }
}

/// What holds the items: of a call, or of an answer.
pub(super) const LISTS: [&str; 2] = ["data", "result"];
/// The fields of a call that are sent along.
const FIELDS: [&str; 4] = ["custom_fields", "custom_line_statuses", "categories", SKIP_TRIGGERS];
/// The one that is sent along with every batch.
pub(super) const SKIP_TRIGGERS: &str = "skip_triggers";
/// The root of XML, around all batches.
pub(super) const ROOT: &str = "xml";
/// Fields of a call that change what an import does, and the options that stand in for them.
const REFUSED: [(&str, &str); 2] = [("dry_run", "say --dry-run"), ("on_error", "each batch is a request of its own")];

/// True if a field of a call is sent along.
///
/// # Errors
/// It changes what an import does.
pub(super) fn is_sent_along(name: &str) -> anyhow::Result<bool> {
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        anyhow::bail!("{name}: expected none in a file; {why}");
    }
    Ok(FIELDS.contains(&name))
}

/// Reads all pieces.
pub(super) fn read(
    source: &Source,
    count: &Arc<AtomicU64>,
    layout: &Layout,
    max_bytes: usize,
    take: Take<'_>,
) -> anyhow::Result<()> {
    if source.format == FileFormat::Csv {
        return orders::read(source, count, layout, max_bytes, take);
    }
    let text = source.text(count)?;
    if take(Piece::Start(Start { charset: text.charset.name(), is_packed: text.is_packed, table: None })).is_break() {
        return Ok(());
    }
    let bounds = Bounds { max_bytes, charset: text.charset };
    let mut scanner = Scanner::new(text.reader);
    match source.format {
        FileFormat::Json => json::read(&mut scanner, bounds, take),
        FileFormat::Ndjson => json::read_lines(&mut scanner, bounds, take),
        FileFormat::Xml => xml::read(&mut scanner, bounds, false, take),
        FileFormat::Csv => Ok(()),
    }
}

/// What can be sent of what a reader reads.
#[cfg(test)]
pub(super) fn good_of(read: impl FnOnce(Bounds, Take<'_>) -> anyhow::Result<()>) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut take = |piece| {
        if let Piece::Record(Record { text, fault: None, .. }) = piece {
            found.push(text);
        }
        ControlFlow::Continue(())
    };
    let done = read(Bounds { max_bytes: 10_000, charset: UTF_8 }, &mut take);
    done.map(|()| found).map_err(|error| format!("{error:#}"))
}
