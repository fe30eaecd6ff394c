//! The lists at a request's root, and the items in them.

use std::borrow::Cow;

use super::document::{Document, FieldSpans};
use super::fields::Fields;
use super::format::Format;
use super::node::{self, Node, Text, Unreadable};
use crate::config::Limits;
use crate::domain::batch::Sent;
use crate::domain::place::Trail;
use crate::domain::rejection::{Found, MINOR, Problem, Rejection};

/// A list at the root; `None` if it is absent.
pub(super) fn list<'d, 'a>(document: &'d Document<'a>, name: &'static str) -> Option<&'d FieldSpans<'a>> {
    let field = document.field(name)?;
    if document.format == Format::Json {
        return field.is_list.then_some(field);
    }
    let lone_empty = field.total == 1 && matches!(document.read_whole(field, 1), Ok(Node::List(_) | Node::Nothing));
    (!lone_empty).then_some(field)
}

/// Decodes a list of objects at the root.
pub(super) fn items<T>(
    document: &Document<'_>,
    name: &'static str,
    max_values: usize,
    decode: impl Fn(Fields<'_, '_>) -> Result<T, Rejection>,
) -> Result<Vec<T>, Rejection> {
    let Some(field) = list(document, name) else { return Ok(Vec::new()) };
    let root = Trail::Field(&Trail::Root, name);
    let decode = |(index, item): (usize, &Sent<'_>)| {
        let trail = Trail::Item(&root, index);
        let node = readable(document.read(item, max_values), trail, max_values)?;
        decode(Fields::of(document.format, &node, trail)?)
    };
    field.items.iter().enumerate().map(decode).collect()
}

/// A node, or the refusal of what could not be read.
pub(super) fn readable<'a>(
    node: Result<Node<'a>, Unreadable>,
    trail: Trail<'_>,
    limit: usize,
) -> Result<Node<'a>, Rejection> {
    node.map_err(|unreadable| match unreadable {
        Unreadable::TooManyValues => {
            Rejection::new(trail.place(), Problem::TooMany { things: "values", limit, sent: None })
        }
        Unreadable::Malformed => {
            Rejection::new(trail.place(), Problem::Expected { what: "an object", found: Found::Nothing })
        }
    })
}

/// Decodes an item of `data`: its external id as the answer names it, and what `decode` makes of its fields.
pub(super) fn decoded<'a, T>(
    format: Format,
    index: usize,
    item: &Sent<'a>,
    limits: &Limits,
    decode: impl FnOnce(&Fields<'_, 'a>) -> Result<T, Rejection>,
) -> (Cow<'a, str>, Result<T, Rejection>) {
    let data = Trail::Field(&Trail::Root, "data");
    let trail = Trail::Item(&data, index);
    let node = match readable(node::read(format, item, limits.max_values()), trail, limits.max_values()) {
        Ok(node) => node,
        Err(rejection) => return (Cow::Borrowed(""), Err(rejection)),
    };
    decoded_node(format, &node, trail, decode)
}

/// The same of an item that was read.
pub(super) fn decoded_node<'a, T>(
    format: Format,
    node: &Node<'a>,
    trail: Trail<'_>,
    decode: impl FnOnce(&Fields<'_, 'a>) -> Result<T, Rejection>,
) -> (Cow<'a, str>, Result<T, Rejection>) {
    let (fields, stray) = match Fields::with_stray(format, node, trail) {
        Ok(fields) => fields,
        Err(rejection) => return (Cow::Borrowed(""), Err(rejection)),
    };
    let external_id = fields.required_id("external_id").unwrap_or_default();
    (external_id, stray.map_or_else(|| decode(&fields), Err))
}

/// Refuses what was listed in minor units: its amounts would be taken for a hundred times as much.
pub(super) fn refuse_minor(fields: &Fields<'_, '_>) -> Result<(), Rejection> {
    match fields.node("money") {
        Some(Node::Text(Text::Good(money))) if money == MINOR => Err(fields.refuse("money", Problem::MinorUnits)),
        _ => Ok(()),
    }
}
