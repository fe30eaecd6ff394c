//! Checks that need no stored order: references, statuses, types of custom values.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::digest;
use super::setup::Setup;
use crate::config::Limits;
use crate::domain::Patch;
use crate::domain::batch::Sent;
use crate::domain::custom_fields::{Definition, Value};
use crate::domain::line_statuses::{BUILT_IN_LINE_STATUSES, BUILT_IN_ORDER_STATUSES};
use crate::domain::orders::{Order, SentValues};
use crate::domain::place::Place;
use crate::domain::rejection::{Problem, Rejection, known};
use crate::store::orders::{Digest, Digests};

/// Custom values that fit their fields; `None` clears.
pub(super) type Converted<'a> = Vec<(Cow<'a, str>, Option<Value>)>;

/// An order whose references are known and whose custom values fit.
pub(super) struct Ready<'a> {
    /// Its place among the answers.
    pub slot: usize,
    /// Its place in its request.
    pub index: usize,
    /// Its events are written.
    pub announce: bool,
    /// As it was sent.
    pub order: Order<'a>,
    /// By what it is known when it is sent again.
    pub digests: Digests,
    /// The profile database of its touchpoint's channel.
    pub database: i64,
    /// Its custom values.
    pub custom: Converted<'a>,
    /// Those of its lines.
    pub line_custom: Vec<Converted<'a>>,
    /// Its profile, once it is found.
    pub profile: Option<i64>,
    /// A number for a profile, if it needs a new one.
    pub spare_profile: Option<i64>,
}

/// What orders are checked by.
#[derive(Clone, Copy)]
pub(super) struct Checks<'r> {
    /// What the account has.
    pub setup: &'r Setup,
    /// Bounds on what is stored.
    pub limits: &'r Limits,
    /// An order with a field that is not known is refused.
    pub strict: bool,
}

impl Checks<'_> {
    /// By what the text of an order is known.
    pub(super) fn digest(&self, sent: &Sent<'_>) -> Digest {
        digest::of_text(sent, self.setup.version, self.limits, self.strict)
    }

    /// Checks one order of a request, whose text is known by `sent`.
    pub(super) fn check<'a>(
        &self,
        (index, announce): (usize, bool),
        order: Order<'a>,
        sent: Digest,
    ) -> Result<Ready<'a>, Rejection> {
        let Setup { references, fields, line_statuses, names, version, .. } = self.setup;
        let unknown = |field, thing, id: &str, known| {
            Err(Rejection::new(Place::order(index).field(field), Problem::unknown_of(thing, id, known)))
        };
        let Some(database) = references.endpoints.get(&*order.endpoint) else {
            return unknown("endpoint", "touchpoint", &order.endpoint, &names.touchpoints);
        };
        if !BUILT_IN_ORDER_STATUSES.contains(&&*order.status) && !references.order_statuses.contains(&*order.status) {
            return unknown("status", "order status", &order.status, &names.order_statuses);
        }
        if !references.currencies.contains(&*order.currency) {
            return unknown("currency", "currency", &order.currency, &names.currencies);
        }
        if let Patch::Set(region) = &order.region
            && !references.regions.contains(&**region)
        {
            return unknown("region", "region", region, &names.regions);
        }
        let custom = convert(&order.custom_fields, &fields.order, || Place::order(index))?;
        let mut line_custom = Vec::with_capacity(order.lines.len());
        for (number, line) in order.lines.iter().enumerate() {
            let place = || Place::order(index).field("lines").item(number);
            if let Some(status) = &line.status
                && !BUILT_IN_LINE_STATUSES.contains(&&**status)
                && !line_statuses.contains_key(&**status)
            {
                let problem = Problem::unknown_of("line status", status, &names.line_statuses);
                return Err(Rejection::new(place().field("status"), problem));
            }
            line_custom.push(convert(&line.custom_fields, &fields.line, place)?);
        }
        let meaning = digest::of_order(&order, *version, self.limits);
        // Its text alone would not tell the warning again.
        let sent = if order.warning.is_some() { meaning } else { sent };
        let digests = Digests { order: meaning, sent };
        let database = *database;
        let (profile, spare_profile) = (None, None);
        Ok(Ready {
            slot: index,
            index,
            announce: announce && !order.skip_triggers,
            order,
            digests,
            database,
            custom,
            line_custom,
            profile,
            spare_profile,
        })
    }
}

/// Custom values by their definitions; those that are not defined or do not fit are refused.
pub(super) fn convert<'a>(
    sent: &SentValues<'a>,
    definitions: &BTreeMap<String, Definition>,
    place: impl Fn() -> Place,
) -> Result<Converted<'a>, Rejection> {
    let refuse = |key: &str, problem| Rejection::new(place().field("custom_fields").field(key), problem);
    sent.iter()
        .map(|(key, value)| match definitions.get(&**key) {
            None => {
                let known = known(definitions.keys().map(String::as_str));
                Err(refuse(key, Problem::unknown_of("custom field", key, &known)))
            }
            Some(definition) => match definition.convert_sent(value) {
                Ok(value) => Ok((key.clone(), value)),
                Err(problem) => Err(refuse(key, problem)),
            },
        })
        .collect()
}

/// The products that some orders name, each once, sorted.
pub(super) fn products<'o, 'a: 'o>(orders: impl Iterator<Item = &'o Order<'a>>) -> Vec<&'o str> {
    sorted(orders.flat_map(|order| &order.lines).filter_map(|line| line.product.as_deref()))
}

/// The SKUs that some orders name, each once, sorted.
pub(super) fn skus<'o, 'a: 'o>(orders: impl Iterator<Item = &'o Order<'a>>) -> Vec<&'o str> {
    sorted(orders.flat_map(|order| &order.lines).filter_map(|line| line.sku.as_deref()))
}

fn sorted<'o>(ids: impl Iterator<Item = &'o str>) -> Vec<&'o str> {
    let mut ids: Vec<&str> = ids.collect::<HashSet<_>>().into_iter().collect();
    ids.sort_unstable();
    ids
}

/// Refuses an order with a product or SKU that is not known, where the account's policy says so.
pub(super) fn check_catalogue(
    ready: &Ready<'_>,
    products: Option<&HashSet<String>>,
    skus: Option<&HashSet<String>>,
) -> Result<(), Rejection> {
    for (number, line) in ready.order.lines.iter().enumerate() {
        for (field, id, known) in [("product", &line.product, products), ("sku", &line.sku, skus)] {
            if let (Some(id), Some(known)) = (id, known)
                && !known.contains(&**id)
            {
                let thing = if field == "sku" { "SKU" } else { "product" };
                let place = Place::order(ready.index).field("lines").item(number).field(field);
                return Err(Rejection::new(place, Problem::unknown(thing, id)));
            }
        }
    }
    Ok(())
}
