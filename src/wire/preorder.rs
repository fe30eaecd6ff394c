//! The schema of `orders/preorder` and `orders/preorder_commit` (contract, section 6): one order, whose customer and key stand
//! at the root and everything else in `data`.

use super::answer::{Object, Value};
use super::document::{Document, Wanted};
use super::fields::{Fields, set};
use super::items::{decoded_node, readable};
use super::known::{PREORDER, ignored_fields, strictly};
use super::listed::{add, money};
use super::node::{Entry, Node, Object as Tree, Text};
use super::orders_import::{IN_PLACE_OF_DATA, KEY_FIELDS, missing_data, order_fields};
use crate::config::{Limits, ListMoney};
use crate::domain::Patch;
use crate::domain::batch::{Decoded, Head};
use crate::domain::orders::{Line, Order};
use crate::domain::place::Trail;
use crate::domain::rejection::{Problem, Rejection};

/// The fields of an order that stand at the root, those of the customer's keys aside.
const ROOT: [&str; 3] = ["external_id", "matching", "profile"];

/// The fields of the root that the calls read.
#[must_use]
pub fn wanted() -> Vec<Wanted> {
    let own = ["token", "format", "data", "skip_triggers", "dry_run", "detail", "strict"];
    let names = own.into_iter().chain(ROOT).chain(KEY_FIELDS).chain(IN_PLACE_OF_DATA);
    names.map(|name| Wanted { name, max_items: 0, key: None }).collect()
}

/// Decodes the order; and what to do with it, and which of its fields are ignored, if that is asked for.
///
/// # Errors
/// The first field that is wrong, as far as it stands outside of the order.
pub fn order<'a>(
    document: &Document<'a>,
    limits: &Limits,
    secret: &str,
) -> Result<(Decoded<'a>, Head, Vec<String>), Rejection> {
    let max_values = limits.max_values();
    let root = readable(document.root(max_values), Trail::Root, max_values)?;
    let Node::Object(Tree { entries, .. }) = root else { unreachable!("a root is an object") };
    let place = Trail::Field(&Trail::Root, "data");
    let is_root = |entry: &Entry<'_>| matches!(&entry.key, Text::Good(key) if ROOT.contains(&&**key) || KEY_FIELDS.contains(&&**key));
    let (mut of_root, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_root);
    let others = Node::Object(Tree { entries: others, ..Tree::default() });
    let others = Fields::of(document.format, &others, Trail::Root)?;
    let flag = |name| Ok(others.flag(name)?.unwrap_or_default());
    let (detail, strict) = (flag("detail")?, flag("strict")?);
    let head =
        Head { skip_triggers: flag("skip_triggers")?, dry_run: flag("dry_run")?, detail, strict, ..Head::default() };
    let stray = match others.node("data") {
        None => return Err(others.refuse("data", missing_data(document))),
        // What stands at the root counts, whatever `data` says.
        Some(Node::Object(data)) => {
            let inner = data.entries.iter().filter(|entry| !is_root(entry)).cloned();
            of_root.splice(0..0, inner);
            data.stray.clone()
        }
        // An empty list or text is the empty object.
        Some(other) => Fields::of(document.format, other, place).map(|_| None)?,
    };
    let node = Node::Object(Tree { entries: of_root, stray, ..Tree::default() });
    let (external_id, order) = decoded_node(document.format, &node, place, |fields| {
        let order = priced(fields, limits);
        if strict { strictly(fields, &PREORDER, order) } else { order }
    });
    let ignored = match Fields::of(document.format, &node, place) {
        Ok(fields) if detail => ignored_fields(&fields, &PREORDER, secret),
        _ => Vec::new(),
    };
    Ok((Decoded { external_id, order: order.map_err(at_its_place) }, head, ignored))
}

/// The order, which no discount makes cheaper.
fn priced<'a>(fields: &Fields<'_, 'a>, limits: &Limits) -> Result<Order<'a>, Rejection> {
    let order = order_fields(fields, limits)?;
    match fields.amount("final_total_price")? {
        Patch::Set(sent) if sent != order.total_price => {
            let problem = Problem::expected("total_price, since there are no discounts", &sent.to_string());
            Err(fields.refuse("final_total_price", problem))
        }
        _ => Ok(order),
    }
}

/// A refusal at the place where the field stands in the request.
#[must_use]
pub fn at_its_place(rejection: Rejection) -> Rejection {
    let outside = |key: &str| ROOT.contains(&key) || KEY_FIELDS.contains(&key);
    Rejection { place: rejection.place.of_only_order(outside), ..rejection }
}

/// What an order costs.
#[must_use]
pub fn prices(order: &Order<'_>) -> Object<'static> {
    let text = |text: &str| Value::Text(text.to_owned().into());
    let amount = |amount| money(amount, ListMoney::Decimal);
    let zero = || text("0");
    let mut object: Object<'static> = vec![
        ("external_id", text(&order.external_id)),
        ("currency", text(&order.currency)),
        ("total_price", amount(order.total_price)),
        ("discount", zero()),
        ("final_total_price", amount(order.total_price)),
    ];
    add(&mut object, "delivery_cost", set(order.delivery_cost.clone()).map(amount));
    let line = |line: &Line<'_>| {
        let mut object: Object<'static> = vec![("external_id", text(&line.external_id))];
        add(&mut object, "base_price_per_item", set(line.base_price_per_item.clone()).map(amount));
        add(&mut object, "final_price_per_item", set(line.final_price_per_item.clone()).map(amount));
        object.push(("count", Value::Int(line.count.unwrap_or(1).into())));
        object.push(("discount", zero()));
        object
    };
    object.push(("lines", Value::Objects(order.lines.iter().map(line).collect())));
    object
}
