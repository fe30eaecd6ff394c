//! JSON: the only file that knows it as a request's format.
//!
//! A reader of our own, since no library gives what the contract asks for together: a number's text as it
//! was written, a lone surrogate as its field's failure and not the document's, a bound on depth also in
//! what is skipped, items as slices without a tree, and the line and column of a fault. A test compares
//! what it takes and refuses with `serde_json`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::document::{FieldSpans, Malformed, Wanted, may_be_secret};
use super::node::{Entry, Node, Object, ShownText, Text, Unreadable, list_place};
use crate::domain::batch::Sent;
use crate::domain::place::{Step, clip};
use crate::domain::scalars;

/// Splits a document into its root's fields.
pub(super) fn split<'a>(text: &'a str, wanted: &[Wanted], max_depth: usize) -> Result<Vec<FieldSpans<'a>>, Malformed> {
    let mut reader = Reader { text, at: 0, max_depth };
    let mut fields: Vec<FieldSpans<'a>> = Vec::new();
    reader.blank();
    if reader.peek() != Some(b'{') {
        return Err(match reader.peek() {
            Some(b'[') => {
                reader.skip(0)?;
                Malformed::new(0, "expected an object at the root, found a list")
            }
            _ => reader.expected("\"{\""),
        });
    }
    reader.members(1, |reader, key| {
        let start = reader.at;
        let Some(wanted) = wanted.iter().find(|wanted| key.is(wanted.name)) else { return reader.skip(1) };
        let mut field = FieldSpans::new(wanted.name);
        match reader.peek() {
            Some(b'[') => {
                field.is_list = true;
                reader.items(2, |reader| {
                    let item = reader.item(2, wanted.key)?;
                    field.add(item, wanted.max_items);
                    Ok(())
                })?;
            }
            // Some write a list as an object, or what is alone as itself.
            Some(b'{') if wanted.max_items > 0 => {
                field.is_list = true;
                reader.object_as_list(&mut field, wanted)?;
            }
            _ => {
                let item = reader.item(1, None)?;
                field.is_list = wanted.max_items > 0 && !matches!(item.text, "null" | "\"\"");
                if field.is_list {
                    field.add(item, wanted.max_items);
                }
            }
        }
        field.whole = &text[start..reader.at];
        fields.retain(|earlier| earlier.name != wanted.name);
        fields.push(field);
        Ok(())
    })?;
    reader.blank();
    if reader.at < text.len() {
        return Err(reader.expected("the end of the document"));
    }
    Ok(fields)
}

/// Checks one value, in which at most 128 others may stand in one another.
///
/// # Errors
/// It is no JSON, with what was expected and what was found.
pub(crate) fn check(text: &str) -> Result<(), Malformed> {
    let mut reader = Reader { text, at: 0, max_depth: 128 };
    reader.blank();
    reader.skip(0)?;
    reader.blank();
    if reader.at < text.len() { Err(reader.expected("the end of the item")) } else { Ok(()) }
}

/// Reads one value as a tree.
pub(super) fn node(item: &str, max_values: usize) -> Result<Node<'_>, Unreadable> {
    let mut left = max_values;
    // The depth was checked when the document was split.
    let mut reader = Reader { text: item, at: 0, max_depth: usize::MAX };
    match reader.node(&mut left) {
        Ok(node) => Ok(node),
        Err(_) if left == 0 => Err(Unreadable::TooManyValues),
        Err(_) => Err(Unreadable::Malformed),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    max_depth: usize,
}

/// True if eight bytes of a string are ASCII without quotes, backslashes and control characters: all at once, by the
/// known trick of finding a zero byte in a word.
fn is_plain(bytes: [u8; 8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let word = u64::from_ne_bytes(bytes);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20);
    (word | control | zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c))) & HIGHS == 0
}

/// A string between its quotes, with its escapes.
#[derive(Clone, Copy)]
struct RawString<'a> {
    raw: &'a str,
    escaped: bool,
    /// It holds nothing above U+CFFF and no escape: it can be stored as it is.
    plain: bool,
}

impl<'a> RawString<'a> {
    fn is(self, name: &str) -> bool {
        if self.escaped { self.text() == Text::Good(Cow::Borrowed(name)) } else { self.raw == name }
    }

    fn text(self) -> Text<'a> {
        if self.plain {
            return Text::Good(Cow::Borrowed(self.raw));
        }
        if !self.escaped {
            return Text::checked(Cow::Borrowed(self.raw));
        }
        let mut text = ShownText::default();
        let mut rest = self.raw;
        while let Some(escape) = rest.find('\\') {
            text.push_str(&rest[..escape]);
            let (code, len) = escaped_code(&rest[escape..]);
            text.push(code);
            rest = &rest[escape + len..];
        }
        text.push_str(rest);
        text.finish()
    }
}

/// The code point of the escape that a text starts with, and its length; a surrogate where no pair is.
fn escaped_code(text: &str) -> (u32, usize) {
    let unit = |at: usize| text.get(at..at + 4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let plain = match text.as_bytes()[1] {
        b'u' => {
            let high = unit(2).unwrap_or(0xfffd);
            let low = if text[6..].starts_with("\\u") { unit(8) } else { None };
            return match (high, low) {
                (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                    (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)
                }
                _ => (high, 6),
            };
        }
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => 0x0a,
        b'r' => 0x0d,
        b't' => 0x09,
        other => u32::from(other),
    };
    (plain, 2)
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The failure at this place. Of the text that stands there a word is shown, if it is too short for a secret.
    fn expected(&self, what: &str) -> Malformed {
        let rest = &self.text[self.at..];
        let is_word = |c: &char| c.is_ascii_graphic() && !matches!(c, ',' | ':' | '"' | '[' | ']' | '{' | '}');
        let word = &rest[..rest.chars().take_while(is_word).count()];
        let found = match rest.chars().next() {
            None => "the end of the document".to_owned(),
            Some('"') => "a double quote".to_owned(),
            Some(_) if !word.is_empty() && !may_be_secret(word) => format!("\"{word}\""),
            Some(c @ (' '..='~')) => format!("\"{c}\""),
            Some(c) => format!("\"{}\"", c.escape_unicode()),
        };
        let fault = Malformed::new(self.at, format!("expected {what}, found {found}"));
        if rest.is_empty() { fault.cut() } else { fault }
    }

    /// An item of a list at the root. `depth` counts what it stands in.
    fn item(&mut self, depth: usize, key: Option<&str>) -> Result<Sent<'a>, Malformed> {
        let start = self.at;
        let external_id = self.skip_keyed(depth, key)?.map(scalars::id);
        Ok(Sent { text: &self.text[start..self.at], external_id, root: "" })
    }

    /// Reads an object where a list is due: its values, if its keys are their places; else it is the only item.
    fn object_as_list(&mut self, field: &mut FieldSpans<'a>, wanted: &Wanted) -> Result<(), Malformed> {
        let start = self.at;
        let mut values = Some(BTreeMap::new());
        self.members(2, |reader, key| {
            let place = if let Text::Good(key) = key.text() { list_place(&key) } else { None };
            let (Some(values), Some(place)) = (&mut values, place) else {
                values = None;
                return reader.skip(2);
            };
            values.insert(place, reader.item(2, wanted.key)?);
            Ok(())
        })
        .map_err(Malformed::inside_list)?;
        if let Some(values) = values {
            for item in values.into_values() {
                field.add(item, wanted.max_items);
            }
        } else {
            self.at = start;
            field.add(self.item(1, wanted.key)?, wanted.max_items);
        }
        Ok(())
    }

    fn take(&mut self, byte: u8, what: &str) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(self.expected(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads an object; `each` reads the value of each member. `depth` counts this object.
    fn members(
        &mut self,
        depth: usize,
        mut each: impl FnMut(&mut Self, RawString<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.open(depth)?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a key in double quotes"));
            }
            let key = self.string()?;
            self.blank();
            self.take(b':', "\":\"")?;
            self.blank();
            each(self, key).map_err(|fault| fault.inside(Step::Field(clip(key.text().shown()).to_owned())))?;
            if self.close(b'}', "\",\" or \"}\"")? {
                return Ok(());
            }
        }
    }

    /// Reads a list; `each` reads each item. `depth` counts this list.
    fn items(
        &mut self,
        depth: usize,
        mut each: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.open(depth)?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        for index in 0.. {
            each(self).map_err(|fault| fault.inside(Step::Item(index)))?;
            if self.close(b']', "\",\" or \"]\"")? {
                return Ok(());
            }
        }
        unreachable!("a list ends")
    }

    fn open(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth > self.max_depth {
            return Err(Malformed::too_deep(self.at, self.max_depth));
        }
        self.at += 1;
        self.blank();
        Ok(())
    }

    /// After a member or an item: true at the end, false before the next one.
    fn close(&mut self, end: u8, what: &str) -> Result<bool, Malformed> {
        self.blank();
        let found = self.peek();
        if found != Some(end) && found != Some(b',') {
            return Err(self.unclosed(what));
        }
        self.at += 1;
        self.blank();
        Ok(found == Some(end))
    }

    /// The failure behind a value: what goes on where it should end is a word that is no value, like `1_000`.
    fn unclosed(&mut self, what: &str) -> Malformed {
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'+' | b'-');
        let before = self.text.as_bytes()[..self.at].iter().rev().take_while(|b| is_word(b)).count();
        if before == 0 || !self.peek().is_some_and(|b| is_word(&b)) {
            return self.expected(what);
        }
        self.at -= before;
        self.expected("a value")
    }

    /// Checks a value and passes over it. `depth` counts what it stands in.
    fn skip(&mut self, depth: usize) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'{') => self.members(depth + 1, |reader, _| reader.skip(depth + 1)),
            Some(b'[') => self.items(depth + 1, |reader| reader.skip(depth + 1)),
            Some(b'"') => self.string().map(drop),
            _ => self.bare().map(drop),
        }?;
        Ok(())
    }

    /// Passes over a value like [`Reader::skip`]; if it is an object, with the plain text of one of its fields.
    fn skip_keyed(&mut self, depth: usize, field: Option<&str>) -> Result<Option<&'a str>, Malformed> {
        let Some(field) = field.filter(|_| self.peek() == Some(b'{')) else {
            return self.skip(depth).map(|()| None);
        };
        let mut found = None;
        self.members(depth + 1, |reader, key| {
            if !key.is(field) {
                return reader.skip(depth + 1);
            }
            found = match reader.peek() {
                Some(b'{' | b'[') => {
                    reader.skip(depth + 1)?;
                    None
                }
                Some(b'"') => Some(reader.string()?).filter(|string| !string.escaped).map(|string| string.raw),
                _ => Some(reader.bare()?),
            };
            Ok(())
        })?;
        Ok(found)
    }

    fn node(&mut self, left: &mut usize) -> Result<Node<'a>, Malformed> {
        if *left == 0 {
            return Err(self.expected("fewer values"));
        }
        *left -= 1;
        match self.peek() {
            Some(b'{') => {
                // An order has more than a dozen fields.
                let mut entries = Vec::with_capacity(16);
                self.members(0, |reader, key| {
                    let node = reader.node(left)?;
                    entries.push(Entry { key: key.text(), free_key: None, node });
                    Ok(())
                })?;
                Ok(Node::Object(Object { entries, ..Object::default() }))
            }
            Some(b'[') => {
                let mut items = Vec::new();
                self.items(0, |reader| {
                    items.push(reader.node(left)?);
                    Ok(())
                })?;
                Ok(Node::List(items))
            }
            Some(b'"') => Ok(Node::Text(self.string()?.text())),
            _ => Ok(match self.bare()? {
                "null" => Node::Nothing,
                text => Node::Text(Text::Good(Cow::Borrowed(text))),
            }),
        }
    }

    fn string(&mut self) -> Result<RawString<'a>, Malformed> {
        self.at += 1;
        let start = self.at;
        let (mut escaped, mut plain) = (false, true);
        loop {
            let mut rest = &self.text.as_bytes()[self.at..];
            while let Some((eight, others)) = rest.split_first_chunk()
                && is_plain(*eight)
            {
                self.at += eight.len();
                rest = others;
            }
            let is_common = |b: &u8| matches!(b, b' '..=b'!' | b'#'..=b'[' | b']'..=0xec);
            self.at += rest.iter().position(|b| !is_common(b)).unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(RawString { raw: &self.text[start..self.at - 1], escaped, plain });
                }
                Some(b'\\') => {
                    (escaped, plain) = (true, false);
                    self.escape()?;
                }
                None | Some(0..b' ') => return Err(self.expected("a character of a string")),
                Some(_) => {
                    plain = false;
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
                        return Err(self.expected("four hex digits after \"\\u\""));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.expected("an escape that JSON knows")),
        }
        Ok(())
    }

    /// A number, `true`, `false` or `null`, as it is written.
    fn bare(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        for word in ["true", "false", "null"] {
            if self.text[start..].starts_with(word) {
                self.at += word.len();
                return Ok(word);
            }
        }
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => {
                self.at = start;
                return Err(self.expected("a value"));
            }
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        self.digits();
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What `serde_json` takes, we take, and the other way round; depth and lone surrogates aside.
        #[test]
        fn takes_what_serde_json_takes(text in r#"([\[\]{}:, ]|"[a-z\\"/u0-9]{0,4}"|-?[0-9.eE+-]{1,4}|true|null|"a":){0,12}"#) {
            let mut reader = Reader { text: &text, at: 0, max_depth: 64 };
            reader.blank();
            let ours = reader.skip(0).is_ok() && { reader.blank(); reader.at == text.len() };
            let theirs: Result<&serde_json::value::RawValue, _> = serde_json::from_str(&text);
            prop_assert_eq!(ours, theirs.is_ok(), "{}", text);
        }
    }

    #[test]
    fn eight_bytes_are_plain_if_each_is() {
        for byte in 0..=u8::MAX {
            let plain = matches!(byte, b' '..=b'!' | b'#'..=b'[' | b']'..=0x7f);
            for place in 0..8 {
                let mut bytes = *b"abc 09~z";
                bytes[place] = byte;
                assert_eq!(is_plain(bytes), plain, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn escapes_become_their_characters() {
        let node = node(r#""a\"\\\/\b\u0041\ud83d\ude00\ud800x""#, 9);
        let Ok(Node::Text(text)) = node else { panic!("expected a text, found {node:?}") };
        assert_eq!(text.shown(), "a\"\\/\\u{8}A😀\\u{d800}x");
        let Ok(Node::Text(text)) = super::node("\"\\ud83d\\ude00\"", 9) else { panic!("expected a text") };
        assert_eq!(text, Text::Good("😀".into()));
    }

    #[test]
    fn too_many_values_end_the_reading() {
        assert!(matches!(super::node("[1,2,3]", 3), Err(Unreadable::TooManyValues)));
        assert!(super::node("[1,2,3]", 4).is_ok());
    }
}
