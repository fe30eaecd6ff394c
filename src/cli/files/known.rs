//! Which fields the calls read of an order or a product, for what is to be said of the others.

use std::collections::BTreeSet;

use quick_xml::events::Event;
use serde_json::Value as Json;

use super::{FileFormat, What};
use crate::wire::known;

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

/// The first field on the way to another one that is not read.
fn first_unread(what: What, path: &[String]) -> Option<String> {
    let mut schema = match what {
        What::Orders => &known::ORDER,
        What::Products => &known::PRODUCT,
    };
    for (at, name) in path.iter().enumerate() {
        if !schema.knows(name) {
            return Some(path[..=at].join("."));
        }
        schema = schema.inside(name)?;
    }
    None
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
