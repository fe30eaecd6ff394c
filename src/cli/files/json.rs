//! JSON: a call's body, an answer that was kept, a list, a lone object, or one object a line. The items of a list are
//! told apart by their brackets and quotes alone, so that one which is no JSON leaves the others as they are.

use std::io::Read;
use std::ops::ControlFlow;

use anyhow::{Context as _, bail};
use serde::de::IgnoredAny;

use super::read::{Bounds, LISTS, Piece, Record, Take, is_sent_along};
use super::scan::{End, Place, Scanner};
use super::value::{AHEAD, Value, ends_line, ends_list, goes_on, is_keyed, next_in_line, next_item};
use crate::wire::check_json;

/// Reads one object a line.
pub(super) fn read_lines<R: Read>(scanner: &mut Scanner<R>, bounds: Bounds, take: Take<'_>) -> anyhow::Result<()> {
    match scanner.ready()?.trim_ascii_start() {
        [b'[', ..] | [b'{', b'\n' | b'\r', ..] => {
            bail!("expected one JSON object a line, found a document of several lines; say --format json")
        }
        [b'<', ..] => bail!("expected one JSON object a line, found XML; say --format xml"),
        _ => {}
    }
    loop {
        let place = scanner.place();
        let line_end = |ready: &[u8]| ready.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let mut line = Vec::new();
        let end = scanner.until(&mut line, bounds.max_bytes, line_end)?;
        if let End::TooFar { found: false } = end {
            scanner.skip(line_end)?;
        }
        let record = match end {
            End::TooFar { .. } => Record::too_large(place, &line, bounds),
            _ if line.trim_ascii().is_empty() => Record::default(),
            _ => record(&line, place, bounds),
        };
        if record.line > 0 && take(Piece::Record(record)).is_break() || end == End::OfFile {
            return Ok(());
        }
    }
}

/// Reads a document.
pub(super) fn read<R: Read>(scanner: &mut Scanner<R>, bounds: Bounds, take: Take<'_>) -> anyhow::Result<()> {
    if is_lines(scanner.ready()?) {
        return read_lines(scanner, bounds, take);
    }
    let mut document = Document { scanner, bounds, take };
    let start = document.scanner.behind_blanks()?;
    let is_read = match start {
        Some(b'[') => document.list(false)?,
        Some(b'{') => document.root()?,
        _ => bail!("{}: expected a list or an object, found {}", document.scanner.place(), found(start)),
    };
    if is_read.is_continue() {
        let rest = document.scanner.behind_blanks()?;
        if rest.is_some() {
            let cure =
                if matches!(rest, Some(b'[' | b'{')) { "; a second document needs a file of its own" } else { "" };
            bail!("{}: expected the end of the file, found {}{cure}", document.scanner.place(), found(rest));
        }
    }
    Ok(())
}

/// Two objects, one a line.
fn is_lines(ready: &[u8]) -> bool {
    let mut lines = ready.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let first = lines.next().is_some_and(|line| line.starts_with(b"{") && line.ends_with(b"}"));
    first && lines.next().is_some_and(|line| line.starts_with(b"{"))
}

fn found(byte: Option<u8>) -> String {
    byte.map_or_else(|| "the end of the file".to_owned(), |byte| format!("{:?}", char::from(byte)))
}

/// A document on its way.
struct Document<'d, 't, R> {
    scanner: &'d mut Scanner<R>,
    bounds: Bounds,
    take: Take<'t>,
}

impl<R: Read> Document<'_, '_, R> {
    /// An object: a call's body, or a record of its own, which more of its kind may follow.
    fn root(&mut self) -> anyhow::Result<ControlFlow<()>> {
        let start = self.scanner.place();
        let mut fields: Vec<(String, Vec<u8>, Place)> = Vec::new();
        let (mut bytes, mut is_call) = (0, false);
        if is_keyed(self.scanner.ahead(AHEAD)) {
            return self.keyed();
        }
        self.scanner.pass(1);
        if self.scanner.behind_blanks()? == Some(b'}') {
            self.scanner.pass(1);
            bail!("{start}: expected a list, or an object with data, result or external_id, found an empty one");
        }
        loop {
            let name = self.name()?;
            let place = self.scanner.place();
            let first = self.scanner.behind_blanks()?;
            if LISTS.contains(&&*name) && matches!(first, Some(b'[' | b'{')) {
                is_call = true;
                if self.fields(std::mem::take(&mut fields))?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                let items = match first {
                    Some(b'[') => self.list(true)?,
                    _ if is_keyed(self.scanner.ahead(AHEAD)) => self.keyed()?,
                    _ => self.item()?,
                };
                if items.is_break() {
                    return Ok(items);
                }
            } else {
                let mut value = Vec::new();
                self.scanner.until(&mut value, self.bounds.max_bytes, Value::default().end())?;
                bytes += name.len() + value.len();
                if bytes > self.bounds.max_bytes {
                    bail!("{place}: expected at most {} bytes beside the items", self.bounds.max_bytes);
                }
                fields.push((name, value, place));
                if is_call && self.fields(std::mem::take(&mut fields))?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if !self.goes_on(b'}')? {
                break;
            }
        }
        if is_call { Ok(ControlFlow::Continue(())) } else { self.lone(start, &fields) }
    }

    /// A field's name, and the colon behind it.
    fn name(&mut self) -> anyhow::Result<String> {
        let first = self.scanner.behind_blanks()?;
        let place = self.scanner.place();
        if first != Some(b'"') {
            bail!("{place}: expected a name in quotes, found {}", found(first));
        }
        let mut name = Vec::new();
        self.scanner.until(&mut name, self.bounds.max_bytes, Value::default().end())?;
        let name = serde_json::from_slice(&name).with_context(|| format!("{place}: expected a name in quotes"))?;
        let colon = self.scanner.behind_blanks()?;
        if colon != Some(b':') {
            bail!("{}: expected a colon, found {}", self.scanner.place(), found(colon));
        }
        self.scanner.pass(1);
        Ok(name)
    }

    /// What stands in a call's body beside its items.
    fn fields(&mut self, fields: Vec<(String, Vec<u8>, Place)>) -> anyhow::Result<ControlFlow<()>> {
        for (name, value, place) in fields {
            let piece = if is_sent_along(&name)? {
                let checked = record(&value, place, self.bounds);
                if let Some(fault) = checked.fault {
                    bail!(fault);
                }
                Piece::Field(name, checked.text)
            } else if name == "external_id" || value.windows(ID.len()).any(|bytes| bytes == ID) {
                let fault = format!("{place}: expected the items in data, found {name}");
                Piece::Record(Record::bad(place.line, &value, fault))
            } else {
                continue;
            };
            if (self.take)(piece).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A record that stands alone, and those that follow it.
    fn lone(&mut self, start: Place, fields: &[(String, Vec<u8>, Place)]) -> anyhow::Result<ControlFlow<()>> {
        let names: Vec<&str> = fields.iter().map(|(name, ..)| &**name).collect();
        if !names.contains(&"external_id") {
            let names = names.join(", ");
            bail!("{start}: expected a list, or an object with data, result or external_id, found {names:.300}");
        }
        let mut text = b"{".to_vec();
        for (name, value, _) in fields {
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend_from_slice(serde_json::to_string(name)?.as_bytes());
            text.push(b':');
            text.extend_from_slice(value);
        }
        text.push(b'}');
        if (self.take)(Piece::Record(record(&text, start, self.bounds))).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        while self.scanner.behind_blanks()? == Some(b'{') {
            if self.item()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A list with the numbers of its items as names, as PHP writes one with holes.
    fn keyed(&mut self) -> anyhow::Result<ControlFlow<()>> {
        self.scanner.pass(1);
        loop {
            self.name()?;
            if self.item()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if !self.goes_on(b'}')? {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// A list, in an object or alone.
    fn list(&mut self, in_object: bool) -> anyhow::Result<ControlFlow<()>> {
        self.scanner.pass(1);
        loop {
            let before = self.scanner.place();
            let first = self.scanner.behind_blanks()?;
            // Also behind a comma that nothing follows.
            if first == Some(b']') && ends_list(&self.scanner.ahead(AHEAD)[1..], in_object) {
                self.scanner.pass(1);
                return Ok(ControlFlow::Continue(()));
            }
            let begins_line = self.scanner.place().line > before.line;
            if self.listed(in_object, begins_line)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if !self.goes_on_list(in_object)? {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// True in front of another item of a list. A comma too few or a bracket too many between two items harms neither.
    fn goes_on_list(&mut self, in_object: bool) -> anyhow::Result<bool> {
        let next = self.scanner.behind_blanks()?;
        if next == Some(b'{') {
            return Ok(true);
        }
        let behind = self.scanner.ahead(AHEAD).get(1..).unwrap_or_default();
        if next == Some(b']') && !ends_list(behind, in_object) && behind.trim_ascii_start().starts_with(b",") {
            self.scanner.pass(1);
        }
        self.scanner.behind_blanks()?;
        self.goes_on(b']')
    }

    /// True behind a comma, false behind the end.
    fn goes_on(&mut self, end: u8) -> anyhow::Result<bool> {
        let next = self.scanner.behind_blanks()?;
        if next != Some(b',') && next != Some(end) {
            let (place, end) = (self.scanner.place(), char::from(end));
            bail!("{place}: expected a comma or {end:?}, found {}", found(next));
        }
        self.scanner.pass(1);
        Ok(next == Some(b','))
    }

    /// An item that stands alone.
    fn item(&mut self) -> anyhow::Result<ControlFlow<()>> {
        self.scanner.behind_blanks()?;
        let place = self.scanner.place();
        let (text, end, mut value) = self.value()?;
        let record = match end {
            End::Found => record(&text, place, self.bounds),
            _ => Record::too_large(place, &text, self.bounds),
        };
        self.check_end(end, &mut value, place)?;
        Ok((self.take)(Piece::Record(record)))
    }

    /// An item of a list. One that lost a bracket or a quote, or has one too many, goes up to the next one.
    fn listed(&mut self, in_object: bool, begins_line: bool) -> anyhow::Result<ControlFlow<()>> {
        let place = self.scanner.place();
        let (mut text, end, mut value) = self.value()?;
        let mut record = match end {
            End::Found => record(&text, place, self.bounds),
            _ => Record::too_large(place, &text, self.bounds),
        };
        let behind = self.scanner.ahead(AHEAD);
        let goes_on = end == End::Found && goes_on(behind, in_object, begins_line.then_some(place));
        let is_last = behind.trim_ascii().is_empty();
        // One that is whole is not at fault for what follows.
        let is_whole = end == End::Found && record.fault.is_none() && is_end_or_next(behind);
        // In a line of several a comma behind brackets that fit is one between items.
        let is_between = !begins_line && !value.is_torn && behind.trim_ascii_start().starts_with(b",");
        if is_whole || goes_on && (record.fault.is_none() || is_between) {
            return Ok((self.take)(Piece::Record(record)));
        }
        let is_line_end = ends_line(behind, value.is_torn);
        let next = |text: &[u8]| if begins_line { next_item(text, place, in_object) } else { next_in_line(text) };
        let mut cut = next(&text);
        if goes_on && cut.is_none() && is_line_end && begins_line {
            return Ok((self.take)(Piece::Record(record)));
        }
        let length = text.len();
        // In a line each item that is torn may look as far.
        let recovery = if begins_line { RECOVERY } else { RECOVERY / 8 };
        while cut.is_none() && end == End::Found && text.len() < length + recovery {
            let (mut more, before) = (text.len().max(MORE), text.len());
            let lines = |ready: &[u8]| {
                let at = more.min(ready.len());
                more -= at;
                let end = ready[at..].iter().position(|byte| *byte == b'\n').map(|end| at + end + 1);
                if begins_line { end.filter(|_| more == 0) } else { (more == 0).then_some(at) }
            };
            self.scanner.until(&mut text, length + recovery, lines)?;
            cut = next(&text);
            if text.len() == before {
                break;
            }
        }
        cut = cut.or_else(|| next_in_line(&text));
        if let Some(cut) = cut {
            record = self::record(&text[..cut], place, self.bounds);
            self.scanner.back(&text[cut..], place.behind(&text[..cut]));
        } else {
            self.scanner.back(&text[length..], place.behind(&text[..length]));
            self.check_end(end, &mut value, place)?;
        }
        // A good one in front of the end of a file that was cut off is good.
        if !goes_on && end == End::Found && (cut.is_some() || !is_last) {
            let fault = || format!("{}: expected the end of the item", place.behind(&text[..length]));
            let text = &text[..cut.unwrap_or(length)];
            record = Record::bad(place.line, text, record.fault.unwrap_or_else(fault));
        }
        Ok((self.take)(Piece::Record(record)))
    }

    fn value(&mut self) -> anyhow::Result<(Vec<u8>, End, Value)> {
        let (mut text, mut value) = (Vec::new(), Value::default());
        let end = self.scanner.until(&mut text, self.bounds.max_bytes, value.end())?;
        Ok((text, end, value))
    }

    /// Goes behind a value that is too large.
    fn check_end(&mut self, end: End, value: &mut Value, place: Place) -> anyhow::Result<()> {
        let is_open = end == (End::TooFar { found: false });
        if end == End::OfFile || is_open && !self.scanner.skip(value.end())? {
            bail!("{place}: expected the end of what begins here, found the end of the file");
        }
        Ok(())
    }
}

/// What every item has, quoted.
const ID: &[u8] = b"\"external_id\"";

/// True for the end of a list, or another object without a comma before it.
fn is_end_or_next(behind: &[u8]) -> bool {
    match behind.trim_ascii_start().split_first() {
        Some((b']', _)) => true,
        Some((b'{', rest)) => rest.trim_ascii_start().starts_with(b"\""),
        // Each item has one: this is another's, which lost its bracket.
        Some((b',', rest)) => rest.trim_ascii_start().starts_with(ID),
        _ => false,
    }
}

/// So much is read at least before the next item is looked for again, which doubles.
const MORE: usize = 4096;
/// So much is read behind an item that has no end, to find the next one.
const RECOVERY: usize = 1 << 20;

/// A record, if it is JSON.
fn record(bytes: &[u8], place: Place, bounds: Bounds) -> Record {
    let text = match bounds.text(bytes, place) {
        Ok(text) => text,
        Err(fault) => return Record::bad(place.line, bytes, fault),
    };
    let blanks = text.len() - text.trim_start().len();
    let place = place.behind(&bytes[..blanks]);
    let text = text.trim();
    // A library looks faster, our own reader says better what is wrong.
    if serde_json::from_str::<IgnoredAny>(text).is_err()
        && let Err(malformed) = check_json(text)
    {
        let fault = format!(
            "{}: {}",
            place.behind(&text.as_bytes()[..malformed.at]),
            malformed.what.replace("the document", "the item")
        );
        return Record::bad(place.line, bytes, fault);
    }
    // Line ends stand only between tokens.
    Record::new(place, text.replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::super::read::good_of;
    use super::*;

    /// What can be sent of a list.
    fn good(text: &[u8]) -> Result<Vec<String>, String> {
        good_of(|bounds, take| read(&mut Scanner::new(text), bounds, take))
    }

    #[test]
    fn no_byte_of_an_item_spoils_the_others() {
        let item = br#"{"external_id":"B","lines":[{"n":1,"t":"x"},{"n":[]}],"s":"new"}"#;
        let others = ["A", "C", "D"].map(|id| format!("{{\"external_id\":\"{id}\",\"lines\":[]}}"));
        let [a, c, d] = &others;
        let mut wrong = Vec::new();
        for at in 0..=item.len() {
            for byte in [None].into_iter().chain(b"\"'{}[],:\\x\xff".map(Some)) {
                for replaced in 0..=1 {
                    let mut bad = item.to_vec();
                    bad.splice(at..(at + replaced).min(item.len()), byte);
                    // A brace in front may belong to the item before, in the same line.
                    let is_in_doubt = at == 0 && byte == Some(b'}');
                    for between in ["\n", ""].into_iter().take(if is_in_doubt { 1 } else { 2 }) {
                        let start = format!("{{\"data\":[{between}{a},{between}");
                        let end = format!(",{between}{c},{between}{d}{between}]}}");
                        let found = good(&[start.as_bytes(), &bad, end.as_bytes()].concat());
                        let all = |found: &Vec<String>| others.iter().all(|other| found.contains(other));
                        if !found.as_ref().is_ok_and(all) {
                            wrong.push(format!("{between:?} {}: {found:?}", String::from_utf8_lossy(&bad)));
                        }
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    }
}
