//! The events of an XML document.
//!
//! Nearly all of a document are tags without quotes and texts: they are read here, in one pass over their bytes.
//! Everything else, and everything that looks wrong, is left to `quick-xml`. A test compares both.

use quick_xml::Reader;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

use super::document::{Malformed, may_be_secret};

/// Reads a document event by event. An empty element is a start and an end.
pub(super) struct Events<'a> {
    text: &'a str,
    at: usize,
    /// The names of the elements that are open.
    open: Vec<&'a str>,
    /// The element that was read last is empty: its end comes next.
    is_empty: bool,
}

impl<'a> Events<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Events { text, at: 0, open: Vec::new(), is_empty: false }
    }

    /// Where the next event starts, in bytes.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next event; [`Event::Eof`] at the end, whatever is still open.
    pub(super) fn read(&mut self) -> Result<Event<'a>, Malformed> {
        if std::mem::take(&mut self.is_empty) {
            return Ok(self.end());
        }
        let rest = &self.text.as_bytes()[self.at..];
        let event = match rest {
            [b'<', b'/', ..] => self.closing_tag()?,
            [b'&', ..] | [b'<', b'!' | b'?', ..] => None,
            [b'<', ..] => self.opening_tag(),
            [] => Some(Event::Eof),
            _ => Some(self.content()),
        };
        event.map_or_else(|| self.other(), Ok)
    }

    /// What stands in the element that was opened last, if it is plain text and nothing else; then the element is
    /// closed. Most elements are like this: it saves two events.
    pub(super) fn plain_content(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let name = self.open.last().filter(|_| !self.is_empty)?;
        let len = rest.bytes().position(|b| matches!(b, b'<' | b'&' | b'\r' | b'>'))?;
        let after = rest[len..].strip_prefix("</")?.strip_prefix(name)?.strip_prefix('>')?;
        self.at = self.text.len() - after.len();
        self.open.pop();
        Some(&rest[..len])
    }

    fn end(&mut self) -> Event<'a> {
        Event::End(BytesEnd::new(self.open.pop().unwrap_or_default()))
    }

    fn start(&mut self, content: &'a str, is_empty: bool) -> Event<'a> {
        let is_blank = |b| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
        let name_len = content.bytes().position(is_blank).unwrap_or(content.len());
        self.open.push(&content[..name_len]);
        self.is_empty = is_empty;
        Event::Start(BytesStart::from_content(content, name_len))
    }

    /// A text up to the next tag or reference.
    fn content(&mut self) -> Event<'a> {
        let rest = &self.text[self.at..];
        let len = rest.bytes().position(|b| matches!(b, b'<' | b'&')).unwrap_or(rest.len());
        self.at += len;
        Event::Text(BytesText::from_escaped(&rest[..len]))
    }

    /// What stands in a tag that ends at the next `>`, from `start` on.
    fn tag(&self, start: usize) -> Option<&'a str> {
        let rest = &self.text[start..];
        let len = rest.bytes().position(|b| matches!(b, b'>' | b'"' | b'\'' | b'<'))?;
        (rest.as_bytes()[len] == b'>').then(|| &rest[..len])
    }

    fn opening_tag(&mut self) -> Option<Event<'a>> {
        let tag = self.tag(self.at + 1)?;
        self.at += 1 + tag.len() + 1;
        let content = tag.strip_suffix('/');
        Some(self.start(content.unwrap_or(tag), content.is_some()))
    }

    fn closing_tag(&mut self) -> Result<Option<Event<'a>>, Malformed> {
        let rest = &self.text[self.at + 2..];
        let Some(len) = rest.bytes().position(|b| b == b'>') else { return Ok(None) };
        let name = rest[..len].trim_end_matches(BLANKS);
        if self.open.last() != Some(&name) {
            return Err(Malformed::new(self.at, wrong_end(self.open.last().copied(), name)));
        }
        self.at += 2 + len + 1;
        Ok(Some(self.end()))
    }

    /// Reads one event by `quick-xml`.
    fn other(&mut self) -> Result<Event<'a>, Malformed> {
        let rest = &self.text[self.at..];
        let mut reader = Reader::from_str(rest);
        reader.config_mut().check_comments = true;
        let event = reader.read_event().map_err(|error| {
            let at = usize::try_from(reader.error_position()).unwrap_or(0);
            let malformed = Malformed::new(self.at + at, fault(&error));
            let is_cut = match error {
                quick_xml::Error::Syntax(_) => true,
                // A reference that has no end in all of the text.
                quick_xml::Error::IllFormed(_) => rest.starts_with('&') && !rest[1..].contains(['&', '<', ';']),
                _ => false,
            };
            if is_cut { malformed.cut() } else { malformed }
        })?;
        let len = usize::try_from(reader.buffer_position()).unwrap_or(rest.len());
        self.at += len;
        Ok(match event {
            Event::Start(_) => self.start(&rest[1..len - 1], false),
            Event::Empty(_) => self.start(&rest[1..len - 2], true),
            event => event,
        })
    }
}

/// XML 1.0, production 3.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
const WRONG_END: &str = "expected the closing tag of the open element, found another one";
pub(super) const NO_DOCTYPE: &str = "expected no DOCTYPE";

/// The failure of a closing tag of another name than the element that is open.
fn wrong_end(open: Option<&str>, found: &str) -> String {
    match open {
        None => "expected no closing tag, since no element is open".to_owned(),
        Some(open) if may_be_secret(open) || may_be_secret(found) => WRONG_END.to_owned(),
        Some(open) => format!("expected \"</{open}>\", found \"</{found}>\""),
    }
}

/// What a reader's failure means; never the text that it stands at, which may be a secret.
pub(crate) fn fault(error: &quick_xml::Error) -> &'static str {
    use quick_xml::errors::{IllFormedError, SyntaxError};
    match error {
        quick_xml::Error::IllFormed(IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_)) => {
            WRONG_END
        }
        quick_xml::Error::IllFormed(IllFormedError::DoubleHyphenInComment) => "expected no \"--\" inside a comment",
        quick_xml::Error::IllFormed(IllFormedError::UnclosedReference) => "expected \";\" after \"&\" and a name",
        quick_xml::Error::Syntax(SyntaxError::UnclosedCData) => "expected \"]]>\", found the end of the document",
        quick_xml::Error::Syntax(SyntaxError::UnclosedComment) => "expected \"-->\", found the end of the document",
        quick_xml::Error::Syntax(SyntaxError::UnclosedDoctype) => NO_DOCTYPE,
        quick_xml::Error::Syntax(_) => "expected \">\", found the end of the document",
        _ => "expected well-formed XML",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The events, and whether they end by a fault.
    fn ours(text: &str, plain: bool) -> (Vec<(usize, Event<'_>)>, bool) {
        let mut events = Events::of(text);
        let mut read = Vec::new();
        loop {
            match events.read() {
                Ok(Event::Eof) => return (read, false),
                Ok(event) => {
                    let name = if let Event::Start(start) = &event {
                        Some(start.name().into_inner().to_owned())
                    } else {
                        None
                    };
                    let at = events.position();
                    read.push((at, event));
                    if let Some(name) = name.filter(|_| plain)
                        && let Some(content) = events.plain_content()
                    {
                        if !content.is_empty() {
                            read.push((at + content.len(), Event::Text(BytesText::from_escaped(content))));
                        }
                        read.push((events.position(), Event::End(BytesEnd::new(name))));
                    }
                }
                Err(_) => return (read, true),
            }
        }
    }

    fn theirs(text: &str) -> (Vec<(usize, Event<'_>)>, bool) {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        reader.config_mut().expand_empty_elements = true;
        let mut read = Vec::new();
        loop {
            let event = reader.read_event();
            let at = usize::try_from(reader.buffer_position()).expect("a position in a text");
            match event {
                Ok(Event::Eof) => return (read, false),
                Ok(event) => read.push((at, event)),
                Err(_) => return (read, true),
            }
        }
    }

    proptest! {
        #[test]
        fn reads_what_quick_xml_reads(text in r#"(</?[ab]( ?[a/"'=>&]){0,4}>|<(a|b/|b)>|</ ?[ab] ?>|[ab<>&'"/!?\]-]|&amp;|&#9;|<!--|-->|<!\[CDATA\[|\]\]>|<\?[a ]?|\?>|<!DOCTYPE a>| ){0,9}"#) {
            prop_assert_eq!(ours(&text, false), theirs(&text), "{}", text);
            prop_assert_eq!(ours(&text, true), theirs(&text), "{}", text);
        }
    }
}
