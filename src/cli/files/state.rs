//! What an import keeps beside a file: how far it is, and the orders that failed.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};

use super::{FileFormat, ImportArguments};
use crate::wire::answer;

/// What was acknowledged, all in all.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) read: u64,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) unchanged: u64,
    pub(super) failed: u64,
}

impl Tally {
    pub(super) const NAMES: [&str; 5] = ["read", "created", "updated", "unchanged", "failed"];

    pub(super) fn values(&mut self) -> [&mut u64; 5] {
        [&mut self.read, &mut self.created, &mut self.updated, &mut self.unchanged, &mut self.failed]
    }
}

/// `orders.csv` and `failed.ndjson`: `orders.csv.failed.ndjson`.
pub(super) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// Where failed orders go, in a form that can be imported again.
pub(super) struct Failed {
    pub(super) path: PathBuf,
    format: FileFormat,
    file: Option<File>,
    /// So much of it is acknowledged.
    bytes: u64,
}

impl Failed {
    /// One that goes on behind so many bytes, or begins; one of an import before keeps its content under another name.
    pub(super) fn open(path: PathBuf, format: FileFormat, bytes: Option<u64>) -> anyhow::Result<Self> {
        let length = fs::metadata(&path).ok().map(|meta| meta.len());
        match (bytes, length) {
            (None, Some(_)) => {
                fs::rename(&path, beside(&path, "before")).with_context(|| path.display().to_string())?;
            }
            (Some(bytes), length) if length.unwrap_or_default() < bytes => bail!(
                "{}: expected the {bytes} bytes that were written before, found {}; --restart begins anew",
                path.display(),
                length.unwrap_or_default()
            ),
            _ => {}
        }
        Ok(Failed { path, format, file: None, bytes: bytes.unwrap_or_default() })
    }

    pub(super) fn extension(format: FileFormat) -> &'static str {
        if format == FileFormat::Xml { "failed.xml" } else { "failed.ndjson" }
    }

    pub(super) fn write(&mut self, item: &str, reason: &str) -> anyhow::Result<()> {
        let line = if self.format == FileFormat::Xml {
            let reason = answer::xml_escaped(reason);
            let end = item.rfind("</").unwrap_or(item.len());
            let (start, end) = item.split_at(end);
            format!("{start}<import_error>{reason}</import_error>{end}\n")
        } else {
            let reason = json!(reason);
            match item.trim_end().strip_suffix('}').map(str::trim_end) {
                Some(start) if start.trim() == "{" => format!("{{\"import_error\":{reason}}}\n"),
                Some(start) => format!("{start},\"import_error\":{reason}}}\n"),
                None => format!("{{\"import_error\":{reason},\"item\":{item}}}\n"),
            }
        };
        self.file()?.write_all(line.as_bytes()).with_context(|| self.path.display().to_string())
    }

    /// The file, made or cut back to what is acknowledged when it is first written to.
    fn file(&mut self) -> anyhow::Result<&mut File> {
        Ok(match &mut self.file {
            Some(file) => file,
            file @ None => file.insert(open_at(&self.path, self.bytes, self.format)?),
        })
    }

    /// Everything written so far is on disk; returns how much that is.
    pub(super) fn flush(&mut self) -> anyhow::Result<u64> {
        if let Some(file) = &mut self.file {
            file.sync_data()?;
            self.bytes = file.metadata()?.len();
        }
        Ok(self.bytes)
    }

    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        if self.format == FileFormat::Xml && (self.file.is_some() || self.bytes > 0) {
            self.file()?.write_all(b"</xml>\n")?;
        }
        self.flush().map(drop)
    }
}

/// Opens a file to write on behind so many bytes.
fn open_at(path: &Path, bytes: u64, format: FileFormat) -> anyhow::Result<File> {
    let named = || path.display().to_string();
    let file = OpenOptions::new().create(true).append(true).open(path).with_context(named)?;
    file.set_len(bytes).with_context(named)?;
    if bytes == 0 && format == FileFormat::Xml {
        (&file).write_all(b"<xml>\n").with_context(named)?;
    }
    Ok(file)
}

/// How far a file is, beside it, so that the import can go on after an interruption.
pub(super) struct State {
    path: PathBuf,
    /// By what the file is known.
    size: u64,
    modified: String,
    /// Where it goes to, as what, and where its failed orders go.
    going: String,
}

impl State {
    pub(super) fn of(path: &Path, arguments: &ImportArguments, failed: &Path) -> anyhow::Result<Self> {
        let place = &arguments.place;
        let to = place.account.as_ref().map(|name| format!("--account {name}"));
        let to = to.or(place.server.as_ref().map(|url| format!("--server {url}"))).unwrap_or_default();
        let going = format!("{to} --what {} --failed {}", arguments.what.as_str(), failed.display());
        let meta = fs::metadata(path).with_context(|| path.display().to_string())?;
        let modified = format!("{:?}", meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default());
        Ok(State { path: beside(path, "progress.json"), size: meta.len(), modified, going })
    }

    /// What was acknowledged before, and how much of the file of failed orders counts; `None` if nothing was.
    pub(super) fn load(&self, tally: &mut Tally) -> anyhow::Result<Option<u64>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.path.display().to_string()),
        };
        let state: Json = serde_json::from_str(&text).with_context(|| self.path.display().to_string())?;
        if state["size"].as_u64() != Some(self.size) || state["modified"].as_str() != Some(&self.modified) {
            bail!(
                "{}: expected the file as it was when the import began, found it changed; --restart begins anew",
                self.path.display()
            );
        }
        if state["going"].as_str() != Some(&self.going) {
            bail!(
                "{}: expected the options with which the import began, {}, found {}; --restart begins anew",
                self.path.display(),
                state["going"].as_str().unwrap_or("others"),
                self.going
            );
        }
        for (name, value) in Tally::NAMES.into_iter().zip(tally.values()) {
            *value = state[name].as_u64().unwrap_or_default();
        }
        Ok(Some(state["failed_bytes"].as_u64().unwrap_or_default()))
    }

    pub(super) fn save(&self, mut tally: Tally, failed_bytes: u64) -> anyhow::Result<()> {
        let mut state =
            json!({"size": self.size, "modified": self.modified, "going": self.going, "failed_bytes": failed_bytes});
        for (name, value) in Tally::NAMES.into_iter().zip(tally.values()) {
            state[name] = json!(*value);
        }
        let new = beside(&self.path, "new");
        fs::write(&new, state.to_string()).with_context(|| new.display().to_string())?;
        fs::rename(&new, &self.path).with_context(|| self.path.display().to_string())
    }

    pub(super) fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
