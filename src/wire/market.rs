//! The schemas of the market's small calls: lists, look-ups, changes of one thing, deletions (contract, section 6).

use std::borrow::Cow;

use super::document::{Document, Wanted};
use super::fields::{Fields, set};
use super::items::readable;
use super::node::Node;
use crate::config::Limits;
use crate::domain::place::Trail;
use crate::domain::rejection::{Problem, Rejection};
use crate::domain::scalars;

/// Items of a page unless the call says otherwise, and most of them.
const PAGE: (i64, i64) = (100, 1_000);

/// The fields of the root that some call reads.
#[must_use]
pub fn wanted(limits: &Limits) -> Vec<Wanted> {
    let list = |name, max_items| Wanted { name, max_items, key: None };
    let scalars = [
        "token",
        "format",
        "from_id",
        "limit",
        "endpoint",
        "id",
        "external_id",
        "order_external_id",
        "order_line_external_id",
        "status_external_id",
        "skip_triggers",
    ];
    let lists = ["ids", "external_ids"].map(|name| list(name, limits.max_orders));
    let others = OTHER_PAGING.map(|(name, _)| name);
    scalars.into_iter().chain(others).map(|name| list(name, 0)).chain(lists).collect()
}

/// A breach of the number of ids, which answers 413.
#[must_use]
pub fn too_many(document: &Document<'_>, limits: &Limits) -> Option<Rejection> {
    document.too_many(&[("ids", "ids", limits.max_orders), ("external_ids", "ids", limits.max_orders)])
}

/// Reads the fields of a call's root.
fn with_root<T>(
    document: &Document<'_>,
    limits: &Limits,
    read: impl FnOnce(Fields<'_, '_>) -> Result<T, Rejection>,
) -> Result<T, Rejection> {
    let max_values = limits.max_values().max(2 * limits.max_orders);
    let root = readable(document.root(max_values), Trail::Root, max_values)?;
    read(Fields::of(document.format, &root, Trail::Root)?)
}

fn text(fields: &Fields<'_, '_>, key: &str) -> Result<Option<String>, Rejection> {
    Ok(set(fields.id(key)?).map(Cow::into_owned))
}

const EXPECTED_ID: &str = "a whole number from 0";

fn internal_id(text: &str) -> Option<i64> {
    scalars::integer(text).filter(|id| *id >= 0)
}

fn id(fields: &Fields<'_, '_>, key: &str) -> Result<Option<i64>, Rejection> {
    let Some(text) = text(fields, key)? else { return Ok(None) };
    internal_id(&text).map(Some).ok_or_else(|| fields.refuse(key, Problem::expected(EXPECTED_ID, &text)))
}

/// Fields by which other lists are paged, and what says it here.
const OTHER_PAGING: [(&str, &str); 17] = [
    ("page", FROM_ID),
    ("page_no", FROM_ID),
    ("page_number", FROM_ID),
    ("page_token", FROM_ID),
    ("next_from_id", FROM_ID),
    ("offset", FROM_ID),
    ("skip", FROM_ID),
    ("start", FROM_ID),
    ("cursor", FROM_ID),
    ("after", FROM_ID),
    ("last_id", FROM_ID),
    ("per_page", "limit"),
    ("page_size", "limit"),
    ("perPage", "limit"),
    ("pageSize", "limit"),
    ("size", "limit"),
    ("count", "limit"),
];
const FROM_ID: &str = "from_id, which takes the next_from_id of the page before";

/// What a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The internal id behind which it begins; 0 for the first page.
    pub after: i64,
    /// Most items.
    pub limit: i64,
    /// Only orders of this touchpoint.
    pub endpoint: Option<String>,
}

/// Decodes what a list is asked for. `kind` is the letter that its pages are known by.
///
/// # Errors
/// The first field that is wrong; so do the functions below.
pub fn page(document: &Document<'_>, limits: &Limits, kind: char) -> Result<Page, Rejection> {
    with_root(document, limits, |fields| {
        // An empty one asks for nothing.
        let is_sent = |node: &Node<'_>| !matches!(node, Node::Text(text) if text.is_empty());
        let other = OTHER_PAGING.into_iter().find(|(name, _)| fields.node(name).is_some_and(is_sent));
        if let Some((name, ours)) = other {
            return Err(fields.refuse(name, Problem::Unsupported { instead: ours }));
        }
        let after = match text(&fields, "from_id")? {
            None => 0,
            Some(from_id) => after(&from_id, kind)
                .ok_or_else(|| fields.refuse("from_id", Problem::expected("a next_from_id of this list", &from_id)))?,
        };
        let (default, max) = PAGE;
        let limit = match text(&fields, "limit")? {
            None => default,
            Some(limit) => scalars::integer(&limit)
                .filter(|limit| (1..=max).contains(limit))
                .ok_or_else(|| fields.refuse("limit", Problem::expected("a whole number from 1 to 1000", &limit)))?,
        };
        Ok(Page { after, limit, endpoint: text(&fields, "endpoint")? })
    })
}

/// What a page's `next_from_id` says.
#[must_use]
pub fn from_id(kind: char, last: i64) -> String {
    format!("{kind}{last}")
}

fn after(from_id: &str, kind: char) -> Option<i64> {
    let digits = from_id.strip_prefix(kind)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// An order as a call names it: by one of its ids, or by both.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedOrder {
    /// The internal id.
    pub id: Option<i64>,
    /// The business key.
    pub external_id: Option<String>,
    /// Fire nothing.
    pub skip_triggers: bool,
}

/// Decodes which order is meant.
///
/// # Errors
/// See [`page`]; neither id is there.
pub fn named_order(document: &Document<'_>, limits: &Limits) -> Result<NamedOrder, Rejection> {
    with_root(document, limits, |fields| {
        let (id, external_id) = (id(&fields, "id")?, text(&fields, "external_id")?);
        if id.is_none() && external_id.is_none() {
            return Err(fields.refuse("external_id", Problem::RequiredOr("id")));
        }
        Ok(NamedOrder { id, external_id, skip_triggers: fields.flag("skip_triggers")?.unwrap_or_default() })
    })
}

/// A new status of a line.
#[derive(Debug, PartialEq, Eq)]
pub struct LineStatusUpdate {
    /// The order's external id.
    pub order: String,
    /// The line's external id.
    pub line: String,
    /// The status.
    pub status: String,
    /// Fire nothing.
    pub skip_triggers: bool,
}

/// Decodes a new status of a line.
///
/// # Errors
/// See [`page`].
pub fn line_status_update(document: &Document<'_>, limits: &Limits) -> Result<LineStatusUpdate, Rejection> {
    with_root(document, limits, |fields| {
        let required = |key| fields.required_id(key).map(Cow::into_owned);
        Ok(LineStatusUpdate {
            order: required("order_external_id")?,
            line: required("order_line_external_id")?,
            status: required("status_external_id")?,
            skip_triggers: fields.flag("skip_triggers")?.unwrap_or_default(),
        })
    })
}

/// The products or SKUs that are to be deleted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Internal ids.
    pub ids: Vec<i64>,
    /// Business keys.
    pub external_ids: Vec<String>,
}

/// Decodes what is to be deleted.
///
/// # Errors
/// See [`page`]; there is no id.
pub fn deletion(document: &Document<'_>, limits: &Limits) -> Result<Deletion, Rejection> {
    with_root(document, limits, |fields| {
        let bound = ("ids", limits.max_orders);
        let ids = fields.integers("ids", bound, EXPECTED_ID, internal_id)?.unwrap_or_default();
        let external_ids = fields.ids("external_ids", "ids", limits.max_orders)?.unwrap_or_default();
        let external_ids: Vec<_> = external_ids.into_iter().map(Cow::into_owned).collect();
        if ids.is_empty() && external_ids.is_empty() {
            return Err(fields.refuse("external_ids", Problem::RequiredOr("ids")));
        }
        Ok(Deletion { ids, external_ids })
    })
}
