//! The schemas of the market's small calls: lists, look-ups, changes of one thing, deletions (contract, section 6).

use std::borrow::Cow;

use super::document::{Document, Wanted};
use super::fields::{Fields, set};
use super::items::readable;
use super::known::{self, Schema};
use super::node::{Node, Text};
use super::orders_import::{email, phone};
use crate::config::Limits;
use crate::domain::matching::Key;
use crate::domain::orders::OrderFilter;
use crate::domain::place::Trail;
use crate::domain::rejection::{Found, Problem, Rejection, known};
use crate::domain::scalars;

/// Items of a page unless the call says otherwise, and most of them.
const PAGE: (i64, i64) = (100, 1_000);

/// By what a list of orders can be narrowed down.
const FILTERS: [&str; 7] = ["external_ids", "statuses", "endpoint", "updated_from", "updated_to", "email", "phone"];

/// Fields by which some list can be narrowed down or turned round; and the ids of deletions.
const OF_SOME_LIST: [&str; 3] = ["ids", "newest_first", "with_customer"];
/// A field of orders that clients send to every call.
const OF_EVERY_CALL: &str = "skip_triggers";

/// The fields of the root that some call reads, lists aside.
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
        "detail",
    ];
    let lists = ["ids", "external_ids", "statuses"].map(|name| list(name, limits.max_orders));
    scalars.into_iter().map(|name| list(name, 0)).chain(lists).collect()
}

/// The fields of the root that the list of such items reads, those that are no filters and refused included.
#[must_use]
pub fn wanted_of_list(limits: &Limits, schema: &Schema) -> Vec<Wanted> {
    let mut wanted = wanted(limits);
    let own = FILTERS.into_iter().chain(OF_SOME_LIST);
    let others = OTHER_PAGING.into_iter().map(|(name, _)| name);
    for name in own.chain(others).chain(schema.all()) {
        if wanted.iter().all(|wanted| wanted.name != name) {
            wanted.push(Wanted { name, max_items: 0, key: None });
        }
    }
    wanted
}

/// A breach of the number of ids, which answers 413.
#[must_use]
pub fn too_many(document: &Document<'_>, limits: &Limits) -> Option<Rejection> {
    let lists = [("ids", "ids"), ("external_ids", "ids"), ("statuses", "statuses")];
    document.too_many(&lists.map(|(name, things)| (name, things, limits.max_orders)))
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
}

/// Decodes what a list of products or SKUs is asked for. `kind` is the letter that its pages are known by.
///
/// # Errors
/// The first field that is wrong; so do the functions below.
pub fn page(document: &Document<'_>, limits: &Limits, kind: char, schema: &Schema) -> Result<Page, Rejection> {
    with_root(document, limits, |fields| {
        refuse_no_filter(&fields, schema, &[], &[])?;
        page_fields(&fields, kind, 0)
    })
}

/// The letters that pages of orders are known by, the oldest or the newest first: one is no place in the other.
pub const ORDERS: [char; 2] = ['o', 'n'];

/// What a list of orders is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct OrderPage {
    /// Where it stands.
    pub page: Page,
    /// Which orders it shows.
    pub filter: OrderFilter,
    /// What is known of the customers stands with the orders.
    pub with_customer: bool,
}

/// Decodes what a list of orders is asked for.
///
/// # Errors
/// See [`page`].
pub fn order_page(document: &Document<'_>, limits: &Limits) -> Result<OrderPage, Rejection> {
    with_root(document, limits, |fields| {
        refuse_no_filter(&fields, &known::ORDER, &FILTERS, &["newest_first", "with_customer"])?;
        let newest_first = fields.flag("newest_first")?.unwrap_or_default();
        let [oldest, newest] = ORDERS;
        let page = if newest_first { page_fields(&fields, newest, i64::MAX) } else { page_fields(&fields, oldest, 0) }?;
        let key = |key: Option<Key<'_>>| key.map(|key| key.value.into_owned());
        // An empty variable of a client is not to list all orders; `endpoint` is Altcraft's, where empty is absent.
        let empty = ["email", "phone", "updated_from", "updated_to"].into_iter().find(|name| is_empty(&fields, name));
        if let Some(name) = empty {
            return Err(fields.refuse(name, Problem::expected("a value", "")));
        }
        let filter = OrderFilter {
            external_ids: some_ids(&fields, "external_ids", "ids", limits)?,
            statuses: some_ids(&fields, "statuses", "statuses", limits)?,
            endpoint: text(&fields, "endpoint")?,
            updated_from: fields.time("updated_from")?,
            updated_to: fields.time("updated_to")?,
            email: key(email(&fields, &[])?),
            phone: key(phone(&fields, &[])?),
            newest_first,
        };
        Ok(OrderPage { page, filter, with_customer: fields.flag("with_customer")?.unwrap_or_default() })
    })
}

/// Ids to look for; an empty list, which would find nothing or everything, is refused.
fn some_ids(
    fields: &Fields<'_, '_>,
    key: &str,
    things: &'static str,
    limits: &Limits,
) -> Result<Option<Vec<String>>, Rejection> {
    let Some(ids) = fields.ids(key, things, limits.max_orders)? else { return Ok(None) };
    if ids.is_empty() {
        return Err(fields.refuse(key, Problem::Expected { what: "at least one", found: Found::Nothing }));
    }
    Ok(Some(ids.into_iter().map(Cow::into_owned).collect()))
}

/// An empty field asks for nothing.
fn is_sent(fields: &Fields<'_, '_>, name: &str) -> bool {
    fields.node(name).is_some() && !is_empty(fields, name)
}

fn is_empty(fields: &Fields<'_, '_>, name: &str) -> bool {
    matches!(fields.node(name), Some(Node::Text(Text::Good(text))) if scalars::id(text).is_empty())
}

/// Refuses a field of the items, or of another list, that is no filter of this one: to ignore it would list all of them.
fn refuse_no_filter(
    fields: &Fields<'_, '_>,
    schema: &Schema,
    filters: &[&'static str],
    options: &[&str],
) -> Result<(), Rejection> {
    let is_other = |name: &str| name == OF_EVERY_CALL || OTHER_PAGING.iter().any(|(other, _)| *other == name);
    let is_known = |name: &&str| filters.contains(name) || options.contains(name) || is_other(name);
    let mut names = schema.all().chain(FILTERS).chain(OF_SOME_LIST);
    let Some(name) = names.find(|name| !is_known(name) && is_sent(fields, name)) else { return Ok(()) };
    let known = if filters.is_empty() { "this list has none".into() } else { known(filters.iter().copied()) };
    Err(fields.refuse(name, Problem::unknown_of("filter", name, &known)))
}

/// Where a page stands; `start` is the id behind which the first one begins.
fn page_fields(fields: &Fields<'_, '_>, kind: char, start: i64) -> Result<Page, Rejection> {
    let other = OTHER_PAGING.into_iter().find(|(name, _)| is_sent(fields, name));
    if let Some((name, ours)) = other {
        return Err(fields.refuse(name, Problem::Unsupported { instead: ours }));
    }
    let after = match text(fields, "from_id")? {
        None => start,
        Some(from_id) => after(&from_id, kind)
            .ok_or_else(|| fields.refuse("from_id", Problem::expected("a next_from_id of this list", &from_id)))?,
    };
    let (default, max) = PAGE;
    let limit = match text(fields, "limit")? {
        None => default,
        Some(limit) => scalars::integer(&limit)
            .filter(|limit| (1..=max).contains(limit))
            .ok_or_else(|| fields.refuse("limit", Problem::expected("a whole number from 1 to 1000", &limit)))?,
    };
    Ok(Page { after, limit })
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
    /// More of it.
    pub detail: bool,
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
        let flag = |name| Ok(fields.flag(name)?.unwrap_or_default());
        Ok(NamedOrder { id, external_id, skip_triggers: flag("skip_triggers")?, detail: flag("detail")? })
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
