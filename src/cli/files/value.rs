//! Where a JSON value ends, told by its brackets and quotes alone; and, where these do not fit, by its lines.

use serde_json::Value as Json;

use super::scan::Place;

/// So much is looked at behind an item.
pub(super) const AHEAD: usize = 1024;
/// True if what stands behind an item goes on with the list, or ends it. `item` is the place of one that begins its line.
pub(super) fn goes_on(behind: &[u8], in_object: bool, item: Option<Place>) -> bool {
    let behind = behind.trim_ascii_start();
    let Some((first, after)) = behind.split_first() else { return false };
    let rest = after.trim_ascii_start();
    let blanks = &after[..after.len() - rest.len()];
    // Whatever it is, it is not of this item.
    let begins_item = blanks.contains(&b'\n') && item.is_some_and(|item| item.behind(blanks).column == item.column);
    match first {
        b',' if rest.starts_with(b"\"") => {
            // A field has a colon behind its name, an item has not.
            let end = Value::default().end()(rest).unwrap_or(rest.len());
            !rest[end..].trim_ascii_start().starts_with(b":")
        }
        b',' if begins_item => true,
        b',' => !rest.starts_with(b"}"),
        b']' => ends_list(rest, in_object),
        _ => false,
    }
}

/// True if a comma stands behind an item in its line, or nothing; and behind one that is torn, nothing but that.
pub(super) fn ends_line(behind: &[u8], is_torn: bool) -> bool {
    let line = behind.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    line.is_empty() || line == b"," || line.starts_with(b",") && !is_torn
}

/// True if this may stand behind a list.
pub(super) fn ends_list(behind: &[u8], in_object: bool) -> bool {
    match behind.trim_ascii_start().split_first() {
        None => true,
        Some((b'}', rest)) => in_object && rest.trim_ascii().is_empty(),
        Some((b',', rest)) => in_object && matches!(rest.trim_ascii_start().first(), None | Some(b'"')),
        Some(_) => false,
    }
}

/// Where an item that has no end of its own ends after all, if each has lines of its own: before the comma in front of a
/// line that begins with an object, as far to the right as the item's own, or in front of one that ends the list.
pub(super) fn next_item(text: &[u8], place: Place, in_object: bool) -> Option<usize> {
    let (mut comma, mut at) = (None, 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let column = 1 + line.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let content = line.trim_ascii();
        match content.first() {
            _ if at == 0 => {}
            Some(b'{') if comma.is_some() && column as u64 == place.column => return comma,
            Some(b']') if column as u64 <= place.column && ends_list(&content[1..], in_object) => {
                return Some(at);
            }
            _ => {}
        }
        if !content.is_empty() {
            let end = at + line.trim_ascii_end().len();
            comma = content.ends_with(b",").then(|| end - 1);
        }
        at += line.len();
    }
    None
}

/// Where an item that has no end of its own ends after all, if several share a line: before the comma in front of an
/// object that has a list which only an order or a product has.
pub(super) fn next_in_line(text: &[u8]) -> Option<usize> {
    let mut comma = None;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b',' => comma = Some(at),
            b'{' if comma.is_some() && is_item(&text[at..]) => return comma,
            byte if byte.is_ascii_whitespace() => {}
            _ => comma = None,
        }
    }
    None
}

fn is_item(text: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Json>();
    let item = values.next().and_then(Result::ok).unwrap_or_default();
    !item["external_id"].is_null() && (item["lines"].is_array() || item["sku"].is_array())
}

/// True for an object whose first name is a number.
pub(super) fn is_keyed(text: &[u8]) -> bool {
    let name = text.strip_prefix(b"{").and_then(|rest| rest.trim_ascii_start().strip_prefix(b"\""));
    name.is_some_and(|name| {
        let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits > 0 && name.get(digits) == Some(&b'"')
    })
}

/// One whose brackets do not fit is not followed further.
const TORN: usize = 1 << 16;

/// Finds the end of a value by its brackets and quotes. A quote opens a string only where one may stand, so that one too
/// many does no harm; single ones do, too: what they hold is no JSON anyway.
#[derive(Default)]
pub(super) struct Value {
    open: Vec<u8>,
    /// The last byte outside of strings that is no blank.
    last: Option<u8>,
    /// The quote that ends the string which is open.
    quote: Option<u8>,
    is_escaped: bool,
    bytes: usize,
    /// Brackets that do not fit, a quote where none may stand, or a string of several lines.
    pub(super) is_torn: bool,
}

impl Value {
    /// How many bytes belong to it, if it ends there.
    pub(super) fn end(&mut self) -> impl FnMut(&[u8]) -> Option<usize> {
        |ready| ready.iter().enumerate().find_map(|(at, byte)| self.is_end(*byte).map(|own| at + usize::from(own)))
    }

    /// At the end, whether this byte still belongs to the value.
    fn is_end(&mut self, byte: u8) -> Option<bool> {
        self.bytes += 1;
        if self.is_torn && self.bytes > TORN {
            return Some(false);
        }
        if let Some(quote) = self.quote {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'\n' => self.is_torn = true,
                _ if byte == quote => {
                    (self.quote, self.last) = (None, Some(quote));
                    return self.open.is_empty().then_some(true);
                }
                _ => {}
            }
            return None;
        }
        let opens = matches!(self.last, None | Some(b'{' | b'[' | b',' | b':'));
        // Behind a comma in an object stands a name: a bracket is lost.
        if byte == b'{' && self.last == Some(b',') && self.open.last() == Some(&b'{') {
            self.is_torn = true;
            return Some(false);
        }
        if !byte.is_ascii_whitespace() {
            self.last = Some(byte);
        }
        match byte {
            b'"' | b'\'' if opens => self.quote = Some(byte),
            b'"' => self.is_torn = true,
            b'{' | b'[' => self.open.push(byte),
            b',' | b'}' | b']' if self.open.is_empty() => return Some(false),
            b'}' | b']' => {
                let opener = if byte == b'}' { b'{' } else { b'[' };
                let fitting = self.open.iter().rposition(|open| *open == opener);
                self.is_torn |= fitting.is_none_or(|at| at + 1 < self.open.len());
                self.open.truncate(fitting.unwrap_or(self.open.len()));
                return self.open.is_empty().then_some(true);
            }
            _ => {}
        }
        None
    }
}
