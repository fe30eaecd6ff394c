//! The rows of CSV. A row with a fault ends where its line ends, so that it leaves the others as they are.

use std::borrow::Cow;
use std::io::{self, Read};

use super::scan::{End, Place, Scanner};

/// A row as it stands in the file, without its line end.
#[derive(Debug)]
pub(super) struct Row {
    /// Where it begins.
    pub(super) place: Place,
    pub(super) text: Vec<u8>,
    /// So many bytes of it are good.
    sound: usize,
    pub(super) fault: Option<String>,
}

impl Row {
    /// Its cells without their quotes. Behind a fault quotes are as other bytes.
    pub(super) fn cells(&self, delimiter: u8) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let mut rest = Some(&*self.text);
        let unsound = self.text.len() - self.sound;
        std::iter::from_fn(move || {
            let row = rest?;
            let (cell, behind) =
                if row.len() <= unsound && unsound > 0 { plain_cell(row, delimiter) } else { cell(row, delimiter) };
            rest = behind;
            Some(cell)
        })
    }

    /// How many cells stand before its fault.
    pub(super) fn sound_cells(&self, delimiter: u8) -> usize {
        let Row { place, sound, .. } = *self;
        let before = Row { place, text: self.text[..sound].to_vec(), sound, fault: None };
        before.cells(delimiter).count() - 1
    }

    /// True without anything in it.
    pub(super) fn is_empty(&self, delimiter: u8) -> bool {
        self.text.iter().all(|byte| *byte == delimiter || byte.is_ascii_whitespace())
            || self.fault.is_none() && self.cells(delimiter).all(|cell| cell.trim_ascii().is_empty())
    }
}

/// The first cell of a row whose quotes mean nothing, and what is behind its delimiter.
fn plain_cell(row: &[u8], delimiter: u8) -> (Cow<'_, [u8]>, Option<&[u8]>) {
    let end = row.iter().position(|byte| *byte == delimiter);
    let cell = &row[..end.unwrap_or(row.len())];
    (Cow::Borrowed(cell.strip_prefix(b"\"").unwrap_or(cell)), end.map(|end| &row[end + 1..]))
}

/// The first cell of a row, and what is behind its delimiter.
fn cell(row: &[u8], delimiter: u8) -> (Cow<'_, [u8]>, Option<&[u8]>) {
    let plain = |from: usize| {
        let end = row[from..].iter().position(|byte| *byte == delimiter).map(|at| from + at);
        (end.unwrap_or(row.len()), end.map(|end| &row[end + 1..]))
    };
    if row.first() != Some(&b'"') {
        let (end, behind) = plain(0);
        return (Cow::Borrowed(&row[..end]), behind);
    }
    let mut text = Vec::new();
    let mut at = 1;
    loop {
        let quote = row[at..].iter().position(|byte| *byte == b'"').map(|found| at + found);
        let Some(quote) = quote else {
            text.extend_from_slice(&row[at..]);
            return (Cow::Owned(text), None);
        };
        text.extend_from_slice(&row[at..quote]);
        if row.get(quote + 1) == Some(&b'"') {
            text.push(b'"');
            at = quote + 2;
            continue;
        }
        let (end, behind) = plain(quote + 1);
        text.extend_from_slice(&row[quote + 1..end]);
        return (Cow::Owned(text), behind);
    }
}

/// Reads rows.
pub(super) struct Rows<R> {
    pub(super) scanner: Scanner<R>,
    pub(super) delimiter: u8,
    /// No row is larger.
    pub(super) max_bytes: usize,
    /// A row that was read before its time.
    ahead: Option<Row>,
}

impl<R: Read> Rows<R> {
    pub(super) fn new(scanner: Scanner<R>, max_bytes: usize) -> Self {
        Rows { scanner, delimiter: b',', max_bytes, ahead: None }
    }

    /// The next row with anything in it, which stays the next one.
    pub(super) fn peek(&mut self) -> io::Result<Option<&Row>> {
        let delimiter = self.delimiter;
        self.ahead = loop {
            match self.next()? {
                Some(row) if row.is_empty(delimiter) => {}
                row => break row,
            }
        };
        Ok(self.ahead.as_ref())
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        if let Some(row) = self.ahead.take() {
            return Ok(Some(row));
        }
        if self.scanner.peek()?.is_none() {
            return Ok(None);
        }
        let place = self.scanner.place();
        let (mut text, mut line) = (Vec::new(), Line::new(self.delimiter));
        let end = self.scanner.until(&mut text, self.max_bytes, |ready| line.end(ready))?;
        let mut fault = line.fault.map(|at| not_closed(place.behind(&text[..at])));
        let mut sound = line.fault.unwrap_or(text.len());
        let is_open = line.state == State::Quoted && end != End::Found;
        if is_open || line.is_torn {
            sound = sound.min(line.quote);
            fault = Some(not_closed(place.behind(&text[..sound])));
        } else if let End::TooFar { .. } = end {
            fault = Some(format!("{place}: expected a row of at most {} bytes", self.max_bytes));
        }
        if let Some(first) = line.first_end.filter(|_| is_open || line.is_torn) {
            self.scanner.back(&text[first..], place.behind(&text[..first]));
            text.truncate(first);
        } else if end == (End::TooFar { found: false }) {
            self.scanner.skip(|ready| ready.iter().position(|byte| is_line_end(*byte)))?;
        }
        self.line_end()?;
        Ok(Some(Row { place, text, sound, fault }))
    }

    /// Goes behind a line end.
    pub(super) fn line_end(&mut self) -> io::Result<()> {
        if self.scanner.peek()? == Some(b'\r') {
            self.scanner.pass(1);
        } else if self.scanner.peek()? == Some(b'\n') {
            self.scanner.pass(1);
            return Ok(());
        } else {
            return Ok(());
        }
        if self.scanner.peek()? == Some(b'\n') {
            self.scanner.pass(1);
        }
        Ok(())
    }
}

fn not_closed(place: Place) -> String {
    format!("{place}: expected the end of the cell that a quote begins here; a quote in a text is doubled")
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the start of a cell.
    Start,
    Plain,
    Quoted,
    /// Behind a quote in a quoted cell.
    Closed,
}

/// Finds the end of a row.
struct Line {
    delimiter: u8,
    state: State,
    /// So many bytes were read.
    length: usize,
    /// Where the last quoted cell begins, and the first line end in it.
    quote: usize,
    first_end: Option<usize>,
    /// A quote opened over line ends that was not meant to: text stands behind what closes it.
    is_torn: bool,
    /// Where text stands behind a quoted cell of one line.
    fault: Option<usize>,
}

impl Line {
    fn new(delimiter: u8) -> Self {
        let (state, quote) = (State::Start, 0);
        Line { delimiter, state, length: 0, quote, first_end: None, is_torn: false, fault: None }
    }

    /// How many of these bytes belong to the row, if it ends there.
    fn end(&mut self, ready: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < ready.len() {
            let rest = &ready[at..];
            let passed = match self.state {
                State::Plain => rest.iter().position(|byte| *byte == self.delimiter || is_line_end(*byte)),
                State::Quoted => rest.iter().position(|byte| *byte == b'"' || is_line_end(*byte)),
                State::Start | State::Closed => Some(0),
            };
            let Some(passed) = passed else { break };
            at += passed;
            let (byte, here) = (ready[at], self.length + at);
            self.state = match (self.state, byte) {
                (State::Quoted, b'"') => State::Closed,
                (State::Quoted, _) => {
                    self.first_end.get_or_insert(here);
                    State::Quoted
                }
                (State::Closed, b'"') => State::Quoted,
                (_, byte) if byte == self.delimiter => State::Start,
                (_, byte) if is_line_end(byte) => return Some(at),
                (State::Start, b'"') => {
                    (self.quote, self.first_end) = (here, None);
                    State::Quoted
                }
                (State::Closed, _) if self.first_end.is_some() => {
                    self.is_torn = true;
                    return Some(at);
                }
                (State::Closed, _) => {
                    self.fault.get_or_insert(self.quote);
                    State::Plain
                }
                (State::Start | State::Plain, _) => State::Plain,
            };
            at += 1;
        }
        self.length += ready.len();
        None
    }
}
