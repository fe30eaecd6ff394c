//! Orders out of CSV. The rows of an order may stand apart: a first pass over the file finds those orders, and the second
//! one keeps them until it has read their last row. None is ever sent with a part of its rows.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::bail;

use super::order::{bad, order};
use super::read::{Bounds, Piece, Record, Start, Take};
use super::rows::{Row, Rows};
use super::scan::Scanner;
use super::source::Source;
use super::table::{Head, Layout, trimmed};

/// So many bytes of orders whose rows stand apart are kept.
const MAX_KEPT: usize = 256 << 20;

/// Reads orders.
pub(super) fn read(
    source: &Source,
    count: &Arc<AtomicU64>,
    layout: &Layout,
    max_bytes: usize,
    take: Take<'_>,
) -> anyhow::Result<()> {
    read_within(MAX_KEPT, source, count, layout, max_bytes, take)
}

/// The same, but no more than so many bytes are kept.
fn read_within(
    max_kept: usize,
    source: &Source,
    count: &Arc<AtomicU64>,
    layout: &Layout,
    max_bytes: usize,
    take: Take<'_>,
) -> anyhow::Result<()> {
    let survey = Survey::of(source, layout, max_bytes)?;
    let Table { mut rows, head, bounds, is_packed } = open(source, count, layout, max_bytes)?;
    let table = Some((head.delimiter, head.columns.clone()));
    if take(Piece::Start(Start { charset: bounds.charset.name(), is_packed, table })).is_break() {
        return Ok(());
    }
    let mut orders =
        Orders { head: &head, layout, bounds, survey, kept: HashMap::new(), kept_bytes: 0, max_kept, take };
    let (mut number, mut current, mut doubt) = (0, None::<Run>, None);
    while let Some(row) = rows.next()? {
        if row.is_empty(head.delimiter) {
            continue;
        }
        let id = head.id(&row);
        let mut run = match current.take() {
            Some(run) if !begins_run(Some(&run.id), id.as_deref()) => run,
            before => {
                if let Some(mut before) = before {
                    if orders.survey.has_empty_ids && !head.knows_order(&row) {
                        before.doubt = Some(row.place.line);
                    }
                    if orders.close(before, number)?.is_break() {
                        return Ok(());
                    }
                }
                number += 1;
                Run { id: id.clone().unwrap_or_default(), doubt: doubt.take(), ..Run::default() }
            }
        };
        doubt = if id.is_none() { Some(row.place.line) } else { None };
        run.push(row, max_bytes);
        current = Some(run);
    }
    if let Some(last) = current
        && orders.close(last, number)?.is_break()
    {
        return Ok(());
    }
    if !orders.kept.is_empty() {
        bail!("expected the file as it was when it was read first, found it changed");
    }
    Ok(())
}

/// A file up to its first row.
struct Table<R> {
    rows: Rows<R>,
    head: Head,
    bounds: Bounds,
    is_packed: bool,
}

fn open(
    source: &Source,
    count: &Arc<AtomicU64>,
    layout: &Layout,
    max_bytes: usize,
) -> anyhow::Result<Table<impl Read + use<>>> {
    let text = source.text(count)?;
    let bounds = Bounds { max_bytes, charset: text.charset };
    let mut rows = Rows::new(Scanner::new(text.reader), max_bytes);
    let head = Head::read(&mut rows, layout, bounds)?;
    Ok(Table { rows, head, bounds, is_packed: text.is_packed })
}

/// True if a row is of another order than the one before: an empty cell means the order above.
fn begins_run(current: Option<&[u8]>, id: Option<&[u8]>) -> bool {
    match (current, id) {
        (None, _) => true,
        (Some(current), Some(id)) => !id.is_empty() && id != current,
        (Some(_), None) => false,
    }
}

fn hash(id: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// What the first pass over a file finds. Orders are known by the hashes of their ids.
#[derive(Default)]
struct Survey {
    /// The orders whose rows stand apart, and the number of their last run of rows.
    last: HashMap<u64, u64>,
    /// What may name the order of a row that is too bad to tell, and the row's line.
    doubts: HashMap<u64, u64>,
    /// Some rows belong to the order above because their ids are empty.
    has_empty_ids: bool,
}

impl Survey {
    fn of(source: &Source, layout: &Layout, max_bytes: usize) -> anyhow::Result<Self> {
        let Table { mut rows, head, .. } = open(source, &Arc::default(), layout, max_bytes)?;
        let (mut survey, mut seen) = (Survey::default(), HashSet::new());
        let (mut number, mut current) = (0, None::<Vec<u8>>);
        while let Some(row) = rows.next()? {
            if row.is_empty(head.delimiter) {
                continue;
            }
            if !head.knows_order(&row) {
                let hashes = row.cells(head.delimiter).map(|cell| hash(&trimmed(&cell)));
                survey.doubts.extend(hashes.map(|hash| (hash, row.place.line)));
            }
            let id = head.id(&row);
            survey.has_empty_ids |= id.as_ref().is_some_and(Vec::is_empty);
            if begins_run(current.as_deref(), id.as_deref()) {
                number += 1;
                let id = id.unwrap_or_default();
                let hash = hash(&id);
                if !seen.insert(hash) {
                    survey.last.insert(hash, number);
                }
                current = Some(id);
            }
        }
        Ok(survey)
    }
}

/// Rows of one order that follow each other, or are together by now.
#[derive(Default)]
struct Run {
    id: Vec<u8>,
    rows: Vec<Row>,
    bytes: usize,
    is_too_large: bool,
    /// The line of a row that may belong to it.
    doubt: Option<u64>,
}

impl Run {
    fn push(&mut self, row: Row, max_bytes: usize) {
        let bytes = row.text.len() + size_of::<Row>();
        // The first one is shown at least.
        if self.rows.is_empty() || self.bytes + bytes <= max_bytes {
            self.bytes += bytes;
            self.rows.push(row);
        } else {
            self.is_too_large = true;
        }
    }
}

/// Orders on their way.
struct Orders<'o, 't> {
    head: &'o Head,
    layout: &'o Layout,
    bounds: Bounds,
    survey: Survey,
    /// Those that are not whole, by the hash of their ids.
    kept: HashMap<u64, Vec<Run>>,
    kept_bytes: usize,
    max_kept: usize,
    take: Take<'t>,
}

impl Orders<'_, '_> {
    /// Passes an order on when its last row was read.
    fn close(&mut self, run: Run, number: u64) -> anyhow::Result<ControlFlow<()>> {
        let hash = hash(&run.id);
        let Some(last) = self.survey.last.get(&hash).copied() else { return Ok(self.pass_on(&run)) };
        self.keep(hash, run)?;
        if number < last {
            return Ok(ControlFlow::Continue(()));
        }
        for order in self.kept.remove(&hash).unwrap_or_default() {
            self.kept_bytes -= order.bytes;
            if self.pass_on(&order).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn keep(&mut self, hash: u64, run: Run) -> anyhow::Result<()> {
        self.kept_bytes += run.bytes;
        if self.kept_bytes > self.max_kept {
            let line = run.rows.first().map_or(0, |row| row.place.line);
            bail!(
                "line {line}: expected the rows of an order together, found more than {} bytes of orders whose rows \
                stand apart; sort the file by external_id",
                self.max_kept
            );
        }
        let kept = self.kept.entry(hash).or_default();
        // Two ids may have one hash.
        match kept.iter_mut().find(|kept| kept.id == run.id) {
            Some(kept) => {
                let Run { rows, bytes, is_too_large, doubt, .. } = run;
                kept.is_too_large |= is_too_large || kept.bytes + bytes > self.bounds.max_bytes;
                kept.doubt = kept.doubt.or(doubt);
                kept.bytes += bytes;
                kept.rows.extend(rows);
            }
            None => kept.push(run),
        }
        Ok(())
    }

    fn pass_on(&mut self, run: &Run) -> ControlFlow<()> {
        let Run { id, rows, is_too_large, .. } = run;
        let mut record = order(rows, self.head, self.layout, self.bounds);
        let doubt = run.doubt.or_else(|| self.survey.doubts.get(&hash(id)).copied());
        if let Some(first) = rows.first().filter(|_| *is_too_large) {
            record = Record::too_large(first.place, &first.text, self.bounds);
        } else if let Some(line) = doubt.filter(|_| record.fault.is_none()) {
            let fault = format!("line {line}: expected a row that tells its order; it may belong to this one");
            record = bad(rows, fault);
        }
        (self.take)(Piece::Record(record))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::cli::files::FileFormat;

    /// Which orders can be sent of a file, and with how many lines.
    fn good(text: &[u8], max_kept: usize) -> (Vec<(String, usize)>, String) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text).expect("a file");
        let source = Source::open(file.path(), FileFormat::Csv, None).expect("a file");
        let mut found = Vec::new();
        let mut take = |piece| {
            if let Piece::Record(Record { text, fault: None, .. }) = piece {
                let order: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                let lines = order["lines"].as_array().expect("lines").len();
                found.push((order["external_id"].as_str().expect("an id").to_owned(), lines));
            }
            ControlFlow::Continue(())
        };
        let done = read_within(max_kept, &source, &Arc::default(), &Layout::default(), 10_000, &mut take);
        (found, done.err().map(|error| error.to_string()).unwrap_or_default())
    }

    fn orders(ids: &[&str], max_kept: usize) -> (Vec<(String, usize)>, String) {
        let rows: Vec<String> = ids.iter().enumerate().map(|(at, id)| format!("{id},{at}\n")).collect();
        good(format!("external_id,line.external_id\n{}", rows.concat()).as_bytes(), max_kept)
    }

    #[test]
    fn no_byte_of_a_row_spoils_the_others() {
        let row = br#"B,"a, ""b"" c",1"#;
        let mut wrong = Vec::new();
        // The line's only cell may be empty.
        for at in "B,".len()..row.len() - 1 {
            for byte in [None].into_iter().chain(b",;\"'\n\r=x \xff".map(Some)) {
                for replaced in 0..=1 {
                    let mut bad = row.to_vec();
                    bad.splice(at..at + replaced, byte);
                    for end in ["\n", "\r\n", "\r"] {
                        let lines = |lines: &[&[u8]]| lines.join(end.as_bytes());
                        let text = lines(&[
                            b"external_id,email,line.external_id",
                            b"A,\"x, y\",1",
                            &bad,
                            b"C,\"x\",1",
                            b"B,,2",
                            b"D,x,1",
                        ]);
                        let (found, error) = good(&text, 10_000);
                        let all = ["A", "C", "D"].into_iter().all(|id| found.contains(&(id.to_owned(), 1)));
                        let is_part = found.contains(&("B".to_owned(), 1));
                        if !all || is_part || !error.is_empty() {
                            wrong.push(format!("{}: {found:?} {error}", String::from_utf8_lossy(&bad)));
                        }
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn orders_whose_rows_stand_apart_are_kept_up_to_a_bound() {
        let found =
            |all: &[(&str, usize)]| all.iter().map(|(id, lines)| ((*id).to_owned(), *lines)).collect::<Vec<_>>();
        let apart = ["A", "B", "A", "", "C", "B", "B", "A", "D"];
        assert_eq!(orders(&apart, 10_000), (found(&[("C", 1), ("B", 3), ("A", 4), ("D", 1)]), String::new()));
        let (read, error) = orders(&["D", "A", "B", "C", "A", "B", "C"], 200);
        assert_eq!(read, found(&[("D", 1)]), "what is whole goes before");
        assert!(
            error.starts_with("line 5: expected the rows of an order together, found more than 200 bytes"),
            "{error}"
        );
        assert!(error.ends_with("sort the file by external_id"), "{error}");
    }
}
