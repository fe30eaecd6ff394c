//! XML: the elements of a document's root. An item goes up to its end tag, so that one which is not well-formed leaves the
//! others as they are.

use std::io::Read;
use std::ops::ControlFlow;

use anyhow::bail;
use quick_xml::errors::IllFormedError;
use quick_xml::events::{BytesStart, Event};

use super::markup::{Element, Kind, Markup, end_tag, last_start, next_element, next_start};
use super::read::{Bounds, LISTS, Piece, ROOT, Record, Take, is_sent_along};
use super::scan::{End, Place, Scanner};
use crate::wire::xml_fault;

/// Where the next page of an answer begins.
pub(super) const NEXT: &str = "next_from_id";

/// A tag or the like outside of items.
struct Token {
    place: Place,
    /// What stands before it and where, if it is not blank.
    stray: Option<(Place, Vec<u8>)>,
    text: Vec<u8>,
    kind: Kind,
}

/// Reads the items and the fields beside them; those of an answer tell where the next page begins.
pub(super) fn read<R: Read>(
    scanner: &mut Scanner<R>,
    bounds: Bounds,
    is_answer: bool,
    take: Take<'_>,
) -> anyhow::Result<()> {
    let mut document = Document { scanner, bounds };
    let Some((root, prefixes)) = document.root()? else { return document.end() };
    if !prefixes.is_empty() && take(Piece::Field(ROOT.to_owned(), prefixes)).is_break() {
        return Ok(());
    }
    let mut items = Items { last: None, seen: false, field: None, between: Between::Nothing, is_answer, take };
    let ended = items.read(&mut document, &root);
    // What was good before a fault is good.
    let is_enough = items.pass_on().is_break();
    if ended?.is_break() || is_enough {
        return Ok(());
    }
    if !items.seen && !is_answer && items.between != Between::Nothing {
        bail!(NO_ITEMS);
    }
    document.end()
}

const NO_ITEMS: &str = "expected the root xml with elements data, found none";

/// The items of a root on their way.
struct Items<'t> {
    /// It is good when nothing behind it says that its end tag was none.
    last: Option<Record>,
    seen: bool,
    /// A field of the call behind an item; a stray end tag behind it says that it was the item's.
    field: Option<Piece>,
    between: Between,
    is_answer: bool,
    take: Take<'t>,
}

/// What stood behind the last item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    /// Fields of a call, for all that is known.
    Fields,
    /// Fields of an item whose start tag is lost, or of the last one behind a wrong end tag.
    Lost,
}

impl Items<'_> {
    /// Reads up to the root's end.
    fn read<R: Read>(&mut self, document: &mut Document<'_, R>, root: &str) -> anyhow::Result<ControlFlow<()>> {
        loop {
            let Some(token) = document.token(Some(root))? else {
                bail!("{}: expected the end of {root}, found the end of the file", document.scanner.place());
            };
            let Token { place, stray, text, kind } = token;
            let piece = stray.and_then(|(place, text)| self.stray(&text, place));
            if piece.is_some_and(|piece| (self.take)(piece).is_break()) {
                return Ok(ControlFlow::Break(()));
            }
            let is_stray_end = matches!(&kind, Kind::End(name) if name != root);
            if let Some(field) = self.field.take_if(|_| !matches!(kind, Kind::Aside)) {
                if is_stray_end {
                    self.between = Between::Fields;
                } else if (self.take)(field).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            let is_empty = matches!(kind, Kind::Empty(_));
            let piece = match kind {
                Kind::Aside => None,
                Kind::End(name) if name == root => return Ok(ControlFlow::Continue(())),
                Kind::End(name) => self.stray_end(&name, &text, place),
                Kind::Broken => {
                    let fault = format!("{place}: expected an element");
                    self.item(Record::bad(place.line, &text, fault))
                }
                Kind::Start(name) | Kind::Empty(name) => {
                    let record = document.element(&name, root, text, is_empty, place)?;
                    self.element(name, record, place)?
                }
            };
            if piece.is_some_and(|piece| (self.take)(piece).is_break()) {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// What is to be passed on when there is another element.
    fn element(&mut self, name: String, record: Record, place: Place) -> anyhow::Result<Option<Piece>> {
        if LISTS.contains(&&*name) {
            return Ok(self.item(as_item(record, &name)));
        }
        let is_lost = self.between == Between::Lost;
        if is_lost || !(is_sent_along(&name)? || self.is_answer && name == NEXT) {
            // One that has no end may be an item whose start tag is wrong.
            return Ok(if record.fault.is_some() { self.item(record) } else { self.lost(&name, &record, place) });
        }
        if let Some(fault) = record.fault {
            bail!(fault);
        }
        let field = Piece::Field(name, record.text);
        if self.last.is_none() || self.is_answer {
            return Ok(Some(field));
        }
        self.field = Some(field);
        Ok(None)
    }

    /// Text between elements. Behind one that is at fault it is a part of that.
    fn stray(&mut self, text: &[u8], place: Place) -> Option<Piece> {
        if self.last.as_ref().is_some_and(|last| last.fault.is_some()) {
            return None;
        }
        let blanks = text.len() - text.trim_ascii_start().len();
        let place = place.behind(&text[..blanks]);
        let fault = format!("{place}: expected only elements, found text");
        self.item(Record::bad(place.line, text, fault))
    }

    /// An end tag without a start. The item before it is good if nothing stands between them.
    fn stray_end(&mut self, name: &str, text: &[u8], place: Place) -> Option<Piece> {
        let fault = format!("{place}: {name} ends, which did not begin");
        let between = std::mem::replace(&mut self.between, Between::Nothing);
        match &mut self.last {
            Some(last) if last.fault.is_some() || between == Between::Fields || !LISTS.contains(&name) => {
                last.fault.get_or_insert(fault);
                None
            }
            _ => self.item(Record::bad(place.line, text, fault)),
        }
    }

    /// An element that the call does not know. One that holds an id is an item under a wrong name, or what is left of one.
    fn lost(&mut self, name: &str, record: &Record, place: Place) -> Option<Piece> {
        if self.between != Between::Lost && !record.text.contains("<external_id") {
            self.between = Between::Fields;
            return None;
        }
        let is_list = matches!(name, "lines" | "sku");
        match &mut self.last {
            Some(last) if self.between == Between::Lost && name != "external_id" => last.text.push_str(&record.text),
            Some(last) if is_list && last.fault.is_none() && !last.text.contains(&format!("<{name}>")) => {
                last.fault = Some(format!("{place}: expected {name} in the item, found its end tag before"));
                last.text.push_str(&record.text);
                self.between = Between::Lost;
            }
            _ => {
                let fault = format!("{place}: expected the items in data, found {name}");
                let piece = self.item(Record::bad(record.line, record.text.as_bytes(), fault));
                if name == "external_id" {
                    self.between = Between::Lost;
                }
                return piece;
            }
        }
        None
    }

    fn item(&mut self, record: Record) -> Option<Piece> {
        self.seen = true;
        self.between = Between::Nothing;
        self.last.replace(record).map(Piece::Record)
    }

    fn pass_on(&mut self) -> ControlFlow<()> {
        self.last.take().map_or(ControlFlow::Continue(()), |last| (self.take)(Piece::Record(last)))
    }
}

/// The prefixes that a start tag binds, as attributes: an item may say by one that a value is nil.
fn prefixes(tag: &[u8]) -> String {
    let text = String::from_utf8_lossy(tag);
    let content = text.trim_start_matches('<').trim_end_matches('>');
    let name_len = content.find(char::is_whitespace).unwrap_or(content.len());
    let start = BytesStart::from_content(content, name_len);
    let bound = start.attributes().flatten().filter(|attribute| attribute.key.as_ref().starts_with("xmlns:"));
    bound.fold(String::new(), |bound, attribute| {
        let quote = if attribute.value.contains('"') { '\'' } else { '"' };
        format!("{bound} {}={quote}{}{quote}", attribute.key.as_ref(), attribute.value)
    })
}

/// An item under the name by which it is imported.
fn as_item(mut record: Record, name: &str) -> Record {
    let item = LISTS[0];
    if name != item && record.fault.is_none() {
        record.text = format!("<{item}>{}</{item}>", inner(&record.text));
    }
    record
}

/// What stands in an element.
pub(super) fn inner(element: &str) -> &str {
    let start = element.find('>').map_or(0, |at| at + 1);
    let end = element.rfind("</").unwrap_or(start);
    element.get(start..end).unwrap_or_default()
}

/// A document on its way.
struct Document<'d, R> {
    scanner: &'d mut Scanner<R>,
    bounds: Bounds,
}

impl<R: Read> Document<'_, R> {
    /// The next tag, comment or instruction; `None` at the end of the file. In a root, one that has no end goes up to the
    /// next item.
    fn token(&mut self, root: Option<&str>) -> anyhow::Result<Option<Token>> {
        let max = self.bounds.max_bytes;
        let (before, mut text) = (self.scanner.place(), Vec::new());
        let end = self.scanner.until(&mut text, max, |ready| ready.iter().position(|byte| *byte == b'<'))?;
        let stray = (!text.trim_ascii().is_empty()).then(|| (before, std::mem::take(&mut text)));
        if end != End::Found {
            if stray.is_some() {
                bail!("{before}: expected only elements, found text");
            }
            return Ok(None);
        }
        let (place, mut markup) = (self.scanner.place(), Markup::default());
        text.clear();
        let is_end = |ready: &[u8]| ready.iter().position(|byte| markup.is_end(*byte)).map(|at| at + 1);
        let mut kind = Kind::Broken;
        if self.scanner.until(&mut text, max, is_end)? == End::Found {
            kind = Kind::of(&text);
        } else if !self.cut(&mut text, place, root) {
            bail!("{place}: expected the end of what begins here, found the end of the file");
        }
        Ok(Some(Token { place, stray, text, kind }))
    }

    /// Puts back what is behind the next start of an item, or end of the root; false if there is none.
    fn cut(&mut self, text: &mut Vec<u8>, place: Place, root: Option<&str>) -> bool {
        let Some(at) = root.and_then(|root| next_start(text, root)) else { return false };
        self.scanner.back(&text[at..], place.behind(&text[..at]));
        text.truncate(at);
        true
    }

    /// The name of the root, and the prefixes that it binds; `None` if there is nothing in it.
    fn root(&mut self) -> anyhow::Result<Option<(String, String)>> {
        loop {
            let place = self.scanner.place();
            let token = self.token(None)?;
            match token.map(|token| (token.stray.is_some(), token.kind, token.text)) {
                Some((false, Kind::Aside, _)) => {}
                Some((false, Kind::Start(name), tag)) => return Ok(Some((name, prefixes(&tag)))),
                Some((false, Kind::Empty(_), _)) => return Ok(None),
                Some((false, Kind::Broken, _)) => bail!("{place}: expected no DOCTYPE"),
                _ => bail!("{place}: expected the root xml with elements data, found none"),
            }
        }
    }

    /// Behind the root stands nothing of interest.
    fn end(&mut self) -> anyhow::Result<()> {
        while let Some(token) = self.token(None)? {
            if token.stray.is_some() || !matches!(token.kind, Kind::Aside) {
                bail!("{}: expected the end of the file behind the root", token.place);
            }
        }
        Ok(())
    }

    /// An element whose start tag was read.
    fn element(
        &mut self,
        name: &str,
        root: &str,
        start: Vec<u8>,
        is_empty: bool,
        place: Place,
    ) -> anyhow::Result<Record> {
        let (mut text, mut element) = (start, Element::new(name));
        let max = self.bounds.max_bytes;
        let end = if is_empty { End::Found } else { self.scanner.until(&mut text, max, |ready| element.end(ready))? };
        if let Some(behind) = element.lost {
            let own = text.len() - behind;
            self.scanner.back(&text[own..], place.behind(&text[..own]));
            let fault = format!("{place}: expected the end of {name}, which begins here");
            return Ok(Record::bad(place.line, &text[..own], fault));
        }
        let whole = match end {
            End::Found => record(&text, place, self.bounds),
            _ => Record::too_large(place, &text, self.bounds),
        };
        if whole.fault.is_none() {
            return Ok(whole);
        }
        // It may have lost its end tag, and hold the next one.
        if let Some(mut cut) = next_element(&text, name, root) {
            let start = last_start(&text[..cut], name);
            if start > 0 && record(&text[start..cut], place, self.bounds).fault.is_none() {
                cut = start;
            }
            let bad = &text[..cut];
            self.scanner.back(&text[cut..], place.behind(bad));
            return Ok(record(bad, place, self.bounds));
        }
        let is_cut = match end {
            End::Found | End::TooFar { found: true } => false,
            End::TooFar { found: false } => !self.scanner.skip(end_tag(name, &text))?,
            End::OfFile => !self.cut(&mut text, place, Some(root)),
        };
        if is_cut {
            bail!("{place}: expected the end of {name}, which begins here, found the end of the file");
        }
        Ok(if end == End::OfFile { record(&text, place, self.bounds) } else { whole })
    }
}

/// A record, if it is well-formed.
fn record(bytes: &[u8], place: Place, bounds: Bounds) -> Record {
    let text = match bounds.text(bytes, place) {
        Ok(text) => text,
        Err(fault) => return Record::bad(place.line, bytes, fault),
    };
    match fault(text) {
        None => Record::new(place, text.to_owned()),
        Some((at, fault)) => {
            let place_of_fault = place.behind(&bytes[..at.min(bytes.len())]);
            Record::bad(place.line, bytes, format!("{place_of_fault}: {fault}"))
        }
    }
}

/// Why an element is not well-formed, and where.
fn fault(text: &str) -> Option<(usize, String)> {
    const KNOWN: [&str; 5] = ["amp", "lt", "gt", "quot", "apos"];
    let mut reader = quick_xml::Reader::from_str(text);
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    let mut open = 0_usize;
    loop {
        let start = at(reader.buffer_position());
        match reader.read_event() {
            Ok(Event::Eof) if open == 0 => return None,
            Ok(Event::Eof) => return Some((start, "expected the end of each element".to_owned())),
            Ok(Event::Start(_)) => open += 1,
            Ok(Event::End(_)) => open = open.saturating_sub(1),
            Ok(Event::DocType(_)) => return Some((start, "expected no DOCTYPE".to_owned())),
            Ok(Event::GeneralRef(reference)) => {
                let name: &str = &reference;
                if !name.starts_with('#') && !KNOWN.contains(&name) {
                    return Some((start, format!("expected a reference like &amp;, found &{name:.100};")));
                }
            }
            Ok(_) => {}
            Err(quick_xml::Error::IllFormed(IllFormedError::UnclosedReference)) => {
                return Some((at(reader.error_position()), "expected &amp;, found a bare &".to_owned()));
            }
            Err(error) => return Some((at(reader.error_position()), xml_fault(&error).to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::good_of;
    use super::*;

    /// What can be sent of a document.
    fn good(text: &[u8]) -> Result<Vec<String>, String> {
        good_of(|bounds, take| read(&mut Scanner::new(text), bounds, false, take))
    }

    #[test]
    fn no_byte_of_an_item_spoils_the_others() {
        let item = br#"<data><id a="b">B</id><lines><n>1</n></lines><c><data>x</data></c><s/></data>"#;
        let [a, c, d] = ["A", "C", "D"].map(|id| format!("<data><id>{id}</id></data>"));
        let mut wrong = Vec::new();
        for at in 1..item.len() {
            for byte in [None].into_iter().chain(b"<>/&!?\"'= x\xff".map(Some)) {
                for replaced in 0..=1 {
                    let mut bad = item.to_vec();
                    bad.splice(at..at + replaced, byte);
                    // What ends in front of an item may have been the one before; text between them is no item's.
                    if at < "<data>".len() && bad[..6].contains(&b'/') || bad.ends_with(b">>") {
                        continue;
                    }
                    for between in ["", "\n"] {
                        let text = format!("<xml>{a}{between}\0{between}{c}{between}{d}</xml>");
                        let (before, behind) = text.split_once('\0').expect("a mark");
                        let found = good(&[before.as_bytes(), &bad, behind.as_bytes()].concat());
                        let all = |found: &Vec<String>| [&a, &c, &d].into_iter().all(|other| found.contains(other));
                        if !found.as_ref().is_ok_and(all) {
                            wrong.push(format!("{}: {found:?}", String::from_utf8_lossy(&bad)));
                        }
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    }
}
