//! Answers: one tree, rendered as JSON or XML (contract, section 1). Compact, and the same in both.

use std::borrow::Cow;
use std::fmt::Write as _;

use rust_decimal::Decimal;

use super::format::Format;

/// A value of an answer.
#[derive(Clone)]
pub enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Int(i64),
    /// An exact number.
    Number(Decimal),
    /// A flag.
    Bool(bool),
    /// An object.
    Object(Object<'a>),
    /// An object with keys of the client's.
    Free(Vec<(Cow<'a, str>, Value<'a>)>),
    /// Texts; in XML repeated elements, as all lists.
    Texts(Vec<Cow<'a, str>>),
    /// Integers.
    Ints(Vec<i64>),
    /// Objects.
    Objects(Vec<Object<'a>>),
    /// A list of so many items, each made when it is written: all of them at once would take more memory than the
    /// request. In XML repeated elements without a wrapper.
    List(usize, &'a (dyn Fn(usize) -> Object<'a> + 'a)),
    /// Any JSON, of calls that answer in no other format.
    Json(serde_json::Value),
}

/// What stands around an item of a list, about.
const ITEM_FRAME_BYTES: usize = 20;
/// The first item need not be like the others.
const MAX_EXPECTED_ITEM_BYTES: usize = 100;

/// The fields of an object, in the order in which they are written.
pub type Object<'a> = Vec<(&'static str, Value<'a>)>;

/// About how many bytes an answer has at least.
#[must_use]
pub fn least_bytes(answer: &Object<'_>) -> usize {
    let items = answer.iter().map(|(_, value)| match value {
        Value::List(count, _) => *count,
        Value::Objects(objects) => objects.len(),
        _ => 1,
    });
    items.sum::<usize>() * 32
}

/// Renders an answer.
#[must_use]
pub fn render(format: Format, answer: &Object<'_>) -> String {
    let mut out = String::with_capacity(64);
    match format {
        Format::Json => json_object(&mut out, answer),
        Format::Xml => {
            out.push_str("<xml>");
            xml_fields(&mut out, answer);
            out.push_str("</xml>");
        }
    }
    out
}

fn json_object(out: &mut String, object: &Object<'_>) {
    json_fields(out, object.iter().map(|(key, value)| (*key, value)));
}

fn json_fields<'v, 'a: 'v>(out: &mut String, fields: impl Iterator<Item = (&'v str, &'v Value<'a>)>) {
    out.push('{');
    for (place, (key, value)) in fields.enumerate() {
        if place > 0 {
            out.push(',');
        }
        json_text(out, key);
        out.push(':');
        json_value(out, value);
    }
    out.push('}');
}

fn json_value(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Text(text) => json_text(out, text),
        Value::Json(json) => push(out, json),
        Value::Int(int) => push(out, int),
        Value::Number(number) => push(out, number),
        Value::Bool(bool) => push(out, bool),
        Value::Object(object) => json_object(out, object),
        Value::Free(fields) => json_fields(out, fields.iter().map(|(key, value)| (&**key, value))),
        Value::Texts(texts) => json_list(out, texts.iter(), |out, text| json_text(out, text)),
        Value::Ints(ints) => json_list(out, ints.iter(), push),
        Value::Objects(objects) => json_list(out, objects.iter(), json_object),
        Value::List(count, item) => json_list(out, 0..*count, |out, place| {
            with_room(out, place, *count, |out| json_object(out, &item(place)));
        }),
    }
}

/// Writes an item of a list; behind the first one comes room for the others, so that a long answer is not copied as it grows.
fn with_room(out: &mut String, place: usize, count: usize, write: impl FnOnce(&mut String)) {
    let start = out.len();
    write(out);
    if place == 0 {
        let each = out.len() - start + ITEM_FRAME_BYTES;
        out.reserve(each.min(MAX_EXPECTED_ITEM_BYTES) * (count - 1));
    }
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

fn json_list<T>(out: &mut String, items: impl Iterator<Item = T>, write: impl Fn(&mut String, T)) {
    out.push('[');
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn xml_fields(out: &mut String, object: &Object<'_>) {
    for (key, value) in object {
        match value {
            Value::Texts(texts) => xml_elements(out, key, texts.iter(), |out, text| xml_text(out, text)),
            Value::Ints(ints) => xml_elements(out, key, ints.iter(), push),
            Value::Objects(objects) => xml_elements(out, key, objects.iter(), xml_fields),
            Value::List(count, item) => xml_elements(out, key, 0..*count, |out, place| {
                with_room(out, place, *count, |out| xml_fields(out, &item(place)));
            }),
            Value::Free(fields) if fields.is_empty() => push(out, format_args!("<{key}/>")),
            value => xml_element(out, key, |out| xml_value(out, value)),
        }
    }
}

fn xml_elements<T>(out: &mut String, key: &str, items: impl Iterator<Item = T>, write: impl Fn(&mut String, T)) {
    for item in items {
        xml_element(out, key, |out| write(out, item));
    }
}

fn xml_element(out: &mut String, key: &str, content: impl FnOnce(&mut String)) {
    push(out, format_args!("<{key}>"));
    content(out);
    push(out, format_args!("</{key}>"));
}

fn xml_value(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Text(text) => xml_text(out, text),
        Value::Json(json) => xml_text(out, &json.to_string()),
        Value::Int(int) => push(out, int),
        Value::Number(number) => push(out, number),
        Value::Bool(bool) => push(out, bool),
        Value::Object(object) => xml_fields(out, object),
        Value::Free(fields) => fields.iter().for_each(|(key, value)| xml_free(out, key, value)),
        // Lists are repeated elements.
        Value::Texts(_) | Value::Ints(_) | Value::Objects(_) | Value::List(..) => {}
    }
}

/// A value by a key of the client's, which need not be a name in XML (contract, section 2).
fn xml_free(out: &mut String, key: &str, value: &Value<'_>) {
    let mut bytes = key.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if starts && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
        return xml_element(out, key, |out| xml_value(out, value));
    }
    out.push_str("<field external_id=\"");
    for c in key.chars() {
        match c {
            '"' => out.push_str("&quot;"),
            // Read as a blank otherwise.
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c => xml_char(out, c),
        }
    }
    out.push_str("\">");
    xml_value(out, value);
    out.push_str("</field>");
}

/// A text as XML carries it between tags.
#[must_use]
pub fn xml_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    xml_text(&mut out, text);
    out
}

fn xml_text(out: &mut String, text: &str) {
    text.chars().for_each(|c| xml_char(out, c));
}

fn xml_char(out: &mut String, c: char) {
    match c {
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '&' => out.push_str("&amp;"),
        // A bare one would be read as a line feed.
        '\r' => out.push_str("&#13;"),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_say_the_same() {
        let item = |place| match place {
            0 => vec![("error", Value::Int(0)), ("external_id", Value::Text("<&\"\r\n\\>".into()))],
            _ => vec![("ok", Value::Bool(true))],
        };
        let answer = vec![("error_text", Value::Text("".into())), ("result", Value::List(2, &item))];
        assert_eq!(
            render(Format::Json, &answer),
            r#"{"error_text":"","result":[{"error":0,"external_id":"<&\"\r\n\\>"},{"ok":true}]}"#
        );
        assert_eq!(
            render(Format::Xml, &answer),
            "<xml><error_text></error_text><result><error>0</error><external_id>&lt;&amp;\"&#13;\n\\&gt;</external_id></result><result><ok>true</ok></result></xml>"
        );
    }
}
