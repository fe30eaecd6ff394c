//! Checks that need no stored order: references, statuses, types of custom values.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use crate::domain::Patch;
use crate::domain::custom_fields::{Definition, EntityType, Value};
use crate::domain::line_statuses::{BUILT_IN_LINE_STATUSES, BUILT_IN_ORDER_STATUSES};
use crate::domain::orders::{Order, SentValues};
use crate::domain::place::Place;
use crate::domain::rejection::{Problem, Rejection};
use crate::store::references::{References, Wanted};

/// The definitions that orders and their lines are checked by.
pub(super) struct Definitions {
    /// Of orders.
    pub order: BTreeMap<String, Definition>,
    /// Of lines.
    pub line: BTreeMap<String, Definition>,
}

impl Definitions {
    pub(super) fn new(definitions: Vec<Definition>) -> Self {
        let (mut order, mut line) = (BTreeMap::new(), BTreeMap::new());
        for definition in definitions {
            match definition.entity_type {
                EntityType::Order => order.insert(definition.external_id.clone(), definition),
                EntityType::LineOrder => line.insert(definition.external_id.clone(), definition),
                EntityType::Product | EntityType::Sku => None,
            };
        }
        Definitions { order, line }
    }
}

/// Custom values that fit their fields; `None` clears.
pub(super) type Converted<'a> = Vec<(Cow<'a, str>, Option<Value>)>;

/// An order whose references are known and whose custom values fit.
pub(super) struct Ready<'o, 'a> {
    /// Its place in the request.
    pub index: usize,
    /// As it was sent.
    pub order: &'o Order<'a>,
    /// The profile database of its touchpoint's channel.
    pub database: i64,
    /// Its custom values.
    pub custom: Converted<'a>,
    /// Those of its lines.
    pub line_custom: Vec<Converted<'a>>,
    /// Its profile, once it is found.
    pub profile: Option<i64>,
}

/// What some orders refer to, each id once.
pub(super) fn wanted<'o>(orders: impl Iterator<Item = &'o Order<'o>>) -> Wanted<'o> {
    let mut sets: [HashSet<&str>; 5] = Default::default();
    for order in orders {
        sets[0].insert(&order.endpoint);
        if let Patch::Set(region) = &order.region {
            sets[1].insert(region);
        }
        sets[2].insert(&order.currency);
        sets[3].insert(&order.status);
        sets[4].extend(order.lines.iter().filter_map(|line| line.status.as_deref()));
    }
    let [endpoints, regions, currencies, order_statuses, line_statuses] = sets.map(|set| set.into_iter().collect());
    Wanted { endpoints, regions, currencies, order_statuses, line_statuses }
}

/// Checks one order.
pub(super) fn check<'o, 'a>(
    index: usize,
    order: &'o Order<'a>,
    references: &References,
    definitions: &Definitions,
) -> Result<Ready<'o, 'a>, Rejection> {
    let unknown =
        |field, thing, id: &str| Err(Rejection::new(Place::order(index).field(field), Problem::unknown(thing, id)));
    let Some(database) = references.endpoints.get(&*order.endpoint) else {
        return unknown("endpoint", "touchpoint", &order.endpoint);
    };
    if !BUILT_IN_ORDER_STATUSES.contains(&&*order.status) && !references.order_statuses.contains(&*order.status) {
        return unknown("status", "order status", &order.status);
    }
    if !references.currencies.contains(&*order.currency) {
        return unknown("currency", "currency", &order.currency);
    }
    if let Patch::Set(region) = &order.region
        && !references.regions.contains(&**region)
    {
        return unknown("region", "region", region);
    }
    let custom = convert(&order.custom_fields, &definitions.order, || Place::order(index))?;
    let mut line_custom = Vec::with_capacity(order.lines.len());
    for (number, line) in order.lines.iter().enumerate() {
        let place = || Place::order(index).field("lines").item(number);
        if let Some(status) = &line.status
            && !BUILT_IN_LINE_STATUSES.contains(&&**status)
            && !references.line_statuses.contains(&**status)
        {
            return Err(Rejection::new(place().field("status"), Problem::unknown("line status", status)));
        }
        line_custom.push(convert(&line.custom_fields, &definitions.line, place)?);
    }
    Ok(Ready { index, order, database: *database, custom, line_custom, profile: None })
}

fn convert<'a>(
    sent: &SentValues<'a>,
    definitions: &BTreeMap<String, Definition>,
    place: impl Fn() -> Place,
) -> Result<Converted<'a>, Rejection> {
    let refuse = |key: &str, problem| Rejection::new(place().field("custom_fields").field(key), problem);
    sent.iter()
        .map(|(key, value)| match definitions.get(&**key) {
            None => Err(refuse(key, Problem::unknown("custom field", key))),
            Some(definition) => match definition.convert_sent(value) {
                Ok(value) => Ok((key.clone(), value)),
                Err(problem) => Err(refuse(key, problem)),
            },
        })
        .collect()
}

/// The products that some orders name, each once, sorted.
pub(super) fn products<'o>(orders: impl Iterator<Item = &'o Order<'o>>) -> Vec<&'o str> {
    sorted(orders.flat_map(|order| &order.lines).filter_map(|line| line.product.as_deref()))
}

/// The SKUs that some orders name, each once, sorted.
pub(super) fn skus<'o>(orders: impl Iterator<Item = &'o Order<'o>>) -> Vec<&'o str> {
    sorted(orders.flat_map(|order| &order.lines).filter_map(|line| line.sku.as_deref()))
}

fn sorted<'o>(ids: impl Iterator<Item = &'o str>) -> Vec<&'o str> {
    let mut ids: Vec<&str> = ids.collect::<HashSet<_>>().into_iter().collect();
    ids.sort_unstable();
    ids
}

/// Refuses an order with a product or SKU that is not known, where the account's policy says so.
pub(super) fn check_catalogue(
    ready: &Ready<'_, '_>,
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
