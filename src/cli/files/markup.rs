//! The tags of XML, told apart byte by byte.

/// What a piece of markup is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Start(String),
    Empty(String),
    End(String),
    /// A comment, an instruction, a declaration.
    Aside,
    Doctype,
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
            [b'<', b'!', ..] => Kind::Doctype,
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
    markup: Option<Markup>,
}

impl<'n> Element<'n> {
    /// One whose start tag was read.
    pub(super) fn new(name: &'n str) -> Self {
        Element { name, depth: 1, markup: None }
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
            if !is_end {
                continue;
            }
            let tag = self.markup.take()?.bytes;
            let begins = |start: usize| tag.get(start..).is_some_and(|tag| tag.starts_with(self.name.as_bytes()));
            if begins(1) || begins(2) {
                match Kind::of(&tag) {
                    Kind::Start(name) if name == self.name => self.depth += 1,
                    Kind::End(name) if name == self.name => self.depth -= 1,
                    _ => {}
                }
            }
            if self.depth == 0 {
                return Some(at);
            }
        }
        None
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
        let begins = |tag: &[u8]| {
            next.starts_with(tag)
                && next.get(tag.len()).is_none_or(|byte| byte.is_ascii_whitespace() || b"/>".contains(byte))
        };
        if begins(&start) || begins(&root) {
            return Some(at);
        }
    }
}
