//! How results are printed: a table for people, JSON for scripts.

use serde_json::{Map, Value as Json};

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
    /// Prints rows; every row has as many cells as there are columns.
    pub(super) fn rows(self, columns: &[&str], rows: &[Vec<Json>]) {
        match self {
            Output::Json => {
                let object = |row: &Vec<Json>| {
                    let fields = columns.iter().zip(row).map(|(column, cell)| ((*column).to_owned(), cell.clone()));
                    Json::Object(fields.collect::<Map<_, _>>())
                };
                println!("{}", Json::Array(rows.iter().map(object).collect()));
            }
            Output::Text => {
                let head = columns.iter().map(|column| column.to_uppercase().replace('_', " ")).collect();
                let texts: Vec<Vec<String>> =
                    std::iter::once(head).chain(rows.iter().map(|row| row.iter().map(text).collect())).collect();
                let width =
                    |column: usize| texts.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
                let widths: Vec<usize> = (0..columns.len()).map(width).collect();
                for row in &texts {
                    let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
                    println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
                }
            }
        }
    }

    /// Prints what a command did: a sentence, or an object.
    pub(super) fn done(self, sentence: &str, object: &Json) {
        match self {
            Output::Text => println!("{sentence}"),
            Output::Json => println!("{object}"),
        }
    }
}

fn text(cell: &Json) -> String {
    match cell {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
