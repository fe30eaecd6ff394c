//! A small tree of one item of a request, the same for both formats; it borrows from the body.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::format::Format;
use crate::domain::batch::Sent;
use crate::domain::is_storable;
use crate::domain::rejection::Found;

/// A scalar's text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Text<'a> {
    /// A text that can be stored.
    Good(Cow<'a, str>),
    /// A text with a character that cannot, as it is shown: `a\u{1}`.
    Bad(Box<str>),
}

/// A value of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node<'a> {
    /// JSON's null; in XML an element that is `nil`.
    Nothing,
    /// A scalar; in XML an element without elements in it.
    Text(Text<'a>),
    /// A list; in XML only the empty one that an attribute `array="true"` declares.
    List(Vec<Node<'a>>),
    /// An object; in XML an element with elements in it.
    Object(Object<'a>),
}

/// The fields of an object, in the order of the document, repeated ones included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object<'a> {
    /// The fields.
    pub entries: Vec<Entry<'a>>,
    /// Text between the elements that is not blank.
    pub stray: Option<Box<str>>,
    /// Its external id stands in an attribute, where it does not count.
    pub has_attributes: bool,
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its key.
    pub key: Text<'a>,
    /// The key that `<field external_id="…">` stands for, where keys are free.
    pub free_key: Option<Box<Text<'a>>>,
    /// Its value.
    pub node: Node<'a>,
}

/// The place in a list that a key stands for: a whole number as it is counted.
pub(super) fn list_place(key: &str) -> Option<u64> {
    key.parse().ok().filter(|place: &u64| place.to_string() == key)
}

impl<'a> Object<'a> {
    /// The values in the order of their keys, if all of these are whole numbers: so PHP writes a list with holes. An object
    /// without fields is the empty list.
    #[must_use]
    pub fn numbered(&self) -> Option<Vec<&Node<'a>>> {
        let mut values = BTreeMap::new();
        for entry in &self.entries {
            let Text::Good(key) = &entry.key else { return None };
            values.insert(list_place(key)?, &entry.node);
        }
        Some(values.into_values().collect())
    }
}

impl<'a> Text<'a> {
    /// A text, good or bad by its characters.
    pub(super) fn checked(text: Cow<'a, str>) -> Self {
        // Most texts hold nothing below a blank and nothing above U+D7FF.
        if text.bytes().all(|b| (b' '..0xed).contains(&b)) || text.chars().all(is_storable) {
            return Text::Good(text);
        }
        let mut shown = ShownText::default();
        for c in text.chars() {
            shown.push(u32::from(c));
        }
        shown.finish()
    }

    /// True for the empty text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Text::Good(text) if text.is_empty())
    }

    /// The text, or how it is shown.
    #[must_use]
    pub fn shown(&self) -> &str {
        match self {
            Text::Good(text) => text,
            Text::Bad(shown) => shown,
        }
    }
}

/// As much of a bad text is kept, in bytes.
const MAX_BAD_BYTES: usize = 8192;

/// Builds a text from code points, of which some may be no characters.
#[derive(Debug, Default)]
pub(super) struct ShownText {
    text: String,
    bad: bool,
}

impl ShownText {
    /// Adds text that may hold any character.
    pub(super) fn push_str(&mut self, text: &str) {
        for c in text.chars() {
            self.push(u32::from(c));
        }
    }

    /// Adds a code point. A bad text is only shown, so that its beginning will do.
    pub(super) fn push(&mut self, code: u32) {
        if self.bad && self.text.len() > MAX_BAD_BYTES {
            return;
        }
        match char::from_u32(code) {
            Some(c) if is_storable(c) => self.text.push(c),
            _ => {
                self.bad = true;
                let _ = write!(self.text, "\\u{{{code:x}}}");
            }
        }
    }

    /// The text.
    pub(super) fn finish<'a>(self) -> Text<'a> {
        if self.bad { Text::Bad(self.text.into()) } else { Text::Good(Cow::Owned(self.text)) }
    }
}

impl Node<'_> {
    /// How a refusal names this value.
    #[must_use]
    pub fn found(&self) -> Found {
        match self {
            Node::Nothing => Found::Nothing,
            Node::Text(text) => Found::text(text.shown()),
            Node::List(_) => Found::List,
            Node::Object(_) => Found::Object,
        }
    }
}

/// Why an item could not be read as a tree.
#[derive(Debug)]
pub enum Unreadable {
    /// It holds more values than all limits together allow.
    TooManyValues,
    /// It is not well-formed, though the document was.
    Malformed,
}

/// Reads one item of a document that was found well-formed; at most `max_values` values.
///
/// # Errors
/// More values than that.
pub fn read<'a>(format: Format, item: &Sent<'a>, max_values: usize) -> Result<Node<'a>, Unreadable> {
    match format {
        Format::Json => super::json::node(item.text, max_values),
        Format::Xml => super::xml_tree::node(item, max_values),
    }
}
