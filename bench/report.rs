//! What was measured, as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::stats::Samples;

/// What a ratio should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// The row is there for information.
    None,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    /// Of the values; of the ratio, too, where it is a difference.
    unit: &'static str,
    ours: Samples,
    floor: Option<Samples>,
    ratio: Option<f64>,
    goal: Goal,
    /// Why there are no values, or what else is to be known.
    note: String,
}

impl Row {
    /// Ours, divided by its floor.
    pub(crate) fn ratio(name: &str, unit: &'static str, ours: Samples, floor: Samples, goal: Goal) -> Self {
        let ratio = Some(ours.median() / floor.median());
        Row { name: name.to_owned(), unit, ours, floor: Some(floor), ratio, goal, note: String::new() }
    }

    /// How far ours lies above its floor.
    pub(crate) fn difference(name: &str, unit: &'static str, ours: f64, floor: f64, goal: Goal) -> Self {
        let mut row = Row::ratio(name, unit, ours.into(), floor.into(), goal);
        row.ratio = Some(ours - floor);
        row.note = format!("the ratio is the difference, in {unit}");
        row
    }

    /// A value that is judged by itself; what it was before stands in the place of the floor.
    pub(crate) fn amount(name: &str, unit: &'static str, ours: f64, before: f64, goal: Goal) -> Self {
        let mut row = Row::ratio(name, unit, ours.into(), before.into(), goal);
        row.ratio = Some(ours);
        row
    }

    /// A measure that could not be taken.
    pub(crate) fn skipped(name: &str, why: &str) -> Self {
        let note = format!("skipped: {why}");
        Row { name: name.to_owned(), unit: "", ours: 0.0.into(), floor: None, ratio: None, goal: Goal::None, note }
    }

    pub(crate) fn with_note(mut self, note: String) -> Self {
        self.note = note;
        self
    }

    fn met(&self) -> Option<bool> {
        match self.goal {
            Goal::AtLeast(goal) => self.ratio.map(|ratio| ratio >= goal),
            Goal::AtMost(goal) => self.ratio.map(|ratio| ratio <= goal),
            Goal::None => None,
        }
    }

    fn cells(&self, judged: bool) -> [String; 7] {
        let goal = match self.goal {
            Goal::AtLeast(goal) => format!("≥ {goal:.2}"),
            Goal::AtMost(goal) => format!("≤ {goal:.2}"),
            Goal::None => "–".to_owned(),
        };
        let met = match self.met().filter(|_| judged) {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "–",
        };
        let measured = self.floor.is_some();
        [
            self.name.clone(),
            if measured { cell(&self.ours) } else { "–".to_owned() },
            self.floor.as_ref().map_or("–".to_owned(), cell),
            self.unit.to_owned(),
            self.ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
            goal,
            met.to_owned(),
        ]
    }

    fn json(&self, judged: bool) -> Json {
        let goal = match self.goal {
            Goal::AtLeast(goal) | Goal::AtMost(goal) => Some(goal),
            Goal::None => None,
        };
        let measured = self.floor.as_ref().map(|_| &self.ours);
        json!({
            "name": self.name,
            "unit": self.unit,
            "median": measured.map(Samples::median),
            "min": measured.map(Samples::min),
            "max": measured.map(Samples::max),
            "floor": self.floor.as_ref().map(Samples::median),
            "ratio": self.ratio,
            "goal": goal,
            "met": self.met().filter(|_| judged),
            "note": self.note,
        })
    }
}

/// Median, and the smallest to the largest where there are several.
fn cell(samples: &Samples) -> String {
    let digits = if samples.median() < 100.0 { 2 } else { 0 };
    let (median, min, max) = (samples.median(), samples.min(), samples.max());
    if min < max {
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    } else {
        format!("{median:.digits$}")
    }
}

/// All rows so far.
#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// Whether goals mean anything: not with tiny numbers.
    judged: bool,
}

impl Report {
    pub(crate) fn new(judged: bool) -> Self {
        Report { rows: Vec::new(), judged }
    }

    /// Takes a row, and shows it at once: the whole takes a while.
    pub(crate) fn add(&mut self, row: Row) {
        let [name, ours, floor, unit, ratio, ..] = row.cells(self.judged);
        eprintln!("{name}: {ours} against {floor} {unit}, ratio {ratio} {}", row.note);
        self.rows.push(row);
    }

    pub(crate) fn table(&self) -> String {
        let head = ["name", "ours", "floor", "unit", "ratio", "goal", "met"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.rows.iter().map(|row| row.cells(self.judged))).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        let mut table = String::new();
        for (place, row) in rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(widths) {
                let _ = write!(table, "{cell:width$}  ");
            }
            let note = place.checked_sub(1).map_or("", |place| &self.rows[place].note);
            table.truncate(table.trim_end().len());
            let _ = writeln!(table, "{}{note}", if note.is_empty() { "" } else { "  " });
        }
        table
    }

    pub(crate) fn json(&self) -> Json {
        self.rows.iter().map(|row| row.json(self.judged)).collect()
    }
}
