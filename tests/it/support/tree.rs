//! One request, to be written in both formats.

use std::fmt::Write as _;

/// A value of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Text(String),
    Object(Vec<(String, Tree)>),
    List(Vec<Tree>),
}

/// A scalar.
#[expect(clippy::needless_pass_by_value, reason = "so that numbers and texts read alike")]
pub(crate) fn text(text: impl ToString) -> Tree {
    Tree::Text(text.to_string())
}

/// An object.
pub(crate) fn object(fields: Vec<(&str, Tree)>) -> Tree {
    Tree::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

impl Tree {
    /// The field of an object, which has it.
    pub(crate) fn at(&mut self, key: &str) -> &mut Tree {
        let Tree::Object(fields) = self else { panic!("no object") };
        fields.iter_mut().find(|(name, _)| name == key).map_or_else(|| panic!("no field {key}"), |(_, value)| value)
    }

    /// The item of a list, which has it.
    pub(crate) fn item(&mut self, index: usize) -> &mut Tree {
        let Tree::List(items) = self else { panic!("no list") };
        &mut items[index]
    }

    /// Sets a field of an object.
    pub(crate) fn set(&mut self, key: &str, value: Tree) {
        let Tree::Object(fields) = self else { panic!("no object") };
        fields.retain(|(name, _)| name != key);
        fields.push((key.to_owned(), value));
    }

    /// Takes a field of an object away.
    pub(crate) fn remove(&mut self, key: &str) {
        let Tree::Object(fields) = self else { panic!("no object") };
        fields.retain(|(name, _)| name != key);
    }

    /// The request in a format, `json` or `xml`.
    pub(crate) fn render(&self, format: &str) -> String {
        let mut out = String::new();
        if format == "json" {
            self.json(&mut out);
        } else {
            self.xml(&mut out, "xml");
        }
        out
    }

    fn json(&self, out: &mut String) {
        match self {
            Tree::Text(text) => out.push_str(&serde_json::Value::from(text.as_str()).to_string()),
            Tree::Object(fields) => {
                out.push('{');
                for (place, (key, value)) in fields.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { "," });
                    out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                    out.push(':');
                    value.json(out);
                }
                out.push('}');
            }
            Tree::List(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { "," });
                    item.json(out);
                }
                out.push(']');
            }
        }
    }

    fn xml(&self, out: &mut String, key: &str) {
        let (open, close) = if key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !key.starts_with(|c: char| c.is_ascii_digit())
        {
            (key.to_owned(), key)
        } else {
            (format!("field external_id=\"{}\"", escaped(key)), "field")
        };
        match self {
            Tree::List(items) if items.is_empty() => write!(out, "<{open} array=\"true\"/>").expect("memory"),
            Tree::List(items) => items.iter().for_each(|item| item.xml(out, key)),
            Tree::Text(text) => write!(out, "<{open}>{}</{close}>", escaped(text)).expect("memory"),
            Tree::Object(fields) => {
                write!(out, "<{open}>").expect("memory");
                for (key, value) in fields {
                    value.xml(out, key);
                }
                write!(out, "</{close}>").expect("memory");
            }
        }
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' | '&' | '>' | '"' | '\0'..' ' => write!(out, "&#{};", u32::from(c)).expect("memory"),
            c => out.push(c),
        }
    }
    out
}

/// A request with orders, the test's token and `detail`.
pub(crate) fn call(orders: Vec<Tree>) -> Tree {
    object(vec![("token", text(super::server::TOKEN)), ("detail", text(true)), ("data", Tree::List(orders))])
}

/// A good order of so many lines; `version` shows in its price and in those of its lines.
#[expect(clippy::needless_pass_by_value, reason = "so that numbers and texts read alike")]
pub(crate) fn order(external_id: impl ToString, lines: usize, version: usize) -> Tree {
    let line = |number: usize| {
        object(vec![
            ("external_id", text(format!("line_{number}"))),
            ("product", text(format!("product_{number}"))),
            ("final_price_per_item", text(version)),
            ("count", text(number + 1)),
        ])
    };
    let external_id = external_id.to_string();
    object(vec![
        ("email", text(format!("customer_{}@example.com", external_id.replace(|c: char| !c.is_ascii_graphic(), "_")))),
        ("external_id", text(external_id)),
        ("endpoint", text("website")),
        ("status", text("new")),
        ("total_price", text(version)),
        ("currency", text("USD")),
        ("create_time", text("2022-01-02T15:04:05.141Z")),
        ("lines", Tree::List((0..lines).map(line).collect())),
    ])
}
