//! The schema of the admin API, which is ours and speaks JSON: each call reads the fields that it knows.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::document::{Document, Wanted};
use super::fields::{Fields, set};
use super::items::readable;
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
        "external_id",
        "name",
        "database",
        "channel",
        "codes",
        "roles",
        "expires_at",
        "unknown_profile",
        "unknown_product",
        "unknown_sku",
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
    /// What is made: its external id ….
    pub external_id: Option<String>,
    /// …, its name ….
    pub name: Option<String>,
    /// …, a channel's profile database ….
    pub database: Option<String>,
    /// …, a touchpoint's channel ….
    pub channel: Option<String>,
    /// …, currencies ….
    pub codes: Vec<String>,
    /// …, a token's roles ….
    pub roles: Vec<String>,
    /// …, and when it ends.
    pub expires_at: Option<OffsetDateTime>,
    /// The policy for customers.
    pub unknown_profile: Option<String>,
    /// The policy for products.
    pub unknown_product: Option<String>,
    /// The policy for SKUs.
    pub unknown_sku: Option<String>,
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
        let texts = fields.ids(key, things, MAX_ITEMS)?.unwrap_or_default();
        Ok(texts.into_iter().map(Cow::into_owned).collect())
    };
    let text = |key| Ok::<_, Rejection>(set(fields.id(key)?).map(Cow::into_owned));
    let limit = count("limit")?.map_or(LINES, |limit| limit as usize);
    if limit > MAX_LINES {
        return Err(fields.refuse("limit", Problem::expected("at most 10000", &limit.to_string())));
    }
    Ok(Said {
        id: count("id")?.map(i64::from),
        url: set(fields.long_text("url")?).map(Cow::into_owned),
        events: texts("events", "types")?,
        touchpoints: texts("touchpoints", "touchpoints")?,
        description: set(fields.name("description")?).unwrap_or_default().into_owned(),
        keep_hours: count("keep_hours")?,
        order: text("order")?,
        event: text("event")?,
        subscription: count("subscription")?.map(i64::from),
        states: texts("states", "states")?,
        from: fields.time("from")?,
        to: fields.time("to")?,
        limit,
        delivered: fields.flag("delivered")?.unwrap_or_default(),
        external_id: text("external_id")?,
        name: set(fields.name("name")?).map(Cow::into_owned),
        database: text("database")?,
        channel: text("channel")?,
        codes: texts("codes", "currencies")?,
        roles: texts("roles", "roles")?,
        expires_at: fields.end_time("expires_at")?,
        unknown_profile: text("unknown_profile")?,
        unknown_product: text("unknown_product")?,
        unknown_sku: text("unknown_sku")?,
    })
}
