//! The lists of an object, in either format.

use std::borrow::Cow;

use super::{Fields, id, only_key, too_long};
use crate::domain::MAX_KEY_CHARS;
use crate::domain::place::Trail;
use crate::domain::rejection::{Problem, Rejection};
use crate::wire::format::Format;
use crate::wire::node::{Entry, Node, Text};

/// A text of a list, and its place there.
type PlacedText<'a> = (usize, Cow<'a, str>);

impl<'n, 'a> Fields<'n, 'a> {
    /// The items of a list of objects; `None` if it is absent. What stands alone in its place is the list of it alone.
    ///
    /// # Errors
    /// It is no list.
    pub fn list(&self, key: &str) -> Result<Option<Vec<&'n Node<'a>>>, Rejection> {
        self.items(key, |_| true)
    }

    /// The items of a list; what `is_one` is the list of it alone.
    fn items(&self, key: &str, is_one: fn(&Node<'_>) -> bool) -> Result<Option<Vec<&'n Node<'a>>>, Rejection> {
        if self.format == Format::Xml {
            let named = |entry: &&Entry<'a>| matches!(&entry.key, Text::Good(name) if name == key);
            let items: Vec<_> = self.entries.iter().filter(named).map(|entry| &entry.node).collect();
            return Ok(match items.as_slice() {
                [] | [Node::Nothing] => None,
                [Node::List(_)] => Some(Vec::new()),
                _ => Some(items),
            });
        }
        match self.node(key) {
            None => Ok(None),
            Some(Node::List(items)) => Ok(Some(items.iter().collect())),
            Some(Node::Text(text)) if text.is_empty() => Ok(Some(Vec::new())),
            Some(Node::Object(object)) if let Some(items) = object.numbered() => Ok(Some(items)),
            Some(one) if is_one(one) => Ok(Some(vec![one])),
            Some(other) => Err(self.refuse(key, Problem::Expected { what: "a list", found: other.found() })),
        }
    }

    /// A list of short texts; empty ones are no items.
    ///
    /// # Errors
    /// It is no list, has too many items, or one of them is no short text.
    pub fn names(&self, key: &str, things: &'static str, limit: usize) -> Result<Option<Vec<Cow<'a, str>>>, Rejection> {
        self.texts(key, (things, limit), MAX_KEY_CHARS, |text| text)
    }

    /// A list of ids, without what nobody sees around them; empty ones are no items.
    ///
    /// # Errors
    /// See [`Fields::names`].
    pub fn ids(&self, key: &str, things: &'static str, limit: usize) -> Result<Option<Vec<Cow<'a, str>>>, Rejection> {
        self.texts(key, (things, limit), MAX_KEY_CHARS, id)
    }

    /// A list of integers, each of which `convert` takes; empty texts are no items.
    ///
    /// # Errors
    /// It is no list, has too many items, or one of them is no such integer.
    pub fn integers(
        &self,
        key: &str,
        (things, limit): (&'static str, usize),
        what: &'static str,
        convert: fn(&str) -> Option<i64>,
    ) -> Result<Option<Vec<i64>>, Rejection> {
        let Some(texts) = self.placed_texts(key, (things, limit), MAX_KEY_CHARS, id)? else { return Ok(None) };
        let list = Trail::Field(&self.trail, key);
        let integer = |(index, text): (usize, Cow<'_, str>)| {
            let wrong = || Rejection::new(Trail::Item(&list, index).place(), Problem::expected(what, &text));
            convert(&text).ok_or_else(wrong)
        };
        texts.into_iter().map(integer).collect::<Result<_, _>>().map(Some)
    }

    /// A list of texts of at most so many characters, each as `trim` leaves it; empty ones are no items. A lone text in its place
    /// is the list of it alone.
    ///
    /// # Errors
    /// See [`Fields::names`].
    pub fn texts(
        &self,
        key: &str,
        bound: (&'static str, usize),
        max_chars: usize,
        trim: fn(Cow<'a, str>) -> Cow<'a, str>,
    ) -> Result<Option<Vec<Cow<'a, str>>>, Rejection> {
        let texts = self.placed_texts(key, bound, max_chars, trim)?;
        Ok(texts.map(|texts| texts.into_iter().map(|(_, text)| text).collect()))
    }

    /// The same, each with its place in the list.
    fn placed_texts(
        &self,
        key: &str,
        (things, limit): (&'static str, usize),
        max_chars: usize,
        trim: fn(Cow<'a, str>) -> Cow<'a, str>,
    ) -> Result<Option<Vec<PlacedText<'a>>>, Rejection> {
        let Some(items) = self.items(key, |node| matches!(node, Node::Text(_)))? else { return Ok(None) };
        let mut texts = Vec::with_capacity(items.len().min(limit));
        let mut sent = 0;
        let mut wrong = None;
        for (index, item) in items.into_iter().enumerate() {
            let problem = match item {
                Node::Nothing => continue,
                Node::Text(text) if text.is_empty() => continue,
                // An element that declares an empty list in a list of texts.
                Node::List(items) if self.format == Format::Xml && items.is_empty() => continue,
                Node::Text(Text::Good(text)) => {
                    let text = trim(text.clone());
                    let problem = too_long(&text, max_chars);
                    if text.is_empty() {
                        continue;
                    }
                    if problem.is_none() && sent < limit {
                        texts.push((index, text));
                    }
                    problem
                }
                Node::Text(Text::Bad(shown)) => Some(Problem::Character(shown.to_string())),
                Node::Object(object)
                    if let Some(found) = only_key(&object.entries, |node| matches!(node, Node::Text(_))) =>
                {
                    Some(Problem::Wrapped { what: "a text", found: found.to_owned(), list: key.to_owned() })
                }
                other => Some(Problem::Expected { what: "a text", found: other.found() }),
            };
            sent += 1;
            if let (Some(problem), None) = (problem, &wrong) {
                let list = Trail::Field(&self.trail, key);
                wrong = Some(Rejection::new(Trail::Item(&list, index).place(), problem));
            }
        }
        if sent > limit {
            return Err(self.refuse(key, Problem::TooMany { things, limit, sent: Some(sent) }));
        }
        wrong.map_or(Ok(Some(texts)), Err)
    }
}
