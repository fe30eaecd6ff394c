//! Where in a request something stands: `data[3].lines[0].status`.

use super::scalars::is_invisible;

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

    /// The place at the end of those steps.
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Place(steps.into_iter().collect())
    }

    /// The place of what stands in the only order of a request, which stands in `data`, or beside it where `outside` says so.
    #[must_use]
    pub fn of_only_order(self, outside: impl Fn(&str) -> bool) -> Self {
        let inside = |step: &Step| matches!(step, Step::Field(key) if key == "data") || matches!(step, Step::Item(_));
        let rest: Vec<Step> = match self.0.iter().position(|step| !inside(step)) {
            Some(first) => self.0[first..].to_vec(),
            None => Vec::new(),
        };
        match rest.first() {
            Some(Step::Field(key)) if outside(key) => Place(rest),
            _ => Place(std::iter::once(Step::Field("data".to_owned())).chain(rest).collect()),
        }
    }

    /// The field of that key, inside this place.
    #[must_use]
    pub fn field(mut self, key: &str) -> Self {
        self.0.push(Step::Field(clip(key).to_owned()));
        self
    }

    /// The item of that number, inside this place.
    #[must_use]
    pub fn item(mut self, index: usize) -> Self {
        self.0.push(Step::Item(index));
        self
    }

    /// The place as a JSON Pointer (RFC 6901): `/data/3/lines/0/status`; without `secret`.
    #[must_use]
    pub fn pointer(&self, secret: &str) -> String {
        let mut pointer = String::new();
        for step in &self.0 {
            pointer.push('/');
            match step {
                Step::Field(key) => {
                    pointer.push_str(&redact(&printable(key), secret).replace('~', "~0").replace('/', "~1"));
                }
                Step::Item(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }

    /// The place as a person reads it: `data[3].lines[0].status`; without `secret`.
    #[must_use]
    pub fn text(&self, secret: &str) -> String {
        let mut text = String::new();
        for step in &self.0 {
            match step {
                Step::Field(key) if key.is_empty() => text.push_str("[\"\"]"),
                Step::Field(key) => {
                    text.push_str(if text.is_empty() { "" } else { "." });
                    text.push_str(&shown(key, secret));
                }
                Step::Item(index) => text.extend(["[", &index.to_string(), "]"]),
            }
        }
        text
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
/// The longest piece of a client's text that a refusal keeps, in bytes: enough that a cut token lies behind
/// all that is shown, however many whole ones stand before it.
const MAX_KEPT_BYTES: usize = 4096;

/// The beginning of a client's text, as much as a refusal keeps.
#[must_use]
pub fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_KEPT_BYTES)]
}

/// A client's text as it is shown to it: without `secret`, in one line, cut at 64 characters.
pub(super) fn shown(text: &str, secret: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in redact(&printable(text), secret).chars() {
        // What nobody sees is what is wrong, more often than not.
        if c != ' ' && is_invisible(c) { line.extend(c.escape_unicode()) } else { line.push(c) }
    }
    let text = line;
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `text` with `[token]` in the place of `secret`, in upper or lower case: some keys are folded.
#[must_use]
pub fn redact(text: &str, secret: &str) -> String {
    if secret.is_empty() {
        return text.to_owned();
    }
    let (folded, secret) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let mut redacted = String::new();
    let mut rest = 0;
    for (at, _) in folded.match_indices(&secret) {
        redacted.push_str(&text[rest..at]);
        redacted.push_str("[token]");
        rest = at + secret.len();
    }
    redacted + &text[rest..]
}

/// A client's text with the characters that XML cannot carry written as `\u{1}`.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if super::is_storable(c) {
            printable.push(c);
        } else {
            printable.extend(c.escape_unicode());
        }
    }
    printable
}
