//! Custom fields: their definitions, and values that fit them (contract, section 4).

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::rejection::{Found, Problem};
use super::{MAX_TEXT_CHARS, Patch, scalars};

/// What a custom field belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityType {
    /// A product of the catalogue.
    Product,
    /// A SKU of the catalogue.
    Sku,
    /// An order.
    Order,
    /// A line of an order.
    LineOrder,
}

/// What a custom field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// Any text, of at most 10,000 characters.
    Unicode,
    /// A 64-bit integer.
    Int,
    /// An exact decimal of at most 28 digits.
    Float,
    /// True or false.
    Bool,
    /// One of the definition's labels.
    Enum,
    /// A time.
    Date,
}

impl EntityType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Product, Self::Sku, Self::Order, Self::LineOrder];

    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EntityType::Product => "product",
            EntityType::Sku => "sku",
            EntityType::Order => "order",
            EntityType::LineOrder => "line_order",
        }
    }
}

impl ValueType {
    /// True for a text that stands for no value of this type.
    #[must_use]
    pub fn is_empty(self, text: &str) -> bool {
        match self {
            ValueType::Unicode => text.is_empty(),
            ValueType::Date => scalars::trimmed(text).is_empty() || scalars::is_no_date(text),
            _ => scalars::trimmed(text).is_empty(),
        }
    }

    /// All of them.
    pub const ALL: [Self; 6] = [Self::Unicode, Self::Int, Self::Float, Self::Bool, Self::Enum, Self::Date];

    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::Unicode => "unicode",
            ValueType::Int => "int",
            ValueType::Float => "float",
            ValueType::Bool => "bool",
            ValueType::Enum => "enum",
            ValueType::Date => "date",
        }
    }
}

/// A custom value, as it is stored, compared and listed: times and labels are texts, in one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text, a label, or a time in UTC.
    Text(String),
    /// An integer or an exact decimal.
    Number(Decimal),
    /// True or false.
    Bool(bool),
}

/// A custom field of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// What it belongs to.
    pub entity_type: EntityType,
    /// How requests name it.
    pub external_id: String,
    /// What it holds.
    pub value_type: ValueType,
    /// What people call it.
    pub name: String,
    /// A new order or line must have it.
    pub required: bool,
    /// What a new order or line gets when it is not sent.
    pub default: Option<Value>,
    /// Label to number, for enums.
    pub labels: Labels,
}

/// The labels of an enum and their numbers, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    numbers: BTreeMap<String, i64>,
    by_number: BTreeMap<i64, String>,
}

impl Labels {
    /// Adds a label, unless it is there.
    ///
    /// # Errors
    /// What would have to hold: the label has another number, or the number another label.
    pub fn add(&mut self, label: &str, number: i64) -> Result<(), &'static str> {
        match self.numbers.get(label) {
            Some(stored) if *stored == number => return Ok(()),
            Some(_) => return Err("a label to keep its number"),
            None => {}
        }
        if self.by_number.contains_key(&number) {
            return Err("each number only once");
        }
        self.numbers.insert(label.to_owned(), number);
        self.by_number.insert(number, label.to_owned());
        Ok(())
    }

    /// The label that a text names, by itself or by its number.
    fn named(&self, text: &str) -> Option<&String> {
        let trimmed = scalars::id(text);
        let label = self.numbers.get_key_value(text).or_else(|| self.numbers.get_key_value(trimmed));
        label.map(|(label, _)| label).or_else(|| self.by_number.get(&scalars::integer(trimmed)?))
    }

    /// Each label with its number.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &i64)> {
        self.numbers.iter()
    }
}

/// A definition as a request sends it; what is absent keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentDefinition {
    /// What it belongs to.
    pub entity_type: EntityType,
    /// How requests name it.
    pub external_id: String,
    /// What it holds.
    pub value_type: ValueType,
    /// What people call it.
    pub name: Option<String>,
    /// A new order or line must have it.
    pub required: Option<bool>,
    /// What a new order or line gets, as text.
    pub default: Patch<String>,
    /// Label to number, for enums, in the order sent.
    pub labels: Option<Vec<(String, i64)>>,
}

/// A custom value as a request sends it, before its definition is known. An absent one is not there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SentValue<'a> {
    /// Sent empty.
    Clear,
    /// Sent as a scalar.
    Text(std::borrow::Cow<'a, str>),
    /// Sent as something that fits no custom field.
    Other(Found),
    /// A scalar with a character that cannot be stored, as it is shown.
    Character(String),
}

impl Definition {
    /// The value that a text stands for, in this field.
    ///
    /// # Errors
    /// The text does not fit the field's type.
    pub fn convert(&self, text: &str) -> Result<Value, Problem> {
        let expected = |what| Problem::expected(what, text);
        match self.value_type {
            ValueType::Unicode => match text.chars().count() {
                sent if sent > MAX_TEXT_CHARS => Err(Problem::TooLong { limit: MAX_TEXT_CHARS, sent }),
                _ => Ok(Value::Text(text.to_owned())),
            },
            ValueType::Int => {
                scalars::integer(text).map(|int| Value::Number(int.into())).ok_or_else(|| expected(EXPECTED_INT))
            }
            ValueType::Float => scalars::float(text)
                .map(Value::Number)
                .ok_or_else(|| expected("a decimal like -12.5 of at most 28 digits")),
            ValueType::Bool => scalars::boolean(text).map(Value::Bool).ok_or_else(|| expected(EXPECTED_BOOL)),
            ValueType::Date => scalars::time(text)
                .map(|time| Value::Text(scalars::time_text(time)))
                .ok_or_else(|| expected(EXPECTED_TIME)),
            ValueType::Enum => {
                let label = self.labels.named(text).ok_or_else(|| expected("a label or a number of the enum"))?;
                Ok(Value::Text(label.clone()))
            }
        }
    }

    /// The value that was sent for this field; `None` clears it.
    ///
    /// # Errors
    /// The value does not fit the field's type.
    pub fn convert_sent(&self, sent: &SentValue<'_>) -> Result<Option<Value>, Problem> {
        match sent {
            SentValue::Clear if self.required => Err(Problem::NotClearable),
            SentValue::Clear => Ok(None),
            SentValue::Text(text) if self.value_type.is_empty(text) => {
                if self.required {
                    Err(Problem::NotClearable)
                } else {
                    Ok(None)
                }
            }
            SentValue::Text(text) => self.convert(text).map(Some),
            SentValue::Character(shown) => Err(Problem::Character(shown.clone())),
            SentValue::Other(found) => Err(Problem::Expected { what: "a single value", found: found.clone() }),
        }
    }
}

/// What a flag takes.
pub const EXPECTED_BOOL: &str = "true or false";
/// What a time takes.
pub const EXPECTED_TIME: &str = "a time like 2022-01-02T15:04:05Z, 2022-01-02 15:04 or 2022-01-02";
/// What an integer takes.
pub const EXPECTED_INT: &str = "a whole number of 64 bits";

impl SentDefinition {
    /// The definition after this was sent.
    ///
    /// # Errors
    /// The name of the field that is wrong, and what is wrong with it.
    pub fn merged(&self, stored: Option<&Definition>) -> Result<Definition, (&'static str, Problem)> {
        let mut merged = match stored {
            Some(stored) => stored.clone(),
            None => Definition {
                entity_type: self.entity_type,
                external_id: self.external_id.clone(),
                value_type: self.value_type,
                name: self.external_id.clone(),
                required: false,
                default: None,
                labels: Labels::default(),
            },
        };
        if merged.value_type != self.value_type {
            let clash =
                Problem::Clash { with: merged.value_type.as_stored(), sent: self.value_type.as_str().to_owned() };
            return Err(("value_type", clash));
        }
        if let Some(name) = &self.name {
            merged.name.clone_from(name);
        }
        if let Some(required) = self.required {
            merged.required = required;
        }
        self.merge_labels(&mut merged, stored.is_none())?;
        match &self.default {
            Patch::Keep => {}
            Patch::Clear => merged.default = None,
            Patch::Set(text) => {
                merged.default = Some(merged.convert(text).map_err(|problem| ("default_value", problem))?);
            }
        }
        Ok(merged)
    }

    fn merge_labels(&self, merged: &mut Definition, creates: bool) -> Result<(), (&'static str, Problem)> {
        let sent = self.labels.as_deref().unwrap_or_default();
        if self.value_type != ValueType::Enum {
            return match sent.first() {
                None => Ok(()),
                Some((label, _)) => Err(("enum_values", Problem::expected("no labels, since this is no enum", label))),
            };
        }
        if creates && sent.is_empty() {
            return Err(("enum_values", Problem::Required));
        }
        for (label, number) in sent {
            merged
                .labels
                .add(label, *number)
                .map_err(|with| ("enum_values", Problem::Clash { with, sent: format!("{label}: {number}") }))?;
        }
        Ok(())
    }
}

impl ValueType {
    /// The stored type, as the expectation of a refusal.
    fn as_stored(self) -> &'static str {
        match self {
            ValueType::Unicode => "the type it has, unicode",
            ValueType::Int => "the type it has, int",
            ValueType::Float => "the type it has, float",
            ValueType::Bool => "the type it has, bool",
            ValueType::Enum => "the type it has, enum",
            ValueType::Date => "the type it has, date",
        }
    }
}
