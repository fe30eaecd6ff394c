//! Where in a request something stands: `data[3].lines[0].status`.

use std::fmt;

/// One step from a value to one inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a field, by its key.
    Field(String),
    /// Into a list, counted from 0.
    Item(usize),
}

/// A place in a request, from its root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place(Vec<Step>);

impl Place {
    /// The place of an order.
    #[must_use]
    pub fn order(index: usize) -> Self {
        Place(vec![Step::Field("data".to_owned()), Step::Item(index)])
    }

    /// The place of an item of a list at the root.
    #[must_use]
    pub fn root_item(list: &str, index: usize) -> Self {
        Place(vec![Step::Field(list.to_owned()), Step::Item(index)])
    }

    /// The field of that key, inside this place.
    #[must_use]
    pub fn field(mut self, key: &str) -> Self {
        self.0.push(Step::Field(key.to_owned()));
        self
    }

    /// The item of that number, inside this place.
    #[must_use]
    pub fn item(mut self, index: usize) -> Self {
        self.0.push(Step::Item(index));
        self
    }

    /// The place as a JSON Pointer (RFC 6901): `/data/3/lines/0/status`.
    #[must_use]
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.0 {
            pointer.push('/');
            match step {
                Step::Field(key) => pointer.push_str(&printable(key).replace('~', "~0").replace('/', "~1")),
                Step::Item(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(key) if key.is_empty() => f.write_str("[\"\"]")?,
                Step::Field(key) if depth == 0 => f.write_str(&printable(key))?,
                Step::Field(key) => write!(f, ".{}", cut(&printable(key)))?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A place while a request is being read: a chain on the stack that costs nothing until it is needed.
#[derive(Debug, Clone, Copy)]
pub enum Trail<'t> {
    /// The whole request.
    Root,
    /// A field of what the trail before leads to.
    Field(&'t Trail<'t>, &'t str),
    /// An item of the list that the trail before leads to.
    Item(&'t Trail<'t>, usize),
}

impl Trail<'_> {
    /// The place that the trail leads to.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Trail::Root => Place::default(),
            Trail::Field(before, key) => before.place().field(key),
            Trail::Item(before, index) => before.place().item(*index),
        }
    }
}

/// The longest piece of a client's text that is ever shown to it, in characters.
const MAX_SHOWN_CHARS: usize = 64;

/// A client's text, cut at 64 characters.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A client's text with the characters that XML cannot carry written as `\u{1}`.
pub(super) fn printable(text: &str) -> String {
    if text.chars().all(super::is_storable) {
        return text.to_owned();
    }
    let mut shown = String::new();
    for c in text.chars() {
        if super::is_storable(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    shown
}
