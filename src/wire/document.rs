//! A whole body: whether it is well-formed, and where the fields of its root stand.

use std::borrow::Cow;

use super::format::Format;
use super::node::{self, Entry, Node, Object, Text, Unreadable, list_place};
use crate::domain::MIN_TOKEN_CHARS;
use crate::domain::batch::Sent;
use crate::domain::place::{Place, Step};
use crate::domain::rejection::{Found, Problem, Rejection};
use crate::domain::scalars;

/// A field of the root that a call reads.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Its key.
    pub name: &'static str,
    /// For a list: how many items are kept; more are only counted.
    pub max_items: usize,
    /// For a list: the field by which its items are known.
    pub key: Option<&'static str>,
}

/// A list of more items than that may have as many as are allowed.
const MANY_ITEMS: usize = 1_000;
/// But no more than these are expected.
const MOST_EXPECTED_ITEMS: usize = 100_000;

/// Where a field of the root stands.
#[derive(Debug)]
pub struct FieldSpans<'a> {
    /// Its key.
    pub name: &'static str,
    /// All of it; in XML the last element of that name.
    pub whole: &'a str,
    /// The items of a list; in XML the elements of that name.
    pub items: Vec<Sent<'a>>,
    /// How many items there are.
    pub total: usize,
    /// A list; in XML always.
    pub is_list: bool,
}

impl<'a> FieldSpans<'a> {
    pub(super) fn new(name: &'static str) -> Self {
        FieldSpans { name, whole: "", items: Vec::new(), total: 0, is_list: false }
    }

    pub(super) fn add(&mut self, item: Sent<'a>, max_items: usize) {
        self.total += 1;
        if self.items.len() < max_items {
            if self.items.len() == MANY_ITEMS {
                // One step, not many: room that is not used takes no memory.
                self.items.reserve_exact(max_items.min(MOST_EXPECTED_ITEMS).saturating_sub(MANY_ITEMS));
            }
            self.items.push(item);
        }
    }
}

/// False for a word of a broken document that is no token: one that is too short, or the name of a field.
pub(super) fn may_be_secret(word: &str) -> bool {
    word.len() >= MIN_TOKEN_CHARS && !LONG_NAMES.contains(&word)
}

/// The names of fields that are as long as a token can be.
const LONG_NAMES: [&str; 10] = [
    "base_price_per_item",
    "custom_line_statuses",
    "final_price_per_item",
    "final_total_price",
    "manufacturer_name",
    "manufacturer_warranty",
    "min_price_per_item",
    "order_external_id",
    "order_line_external_id",
    "product_external_id",
];

/// Longer ways are cut: nobody reads them.
const MAX_STEPS: usize = 8;

/// A document that cannot be read, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Bytes from the start of the document.
    pub at: usize,
    /// What was expected and what was found.
    pub what: Cow<'static, str>,
    /// It broke since the text ends.
    pub is_cut: bool,
    /// The way from the value that broke to the root, as far as it is known.
    steps: Vec<Step>,
}

impl Malformed {
    pub(super) fn new(at: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Malformed { at, what: what.into(), is_cut: false, steps: Vec::new() }
    }

    /// The fault of a text that ends too early.
    pub(super) fn cut(self) -> Self {
        Malformed { is_cut: true, ..self }
    }

    /// The same, if the last step leads into an object that stands for a list.
    pub(super) fn inside_list(mut self) -> Self {
        let place = match self.steps.last() {
            Some(Step::Field(key)) => list_place(key),
            _ => None,
        };
        match place.and_then(|place| usize::try_from(place).ok()) {
            Some(place) => drop(self.steps.splice(self.steps.len() - 1.., [Step::Item(place)])),
            None => self.steps.push(Step::Item(0)),
        }
        self
    }

    /// The same, inside of what that step leads to.
    pub(super) fn inside(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// `, in data[17]`, if it is known where in the document it broke; up to a key that may be a secret, since the token of a
    /// body that is broken is not known.
    #[must_use]
    pub fn place(&self) -> String {
        let is_shown = |step: &&Step| !matches!(step, Step::Field(key) if may_be_secret(key));
        let place = Place::of(self.steps.iter().rev().take(MAX_STEPS).take_while(is_shown).cloned());
        if place == Place::default() { String::new() } else { format!(", in {}", place.text("")) }
    }

    pub(super) fn too_deep(at: usize, max_depth: usize) -> Self {
        Malformed::new(at, format!("expected at most {max_depth} levels of nesting"))
    }

    /// The sentence that answers: line and column, both from 1, the column in characters.
    #[must_use]
    pub fn text(&self, document: &str) -> String {
        let before = &document[..document.floor_char_boundary(self.at)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}{}: {}", self.place(), self.what)
    }
}

/// A body that is well-formed.
#[derive(Debug)]
pub struct Document<'a> {
    /// Its format.
    pub format: Format,
    fields: Vec<FieldSpans<'a>>,
    /// See [`Sent::root`].
    root: &'a str,
}

impl<'a> Document<'a> {
    /// Splits a text without a byte order mark.
    ///
    /// # Errors
    /// The text is not well-formed, or nested too deep.
    pub fn split(format: Format, text: &'a str, wanted: &[Wanted], max_depth: usize) -> Result<Self, Malformed> {
        let (mut fields, root) = match format {
            Format::Json => (super::json::split(text, wanted, max_depth)?, ""),
            Format::Xml => super::xml::split(text, wanted, max_depth)?,
        };
        // They live as long as the request.
        for field in &mut fields {
            field.items.shrink_to_fit();
        }
        Ok(Document { format, fields, root })
    }

    /// The field of that key, if it is there.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&FieldSpans<'a>> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The first list of the root that has more items than it may: its key, what its items are, how many it may have.
    #[must_use]
    pub fn too_many(&self, bounds: &[(&'static str, &'static str, usize)]) -> Option<Rejection> {
        bounds.iter().find_map(|(name, things, limit)| {
            let sent = self.field(name)?.total;
            let problem = Problem::TooMany { things, limit: *limit, sent: Some(sent) };
            (sent > *limit).then(|| Rejection::new(Place::default().field(name), problem))
        })
    }

    /// The fields of the root that were wanted, as one object. In XML the items of a list are its fields, too.
    ///
    /// # Errors
    /// See [`node::read`].
    pub fn root(&self, max_values: usize) -> Result<Node<'a>, Unreadable> {
        let mut entries = Vec::new();
        for field in self.fields.iter().filter(|field| !field.whole.is_empty()) {
            let mut add = |item: &Sent<'a>| {
                let key = Text::Good(Cow::Borrowed(field.name));
                entries.push(Entry { key, free_key: None, node: self.read(item, max_values)? });
                Ok(())
            };
            if self.format == Format::Xml && !field.items.is_empty() {
                field.items.iter().try_for_each(&mut add)?;
            } else {
                add(&self.whole(field))?;
            }
        }
        Ok(Node::Object(Object { entries, ..Object::default() }))
    }

    /// Reads an item.
    ///
    /// # Errors
    /// See [`node::read`].
    pub fn read(&self, item: &Sent<'a>, max_values: usize) -> Result<Node<'a>, Unreadable> {
        node::read(self.format, item, max_values)
    }

    /// Reads a field as a whole.
    ///
    /// # Errors
    /// See [`node::read`].
    pub fn read_whole(&self, field: &FieldSpans<'a>, max_values: usize) -> Result<Node<'a>, Unreadable> {
        self.read(&self.whole(field), max_values)
    }

    fn whole(&self, field: &FieldSpans<'a>) -> Sent<'a> {
        Sent { text: field.whole, external_id: None, root: self.root }
    }

    /// A text field of the root that is read before everything else: `token` or `format`; without what nobody sees around it.
    ///
    /// # Errors
    /// It is a list or an object.
    pub fn early_text(&self, name: &'static str) -> Result<Option<Text<'a>>, Rejection> {
        let Some(field) = self.field(name) else { return Ok(None) };
        let found = match self.read_whole(field, 2) {
            Ok(Node::Nothing) => return Ok(None),
            Ok(Node::Text(Text::Good(text))) => {
                let text = scalars::id(&text).to_owned();
                return Ok((!text.is_empty()).then_some(Text::Good(text.into())));
            }
            Ok(Node::Text(bad)) => return Ok(Some(bad)),
            Ok(Node::List(items)) if self.format == Format::Xml && items.is_empty() => return Ok(None),
            Ok(node) => node.found(),
            Err(_) if field.whole.starts_with('[') => Found::List,
            Err(_) => Found::Object,
        };
        Err(Rejection::new(Place::default().field(name), Problem::Expected { what: "a text", found }))
    }
}
