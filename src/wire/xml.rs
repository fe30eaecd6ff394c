//! XML: with `xml_events` and `xml_tree` all that knows it as a request's format.
//!
//! What the reader of events lets pass is refused here: depth, two roots, text outside the root, doubled
//! attributes, names that are none, DOCTYPE, and all entities but the predefined five.

use std::collections::HashSet;

use quick_xml::events::{BytesDecl, BytesStart, Event};

use super::document::{FieldSpans, Malformed, Wanted, may_be_secret};
use crate::domain::batch::Sent;
use crate::domain::place::Step;
use crate::domain::scalars;
use crate::domain::scalars::trimmed;

use super::node::{ShownText, Text};
use super::xml_events::{Events, NO_DOCTYPE};

pub(super) fn is_blank(text: &str) -> bool {
    trimmed(text).is_empty()
}

/// A document's elements below its root, and its root's start tag, if that binds a prefix to the namespace of `nil`.
type Split<'a> = (Vec<FieldSpans<'a>>, &'a str);

/// Splits a document into its root's elements.
pub(super) fn split<'a>(text: &'a str, wanted: &[Wanted], max_depth: usize) -> Result<Split<'a>, Malformed> {
    let mut splitter = Splitter {
        text,
        wanted,
        max_depth,
        depth: 0,
        root_seen: false,
        open: None,
        key_start: None,
        key: None,
        root: "",
        fields: Vec::new(),
    };
    splitter.run().map_err(|fault| splitter.in_item(fault))?;
    Ok((splitter.fields, splitter.root))
}

const NO_ENTITY: &str = "expected one of the five predefined entities or a character reference";

struct Splitter<'a, 'w> {
    text: &'a str,
    wanted: &'w [Wanted],
    max_depth: usize,
    depth: usize,
    root_seen: bool,
    /// The field that is being read, and where its element starts.
    open: Option<(&'w Wanted, usize)>,
    /// Where the text of the field by which the item is known starts, while it is being read.
    key_start: Option<usize>,
    /// That text.
    key: Option<&'a str>,
    /// The root's start tag, if it binds a prefix to the namespace of `nil`.
    root: &'a str,
    fields: Vec<FieldSpans<'a>>,
}

impl Splitter<'_, '_> {
    fn run(&mut self) -> Result<(), Malformed> {
        let mut events = Events::of(self.text);
        loop {
            let at = events.position();
            let event = events.read()?;
            if event == Event::Eof {
                break;
            }
            self.event(at, events.position(), &event)?;
            if self.depth > 1
                && let Event::Start(_) = event
            {
                let start = events.position();
                if let Some(content) = events.plain_content() {
                    self.end(start + content.len(), events.position());
                }
            }
        }
        let missing = if self.depth > 0 { "a closing tag" } else { "the root element" };
        if self.depth > 0 || !self.root_seen {
            let what = format!("expected {missing}, found the end of the document");
            return Err(Malformed::new(self.text.len(), what).cut());
        }
        Ok(())
    }

    /// A fault, in the item of a list that was being read.
    fn in_item(&self, fault: Malformed) -> Malformed {
        let Some((wanted, _)) = self.open.filter(|(wanted, _)| wanted.max_items > 0) else { return fault };
        let before = self.fields.iter().find(|field| field.name == wanted.name).map_or(0, |field| field.total);
        fault.inside(Step::Item(before)).inside(Step::Field(wanted.name.to_owned()))
    }

    fn event(&mut self, at: usize, end: usize, event: &Event<'_>) -> Result<(), Malformed> {
        match event {
            Event::Start(start) => self.start(at, end, start),
            Event::End(_) => {
                self.end(at, end);
                Ok(())
            }
            Event::Text(text) if text.contains('>') && text.contains("]]>") => {
                let before = text.find("]]>").unwrap_or_default();
                Err(Malformed::new(at + before, "expected no \"]]>\" in a text"))
            }
            Event::Text(text) => self.text(at, text),
            Event::CData(_) if self.depth == 0 => Err(Malformed::new(at, self.outside())),
            Event::CData(text) => self.text(at, text),
            Event::GeneralRef(reference) => match reference_code(reference) {
                None if !may_be_secret(reference) => {
                    Err(Malformed::new(at, format!("{NO_ENTITY}, found \"&{};\"", &**reference)))
                }
                None => Err(Malformed::new(at, NO_ENTITY)),
                Some(_) if self.depth == 0 => Err(Malformed::new(at, self.outside())),
                // A blank may be written as a reference.
                Some(code) => {
                    self.text(at, char::from_u32(code).map_or(String::from("\u{fffd}"), String::from).as_str())
                }
            },
            Event::Decl(declaration) => check_declaration(at, declaration),
            Event::DocType(_) => Err(Malformed::new(at, NO_DOCTYPE)),
            Event::PI(instruction)
                if !is_name(instruction.target()) || instruction.target().eq_ignore_ascii_case("xml") =>
            {
                Err(Malformed::new(at, "expected a name after \"<?\""))
            }
            Event::PI(_) | Event::Comment(_) | Event::Empty(_) | Event::Eof => Ok(()),
        }
    }

    fn outside(&self) -> &'static str {
        if self.root_seen { "expected nothing after the root element" } else { "expected the root element" }
    }

    fn start(&mut self, at: usize, end: usize, start: &BytesStart<'_>) -> Result<(), Malformed> {
        check_tag(start).map_err(|what| Malformed::new(at, what))?;
        if self.depth == 0 {
            if self.root_seen {
                return Err(Malformed::new(at, self.outside()));
            }
            if start.name().as_ref() != "xml" {
                return Err(Malformed::new(at, "expected the root element \"xml\""));
            }
            self.root_seen = true;
            if bindings(start).any(|(_, is_instance)| is_instance) {
                self.root = &self.text[at..end];
            }
        }
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(Malformed::too_deep(at, self.max_depth));
        }
        if self.depth == 2 {
            let name = start.name();
            self.open = self.wanted.iter().find(|wanted| wanted.name == name.as_ref()).map(|wanted| (wanted, at));
            self.key = None;
        }
        let is_key = |wanted: &Wanted| wanted.key.is_some_and(|key| key == start.name().as_ref());
        if self.depth == 3 && self.open.is_some_and(|(wanted, _)| is_key(wanted)) {
            self.key_start = Some(end);
        }
        Ok(())
    }

    fn end(&mut self, at: usize, end: usize) {
        self.depth -= 1;
        if self.depth == 2
            && let Some(start) = self.key_start.take()
        {
            // A CR is read as a line feed.
            let is_plain = |text: &&str| !text.contains(['&', '<', '\r']);
            self.key = self.text.get(start..at).map(scalars::id).filter(is_plain);
        }
        if self.depth != 1 {
            return;
        }
        let Some((wanted, start)) = self.open.take() else { return };
        let index = self.fields.iter().position(|field| field.name == wanted.name).unwrap_or_else(|| {
            self.fields.push(FieldSpans { is_list: true, ..FieldSpans::new(wanted.name) });
            self.fields.len() - 1
        });
        self.fields[index].whole = &self.text[start..end];
        let external_id = self.key.take();
        let item = Sent { text: &self.text[start..end], external_id, root: self.root };
        self.fields[index].add(item, wanted.max_items);
    }

    /// Text outside the root or between the root's elements has to be blank.
    fn text(&self, at: usize, text: &str) -> Result<(), Malformed> {
        if self.depth > 1 || is_blank(text) {
            return Ok(());
        }
        let what = if self.depth == 0 { self.outside() } else { "expected only blanks between elements" };
        let blanks = text.find(|c| !matches!(c, ' ' | '\t' | '\n' | '\r')).unwrap_or_default();
        Err(Malformed::new(at + blanks, what))
    }
}

/// XML 1.0, production 23: version, encoding and standalone, in this order.
fn check_declaration(at: usize, declaration: &BytesDecl<'_>) -> Result<(), Malformed> {
    if at != 0 {
        return Err(Malformed::new(at, "expected the XML declaration at the very start only"));
    }
    let malformed = |_| Malformed::new(at, "expected a well-formed XML declaration");
    let tag = BytesStart::from_content(&**declaration, "xml".len());
    check_tag(&tag).map_err(malformed)?;
    let mut known = ["version", "encoding", "standalone"].into_iter();
    for attribute in tag.attributes().with_checks(false).flatten() {
        if !known.any(|name| name == attribute.key.as_ref()) {
            return Err(malformed(""));
        }
        let value = &*attribute.value;
        match attribute.key.as_ref() {
            "version" if !value.starts_with("1.") => {
                return Err(Malformed::new(at, "expected version 1.0 in the XML declaration"));
            }
            "standalone" if value != "yes" && value != "no" => return Err(malformed("")),
            _ => {}
        }
    }
    if declaration.version().is_err() { Err(malformed("")) } else { Ok(()) }
}

/// More attributes than an element of any client has, and a bound on the memory that they take.
const MAX_ATTRIBUTES: usize = 1000;

/// A tag's name and attributes.
fn check_tag(start: &BytesStart<'_>) -> Result<(), &'static str> {
    if !is_name(start.name().as_ref()) {
        return Err("expected the name of an element after \"<\"");
    }
    let raw = start.attributes_raw();
    if raw.is_empty() {
        return Ok(());
    }
    let mut names = HashSet::new();
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| "expected attributes like name=\"value\"")?;
        let name = attribute.key.into_inner();
        if !is_name(name) {
            return Err("expected the name of an attribute");
        }
        // The name is a part of the tag: what stands before it has to be a blank.
        let before = (name.as_ptr() as usize).checked_sub(raw.as_ptr() as usize + 1);
        if !before.and_then(|before| raw.get(before..=before)).is_some_and(is_blank) {
            return Err("expected a blank before an attribute");
        }
        if !names.insert(name) {
            return Err("expected each attribute once");
        }
        if names.len() > MAX_ATTRIBUTES {
            return Err("expected at most 1000 attributes");
        }
        if attribute.value.contains('<') {
            return Err("expected no \"<\" in an attribute");
        }
        attribute_text(&attribute.value).ok_or(NO_ENTITY)?;
    }
    Ok(())
}

/// An attribute's value: references replaced, line ends and tabs made blanks.
pub(super) fn attribute_text<'a>(raw: &str) -> Option<Text<'a>> {
    let mut text = ShownText::default();
    let mut rest = raw;
    while let Some(start) = rest.find('&') {
        text.push_str(&rest[..start].replace("\r\n", " ").replace(['\t', '\n', '\r'], " "));
        let end = start + rest[start..].find(';')?;
        text.push(reference_code(&rest[start + 1..end])?);
        rest = &rest[end + 1..];
    }
    text.push_str(&rest.replace("\r\n", " ").replace(['\t', '\n', '\r'], " "));
    Some(text.finish())
}

/// The code point that `&…;` stands for.
pub(super) fn reference_code(reference: &str) -> Option<u32> {
    let code = match reference {
        "lt" => u32::from('<'),
        "gt" => u32::from('>'),
        "amp" => u32::from('&'),
        "apos" => u32::from('\''),
        "quot" => u32::from('"'),
        _ => {
            let number = reference.strip_prefix('#')?;
            let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            u32::from_str_radix(digits, radix).ok()?
        }
    };
    (code <= 0x0010_ffff).then_some(code)
}

/// XML 1.0, production 5.
fn is_name(name: &str) -> bool {
    // Most names are of these letters.
    if name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    {
        return true;
    }
    let start = |c: char| {
        matches!(c, ':' | '_' | 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
            | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}' | '\u{200d}' | '\u{2070}'..='\u{218f}'
            | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
            | '\u{10000}'..='\u{effff}')
    };
    let inner = |c: char| {
        start(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}' | '\u{2040}')
    };
    name.chars().next().is_some_and(start) && name.chars().all(inner)
}

/// The namespace of `nil`, by which .NET and JAXB write that there is no value.
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// The prefixes that an element binds, and whether to the namespace of `nil`.
pub(super) fn bindings(start: &BytesStart<'_>) -> impl Iterator<Item = (String, bool)> {
    let mut attributes = start.attributes();
    attributes.with_checks(false);
    attributes.flatten().filter_map(|attribute| {
        let prefix = attribute.key.as_ref().strip_prefix("xmlns:")?;
        let namespace = attribute_text(&attribute.value);
        Some((prefix.to_owned(), namespace.is_some_and(|namespace| namespace.shown() == INSTANCE)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::node::{Node, Unreadable};
    use crate::wire::xml_tree::node;

    fn split_error(text: &str) -> Option<Malformed> {
        split(text, &[Wanted { name: "data", max_items: 9, key: None }], 64).err()
    }

    #[test]
    fn refuses_what_the_event_reader_lets_pass() {
        for text in [
            "<xml/><xml/>",
            "a<xml/>",
            "<xml/>a",
            "&#32;<xml/>",
            "<xml/><![CDATA[]]>",
            "<xml a='1' a='2'/>",
            "<xml>]]></xml>",
            "<!DOCTYPE xml><xml/>",
            "<xml>&a;</xml>",
            "<xml a='&a;'/>",
            "<xml a='<'/>",
            "<1/>",
            "<xml><1a/></xml>",
            "<xml 1='2'/>",
            "<xml><data></xml>",
            "<xml><data></xml></data>",
            "<xml>",
            "",
            " ",
            "<xml> <?xml version='1.0'?></xml>",
            "<xml>x<data/></xml>",
            "<xml>&#xG;</xml>",
            "<xml>&#x110000;</xml>",
            "<xml>&#;</xml>",
            "<xml>&</xml>",
            "<xml><!-- -- --></xml>",
            "<root/>",
            "<a:xml/>",
            "<xml a/>",
            "<xml a=1/>",
            " <?xml version='1.0'?><xml/>",
            "<xml",
            "<xml><!--",
            "<xml><![CDATA[",
            "</xml>",
            "<xml a='1'b='2'/>",
            "<xml><?XML?></xml>",
            "<?xml version='1.0' eencoding='latin1'?><xml/>",
            "<?xml encoding='UTF-8'?><xml/>",
        ] {
            assert!(split_error(text).is_some(), "{text}");
        }
        for text in [
            "<xml/>",
            "<?xml version='1.0' encoding='utf-16'?><xml/>",
            "<?xml version='1.0' encoding='UTF-8'?>\n<!-- a --><xml a='1' b='&lt;'> <data/>&#32;<![CDATA[ ]]></xml> <?a b?>",
            "<xml><data>&#0;&#xd800;</data></xml>",
        ] {
            assert_eq!(split_error(text), None, "{text}");
        }
    }

    fn read(item: &str, max_values: usize) -> Result<Node<'_>, Unreadable> {
        node(&Sent::of(item), max_values)
    }

    #[test]
    fn nil_is_nothing_where_its_prefix_says_so() {
        let of = |root: &str, item: &str| {
            let text = format!("<xml {root}><data>{item}</data></xml>");
            let wanted = [Wanted { name: "data", max_items: 9, key: None }];
            let (fields, _) = split(&text, &wanted, 64).expect("well-formed");
            let Ok(Node::Object(object)) = node(&fields[0].items[0], 9) else { panic!("expected an object") };
            object.entries.last().expect("an element").node == Node::Nothing
        };
        let instance = format!("xmlns:i='{INSTANCE}'");
        for (root, item) in [
            (instance.as_str(), "<a i:nil='true'/>"),
            (&instance, "<a i:nil=' 1 '>x</a>"),
            (&instance, "<a i:nil='&#116;rue'/>"),
            (&instance.replace('-', "&#45;"), "<a i:nil='true'/>"),
            (&format!("{instance} xmlns:j='{INSTANCE}'"), "<a i:nil='true'/>"),
            (&instance, "<a xmlns:i='b'><b/></a><a i:nil='true'/>"),
            (&instance, "<a i:nil='true'><b/></a>"),
            ("", &format!("<a {instance} i:nil='true'/>")),
            ("xmlns:i='b'", &format!("<a {instance} i:nil='true'/>")),
        ] {
            assert!(of(root, item), "{root} {item}");
        }
        for (root, item) in [
            ("", "<a i:nil='true'/>"),
            (&*instance, "<a nil='true'/>"),
            (&instance, "<a i:nil='false'/>"),
            (&instance, "<a j:nil='true'/>"),
            (&instance, "<a xmlns:i='b' i:nil='true'/>"),
        ] {
            assert!(!of(root, item), "{root} {item}");
        }
    }

    #[test]
    fn texts_are_put_together() {
        let Ok(Node::Text(text)) = read("<a>x&amp;<![CDATA[<&>]]><!-- c -->&#13;\r\ny</a>", 9) else {
            panic!("expected a text")
        };
        assert_eq!(text, Text::Good("x&<&>\r\ny".into()));
        let Ok(Node::Text(text)) = read("<a>x&#1;</a>", 9) else { panic!("expected a text") };
        assert_eq!(text, Text::Bad("x\\u{1}".into()));
    }

    #[test]
    fn free_keys_come_from_the_attribute() {
        let Ok(Node::Object(object)) = read("<c><field external_id='1 &quot;2'>v</field><p:q/></c>", 9) else {
            panic!("expected an object")
        };
        assert_eq!(object.entries.len(), 1);
        assert_eq!(object.entries[0].free_key.as_deref(), Some(&Text::Good("1 \"2".into())));
    }
}
