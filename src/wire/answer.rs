//! Answers: one tree, rendered as JSON or XML (contract, section 1). Compact, and the same in both.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::format::Format;

/// A value of an answer.
#[derive(Clone)]
pub enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Int(i64),
    /// A flag.
    Bool(bool),
    /// A list of so many items, each made when it is written: all of them at once would take more memory than the
    /// request. In XML repeated elements without a wrapper.
    List(usize, &'a (dyn Fn(usize) -> Object<'a> + 'a)),
    /// Any JSON, of calls that answer in no other format.
    Json(serde_json::Value),
}

/// The fields of an object, in the order in which they are written.
pub type Object<'a> = Vec<(&'static str, Value<'a>)>;

/// About how many bytes an answer has at least.
#[must_use]
pub fn least_bytes(answer: &Object<'_>) -> usize {
    let items = answer.iter().map(|(_, value)| if let Value::List(count, _) = value { *count } else { 1 });
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
    out.push('{');
    for (place, (key, value)) in object.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        let _ = write!(out, "\"{key}\":");
        match value {
            Value::Text(text) => json_text(out, text),
            Value::Json(json) => {
                let _ = write!(out, "{json}");
            }
            Value::Int(int) => {
                let _ = write!(out, "{int}");
            }
            Value::Bool(bool) => {
                let _ = write!(out, "{bool}");
            }
            Value::List(count, item) => {
                out.push('[');
                for place in 0..*count {
                    if place > 0 {
                        out.push(',');
                    }
                    json_object(out, &item(place));
                }
                out.push(']');
            }
        }
    }
    out.push('}');
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
            Value::List(count, item) => {
                for place in 0..*count {
                    let _ = write!(out, "<{key}>");
                    xml_fields(out, &item(place));
                    let _ = write!(out, "</{key}>");
                }
            }
            scalar => {
                let _ = write!(out, "<{key}>");
                match scalar {
                    Value::Text(text) => xml_text(out, text),
                    Value::Int(int) => {
                        let _ = write!(out, "{int}");
                    }
                    Value::Bool(bool) => {
                        let _ = write!(out, "{bool}");
                    }
                    Value::Json(json) => xml_text(out, &json.to_string()),
                    Value::List(..) => {}
                }
                let _ = write!(out, "</{key}>");
            }
        }
    }
}

fn xml_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A bare one would be read as a line feed.
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
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
