//! Which fields the imports read of an order, a product or a SKU. All others are ignored, or refused where a request is strict.

use std::ops::ControlFlow;

use super::fields::Fields;
use super::format::Format;
use super::node::{self, Node, Text};
use crate::config::Limits;
use crate::domain::batch::Sent;
use crate::domain::catalogue::{FIELDS, Kind, REGIONAL_FIELDS};
use crate::domain::place::Trail;
use crate::domain::rejection::{Problem, Rejection, known};

/// Most ignored fields of an item that are told.
const MAX_TOLD: usize = 10;

/// The fields of an object.
#[derive(Debug)]
pub struct Schema {
    /// Those that are read ….
    names: &'static [&'static str],
    /// …, and these.
    data: &'static [(&'static str, Kind)],
    /// Those that only lists show: sent back, they mean nothing.
    listed: &'static [&'static str],
    /// Lists of objects, by the fields in which they stand.
    lists: &'static [(&'static str, &'static Schema)],
    /// Objects, likewise.
    objects: &'static [(&'static str, &'static Schema)],
}

const fn plain(names: &'static [&'static str], listed: &'static [&'static str]) -> Schema {
    Schema { names, data: &[], listed, lists: &[], objects: &[] }
}

const fn order(listed: &'static [&'static str]) -> Schema {
    const LISTS: &[(&str, &Schema)] = &[("lines", &LINE)];
    const OBJECTS: &[(&str, &Schema)] = &[("profile", &PROFILE)];
    let names = &[
        "external_id",
        "matching",
        "email",
        "phone",
        "profile_id",
        "provider",
        "subscription_id",
        "field_name",
        "field_value",
        "profile",
        "endpoint",
        "status",
        "total_price",
        "currency",
        "lines",
        "lines_mode",
        "delivery_cost",
        "create_time",
        "update_time",
        "tags",
        "region",
        "custom_fields",
        "skip_triggers",
    ];
    Schema { lists: LISTS, objects: OBJECTS, ..plain(names, listed) }
}

/// An order.
pub static ORDER: Schema = order(&["id", "money", "revision", "customer", "import"]);

/// The order of a preorder.
pub(super) static PREORDER: Schema = order(&["final_total_price", "id", "money", "revision", "customer", "import"]);

/// The fields of a line.
pub const LINE_FIELDS: [&str; 9] = [
    "external_id",
    "product",
    "sku",
    "status",
    "base_price_per_item",
    "min_price_per_item",
    "final_price_per_item",
    "count",
    "custom_fields",
];

static PROFILE: Schema = plain(&["profile_id"], &[]);
static LINE: Schema = plain(&LINE_FIELDS, &["currency"]);

/// A product.
pub static PRODUCT: Schema = Schema {
    names: &["external_id", "name", "custom_fields", "regional_data", "sku"],
    data: &FIELDS,
    listed: &["id", "money"],
    lists: &[("regional_data", &REGION), ("sku", &SKU)],
    objects: &[],
};

/// A SKU.
pub static SKU: Schema = Schema {
    names: &["external_id", "name", "custom_fields", "regional_data", "product_external_id"],
    data: &FIELDS,
    listed: &["id", "money"],
    lists: &[("regional_data", &REGION)],
    objects: &[],
};

static REGION: Schema = Schema { data: &REGIONAL_FIELDS, ..plain(&["external_id", "custom_fields"], &[]) };

impl Schema {
    /// The fields that are read.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().copied().chain(self.data.iter().map(|(name, _)| *name))
    }

    /// The fields that are read, and those that lists show.
    pub(super) fn all(&self) -> impl Iterator<Item = &'static str> {
        self.names().chain(self.listed.iter().copied())
    }

    /// True for a field that is read, or that lists show.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.all().any(|known| known == name)
    }

    /// The schema of the objects in a field, where their fields are not free.
    #[must_use]
    pub fn inside(&self, name: &str) -> Option<&'static Schema> {
        self.lists.iter().chain(self.objects).find(|(field, _)| *field == name).map(|(_, schema)| *schema)
    }

    /// Tells each field that is not known, with the fields beside it, until it is told to stop.
    fn unknown(
        &self,
        fields: &Fields<'_, '_>,
        tell: &mut dyn FnMut(&Schema, &Fields<'_, '_>, &str) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // Of a field that is there twice the last one counts.
        let is_sent = |key: &Text<'_>| matches!(key, Text::Bad(_)) || fields.node(key.shown()).is_some();
        for (key, _) in fields.free().filter(|(key, _)| !self.knows(key.shown()) && is_sent(key)) {
            tell(self, fields, key.shown())?;
        }
        let mut enter =
            |schema: &Schema, node: &Node<'_>, trail: Trail<'_>| match Fields::of(fields.format(), node, trail) {
                Ok(fields) => schema.unknown(&fields, tell),
                // What is no object fails the item, or nothing of it is read.
                Err(_) => ControlFlow::Continue(()),
            };
        for (name, schema) in self.lists {
            let list = Trail::Field(&fields.trail, name);
            let nodes = fields.list(name).unwrap_or_default().unwrap_or_default();
            for (index, node) in nodes.into_iter().enumerate() {
                enter(schema, node, Trail::Item(&list, index))?;
            }
        }
        for (name, schema) in self.objects {
            if let Some(node) = fields.node(name) {
                enter(schema, node, Trail::Field(&fields.trail, name))?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// What was decoded, unless the item has a field that is not known. One more object around what is expected is told as such.
pub(super) fn strictly<T>(
    fields: &Fields<'_, '_>,
    schema: &Schema,
    decoded: Result<T, Rejection>,
) -> Result<T, Rejection> {
    if let Err(Rejection { problem: Problem::Wrapped { .. } | Problem::Attributes { .. }, .. }) = decoded {
        return decoded;
    }
    let mut refused = None;
    let _ = schema.unknown(fields, &mut |schema, fields, name| {
        refused = Some(fields.refuse(name, Problem::unknown_of("field", name, &known(schema.names()))));
        ControlFlow::Break(())
    });
    refused.map_or(decoded, Err)
}

/// The fields of an item that are ignored, by their places in it: `lines[0].price`; at most ten. `secret`, the request's token,
/// never shows in them.
#[must_use]
pub fn ignored(format: Format, schema: &Schema, item: &Sent<'_>, limits: &Limits, secret: &str) -> Vec<String> {
    let Ok(node) = node::read(format, item, limits.max_values()) else { return Vec::new() };
    let Ok(fields) = Fields::of(format, &node, Trail::Root) else { return Vec::new() };
    ignored_fields(&fields, schema, secret)
}

/// The same of an item that was read.
pub(super) fn ignored_fields(fields: &Fields<'_, '_>, schema: &Schema, secret: &str) -> Vec<String> {
    let mut ignored = Vec::new();
    let _ = schema.unknown(fields, &mut |_, fields, name| {
        let place = fields.trail.place().field(name).text(secret);
        if !ignored.contains(&place) {
            ignored.push(place);
        }
        if ignored.len() < MAX_TOLD { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    ignored
}
