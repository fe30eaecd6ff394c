//! The schema of the admin API, which is ours and speaks JSON: each call reads the fields that it knows.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::document::{Document, Wanted};
use super::fields::{Fields, set};
use super::orders_import::readable;
use crate::config::Limits;
use crate::domain::place::Trail;
use crate::domain::rejection::{Problem, Rejection};

/// Items that a list of a call may have.
const MAX_ITEMS: usize = 100;
/// Lines of the ledger that are answered unless more are asked for.
const LINES: usize = 100;
/// Most that can be asked for.
const MAX_LINES: usize = 10_000;

/// The fields of the root that some call reads.
#[must_use]
pub fn wanted() -> Vec<Wanted> {
    let names = [
        "token",
        "format",
        "id",
        "url",
        "events",
        "touchpoints",
        "description",
        "keep_hours",
        "order",
        "event",
        "subscription",
        "states",
        "from",
        "to",
        "limit",
        "delivered",
    ];
    names.map(|name| Wanted { name, max_items: MAX_ITEMS, key: None }).into()
}

/// Lists are counted when they are read.
#[must_use]
pub fn too_many(_: &Document<'_>, _: &Limits) -> Option<Rejection> {
    None
}

/// What a call says.
#[derive(Debug)]
pub struct Said {
    /// The subscription that it is about.
    pub id: Option<i64>,
    /// A new subscription's: where events are sent.
    pub url: Option<String>,
    /// Types of events.
    pub events: Vec<String>,
    /// Touchpoints.
    pub touchpoints: Vec<String>,
    /// What it is for.
    pub description: String,
    /// For how many hours the secrets before stay good.
    pub keep_hours: Option<u32>,
    /// Which events: those of an order ….
    pub order: Option<String>,
    /// …, the one of that id ….
    pub event: Option<String>,
    /// …, those for a subscription ….
    pub subscription: Option<i64>,
    /// …, of those states ….
    pub states: Vec<String>,
    /// …, from that time on ….
    pub from: Option<OffsetDateTime>,
    /// …, before that one.
    pub to: Option<OffsetDateTime>,
    /// At most so many.
    pub limit: usize,
    /// Also those that were delivered.
    pub delivered: bool,
}

/// Decodes what a call says.
///
/// # Errors
/// The first field that is wrong.
pub fn said(document: &Document<'_>, limits: &Limits) -> Result<Said, Rejection> {
    let max_values = limits.max_values();
    let root = readable(document.root(max_values), Trail::Root, max_values)?;
    let fields = Fields::of(document.format, &root, Trail::Root)?;
    let count = |key| Ok(fields.count(key)?.map(i32::unsigned_abs));
    let texts = |key, things| {
        let texts = fields.keys(key, things, MAX_ITEMS)?.unwrap_or_default();
        Ok(texts.into_iter().map(Cow::into_owned).collect())
    };
    let limit = count("limit")?.map_or(LINES, |limit| limit as usize);
    if limit > MAX_LINES {
        return Err(fields.refuse("limit", Problem::expected("at most 10000", &limit.to_string())));
    }
    Ok(Said {
        id: count("id")?.map(i64::from),
        url: set(fields.long_text("url")?).map(Cow::into_owned),
        events: texts("events", "types")?,
        touchpoints: texts("touchpoints", "touchpoints")?,
        description: set(fields.key("description")?).unwrap_or_default().into_owned(),
        keep_hours: count("keep_hours")?,
        order: set(fields.key("order")?).map(Cow::into_owned),
        event: set(fields.key("event")?).map(Cow::into_owned),
        subscription: count("subscription")?.map(i64::from),
        states: texts("states", "states")?,
        from: fields.time("from")?,
        to: fields.time("to")?,
        limit,
        delivered: fields.flag("delivered")?.unwrap_or_default(),
    })
}
