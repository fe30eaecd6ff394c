//! The tags of XML, told apart byte by byte.

use super::read::LISTS;

/// What a piece of markup is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Start(String),
    Empty(String),
    End(String),
    /// A comment, an instruction, a declaration.
    Aside,
    /// A declaration of types, or what has no end.
    Broken,
}

impl Kind {
    /// Tells it by its text.
    pub(super) fn of(markup: &[u8]) -> Self {
        let name = |rest: &[u8]| {
            let end = rest.iter().position(|byte| byte.is_ascii_whitespace() || b"/>".contains(byte));
            String::from_utf8_lossy(&rest[..end.unwrap_or(rest.len())]).into_owned()
        };
        match markup {
            [] | [b'<', b'?', ..] | [b'<', b'!', b'-' | b'[', ..] => Kind::Aside,
            [b'<', b'!', ..] => Kind::Broken,
            [b'<', b'/', rest @ ..] => Kind::End(name(rest)),
            [b'<', rest @ .., b'/', b'>'] => Kind::Empty(name(rest)),
            [_, rest @ ..] => Kind::Start(name(rest)),
        }
    }
}

/// Finds the end of a piece of markup.
#[derive(Debug, Default)]
pub(super) struct Markup {
    bytes: Vec<u8>,
    /// The quote that ends the attribute's value which is open.
    quote: Option<u8>,
}

impl Markup {
    /// True for its last byte.
    pub(super) fn is_end(&mut self, byte: u8) -> bool {
        self.bytes.push(byte);
        if matches!(self.bytes.get(1), Some(b'!' | b'?')) {
            for (start, end, least) in [(&b"<!--"[..], &b"-->"[..], 7), (b"<![CDATA[", b"]]>", 12), (b"<?", b"?>", 4)] {
                if self.bytes.starts_with(start) {
                    return self.bytes.len() >= least && self.bytes.ends_with(end);
                }
            }
        }
        match byte {
            // It was no markup: a value has none, either.
            b'<' if self.bytes.len() > 1 => *self = Markup { bytes: vec![b'<'], quote: None },
            _ if self.quote.is_some() => self.quote = self.quote.filter(|quote| *quote != byte),
            b'"' | b'\'' => self.quote = Some(byte),
            b'>' => return true,
            _ => {}
        }
        false
    }
}

/// Finds the end of an element, by the tags of its name.
pub(super) struct Element<'n> {
    name: &'n str,
    depth: usize,
    /// Of all elements.
    open: isize,
    /// Of items, in an element that is none.
    items: isize,
    markup: Option<Markup>,
    /// It has no end: another item begins in it, or one ends that did not. So many bytes are that one's.
    pub(super) lost: Option<usize>,
}

impl<'n> Element<'n> {
    /// One whose start tag was read.
    pub(super) fn new(name: &'n str) -> Self {
        Element { name, depth: 1, open: 1, items: 0, markup: None, lost: None }
    }

    /// How many of these bytes belong to it, if it ends there.
    pub(super) fn end(&mut self, ready: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < ready.len() {
            let Some(markup) = &mut self.markup else {
                at += ready[at..].iter().position(|byte| *byte == b'<')?;
                self.markup = Some(Markup::default());
                continue;
            };
            let is_end = markup.is_end(ready[at]);
            at += 1;
            if is_end {
                let tag = self.markup.take()?.bytes;
                self.pass(&tag);
            }
            if self.depth == 0 || self.lost.is_some() {
                return Some(at);
            }
        }
        None
    }

    fn pass(&mut self, tag: &[u8]) {
        let (is_start, name) = match tag {
            [] | [b'<', b'!' | b'?', ..] | [.., b'/', b'>'] => return,
            [b'<', b'/', name @ ..] => (false, name),
            [_, name @ ..] => (true, name),
        };
        if begins(name, self.name.as_bytes()) {
            if is_start && self.open <= 1 && LISTS.contains(&self.name) {
                // No item is a field of another.
                self.lost = Some(tag.len());
            }
            self.depth = if is_start { self.depth + 1 } else { self.depth - 1 };
        } else if LISTS.iter().any(|item| begins(name, item.as_bytes())) {
            self.items += if is_start { 1 } else { -1 };
            if self.items < 0 {
                self.lost = Some(0);
            }
        }
        self.open += if is_start { 1 } else { -1 };
    }
}

/// Finds an end tag by its text alone, behind bytes that may hold a part of it.
pub(super) fn end_tag(name: &str, before: &[u8]) -> impl FnMut(&[u8]) -> Option<usize> {
    let tag = format!("</{name}>").into_bytes();
    let mut matched = 0;
    let tail = before[before.len().saturating_sub(tag.len() - 1)..].to_vec();
    let mut end = move |ready: &[u8]| {
        let last = ready.iter().position(|byte| {
            matched = if *byte == tag[matched] { matched + 1 } else { usize::from(*byte == b'<') };
            matched == tag.len()
        });
        last.map(|at| at + 1)
    };
    end(&tail);
    end
}

/// Where an element ends after all that lost an end tag: behind the first one of its name which another such element, or
/// the end of the root, follows.
pub(super) fn next_element(text: &[u8], name: &str, root: &str) -> Option<usize> {
    let [end, start, root] = [format!("</{name}>"), format!("<{name}"), format!("</{root}")].map(String::into_bytes);
    let mut at = 0;
    loop {
        at += text[at..].windows(end.len()).position(|window| window == end)? + end.len();
        let next = text[at..].trim_ascii_start();
        if begins(next, &start) || begins(next, &root) {
            return Some(at);
        }
    }
}

/// Where the last element of this name begins.
pub(super) fn last_start(text: &[u8], name: &str) -> usize {
    let start = format!("<{name}").into_bytes();
    (0..text.len()).rev().find(|at| begins(&text[*at..], &start)).unwrap_or_default()
}

/// Where the next item begins, or the root ends.
pub(super) fn next_start(text: &[u8], root: &str) -> Option<usize> {
    let [data, result, root] =
        [format!("<{}", LISTS[0]), format!("<{}", LISTS[1]), format!("</{root}")].map(String::into_bytes);
    let is_next = |at: &usize| [&data, &result, &root].into_iter().any(|tag| begins(&text[*at..], tag));
    (1..text.len()).filter(|at| text[*at] == b'<').find(is_next)
}

/// True if a text begins with this tag.
fn begins(text: &[u8], tag: &[u8]) -> bool {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"/>".contains(byte);
    text.starts_with(tag) && text.get(tag.len()).is_none_or(is_end)
}
