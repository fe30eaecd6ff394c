//! The schema of `orders/import` (contract, sections 3 to 5).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::document::{Document, Wanted};
use super::fields::{Fields, set};
use super::format::Format;
use super::items::{decoded, items, list, refuse_minor};
use super::known;
use super::node::{Node, Text};
use crate::config::Limits;
use crate::domain::batch::{Decoded, Head, OnError, Sent};
use crate::domain::custom_fields::{EXPECTED_INT, EntityType, SentDefinition, ValueType};
use crate::domain::line_statuses::{LINE_STATUS_TYPES, SentLineStatus};
use crate::domain::matching::{self, Customer, IdentityKind as Kind, Key};
use crate::domain::orders::{Line, LinesMode, Order};
use crate::domain::place::{Place, Trail};
use crate::domain::rejection::{Problem, Rejection};
use crate::domain::{MAX_KEY_CHARS, Patch, scalars};

/// The fields of the root that the call reads.
#[must_use]
pub fn wanted(limits: &Limits) -> Vec<Wanted> {
    let list = |name, max_items| Wanted { name, max_items, key: None };
    let scalar = |name| list(name, 0);
    let read = [
        scalar("token"),
        scalar("format"),
        list("custom_fields", limits.max_definitions),
        list("custom_line_statuses", limits.max_line_statuses),
        Wanted { key: Some("external_id"), ..list("data", limits.max_orders) },
        scalar("skip_triggers"),
        scalar("on_error"),
        scalar("dry_run"),
        scalar("detail"),
        scalar("strict"),
    ];
    read.into_iter().chain(IN_PLACE_OF_DATA.map(scalar)).collect()
}

/// Where some clients send what has to stand in `data`.
pub(super) const IN_PLACE_OF_DATA: [&str; 3] = ["result", "orders", "products"];

/// The orders of a request, as slices of its document.
///
/// # Errors
/// `data` is missing, empty or no list.
pub fn orders<'d, 'a>(document: &'d Document<'a>) -> Result<&'d [Sent<'a>], Rejection> {
    let refuse = |problem| Rejection::new(Place::default().field("data"), problem);
    match list(document, "data") {
        Some(field) if field.total > 0 => Ok(&field.items),
        _ => Err(refuse(missing_data(document))),
    }
}

/// What is wrong where there is no `data`.
pub(super) fn missing_data(document: &Document<'_>) -> Problem {
    let found = IN_PLACE_OF_DATA.into_iter().find(|name| document.field(name).is_some());
    found.map_or(Problem::Required, Problem::RequiredNot)
}

/// A breach of the number of orders, definitions or line statuses, which answers 413.
#[must_use]
pub fn too_many(document: &Document<'_>, limits: &Limits) -> Option<Rejection> {
    document.too_many(&[
        ("data", "orders", limits.max_orders),
        ("custom_fields", "definitions", limits.max_definitions),
        ("custom_line_statuses", "line statuses", limits.max_line_statuses),
    ])
}

/// Decodes everything at the root but the orders.
///
/// # Errors
/// The first field that is wrong.
pub fn head(document: &Document<'_>, limits: &Limits) -> Result<Head, Rejection> {
    let max_values = limits.max_values();
    let skip_triggers = root_flag(document, "skip_triggers")?;
    let on_error = root_word(
        document,
        "on_error",
        "continue or abort",
        &[("continue", OnError::Continue), ("abort", OnError::Abort)],
    )?;
    let dry_run = root_flag(document, "dry_run")?;
    let detail = root_flag(document, "detail")?;
    let strict = root_flag(document, "strict")?;
    orders(document)?;
    let definitions = items(document, "custom_fields", max_values, definition)?;
    let line_statuses = items(document, "custom_line_statuses", max_values, line_status)?;
    let on_error = on_error.unwrap_or_default();
    Ok(Head { definitions, line_statuses, skip_triggers, on_error, dry_run, detail, strict })
}

/// Reads a scalar of the root by the methods that read any object's fields.
fn with_root_field<T>(
    document: &Document<'_>,
    name: &'static str,
    read: impl FnOnce(Fields<'_, '_>) -> Result<T, Rejection>,
) -> Result<T, Rejection> {
    let node = match document.field(name).map(|field| document.read_whole(field, 2)) {
        None => Node::Nothing,
        Some(Ok(node)) => node,
        Some(Err(_)) => Node::Object(super::node::Object::default()),
    };
    let entry = super::node::Entry { key: Text::Good(Cow::Borrowed(name)), free_key: None, node };
    let root = Node::Object(super::node::Object { entries: vec![entry], ..Default::default() });
    read(Fields::of(document.format, &root, Trail::Root)?)
}

fn root_flag(document: &Document<'_>, name: &'static str) -> Result<bool, Rejection> {
    with_root_field(document, name, |fields| Ok(fields.flag(name)?.unwrap_or_default()))
}

fn root_word<T: Copy>(
    document: &Document<'_>,
    name: &'static str,
    what: &'static str,
    words: &[(&str, T)],
) -> Result<Option<T>, Rejection> {
    with_root_field(document, name, |fields| fields.word(name, what, words))
}

fn definition(fields: Fields<'_, '_>) -> Result<SentDefinition, Rejection> {
    let external_id = fields.external_id("the fields of a definition")?.into_owned();
    let entity_types = EntityType::ALL.map(|entity| (entity.as_str(), entity));
    let entity_type = fields.required_word("entity_type", "product, sku, order or line_order", &entity_types)?;
    let value_types = ValueType::ALL.map(|kind| (kind.as_str(), kind));
    let value_type = fields.required_word("value_type", "unicode, int, float, bool, enum or date", &value_types)?;
    let name = set(fields.name("name")?).map(Cow::into_owned);
    let required = fields.flag("required")?;
    let labels_node = fields.node("enum_values");
    let mut labels = match labels_node {
        None => None,
        Some(node) => Some(enum_values(&fields, "enum_values", node)?),
    };
    let default = match fields.node("default_value") {
        // Altcraft's own example puts the labels here.
        Some(node @ Node::Object(_)) if labels.as_ref().is_none_or(Vec::is_empty) && value_type == ValueType::Enum => {
            labels = Some(enum_values(&fields, "default_value", node)?);
            Patch::Keep
        }
        _ => match fields.long_text("default_value")? {
            Patch::Keep => Patch::Keep,
            Patch::Clear => Patch::Clear,
            Patch::Set(text) if value_type.is_empty(&text) => Patch::Clear,
            Patch::Set(text) => Patch::Set(text.into_owned()),
        },
    };
    Ok(SentDefinition { entity_type, external_id, value_type, name, required, default, labels })
}

/// Labels and their numbers; a label that is sent twice counts as it was sent last.
fn enum_values(fields: &Fields<'_, '_>, key: &str, node: &Node<'_>) -> Result<Vec<(String, i64)>, Rejection> {
    let trail = Trail::Field(&fields.trail, key);
    let object = Fields::of(fields.format(), node, trail)?;
    let mut last: Vec<(&Text<'_>, &Node<'_>)> = Vec::new();
    let mut places = HashMap::new();
    for (label, node) in object.free() {
        let place = *places.entry(label).or_insert(last.len());
        if place == last.len() {
            last.push((label, node));
        } else {
            last[place].1 = node;
        }
    }
    let labels = last.into_iter().filter(|(_, node)| **node != Node::Nothing);
    labels.map(|(label, node)| enum_value(label, node, trail)).collect()
}

fn enum_value(label: &Text<'_>, node: &Node<'_>, trail: Trail<'_>) -> Result<(String, i64), Rejection> {
    let refuse = |problem| Rejection::new(Trail::Field(&trail, label.shown()).place(), problem);
    let label = match label {
        Text::Bad(shown) => return Err(refuse(Problem::Character(shown.to_string()))),
        Text::Good(label) => scalars::id(label).to_owned(),
    };
    let chars = label.chars().count();
    if chars == 0 {
        return Err(refuse(Problem::expected("a label", "")));
    }
    if chars > MAX_KEY_CHARS {
        return Err(refuse(Problem::TooLong { limit: MAX_KEY_CHARS, sent: chars }));
    }
    let number = if let Node::Text(text) = node { scalars::integer(text.shown()) } else { None };
    let number = number.ok_or_else(|| refuse(Problem::Expected { what: EXPECTED_INT, found: node.found() }))?;
    Ok((label, number))
}

fn line_status(fields: Fields<'_, '_>) -> Result<SentLineStatus, Rejection> {
    let external_id = fields.external_id("the fields of a line status")?.into_owned();
    if crate::domain::line_statuses::BUILT_IN_LINE_STATUSES.contains(&external_id.as_str()) {
        return Err(fields.refuse("external_id", Problem::expected("an id that is not built in", &external_id)));
    }
    let name = set(fields.name("name")?).map(Cow::into_owned);
    let types = LINE_STATUS_TYPES.map(|kind| (kind, kind));
    let kind = fields.required_word("type", "delivered, canceled, refunded or in_process", &types)?;
    Ok(SentLineStatus { external_id, name, kind })
}

/// Decodes one order of a JSON document, of that place in it; `strict`: one with a field that is not known is refused.
#[must_use]
pub fn json_order<'a>(index: usize, item: &Sent<'a>, limits: &Limits, strict: bool) -> Decoded<'a> {
    order(Format::Json, index, item, limits, strict)
}

/// The same of an XML document.
#[must_use]
pub fn xml_order<'a>(index: usize, item: &Sent<'a>, limits: &Limits, strict: bool) -> Decoded<'a> {
    order(Format::Xml, index, item, limits, strict)
}

fn order<'a>(format: Format, index: usize, item: &Sent<'a>, limits: &Limits, strict: bool) -> Decoded<'a> {
    let (external_id, order) = decoded(format, index, item, limits, |fields| {
        let order = order_fields(fields, limits);
        if strict { known::strictly(fields, &known::ORDER, order) } else { order }
    });
    Decoded { external_id, order }
}

pub(super) fn order_fields<'a>(fields: &Fields<'_, 'a>, limits: &Limits) -> Result<Order<'a>, Rejection> {
    refuse_minor(fields)?;
    let external_id = fields.external_id("the fields of an order")?;
    let (customer, warning) = customer(fields)?;
    let endpoint = fields.required_id("endpoint")?;
    let status = fields.required_id("status")?;
    let total_price = fields.required_amount("total_price")?;
    let currency = currency(fields)?;
    let delivery_cost = fields.amount("delivery_cost")?;
    let create_time = fields.time("create_time")?;
    let update_time = fields.time("update_time")?;
    let tags = fields.names("tags", "tags", limits.max_tags)?;
    let region = fields.id("region")?;
    let custom_fields = fields.custom_values("custom_fields", limits.max_custom_values)?;
    let modes = [("replace", LinesMode::Replace), ("merge", LinesMode::Merge)];
    let lines_mode = fields.word("lines_mode", "replace or merge", &modes)?.unwrap_or_default();
    let skip_triggers = fields.flag("skip_triggers")?.unwrap_or_default();
    let lines = lines(fields, limits)?;
    Ok(Order {
        external_id,
        customer,
        endpoint,
        status,
        total_price,
        currency,
        lines,
        lines_mode,
        delivery_cost,
        create_time,
        update_time,
        tags,
        region,
        custom_fields,
        skip_triggers,
        warning,
    })
}

fn currency<'a>(fields: &Fields<'_, 'a>) -> Result<Cow<'a, str>, Rejection> {
    let sent = fields.required_id("currency")?;
    if !scalars::is_currency(&sent) {
        return Err(fields.refuse("currency", Problem::expected("three letters", &sent)));
    }
    Ok(if sent.bytes().all(|b| b.is_ascii_uppercase()) { sent } else { Cow::Owned(sent.to_ascii_uppercase()) })
}

/// So many lines are compared with each other; more are by their hashes.
const FEW_LINES: usize = 16;

fn lines<'a>(fields: &Fields<'_, 'a>, limits: &Limits) -> Result<Vec<Line<'a>>, Rejection> {
    let items = fields.list("lines")?.unwrap_or_default();
    if items.is_empty() {
        return Err(fields.refuse("lines", Problem::Required));
    }
    if items.len() > limits.max_lines {
        let problem = Problem::TooMany { things: "lines", limit: limits.max_lines, sent: Some(items.len()) };
        return Err(fields.refuse("lines", problem));
    }
    let list = Trail::Field(&fields.trail, "lines");
    let mut lines: Vec<Line<'a>> = Vec::with_capacity(items.len());
    let many = items.len() > FEW_LINES;
    let mut seen = HashSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let fields = Fields::of(fields.format(), item, Trail::Item(&list, index))?;
        let line = line(&fields, limits)?;
        let is_twice = if many {
            !seen.insert(line.external_id.clone())
        } else {
            lines.iter().any(|other| other.external_id == line.external_id)
        };
        if is_twice {
            return Err(
                fields.refuse("external_id", Problem::Twice { thing: "line", id: line.external_id.into_owned() })
            );
        }
        lines.push(line);
    }
    Ok(lines)
}

fn line<'a>(fields: &Fields<'_, 'a>, limits: &Limits) -> Result<Line<'a>, Rejection> {
    let external_id = fields.external_id("the fields of a line")?;
    let product = set(fields.id("product")?);
    let sku = set(fields.id("sku")?);
    if product.is_none() && sku.is_none() {
        return Err(fields.refuse("product", Problem::RequiredOr("sku")));
    }
    Ok(Line {
        external_id,
        product,
        sku,
        status: set(fields.id("status")?),
        base_price_per_item: fields.amount("base_price_per_item")?,
        min_price_per_item: fields.amount("min_price_per_item")?,
        final_price_per_item: fields.amount("final_price_per_item")?,
        count: fields.count("count")?,
        custom_fields: fields.custom_values("custom_fields", limits.max_custom_values)?,
    })
}

/// The ways of matching (contract, section 5).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Matching {
    Email,
    EmailProfile,
    EmailSub,
    Phone,
    PhoneProfile,
    PhoneSub,
    ProfileId,
    PushSub,
    Custom,
    CustomSub,
    EmailPhone,
    EmailPhoneSub,
}

const MATCHING: [(&str, Matching); 12] = [
    ("email", Matching::Email),
    ("email_profile", Matching::EmailProfile),
    ("email_sub", Matching::EmailSub),
    ("phone", Matching::Phone),
    ("phone_profile", Matching::PhoneProfile),
    ("phone_sub", Matching::PhoneSub),
    ("profile_id", Matching::ProfileId),
    ("push_sub", Matching::PushSub),
    ("custom", Matching::Custom),
    ("custom_sub", Matching::CustomSub),
    ("email_phone", Matching::EmailPhone),
    ("email_phone_sub", Matching::EmailPhoneSub),
];

pub(super) const KEY_FIELDS: [&str; 7] =
    ["email", "phone", "profile_id", "provider", "subscription_id", "field_name", "field_value"];

/// A customer; and why one of two keys was left out.
type Told<'a> = (Customer<'a>, Option<Box<Rejection>>);

fn customer<'a>(fields: &Fields<'_, 'a>) -> Result<Told<'a>, Rejection> {
    let what = "one of email, email_profile, email_sub, phone, phone_profile, phone_sub, profile_id, push_sub, custom, custom_sub, email_phone, email_phone_sub";
    let mode = fields.word("matching", what, &MATCHING)?;
    if mode.is_none()
        && let Some(key) = listed_profile(fields)?
    {
        return Ok((vec![key], None));
    }
    let one = |field, key: Option<Key<'a>>| match key {
        Some(key) => Ok((vec![key], None)),
        None if mode.is_none() => Err(fields.refuse(field, Problem::RequiredOr(OTHER_WAYS))),
        None => Err(fields.refuse(field, Problem::Required)),
    };
    match mode.unwrap_or(Matching::Email) {
        Matching::Email => one("email", email(fields, &[Kind::EmailProfile, Kind::EmailSub])?),
        Matching::EmailProfile => one("email", email(fields, &[Kind::EmailProfile])?),
        Matching::EmailSub => one("email", email(fields, &[Kind::EmailSub])?),
        Matching::Phone => one("phone", phone(fields, &[Kind::PhoneProfile, Kind::PhoneSub])?),
        Matching::PhoneProfile => one("phone", phone(fields, &[Kind::PhoneProfile])?),
        Matching::PhoneSub => one("phone", phone(fields, &[Kind::PhoneSub])?),
        Matching::ProfileId => one("profile_id", profile_id(fields, &["profile_id"])?),
        Matching::PushSub => named(fields, &[Kind::PushSub], "provider", &["subscription_id"]),
        Matching::Custom => named(fields, &[Kind::Custom], "field_name", &["field_value"]),
        Matching::CustomSub => named(fields, &[Kind::CustomSub], "field_name", &["field_value"]),
        Matching::EmailPhone => {
            two(fields, &[Kind::EmailProfile, Kind::EmailSub], &[Kind::PhoneProfile, Kind::PhoneSub])
        }
        Matching::EmailPhoneSub => two(fields, &[Kind::EmailSub], &[Kind::PhoneSub]),
    }
}

/// How a customer can be told without an e-mail address.
const OTHER_WAYS: &str = "another matching (phone, profile_id, push_sub, custom, email_phone) with its key fields";

/// An e-mail address and a phone number, or one of them: one that cannot be used is left out if the other one is good.
fn two<'a>(fields: &Fields<'_, 'a>, emails: &'static [Kind], phones: &'static [Kind]) -> Result<Told<'a>, Rejection> {
    let keys = match (email(fields, emails), phone(fields, phones)) {
        (Ok(email), Ok(phone)) => ([email, phone], None),
        (Ok(Some(email)), Err(left_out)) => ([Some(email), None], Some(left_out)),
        (Err(left_out), Ok(Some(phone))) => ([None, Some(phone)], Some(left_out)),
        (Err(wrong), _) | (_, Err(wrong)) => return Err(wrong),
    };
    let (keys, left_out) = keys;
    let keys: Vec<Key<'a>> = keys.into_iter().flatten().collect();
    if keys.is_empty() {
        return Err(fields.refuse("email", Problem::RequiredOr("phone")));
    }
    Ok((keys, left_out.map(Box::new)))
}

/// `profile: {"profile_id": …}`, as an order is listed, where no key field says something else.
fn listed_profile<'a>(fields: &Fields<'_, 'a>) -> Result<Option<Key<'a>>, Rejection> {
    let is_sent = |key: &&str| match fields.node(key) {
        None => false,
        Some(Node::Text(text)) => !text.is_empty(),
        Some(_) => true,
    };
    let Some(node) = fields.node("profile") else { return Ok(None) };
    if KEY_FIELDS.iter().any(is_sent) {
        return Ok(None);
    }
    let profile = Fields::of(fields.format(), node, Trail::Field(&fields.trail, "profile"))?;
    profile_id(&profile, &["profile", "profile_id"])
}

pub(super) fn email<'a>(fields: &Fields<'_, 'a>, kinds: &'static [Kind]) -> Result<Option<Key<'a>>, Rejection> {
    folded(fields, &["email"], "an e-mail address", matching::fold_email, kinds)
}

pub(super) fn phone<'a>(fields: &Fields<'_, 'a>, kinds: &'static [Kind]) -> Result<Option<Key<'a>>, Rejection> {
    folded(fields, &["phone"], "a phone number of 7 to 15 digits", matching::fold_phone, kinds)
}

fn profile_id<'a>(fields: &Fields<'_, 'a>, path: &'static [&'static str]) -> Result<Option<Key<'a>>, Rejection> {
    folded(fields, path, "24 hex digits", matching::fold_profile_id, &[Kind::ProfileId])
}

/// A key that is compared in a form of its own. `path` is the field's path in the order.
fn folded<'a>(
    fields: &Fields<'_, 'a>,
    path: &'static [&'static str],
    what: &'static str,
    fold: fn(&str) -> Option<String>,
    kinds: &'static [Kind],
) -> Result<Option<Key<'a>>, Rejection> {
    let field = path[path.len() - 1];
    let Some(sent) = set(fields.id(field)?) else { return Ok(None) };
    let Some(value) = fold(&sent) else { return Err(fields.refuse(field, Problem::expected(what, &sent))) };
    // Folding may lengthen a text.
    if value.chars().count() > MAX_KEY_CHARS {
        return Err(fields.refuse(field, Problem::TooLong { limit: MAX_KEY_CHARS, sent: value.chars().count() }));
    }
    Ok(Some(Key { field: path, kinds, name: Cow::Borrowed(""), value: Cow::Owned(value) }))
}

/// A key of two parts.
fn named<'a>(
    fields: &Fields<'_, 'a>,
    kinds: &'static [Kind],
    name: &str,
    path: &'static [&'static str],
) -> Result<Told<'a>, Rejection> {
    let name = fields.required_id(name)?;
    let value = fields.required_id(path[0])?;
    Ok((vec![Key { field: path, kinds, name, value }], None))
}
