//! Reads a file piece by piece, so that never more of it is in memory than one order and a buffer.

use std::cell::Cell;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use quick_xml::events::Event;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{FileFormat, table};

/// A piece of a file, as it stands there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A field of the call beside its items, which is sent along: its name, and its JSON or its elements.
    Field(String, String),
    /// An order or a product: JSON, or an element.
    Item(String),
}

/// Takes pieces, until it has enough.
pub(super) type Take<'t> = &'t mut dyn FnMut(Piece) -> ControlFlow<()>;

/// The fields of a call that are sent along.
const FIELDS: [&str; 4] = ["custom_fields", "custom_line_statuses", "categories", SKIP_TRIGGERS];
/// The one that is sent along with every batch.
pub(super) const SKIP_TRIGGERS: &str = "skip_triggers";
/// Fields of a call that change what an import does, and the options that stand in for them.
const REFUSED: [(&str, &str); 2] = [("dry_run", "say --dry-run"), ("on_error", "each batch is a request of its own")];

/// Why a field of a file is not read.
fn refused(name: &str) -> Option<String> {
    let (_, why) = REFUSED.iter().find(|(refused, _)| *refused == name)?;
    Some(format!("{name}: expected none in a file; {why}"))
}

/// A source of which no more than so many bytes are read for one order.
struct Bounded<'c, R> {
    source: R,
    max_bytes: usize,
    left: &'c Cell<usize>,
}

impl<R: BufRead> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Bounded<'_, R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.left.get() == 0 {
            return Err(std::io::Error::other(format!("expected an order of at most {} bytes", self.max_bytes)));
        }
        let ready = self.source.fill_buf()?;
        Ok(&ready[..ready.len().min(self.left.get())])
    }

    fn consume(&mut self, count: usize) {
        self.left.set(self.left.get().saturating_sub(count));
        self.source.consume(count);
    }
}

/// Opens a file, or standard input; gzip is unpacked where the name says so.
/// `count` counts the bytes that were read of it.
pub(super) fn open(path: &Path, count: &Arc<AtomicU64>) -> anyhow::Result<Box<dyn BufRead + Send>> {
    let (source, packed): (Box<dyn Read + Send>, _) = if path.as_os_str() == "-" {
        (Box::new(std::io::stdin()), false)
    } else {
        let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        (Box::new(file), path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz")))
    };
    let source = Counted { source, count: Arc::clone(count) };
    let source: Box<dyn Read + Send> =
        if packed { Box::new(flate2::read::MultiGzDecoder::new(source)) } else { Box::new(source) };
    Ok(Box::new(BufReader::with_capacity(1 << 20, source)))
}

/// Counts what is read.
struct Counted {
    source: Box<dyn Read + Send>,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Reads all pieces, none of more than `max_bytes`.
pub(super) fn read(source: impl BufRead, format: FileFormat, max_bytes: usize, take: Take<'_>) -> anyhow::Result<()> {
    let left = Cell::new(max_bytes);
    let source = Bounded { source, max_bytes, left: &left };
    let take: Take<'_> = &mut |piece| {
        left.set(max_bytes);
        take(piece)
    };
    match format {
        FileFormat::Json => json(source, take),
        FileFormat::Ndjson => ndjson(source, take),
        FileFormat::Xml => xml(source, "data", take),
        FileFormat::Csv => table::read(source, take),
    }
}

fn ndjson(mut source: impl BufRead, take: Take<'_>) -> anyhow::Result<()> {
    let mut line = String::new();
    for number in 1_u64.. {
        line.clear();
        if source.read_line(&mut line).with_context(|| format!("line {number}"))? == 0 {
            break;
        }
        let text = line.trim().trim_start_matches('\u{feff}');
        if text.is_empty() {
            continue;
        }
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
            let (column, text) = (error.column(), error.to_string());
            // Its own place counts from the line's begin.
            let why = text.split(" at line ").next().unwrap_or_default();
            anyhow::anyhow!("line {number}, column {column}: expected one JSON object a line: {why}")
        })?;
        if take(Piece::Item(text.to_owned())).is_break() {
            break;
        }
    }
    Ok(())
}

fn json(mut source: impl BufRead, take: Take<'_>) -> anyhow::Result<()> {
    if source.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        source.consume(3);
    }
    let mut stopped = false;
    let mut deserializer = serde_json::Deserializer::from_reader(source);
    let done = deserializer.deserialize_any(Root { take, stopped: &mut stopped });
    match done {
        _ if stopped => Ok(()),
        Ok(()) => Ok(deserializer.end()?),
        Err(error) => Err(error.into()),
    }
}

/// A call's body, or a bare list.
struct Root<'r, 't> {
    take: Take<'t>,
    stopped: &'r mut bool,
}

const STOPPED: &str = "stopped";

impl<'de> Visitor<'de> for Root<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or an object with the list `data`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Box<RawValue>>()? {
            if (self.take)(Piece::Item(one_line(item.get()))).is_break() {
                *self.stopped = true;
                return Err(serde::de::Error::custom(STOPPED));
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "data" {
                map.next_value_seed(Items(Root { take: &mut *self.take, stopped: &mut *self.stopped }))?;
                seen = true;
            } else if let Some(refusal) = refused(&key) {
                return Err(serde::de::Error::custom(refusal));
            } else if !FIELDS.contains(&&*key) {
                map.next_value::<IgnoredAny>()?;
            } else if seen {
                return Err(serde::de::Error::custom(format!("expected {key} before data, found it behind")));
            } else {
                let raw = map.next_value::<Box<RawValue>>()?;
                let _ = (self.take)(Piece::Field(key, raw.get().to_owned()));
            }
        }
        if seen { Ok(()) } else { Err(serde::de::Error::missing_field("data")) }
    }
}

struct Items<'r, 't>(Root<'r, 't>);

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self.0)
    }
}

/// JSON without line ends, which stand only between its tokens.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// The elements of an XML document's root: items by their name, and fields.
pub(super) fn xml(source: impl BufRead, item: &str, take: Take<'_>) -> anyhow::Result<()> {
    let mut reader = quick_xml::Reader::from_reader(source);
    let (mut buffer, mut depth, mut seen) = (Vec::new(), 0_usize, false);
    let mut element = quick_xml::Writer::new(Vec::new());
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer);
        let event = event.with_context(|| format!("byte {}", reader.error_position()))?;
        let ends = match &event {
            Event::Start(_) => {
                depth += 1;
                false
            }
            Event::End(_) => {
                depth = depth.checked_sub(1).context("an end without a start")?;
                depth == 1
            }
            Event::Empty(_) => depth == 1,
            Event::DocType(_) => bail!("expected no DOCTYPE"),
            Event::Eof if depth == 0 && (seen || item != "data") => return Ok(()),
            Event::Eof if depth == 0 => bail!("expected the root xml with elements data, found none"),
            Event::Eof => {
                bail!("byte {}: expected the end of the root, found the end of the file", reader.buffer_position())
            }
            _ => false,
        };
        let inside = depth > 1 || ends;
        if !inside {
            continue;
        }
        let name = match (&event, ends) {
            (Event::End(end), true) => Some(end.name().as_ref().to_owned()),
            (Event::Empty(empty), true) => Some(empty.name().as_ref().to_owned()),
            _ => None,
        };
        element.write_event(event)?;
        let Some(name) = name else { continue };
        let text = String::from_utf8(std::mem::take(element.get_mut())).context("expected UTF-8")?;
        let piece = if name == item {
            seen = true;
            Piece::Item(text)
        } else if let Some(refusal) = refused(&name) {
            bail!(refusal);
        } else if !FIELDS.contains(&&*name) && name != "next_from_id" {
            continue;
        } else if seen {
            bail!("expected {name} before {item}, found it behind");
        } else {
            Piece::Field(name, text)
        };
        if take(piece).is_break() {
            return Ok(());
        }
    }
}
