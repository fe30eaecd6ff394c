//! How results are printed: a table for people, JSON for scripts.

use std::io::Write as _;

use anyhow::Context as _;
use serde_json::{Map, Value as Json};

use crate::domain::scalars::is_invisible;

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// A table
    #[default]
    Text,
    /// One JSON document
    Json,
}

impl Output {
    /// Prints one thing.
    pub(super) fn one(self, columns: &[&str], row: Vec<Json>) -> anyhow::Result<()> {
        match self {
            Output::Json => print(&object(columns, &row).to_string()),
            Output::Text => self.rows(columns, &[row]),
        }
    }

    /// Prints rows; every row has as many cells as there are columns.
    pub(super) fn rows(self, columns: &[&str], rows: &[Vec<Json>]) -> anyhow::Result<()> {
        match self {
            Output::Json => print(&Json::Array(rows.iter().map(|row| object(columns, row)).collect()).to_string()),
            Output::Text => {
                let head = columns.iter().map(|column| column.to_uppercase().replace('_', " ")).collect();
                let texts: Vec<Vec<String>> =
                    std::iter::once(head).chain(rows.iter().map(|row| row.iter().map(text).collect())).collect();
                let width =
                    |column: usize| texts.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
                let widths: Vec<usize> = (0..columns.len()).map(width).collect();
                let mut lines = Vec::new();
                for row in &texts {
                    let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
                    lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
                }
                print(&lines.join("\n"))
            }
        }
    }

    /// Prints what a command did: a sentence, or an object.
    pub(super) fn done(self, sentence: &str, object: &Json) -> anyhow::Result<()> {
        match self {
            Output::Text => print(sentence),
            Output::Json => print(&object.to_string()),
        }
    }
}

fn object(columns: &[&str], row: &[Json]) -> Json {
    let fields = columns.iter().zip(row).map(|(column, cell)| ((*column).to_owned(), cell.clone()));
    Json::Object(fields.collect::<Map<_, _>>())
}

/// Prints a line, or says why it could not: standard output may be closed or full.
pub(super) fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output")
}

/// A text in one line, without what a terminal would take for commands.
fn plain(text: &str) -> String {
    let is_shown = |c: char| c == ' ' || !is_invisible(c) && !c.is_control();
    text.chars().fold(String::new(), |mut plain, c| {
        if is_shown(c) {
            plain.push(c);
        } else {
            plain.extend(c.escape_unicode());
        }
        plain
    })
}

fn text(cell: &Json) -> String {
    match cell {
        Json::Null => "-".to_owned(),
        Json::String(text) => plain(text),
        Json::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
