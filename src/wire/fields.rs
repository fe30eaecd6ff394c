//! Reads the fields of one object, in either format, and says where and how one is wrong.

mod lists;

use std::borrow::Cow;

use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::format::Format;
use super::node::{Entry, Node, Text};
use crate::domain::custom_fields::{EXPECTED_BOOL, EXPECTED_TIME, SentValue};
use crate::domain::orders::SentValues;
use crate::domain::place::{Trail, clip};
use crate::domain::rejection::{Problem, Rejection};
use crate::domain::{MAX_KEY_CHARS, MAX_TEXT_CHARS, Patch, scalars};

/// The fields of an object, and the way to it.
#[derive(Clone, Copy)]
pub struct Fields<'n, 'a> {
    /// The format decides how lists and repeated fields are told.
    format: Format,
    entries: &'n [Entry<'a>],
    /// Its external id stands in an attribute.
    has_attributes: bool,
    /// Where the object stands.
    pub trail: Trail<'n>,
}

const EXPECTED_AMOUNT: &str = "a decimal like 12.50, with at most 18 digits before the point";
const EXPECTED_PRICE: &str = "a decimal like 12.50, from 0, with at most 18 digits before the point";
const EXPECTED_COUNT: &str = "a whole number from 0 to 2147483647";

/// The fields that hold objects: where nothing else stands, what is missing is missing.
const OBJECTS: [&str; 11] = [
    "barcode",
    "categories",
    "custom_fields",
    "default_value",
    "enum_values",
    "lines",
    "pictures",
    "profile",
    "regional_data",
    "sku",
    "tags",
];

impl<'n, 'a> Fields<'n, 'a> {
    /// The fields of a value that has to be an object. An empty list and a blank text are the empty one.
    ///
    /// # Errors
    /// The value is no object, or has text between its elements.
    pub fn of(format: Format, node: &'n Node<'a>, trail: Trail<'n>) -> Result<Self, Rejection> {
        match Self::with_stray(format, node, trail)? {
            (fields, None) => Ok(fields),
            (_, Some(stray)) => Err(stray),
        }
    }

    /// The same, but text between the elements is told beside the fields.
    ///
    /// # Errors
    /// The value is no object.
    pub fn with_stray(
        format: Format,
        node: &'n Node<'a>,
        trail: Trail<'n>,
    ) -> Result<(Self, Option<Rejection>), Rejection> {
        let refuse = |problem| Rejection::new(trail.place(), problem);
        let mut has_attributes = false;
        let (entries, stray): (&[Entry<'a>], _) = match node {
            Node::Object(object) => {
                has_attributes = object.has_attributes;
                (&object.entries, object.stray.as_deref())
            }
            Node::List(items) if items.is_empty() => (&[], None),
            Node::Text(Text::Good(text)) if scalars::trimmed(text).is_empty() => (&[], None),
            other => return Err(refuse(Problem::Expected { what: "an object", found: other.found() })),
        };
        let stray = stray.map(|text| refuse(Problem::StrayText(clip(text).to_owned())));
        Ok((Fields { format, entries, has_attributes, trail }, stray))
    }

    /// A refusal of a field.
    #[must_use]
    pub fn refuse(&self, key: &str, problem: Problem) -> Rejection {
        Rejection::new(Trail::Field(&self.trail, key).place(), problem)
    }

    /// The value of a field, the last one if it is there twice; a null is none.
    #[must_use]
    pub fn node(&self, key: &str) -> Option<&'n Node<'a>> {
        let entry = self.entries.iter().rev().find(|entry| matches!(&entry.key, Text::Good(name) if name == key))?;
        (entry.node != Node::Nothing).then_some(&entry.node)
    }

    /// A scalar's text, which may be empty.
    fn scalar(&self, key: &str, what: &'static str) -> Result<Option<Cow<'a, str>>, Rejection> {
        match self.node(key) {
            None => Ok(None),
            Some(Node::Text(Text::Good(text))) => Ok(Some(text.clone())),
            Some(Node::Text(Text::Bad(shown))) => Err(self.refuse(key, Problem::Character(shown.to_string()))),
            Some(Node::List(items)) if self.format == Format::Xml && items.is_empty() => Ok(Some(Cow::Borrowed(""))),
            Some(other) => Err(self.refuse(key, Problem::Expected { what, found: other.found() })),
        }
    }

    /// A scalar that is converted: absent, empty, or a value.
    fn converted<T>(
        &self,
        key: &str,
        what: &'static str,
        convert: fn(&str) -> Option<T>,
    ) -> Result<Patch<T>, Rejection> {
        match self.scalar(key, what)? {
            None => Ok(Patch::Keep),
            Some(text) if scalars::trimmed(&text).is_empty() => Ok(Patch::Clear),
            Some(text) => match convert(&text) {
                Some(value) => Ok(Patch::Set(value)),
                None => Err(self.refuse(key, Problem::expected(what, &text))),
            },
        }
    }

    /// A text of at most so many characters: absent, empty, or a text.
    pub(super) fn limited(&self, key: &str, limit: usize) -> Result<Patch<Cow<'a, str>>, Rejection> {
        match self.scalar(key, "a text")? {
            None => Ok(Patch::Keep),
            Some(text) if text.is_empty() => Ok(Patch::Clear),
            Some(text) => match too_long(&text, limit) {
                Some(problem) => Err(self.refuse(key, problem)),
                None => Ok(Patch::Set(text)),
            },
        }
    }

    /// A name or another short text, as it is.
    ///
    /// # Errors
    /// It is no text, too long, or holds a character that cannot be stored. So do the methods below.
    pub fn name(&self, key: &str) -> Result<Patch<Cow<'a, str>>, Rejection> {
        self.limited(key, MAX_KEY_CHARS)
    }

    /// A name that has to be there.
    ///
    /// # Errors
    /// It is missing or empty, too.
    pub fn required_name(&self, key: &str) -> Result<Cow<'a, str>, Rejection> {
        set(self.name(key)?).ok_or_else(|| self.refuse(key, Problem::Required))
    }

    /// An id or a key of a look-up, without what nobody sees around it.
    ///
    /// # Errors
    /// See [`Fields::name`].
    pub fn id(&self, key: &str) -> Result<Patch<Cow<'a, str>>, Rejection> {
        let Some(text) = self.scalar(key, "a text")?.map(id) else { return Ok(Patch::Keep) };
        match too_long(&text, MAX_KEY_CHARS) {
            Some(problem) => Err(self.refuse(key, problem)),
            None if text.is_empty() => Ok(Patch::Clear),
            None => Ok(Patch::Set(text)),
        }
    }

    /// An id that has to be there.
    ///
    /// # Errors
    /// It is missing or empty, too.
    pub fn required_id(&self, key: &str) -> Result<Cow<'a, str>, Rejection> {
        set(self.id(key)?).ok_or_else(|| self.refuse(key, Problem::Required))
    }

    /// The external id of an item of a list; `what` is the fields of such an item.
    ///
    /// # Errors
    /// It is missing; where all fields stand in one more object, that is named.
    pub fn external_id(&self, what: &'static str) -> Result<Cow<'a, str>, Rejection> {
        let key = "external_id";
        set(self.id(key)?).ok_or_else(|| {
            let list = if let Trail::Item(Trail::Field(_, list), _) = self.trail { *list } else { "" };
            match self.wrapper(list) {
                _ if self.has_attributes => Rejection::new(self.trail.place(), Problem::Attributes { what }),
                Some(found) => {
                    let (found, list) = (found.to_owned(), list.to_owned());
                    Rejection::new(self.trail.place(), Problem::Wrapped { what, found, list })
                }
                None => self.refuse(key, Problem::Required),
            }
        })
    }

    /// The key of the only object, or of a list of them, that stands in an item of a list where its fields should.
    fn wrapper(&self, list: &str) -> Option<&'n str> {
        let is_object = |node: &Node<'_>| matches!(node, Node::Object(_));
        let holds = |node: &Node<'_>| match node {
            Node::List(items) => !items.is_empty() && items.iter().all(is_object),
            node => is_object(node),
        };
        only_key(self.entries, holds).filter(|name| !list.is_empty() && (*name == list || !OBJECTS.contains(name)))
    }

    /// A long text.
    ///
    /// # Errors
    /// See [`Fields::name`].
    pub fn long_text(&self, key: &str) -> Result<Patch<Cow<'a, str>>, Rejection> {
        self.limited(key, MAX_TEXT_CHARS)
    }

    /// A word out of a fixed list.
    ///
    /// # Errors
    /// It is another one.
    pub fn word<T: Copy>(&self, key: &str, what: &'static str, words: &[(&str, T)]) -> Result<Option<T>, Rejection> {
        let Some(text) = self.scalar(key, what)?.map(id).filter(|text| !text.is_empty()) else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => Err(self.refuse(key, Problem::expected(what, &text))),
        }
    }

    /// A word out of a fixed list that has to be there.
    ///
    /// # Errors
    /// It is missing, or another one.
    pub fn required_word<T: Copy>(&self, key: &str, what: &'static str, words: &[(&str, T)]) -> Result<T, Rejection> {
        self.word(key, what, words)?.ok_or_else(|| self.refuse(key, Problem::Required))
    }

    /// A flag; empty counts as absent.
    ///
    /// # Errors
    /// It is no boolean.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Rejection> {
        Ok(set(self.optional_flag(key)?))
    }

    /// A flag that may be without a value.
    ///
    /// # Errors
    /// It is no boolean.
    pub fn optional_flag(&self, key: &str) -> Result<Patch<bool>, Rejection> {
        self.converted(key, EXPECTED_BOOL, scalars::boolean)
    }

    /// An amount of money, which may be negative.
    ///
    /// # Errors
    /// It is no such decimal.
    pub fn amount(&self, key: &str) -> Result<Patch<Decimal>, Rejection> {
        self.converted(key, EXPECTED_AMOUNT, scalars::amount)
    }

    /// An amount of money from 0.
    ///
    /// # Errors
    /// It is no such decimal.
    pub fn price(&self, key: &str) -> Result<Patch<Decimal>, Rejection> {
        self.converted(key, EXPECTED_PRICE, scalars::price)
    }

    /// An amount of money that has to be there.
    ///
    /// # Errors
    /// It is missing, or no such decimal.
    pub fn required_amount(&self, key: &str) -> Result<Decimal, Rejection> {
        set(self.amount(key)?).ok_or_else(|| self.refuse(key, Problem::Required))
    }

    /// A time; what is empty, or stands for no date, counts as absent.
    ///
    /// # Errors
    /// It is no time.
    pub fn time(&self, key: &str) -> Result<Option<OffsetDateTime>, Rejection> {
        let convert = |text: &str| if scalars::is_no_date(text) { Some(None) } else { scalars::time(text).map(Some) };
        Ok(set(self.converted(key, EXPECTED_TIME, convert)?).flatten())
    }

    /// The time at which something ends; empty counts as absent, but not what stands for no date: it would never end.
    ///
    /// # Errors
    /// It is no time.
    pub fn end_time(&self, key: &str) -> Result<Option<OffsetDateTime>, Rejection> {
        Ok(set(self.converted(key, EXPECTED_TIME, scalars::time)?))
    }

    /// A number of items; empty counts as absent.
    ///
    /// # Errors
    /// It is no whole number from 0 to 2147483647.
    pub fn count(&self, key: &str) -> Result<Option<i32>, Rejection> {
        Ok(set(self.optional_count(key)?))
    }

    /// A number of items that may be without a value.
    ///
    /// # Errors
    /// See [`Fields::count`].
    pub fn optional_count(&self, key: &str) -> Result<Patch<i32>, Rejection> {
        let count = |text: &str| scalars::integer(text).and_then(|n| i32::try_from(n).ok()).filter(|n| *n >= 0);
        self.converted(key, EXPECTED_COUNT, count)
    }

    /// The format that the object was read from.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The keys and values of an object with free keys, in the order of the document, repeated ones included.
    pub fn free(&self) -> impl Iterator<Item = (&'n Text<'a>, &'n Node<'a>)> {
        self.entries.iter().map(|entry| (entry.free_key.as_deref().unwrap_or(&entry.key), &entry.node))
    }

    /// Custom values, by the external id of their field.
    ///
    /// # Errors
    /// It is no object, or holds too many values.
    pub fn custom_values(&self, key: &str, limit: usize) -> Result<SentValues<'a>, Rejection> {
        let mut values = SentValues::new();
        let Some(node) = self.node(key) else { return Ok(values) };
        let fields = Fields::of(self.format, node, Trail::Field(&self.trail, key))?;
        for (name, node) in fields.free() {
            let name = match name {
                Text::Good(name) => id(name.clone()),
                Text::Bad(shown) => return Err(fields.refuse(shown, Problem::Character(shown.to_string()))),
            };
            match sent_value(self.format, node) {
                Some(value) => values.insert(name, value),
                None => values.remove(&name),
            };
        }
        if values.len() > limit {
            let problem = Problem::TooMany { things: "custom values", limit, sent: Some(values.len()) };
            return Err(self.refuse(key, problem));
        }
        Ok(values)
    }
}

/// A custom value before its definition is known; `None` for a null, which is absent.
fn sent_value<'a>(format: Format, node: &Node<'a>) -> Option<SentValue<'a>> {
    Some(match node {
        Node::Nothing => return None,
        Node::Text(text) if text.is_empty() => SentValue::Clear,
        Node::Text(Text::Good(text)) => SentValue::Text(text.clone()),
        Node::Text(Text::Bad(shown)) => SentValue::Character(shown.to_string()),
        Node::List(items) if format == Format::Xml && items.is_empty() => SentValue::Clear,
        other => SentValue::Other(other.found()),
    })
}

/// The key of all fields of an object, if they have the same, and their values are of that kind.
fn only_key<'n>(entries: &'n [Entry<'_>], is_value: impl Fn(&Node<'_>) -> bool) -> Option<&'n str> {
    let Text::Good(name) = &entries.first()?.key else { return None };
    let is_it = |entry: &Entry<'_>| matches!(&entry.key, Text::Good(key) if key == name) && is_value(&entry.node);
    entries.iter().all(is_it).then_some(name)
}

/// An id or a word without what nobody sees around it.
fn id(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(scalars::id(text)),
        Cow::Owned(text) if scalars::id(&text).len() < text.len() => Cow::Owned(scalars::id(&text).to_owned()),
        owned @ Cow::Owned(_) => owned,
    }
}

/// The value, if one was sent.
pub fn set<T>(patch: Patch<T>) -> Option<T> {
    match patch {
        Patch::Set(value) => Some(value),
        Patch::Keep | Patch::Clear => None,
    }
}

/// What is wrong with a text that has more characters than that.
fn too_long(text: &str, limit: usize) -> Option<Problem> {
    // No text has more characters than bytes.
    if text.len() <= limit {
        return None;
    }
    let sent = text.chars().count();
    (sent > limit).then_some(Problem::TooLong { limit, sent })
}
