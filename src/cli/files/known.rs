//! Which fields the calls read of an order or a product, for what is to be said of the others.

use std::collections::BTreeSet;

use quick_xml::events::Event;
use serde_json::Value as Json;

use super::table::{LINE, ORDER};
use super::{FileFormat, What};
use crate::domain::catalogue::{FIELDS, REGIONAL_FIELDS};

/// The fields of an order that CSV has in another way, or not.
const MORE_OF_ORDER: [&str; 5] = ["lines", "lines_mode", "money", "profile", "skip_triggers"];
const MORE_OF_ITEM: [&str; 5] = ["external_id", "name", "custom_fields", "regional_data", "money"];

/// The fields of a record that are not read, like `lines.quantity`.
pub(super) fn unread(what: What, format: FileFormat, text: &str) -> BTreeSet<String> {
    let mut unread = BTreeSet::new();
    let mut note = |path: &[String]| unread.extend(first_unread(what, path));
    if format == FileFormat::Xml {
        in_element(text, &mut note);
    } else if let Ok(item) = serde_json::from_str(text) {
        in_json(&item, &mut Vec::new(), &mut note);
    }
    unread
}

/// The names that are read in an object, by the way to it; `None` where they are free, or where no object is expected.
fn names(what: What, object: &str) -> Option<Vec<&'static str>> {
    let of = |fields: &[(&'static str, _)], more: &[&'static str]| {
        fields.iter().map(|(name, _)| *name).chain(more.iter().copied()).collect()
    };
    Some(match (what, object) {
        (What::Orders, "") => [&ORDER[..], &MORE_OF_ORDER].concat(),
        (What::Orders, "lines") => LINE.to_vec(),
        (What::Orders, "profile") => vec!["profile_id"],
        (What::Products, "") => of(&FIELDS, &[&MORE_OF_ITEM[..], &["sku"]].concat()),
        (What::Products, "sku") => of(&FIELDS, &[&MORE_OF_ITEM[..], &["product_external_id"]].concat()),
        (What::Products, "regional_data" | "sku.regional_data") => {
            of(&REGIONAL_FIELDS, &["external_id", "custom_fields"])
        }
        _ => return None,
    })
}

/// The first field on the way to another one that is not read.
fn first_unread(what: What, path: &[String]) -> Option<String> {
    (0..path.len()).find_map(|at| {
        let known = names(what, &path[..at].join("."));
        let is_unread = known.is_some_and(|known| !known.contains(&path[at].as_str()));
        is_unread.then(|| path[..=at].join("."))
    })
}

/// Tells the ways to all fields of a value. Lists are no steps, nor are the numbers by which some write them.
fn in_json(value: &Json, path: &mut Vec<String>, note: &mut impl FnMut(&[String])) {
    match value {
        Json::Array(items) => items.iter().for_each(|item| in_json(item, path, note)),
        Json::Object(fields) if fields.keys().all(|name| name.parse::<u64>().is_ok()) => {
            fields.values().for_each(|item| in_json(item, path, note));
        }
        Json::Object(fields) => {
            for (name, field) in fields {
                path.push(name.clone());
                note(path);
                in_json(field, path, note);
                path.pop();
            }
        }
        _ => {}
    }
}

/// The same of an element. Those with a prefix are somebody else's.
fn in_element(text: &str, note: &mut impl FnMut(&[String])) {
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut path: Vec<String> = Vec::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                path.push(start.name().as_ref().to_owned());
                if path.iter().all(|name| !name.contains(':')) {
                    note(&path[1..]);
                }
            }
            Ok(Event::End(_)) => drop(path.pop()),
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
}
