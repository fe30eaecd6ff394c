//! What an import keeps beside a file: how far it is, and the orders that failed.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};

use super::read::Record;
use super::{FileFormat, Target, What};
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
    /// The prefixes that the root of an XML file binds, as attributes.
    pub(super) root: String,
    file: Option<File>,
    /// What is to be said of the one that stands there, which is kept under another name.
    old: Option<&'static str>,
    /// What was written to it, all in all.
    written: Mark,
    /// The checksum of that, which goes on.
    hasher: crc32fast::Hasher,
}

/// By what the acknowledged part of a file of failed orders is known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    bytes: u64,
    crc32: u32,
}

/// So much is looked at of what stands behind that.
const TAIL_BYTES: u64 = 64;

impl Failed {
    /// One that goes on behind what was acknowledged, or begins. One of an import before, or that was changed since, keeps
    /// its content under another name.
    pub(super) fn open(path: PathBuf, format: FileFormat, acknowledged: Option<Mark>) -> anyhow::Result<Self> {
        let mut failed = Failed {
            path,
            format,
            root: String::new(),
            file: None,
            old: None,
            written: Mark::default(),
            hasher: crc32fast::Hasher::new(),
        };
        let Ok(old) = fs::metadata(&failed.path) else { return Ok(failed) };
        if !old.is_file() {
            bail!("{}: expected a file for orders that fail, found something else", failed.path.display());
        }
        if let Some(mark) = acknowledged
            && checksum(&failed.path, mark.bytes)? == Some(mark.crc32)
        {
            failed.hasher = crc32fast::Hasher::new_with_initial_len(mark.crc32, mark.bytes);
            failed.written = mark;
            failed.keep_tail(mark.bytes)?;
            // What was not acknowledged comes again.
            failed.file()?;
            return Ok(failed);
        }
        let since = if acknowledged.is_some() { "was changed since" } else { "is of an import before" };
        failed.old = Some(since);
        Ok(failed)
    }

    /// Keeps what stands behind the acknowledged part, which somebody may have added, and which is cut off.
    fn keep_tail(&self, acknowledged: u64) -> anyhow::Result<()> {
        let (mut file, mut tail) = (File::open(&self.path)?, Vec::new());
        file.seek(SeekFrom::Start(acknowledged))?;
        file.take(TAIL_BYTES).read_to_end(&mut tail)?;
        if tail.trim_ascii().is_empty() || tail.trim_ascii() == b"</xml>" {
            return Ok(());
        }
        let kept = self.kept()?;
        fs::copy(&self.path, &kept).with_context(|| kept.display().to_string())?;
        eprintln!("{}: was longer than the import knew; it is kept as {}", self.path.display(), kept.display());
        Ok(())
    }

    /// The name under which what stands there is kept.
    fn kept(&self) -> anyhow::Result<PathBuf> {
        let mut kept = beside(&self.path, "before");
        let mut number = 1;
        while kept.exists() && !is_same(&self.path, &kept)? {
            number += 1;
            kept = beside(&self.path, &format!("before.{number}"));
        }
        Ok(kept)
    }

    /// Makes room for this import's, and never loses what somebody may have corrected by hand.
    fn keep_old(&mut self) -> anyhow::Result<()> {
        let Some(why) = self.old.take() else { return Ok(()) };
        let kept = self.kept()?;
        fs::rename(&self.path, &kept).with_context(|| self.path.display().to_string())?;
        eprintln!("{}: {why}; it is kept as {}", self.path.display(), kept.display());
        Ok(())
    }

    pub(super) fn extension(format: FileFormat) -> &'static str {
        if format == FileFormat::Xml { "failed.xml" } else { "failed.ndjson" }
    }

    /// Writes an order down with the reason why it failed.
    pub(super) fn write(&mut self, record: &Record, reason: &str) -> anyhow::Result<()> {
        let line = match (self.format, &record.fault) {
            // It has its first reason.
            (_, Some(_)) if record.is_unread() => record.text.clone(),
            (FileFormat::Xml, None) => refused_element(&record.text, reason),
            (FileFormat::Xml, Some(_)) => bad_element(&record.text, reason),
            (_, None) => refused_object(&record.text, reason),
            (_, Some(_)) => json!({"import_error": reason, "line": record.line, "text": record.text}).to_string(),
        };
        if self.written.bytes == 0 && self.format == FileFormat::Xml {
            self.append(&format!("<xml{}>\n", self.root))?;
        }
        self.append(&format!("{line}\n"))
    }

    fn append(&mut self, text: &str) -> anyhow::Result<()> {
        self.file()?.write_all(text.as_bytes()).with_context(|| self.path.display().to_string())?;
        self.hasher.update(text.as_bytes());
        self.written = Mark { bytes: self.written.bytes + text.len() as u64, crc32: self.hasher.clone().finalize() };
        Ok(())
    }

    /// The file, made or cut back to what was written when it is first asked for.
    fn file(&mut self) -> anyhow::Result<&mut File> {
        self.keep_old()?;
        Ok(match &mut self.file {
            Some(file) => file,
            none => {
                let named = || self.path.display().to_string();
                let file = OpenOptions::new().create(true).append(true).open(&self.path).with_context(named)?;
                file.set_len(self.written.bytes).with_context(named)?;
                none.insert(file)
            }
        })
    }

    /// Everything written so far is on disk; returns how much that is.
    pub(super) fn flush(&mut self) -> anyhow::Result<Mark> {
        self.keep_old()?;
        if let Some(file) = &mut self.file {
            file.sync_data()?;
        }
        Ok(self.written)
    }

    /// The file can be read, whether the import is done or goes on another time.
    pub(super) fn close(&mut self) -> anyhow::Result<()> {
        if self.format == FileFormat::Xml && self.written.bytes > 0 {
            self.append("</xml>\n")?;
        }
        if self.file.is_some() { self.flush().map(drop) } else { Ok(()) }
    }
}

/// An object with the reason behind its fields, in place of one that it has there.
fn refused_object(item: &str, reason: &str) -> String {
    let reason = json!(reason);
    let Some(fields) = item.trim_end().strip_suffix('}') else {
        return format!("{{\"import_error\":{reason},\"item\":{item}}}");
    };
    let fields = match fields.rsplit_once("\"import_error\"") {
        Some((before, text)) if is_text(text) => before.trim_end().trim_end_matches(','),
        _ => fields.trim_end(),
    };
    let comma = if fields.trim() == "{" { "" } else { "," };
    format!("{fields}{comma}\"import_error\":{reason}}}")
}

/// A colon, and a text.
fn is_text(text: &str) -> bool {
    text.trim_start().strip_prefix(':').is_some_and(|text| serde_json::from_str::<String>(text).is_ok())
}

fn refused_element(item: &str, reason: &str) -> String {
    let reason = format!("<import_error>{}</import_error>", answer::xml_escaped(reason));
    let Some(end) = item.rfind("</") else {
        return format!("<data>{reason}</data>");
    };
    let (mut start, end) = item.split_at(end);
    if start.trim_end().ends_with("</import_error>") {
        start = &start[..start.rfind("<import_error>").unwrap_or(start.len())];
    }
    format!("{start}{reason}{end}")
}

/// What is not well-formed, as text.
fn bad_element(text: &str, reason: &str) -> String {
    // XML has no other control characters.
    let text = text.replace(|c: char| c.is_control() && !"\t\n\r".contains(c), "\u{fffd}");
    let (reason, text) = (answer::xml_escaped(reason), answer::xml_escaped(&text));
    format!("<data><import_error>{reason}</import_error><text>{text}</text></data>")
}

/// True for two files with the same content.
fn is_same(one: &Path, other: &Path) -> anyhow::Result<bool> {
    let size = fs::metadata(one)?.len();
    Ok(fs::metadata(other)?.len() == size && checksum(one, size)? == checksum(other, size)?)
}

/// The CRC-32 of so many bytes of a file; `None` if it is shorter.
fn checksum(path: &Path, bytes: u64) -> anyhow::Result<Option<u32>> {
    let named = || path.display().to_string();
    let mut source = BufReader::new(File::open(path).with_context(named)?).take(bytes);
    let (mut hasher, mut found) = (crc32fast::Hasher::new(), 0);
    loop {
        let piece = source.fill_buf().with_context(named)?;
        let length = piece.len();
        if length == 0 {
            return Ok((found == bytes).then(|| hasher.finalize()));
        }
        hasher.update(piece);
        source.consume(length);
        found += length as u64;
    }
}

/// How far a file is, beside it, so that the import can go on after an interruption.
pub(super) struct State {
    path: PathBuf,
    file: String,
    /// By what the file is known.
    size: u64,
    modified: String,
    /// Where it goes to, as what, and where its failed orders go.
    going: String,
}

impl State {
    /// `how` are the options that say what the file's items are.
    pub(super) fn of(path: &Path, target: &Target, what: What, failed: &Path, how: &str) -> anyhow::Result<Self> {
        let going = format!("{} --what {} --failed {}{how}", target.name(), what.as_str(), failed.display());
        let meta = fs::metadata(path).with_context(|| path.display().to_string())?;
        let modified = format!("{:?}", meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default());
        let file = path.display().to_string();
        Ok(State { file, path: beside(path, "progress.json"), size: meta.len(), modified, going })
    }

    /// What was acknowledged before, and how much of the file of failed orders counts; `None` if nothing was.
    pub(super) fn load(&self, tally: &mut Tally) -> anyhow::Result<Option<Mark>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.path.display().to_string()),
        };
        let Ok(state) = serde_json::from_str::<Json>(&text) else {
            bail!("{}: expected what an import wrote, found other text; --restart begins anew", self.path.display());
        };
        if state["size"].as_u64() != Some(self.size) || state["modified"].as_str() != Some(&self.modified) {
            bail!(
                "{}: expected the file as it was when the import of it began, found it changed; --restart begins anew",
                self.file
            );
        }
        if state["going"].as_str() != Some(&self.going) {
            bail!(
                "{}: expected the options with which the import of it began, {}, found {}; --restart begins anew",
                self.file,
                state["going"].as_str().unwrap_or("others"),
                self.going
            );
        }
        for (name, value) in Tally::NAMES.into_iter().zip(tally.values()) {
            *value = state[name].as_u64().unwrap_or_default();
        }
        let number = |name: &str| state[name].as_u64().unwrap_or_default();
        let crc32 = u32::try_from(number("failed_crc32")).unwrap_or_default();
        Ok(Some(Mark { bytes: number("failed_bytes"), crc32 }))
    }

    pub(super) fn save(&self, mut tally: Tally, failed: Mark) -> anyhow::Result<()> {
        let Mark { bytes, crc32 } = failed;
        let mut state = json!({"size": self.size, "modified": self.modified, "going": self.going,
            "failed_bytes": bytes, "failed_crc32": crc32});
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
