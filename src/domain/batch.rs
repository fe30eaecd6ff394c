//! One request to import orders, as it was decoded.

use std::borrow::Cow;

use super::custom_fields::SentDefinition;
use super::line_statuses::SentLineStatus;
use super::orders::Order;
use super::rejection::Rejection;

/// What a bad order does to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Nothing.
    #[default]
    Continue,
    /// Nothing at all is written.
    Abort,
}

/// Everything at the root but the orders.
#[derive(Debug, PartialEq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the request")]
pub struct Head {
    /// In the order sent.
    pub definitions: Vec<SentDefinition>,
    /// In the order sent.
    pub line_statuses: Vec<SentLineStatus>,
    /// Fire nothing.
    pub skip_triggers: bool,
    /// What a bad order does to the others.
    pub on_error: OnError,
    /// Roll back at the end.
    pub dry_run: bool,
    /// More in each result.
    pub detail: bool,
    /// Refuse an item with a field that is not known.
    pub strict: bool,
}

impl Head {
    /// True if the orders may be imported together with those of other requests.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.definitions.is_empty() && self.line_statuses.is_empty() && !self.dry_run && !self.strict
    }
}

/// The text of an order in a request, not yet decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent<'a> {
    /// All of it.
    pub text: &'a str,
    /// Its external id, if that stands there without escapes.
    pub external_id: Option<&'a str>,
    /// The start tag of the document's root, if it binds prefixes to the namespace of `nil`; else empty. The text means what it
    /// says together with this.
    pub root: &'a str,
}

impl<'a> Sent<'a> {
    /// A text by itself.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        Sent { text, external_id: None, root: "" }
    }
}

/// An order of a request, good or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<'a> {
    /// The external id as the answer names it: empty if it is missing or unusable.
    pub external_id: Cow<'a, str>,
    /// The order, or why it was refused.
    pub order: Result<Order<'a>, Rejection>,
}
