//! Why a value was refused. The wording of every refusal stands here and nowhere else.

use std::sync::Arc;

use super::place::{Place, clip, shown};

/// What a thing that is listed in minor units has in its field `money`.
pub const MINOR: &str = "minor";

/// What was found where something else was expected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Found {
    /// A scalar, by its text.
    Text(String),
    /// An object, or an element with children.
    Object,
    /// A list.
    List,
    /// Nothing at all: a null in a list.
    Nothing,
}

impl Found {
    /// A scalar, by its text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Found::Text(clip(text).to_owned())
    }
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A required value is missing or empty.
    Required,
    /// A required value is missing or empty, and so is the other field that could stand in for it.
    RequiredOr(&'static str),
    /// A required value is missing, and this field stands where it should.
    RequiredNot(&'static str),
    /// One more object stands around what is expected.
    Wrapped {
        /// What is expected: `the fields of a line`.
        what: &'static str,
        /// The key or the element around it.
        found: String,
        /// The list of which it is an item: `lines`.
        list: String,
    },
    /// What should be elements stands in attributes.
    Attributes {
        /// What is expected: `the fields of a line`.
        what: &'static str,
    },
    /// The value is not what the field takes.
    Expected {
        /// What the field takes, with its article.
        what: &'static str,
        /// What stood there.
        found: Found,
    },
    /// A reference to something that the account does not have.
    Unknown {
        /// What kind of thing was referred to.
        thing: &'static str,
        /// The id that was sent.
        id: String,
        /// What the account has, if that is known: see [`known`].
        known: Option<Arc<str>>,
    },
    /// A text that is too long, in characters.
    TooLong {
        /// The limit.
        limit: usize,
        /// The length that was sent.
        sent: usize,
    },
    /// Too many of something.
    TooMany {
        /// What there is too much of, in the plural.
        things: &'static str,
        /// The limit.
        limit: usize,
        /// How many there are, where it is known.
        sent: Option<usize>,
    },
    /// A text with a character that cannot be stored; the text shows it as `\u{1}`.
    Character(String),
    /// An id that has to be unique was sent twice.
    Twice {
        /// What kind of id.
        thing: &'static str,
        /// The id.
        id: String,
    },
    /// Text between the elements inside an element.
    StrayText(String),
    /// A required custom value would go.
    NotClearable,
    /// A definition or a line status that clashes with what is built in or stored.
    Clash {
        /// What it clashes with.
        with: &'static str,
        /// The value that was sent.
        sent: String,
    },
    /// Another field says this here.
    Unsupported {
        /// That field, and how.
        instead: &'static str,
    },
    /// It was listed in minor units, so its amounts are not what they seem.
    MinorUnits,
    /// Nothing is wrong here; the order of this number stopped the request.
    Stopped(usize),
}

impl Problem {
    /// The expected and the found, for a scalar.
    #[must_use]
    pub fn expected(what: &'static str, found: &str) -> Self {
        Problem::Expected { what, found: Found::text(found) }
    }

    /// An unknown reference.
    #[must_use]
    pub fn unknown(thing: &'static str, id: &str) -> Self {
        Problem::Unknown { thing, id: clip(id).to_owned(), known: None }
    }

    /// An unknown reference to one of a few things, which are [`known`].
    #[must_use]
    pub fn unknown_of(thing: &'static str, id: &str, known: &Arc<str>) -> Self {
        Problem::Unknown { thing, id: clip(id).to_owned(), known: Some(Arc::clone(known)) }
    }

    /// One word for programs, the same for ever: `detail` carries it as `code`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Problem::Required | Problem::RequiredOr(_) | Problem::RequiredNot(_) => "required",
            Problem::Expected { .. }
            | Problem::Wrapped { .. }
            | Problem::Attributes { .. }
            | Problem::Unsupported { .. } => "invalid",
            Problem::Unknown { .. } => "unknown",
            Problem::TooLong { .. } => "too_long",
            Problem::TooMany { .. } => "too_many",
            Problem::Character(_) => "character",
            Problem::Twice { .. } => "duplicate",
            Problem::StrayText(_) => "stray_text",
            Problem::NotClearable => "not_clearable",
            Problem::Clash { .. } => "clash",
            Problem::MinorUnits => "minor_units",
            Problem::Stopped(_) => "not_written",
        }
    }

    /// One sentence without its place; `secret`, the request's token, never shows in it.
    #[must_use]
    pub fn text(&self, secret: &str) -> String {
        let quote = |text: &str| format!("\"{}\"", shown(text, secret));
        match self {
            Problem::Required => "required".to_owned(),
            Problem::RequiredOr(other) => format!("required, or {other}"),
            Problem::Expected { what, found } => {
                let found = match found {
                    Found::Text(text) => quote(text),
                    Found::Object => "an object".to_owned(),
                    Found::List => "a list".to_owned(),
                    Found::Nothing => "nothing".to_owned(),
                };
                format!("expected {what}, found {found}")
            }
            Problem::RequiredNot(found) => format!("required, found {} in its place", quote(found)),
            Problem::Wrapped { what, found, list } => {
                format!("expected {what}, found only {} (repeat {list} for each)", quote(found))
            }
            Problem::Attributes { what } => {
                format!("expected {what} as elements, found external_id as an attribute")
            }
            Problem::Unknown { thing, id, known } => {
                let known = known.as_ref().map(|known| format!("; {known}")).unwrap_or_default();
                format!("unknown {thing} {}{known}", quote(id))
            }
            Problem::TooLong { limit, sent } => format!("expected at most {limit} characters, found {sent}"),
            Problem::TooMany { things, limit, sent: Some(sent) } => {
                format!("expected at most {limit} {things}, found {sent}")
            }
            Problem::TooMany { things, limit, sent: None } => format!("expected at most {limit} {things}"),
            Problem::Character(text) => format!("expected only characters that XML can carry, found {}", quote(text)),
            Problem::Twice { thing, id } => format!("{thing} {} is there twice", quote(id)),
            Problem::StrayText(text) => format!("expected only blanks between elements, found {}", quote(text)),
            Problem::NotClearable => "required, so it cannot be cleared".to_owned(),
            Problem::Clash { with, sent } => format!("expected {with}, found {}", quote(sent)),
            Problem::Unsupported { instead } => format!("expected none; send {instead}"),
            Problem::MinorUnits => "listed in minor units: not for import".to_owned(),
            Problem::Stopped(index) => format!("not written: data[{index}] failed"),
        }
    }
}

/// So many of what an account has are named.
const MAX_NAMED: usize = 10;

/// What a reference may name, for whoever named something else: `expected one of new, paid`.
#[must_use]
pub fn known<'n>(names: impl IntoIterator<Item = &'n str>) -> Arc<str> {
    let mut names = names.into_iter();
    let first: Vec<String> = names.by_ref().take(MAX_NAMED).map(|name| shown(name, "")).collect();
    match (first.is_empty(), names.count()) {
        (true, _) => "the account has none".into(),
        (_, 0) => format!("expected one of {}", first.join(", ")).into(),
        (_, more) => format!("expected one of {} or {more} more", first.join(", ")).into(),
    }
}

/// A value that was refused: data in the answer, never the end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Where the value stands.
    pub place: Place,
    /// What is wrong with it.
    pub problem: Problem,
}

impl Rejection {
    /// A refusal at a place.
    #[must_use]
    pub fn new(place: Place, problem: Problem) -> Self {
        Rejection { place, problem }
    }

    /// The answer to an order that is not written since another one failed.
    #[must_use]
    pub fn stopped(by: usize) -> Self {
        Rejection::new(Place::order(by), Problem::Stopped(by))
    }

    /// The number that answers in `error`.
    #[must_use]
    pub fn number(&self) -> u16 {
        match self.problem {
            Problem::Stopped(_) => 424,
            Problem::Clash { .. } => 409,
            _ => 400,
        }
    }

    /// One sentence that starts with the place (contract, section 1); `secret` never shows in it.
    #[must_use]
    pub fn text(&self, secret: &str) -> String {
        let problem = self.problem.text(secret);
        if matches!(self.problem, Problem::Stopped(_)) {
            return problem;
        }
        format!("{}: {problem}", self.place.text(secret))
    }

    /// The place as a JSON Pointer; `secret` never shows in it.
    #[must_use]
    pub fn pointer(&self, secret: &str) -> String {
        self.place.pointer(secret)
    }
}
