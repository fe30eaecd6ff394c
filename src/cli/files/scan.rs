//! A file as bytes: where in it they stand, and a way to put some back.

use std::io::{self, Read};

/// So many bytes are read at once.
const CHUNK: usize = 256 * 1024;

/// Where a byte stands. A line ends with LF, CR LF, or CR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    /// Counted in bytes, from 1.
    pub(super) column: u64,
    after_cr: bool,
}

impl Place {
    const START: Place = Place { line: 1, column: 1, after_cr: false };

    /// The place behind these bytes.
    pub(super) fn behind(mut self, bytes: &[u8]) -> Place {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let second_half = rest[end] == b'\n' && end == 0 && self.after_cr;
            self.line += u64::from(!second_half);
            self.column = 1;
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            self.after_cr = false;
            self.column += rest.len() as u64;
        }
        self
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Reads a source, and knows the place.
pub(super) struct Scanner<R> {
    source: R,
    buffer: Vec<u8>,
    at: usize,
    place: Place,
    /// What ended the source, behind what was read of it.
    error: Option<io::Error>,
}

impl<R: Read> Scanner<R> {
    pub(super) fn new(source: R) -> Self {
        Scanner { source, buffer: Vec::new(), at: 0, place: Place::START, error: None }
    }

    /// Where the next byte stands.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// The next bytes, as many as there are by now; none at the end.
    pub(super) fn ready(&mut self) -> io::Result<&[u8]> {
        if self.at == self.buffer.len() {
            self.at = 0;
            self.fill()?;
        }
        Ok(&self.buffer[self.at..])
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.clear();
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let read = self.source.by_ref().take(CHUNK as u64).read_to_end(&mut self.buffer);
        match read {
            Err(error) if self.buffer.is_empty() => Err(error),
            read => {
                self.error = read.err();
                Ok(())
            }
        }
    }

    /// The next bytes, so many unless the end comes before; more, if they are there by now.
    pub(super) fn ahead(&mut self, count: usize) -> &[u8] {
        while self.buffer.len() - self.at < count && self.error.is_none() {
            let rest = self.buffer.split_off(self.at);
            self.at = 0;
            // An error comes behind what was read before it.
            self.error = self.fill().err().or(self.error.take());
            let is_end = self.buffer.is_empty();
            self.buffer.splice(..0, rest);
            if is_end {
                break;
            }
        }
        &self.buffer[self.at..]
    }

    /// Goes on behind so many of the bytes that are ready.
    pub(super) fn pass(&mut self, count: usize) {
        self.place = self.place.behind(&self.buffer[self.at..self.at + count]);
        self.at += count;
    }

    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.ready()?.first().copied())
    }

    /// The next byte behind blanks, which is not passed.
    pub(super) fn behind_blanks(&mut self) -> io::Result<Option<u8>> {
        loop {
            let ready = self.ready()?;
            let blanks = ready.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let (found, at_end) = (ready.get(blanks).copied(), ready.is_empty());
            self.pass(blanks);
            if at_end || found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Puts bytes back that were passed; they begin at this place.
    pub(super) fn back(&mut self, bytes: &[u8], place: Place) {
        self.buffer.splice(..self.at, bytes.iter().copied());
        self.at = 0;
        self.place = place;
    }

    /// Passes bytes and keeps them, until `end` says how many of those that are ready still belong to what is looked for.
    /// What is more than `max` bytes is not waited for.
    pub(super) fn until(
        &mut self,
        kept: &mut Vec<u8>,
        max: usize,
        mut end: impl FnMut(&[u8]) -> Option<usize>,
    ) -> io::Result<End> {
        loop {
            let ready = self.ready()?;
            if ready.is_empty() {
                return Ok(End::OfFile);
            }
            let found = end(ready);
            let count = found.unwrap_or(ready.len());
            kept.extend_from_slice(&ready[..count]);
            self.pass(count);
            if kept.len() > max {
                return Ok(End::TooFar { found: found.is_some() });
            }
            if found.is_some() {
                return Ok(End::Found);
            }
        }
    }

    /// The same without keeping anything; false at the end of the file.
    pub(super) fn skip(&mut self, mut end: impl FnMut(&[u8]) -> Option<usize>) -> io::Result<bool> {
        loop {
            let ready = self.ready()?;
            if ready.is_empty() {
                return Ok(false);
            }
            let found = end(ready);
            let count = found.unwrap_or(ready.len());
            self.pass(count);
            if found.is_some() {
                return Ok(true);
            }
        }
    }
}

/// How the search for an end ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Found,
    /// Behind more bytes than were allowed, if at all.
    TooFar {
        found: bool,
    },
    OfFile,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that breaks off.
    struct Broken(&'static [u8]);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("broken")),
                count => Ok(count),
            }
        }
    }

    #[test]
    fn an_error_comes_behind_what_was_read_before_it() {
        for look in [0, 10] {
            let mut scanner = Scanner::new(Broken(b"ab"));
            assert_eq!(scanner.ready().expect("bytes"), b"ab");
            scanner.pass(1);
            assert!(scanner.ahead(look).starts_with(b"b"));
            assert_eq!(scanner.ready().expect("bytes"), b"b");
            scanner.pass(1);
            assert_eq!(scanner.ready().expect_err("an error").to_string(), "broken");
        }
    }

    #[test]
    fn places_are_the_same_however_the_bytes_come() {
        let text = b"a\r\nb\rc\n\nd";
        let whole = Place::START.behind(text);
        assert_eq!((whole.line, whole.column), (5, 2));
        for cut in 0..=text.len() {
            assert_eq!(Place::START.behind(&text[..cut]).behind(&text[cut..]), whole, "cut at {cut}");
        }
    }
}
