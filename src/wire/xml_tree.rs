//! XML: one element as a tree. What is refused of a document was refused when it was split.

use std::borrow::Cow;
use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event};

use super::node::{Entry, Node, Object, ShownText, Text, Unreadable};
use super::xml::{attribute_text, bindings, is_blank, reference_code};
use super::xml_events::Events;
use crate::domain::batch::Sent;
use crate::domain::scalars::trimmed;

/// Reads one element as a tree.
pub(super) fn node<'a>(item: &Sent<'a>, max_values: usize) -> Result<Node<'a>, Unreadable> {
    // The document was checked as a whole when it was split.
    let mut reader =
        TreeReader { item: item.text, events: Events::of(item.text), left: max_values, bound: HashMap::new() };
    if let Ok(Event::Start(root)) = Events::of(item.root).read() {
        reader.bind(&root);
    }
    match reader.events.read() {
        Ok(Event::Start(start)) => reader.element(&start),
        _ => Err(Unreadable::Malformed),
    }
}

struct TreeReader<'a> {
    item: &'a str,
    events: Events<'a>,
    left: usize,
    /// The prefixes that are bound here, each with whether it is bound to the namespace of `nil`, the innermost last.
    bound: HashMap<String, Vec<bool>>,
}

impl<'a> TreeReader<'a> {
    /// Reads an element, up to its end. The depth was checked when the document was split.
    fn element(&mut self, start: &BytesStart<'_>) -> Result<Node<'a>, Unreadable> {
        if start.attributes_raw().is_empty() {
            return self.content(start);
        }
        let prefixes = self.bind(start);
        let is_nil = self.is_nil(start);
        let node = self.content(start)?;
        for prefix in prefixes {
            self.bound.get_mut(&prefix).map(Vec::pop);
        }
        Ok(if is_nil { Node::Nothing } else { node })
    }

    /// Binds the prefixes of an element; returns them.
    fn bind(&mut self, start: &BytesStart<'_>) -> Vec<String> {
        let bind = |(prefix, is_instance): (String, bool)| {
            self.bound.entry(prefix.clone()).or_default().push(is_instance);
            prefix
        };
        bindings(start).map(bind).collect()
    }

    fn is_nil(&self, start: &BytesStart<'_>) -> bool {
        start.attributes().with_checks(false).flatten().any(|attribute| {
            let Some(prefix) = attribute.key.as_ref().strip_suffix(":nil") else { return false };
            let is_instance = self.bound.get(prefix).and_then(|bound| bound.last()) == Some(&true);
            let value = attribute_text(&attribute.value).filter(|_| is_instance);
            value.is_some_and(|value| matches!(trimmed(value.shown()), "true" | "1"))
        })
    }

    /// Reads what stands in an element.
    fn content(&mut self, start: &BytesStart<'_>) -> Result<Node<'a>, Unreadable> {
        self.left = self.left.checked_sub(1).ok_or(Unreadable::TooManyValues)?;
        if let Some(text) = self.events.plain_content() {
            return Ok(scalar(start, Text::checked(Cow::Borrowed(text))));
        }
        let mut content = Content::default();
        let mut entries = Vec::new();
        let mut has_elements = false;
        loop {
            let at = self.events.position();
            match self.events.read().map_err(|_| Unreadable::Malformed)? {
                Event::Start(child) => {
                    has_elements = true;
                    let node = self.element(&child)?;
                    let name =
                        self.item.get(at + 1..at + 1 + child.name().as_ref().len()).ok_or(Unreadable::Malformed)?;
                    // An element with a prefix is somebody else's.
                    if !name.contains(':') {
                        let free_key =
                            if name == FREE_KEY { attribute(&child, "external_id").map(Box::new) } else { None };
                        if entries.is_empty() {
                            // An order has more than a dozen fields.
                            entries.reserve(16);
                        }
                        entries.push(Entry { key: Text::checked(Cow::Borrowed(name)), free_key, node });
                    }
                }
                Event::End(_) => break,
                Event::Text(text) => content.push(text.xml10_content()),
                Event::CData(text) => content.push(text.xml10_content()),
                Event::GeneralRef(reference) => {
                    content.push_code(reference_code(&reference).ok_or(Unreadable::Malformed)?);
                }
                Event::Eof => return Err(Unreadable::Malformed),
                _ => {}
            }
        }
        let text = content.finish();
        if has_elements {
            let stray = (!is_blank(text.shown())).then(|| trimmed(text.shown()).into());
            return Ok(Node::Object(Object { entries, stray, has_attributes: has_id(start) }));
        }
        Ok(scalar(start, text))
    }
}

/// An element without elements in it.
fn scalar<'a>(start: &BytesStart<'_>, text: Text<'a>) -> Node<'a> {
    if start.attributes_raw().is_empty() || !is_blank(text.shown()) {
        return Node::Text(text);
    }
    if attribute(start, "array").is_some_and(|array| array.shown() == "true") {
        return Node::List(Vec::new());
    }
    if has_id(start) { Node::Object(Object { has_attributes: true, ..Object::default() }) } else { Node::Text(text) }
}

/// True for an element whose external id is an attribute; that of a free key is as it should be.
fn has_id(start: &BytesStart<'_>) -> bool {
    start.name().as_ref() != FREE_KEY && attribute(start, "external_id").is_some()
}

/// The element that stands for a key that is no name.
const FREE_KEY: &str = "field";

/// The value of an attribute.
fn attribute<'a>(start: &BytesStart<'_>, name: &str) -> Option<Text<'a>> {
    if start.attributes_raw().is_empty() {
        return None;
    }
    let mut attributes = start.attributes();
    let attribute = attributes.with_checks(false).flatten().find(|attribute| attribute.key.as_ref() == name)?;
    attribute_text(&attribute.value)
}

/// The text of an element, piece by piece; most have one piece, which is borrowed.
#[derive(Default)]
struct Content<'a> {
    first: Option<Cow<'a, str>>,
    rest: Option<ShownText>,
}

impl<'a> Content<'a> {
    fn push(&mut self, piece: Cow<'a, str>) {
        if self.first.is_none() && self.rest.is_none() {
            self.first = Some(piece);
        } else {
            self.builder().push_str(&piece);
        }
    }

    fn push_code(&mut self, code: u32) {
        self.builder().push(code);
    }

    fn builder(&mut self) -> &mut ShownText {
        let first = self.first.take();
        let builder = self.rest.get_or_insert_default();
        if let Some(first) = first {
            builder.push_str(&first);
        }
        builder
    }

    fn finish(self) -> Text<'a> {
        match (self.first, self.rest) {
            (_, Some(builder)) => builder.finish(),
            (Some(text), None) => Text::checked(text),
            (None, None) => Text::Good(Cow::Borrowed("")),
        }
    }
}
