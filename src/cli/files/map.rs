//! A map: which field each column of a shop's own export goes to, what is the same in all orders, and what its words mean.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::table::Field;

/// A constant that is the line's number in its order, from 1.
pub(super) const NUMBER: &str = "{number}";

/// The file as it is file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MapFile {
    #[serde(default)]
    decimal_comma: bool,
    columns: BTreeMap<String, Names>,
    #[serde(default)]
    constants: BTreeMap<String, String>,
    #[serde(default)]
    words: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

/// A map.
#[derive(Debug, Clone)]
pub(super) struct Map {
    path: PathBuf,
    crc32: u32,
    /// Numbers have a comma for their point.
    pub(super) decimal_comma: bool,
    columns: BTreeMap<String, Vec<Field>>,
    pub(super) constants: Vec<(Field, String)>,
    /// What each word means, by how it is compared.
    words: BTreeMap<Field, BTreeMap<String, String>>,
}

impl Map {
    /// Reads a map.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::of(path, &text).with_context(|| path.display().to_string())
    }

    fn of(path: &Path, text: &str) -> anyhow::Result<Self> {
        let file: MapFile = toml::from_str(text)?;
        let mut places: BTreeMap<Field, String> = BTreeMap::new();
        let mut place = |field: &Field, place: String| match places.insert(field.clone(), place.clone()) {
            Some(other) => bail!("{place}: expected each field once, found {field} in {other}, too"),
            None => Ok(()),
        };
        let mut columns = BTreeMap::new();
        for (name, names) in file.columns {
            let names = match names {
                Names::One(name) => vec![name],
                Names::Several(names) => names,
            };
            let at = format!("columns.{name:?}");
            let fields: Vec<Field> = names.iter().map(|name| field(name, &at)).collect::<anyhow::Result<_>>()?;
            fields.iter().try_for_each(|field| place(field, at.clone()))?;
            columns.insert(name, fields);
        }
        let mut constants = Vec::new();
        for (name, value) in file.constants {
            let at = format!("constants.{name:?}");
            let field = field(&name, &at)?;
            place(&field, at.clone())?;
            check_placeholders(&field, &value, &at)?;
            constants.push((field, value));
        }
        let mut words = BTreeMap::new();
        for (name, meanings) in file.words {
            let at = format!("words.{name:?}");
            let field = field(&name, &at)?;
            if field.is_id() || !columns.values().flatten().any(|mapped| *mapped == field) {
                bail!("{at}: expected a field that a column goes to, and not external_id");
            }
            words.insert(field, folded(meanings, &at)?);
        }
        let crc32 = crc32fast::hash(text.as_bytes());
        Ok(Map { path: path.to_owned(), crc32, decimal_comma: file.decimal_comma, columns, constants, words })
    }

    /// By what it is known.
    pub(super) fn name(&self) -> String {
        format!("{} of the checksum {:08x}", self.path.display(), self.crc32)
    }

    /// The fields of a column; none for one that is left out.
    pub(super) fn fields(&self, column: &str) -> &[Field] {
        self.columns.get(column).map_or(&[], Vec::as_slice)
    }

    /// What a word of a field means.
    pub(super) fn meaning<'w>(&'w self, field: &Field, word: &'w str) -> &'w str {
        self.words.get(field).and_then(|words| words.get(&fold(word))).map_or(word, String::as_str)
    }

    /// Refuses a file that lacks a column.
    pub(super) fn check(&self, names: &[String]) -> anyhow::Result<()> {
        let path = self.path.display();
        if let Some(lacking) = self.columns.keys().find(|column| !names.contains(column)) {
            let found = names.join(", ");
            bail!("expected a column {lacking:?}, as columns of {path} names it, found {found:.500}");
        }
        if !self.columns.values().flatten().any(Field::is_id) {
            bail!("expected a column that goes to external_id in columns of {path}, found none");
        }
        Ok(())
    }
}

/// A word as it is compared: people write it in any case.
fn fold(word: &str) -> String {
    word.trim().to_lowercase()
}

fn folded(meanings: BTreeMap<String, String>, place: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut words: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (word, meaning) in meanings {
        if let Some((other, _)) = words.insert(fold(&word), (word.clone(), meaning)) {
            bail!("{place}: expected each word once, in whatever case, found {other:?} and {word:?}");
        }
    }
    Ok(words.into_iter().map(|(folded, (_, meaning))| (folded, meaning)).collect())
}

/// Refuses what looks like a placeholder and is none: it would be stored as it stands.
fn check_placeholders(field: &Field, value: &str, place: &str) -> anyhow::Result<()> {
    let only = if field.of_line { "" } else { " in a field of a line only" };
    let is_fault = |found: &&str| !(*found == NUMBER && field.of_line);
    match placeholders(value).filter(|found| *found == NUMBER || !field.is_json()).find(is_fault) {
        Some(found) => bail!("{place}: expected {NUMBER}{only}, found {found}"),
        None => Ok(()),
    }
}

/// What stands in braces, with them.
fn placeholders(value: &str) -> impl Iterator<Item = &str> {
    value
        .split_inclusive('}')
        .filter(|part| part.ends_with('}'))
        .filter_map(|part| part.rfind('{').map(|at| &part[at..]))
}

fn field(name: &str, place: &str) -> anyhow::Result<Field> {
    Field::named(name).with_context(|| format!("{place}: expected a field like status or line.count, found {name:?}"))
}
