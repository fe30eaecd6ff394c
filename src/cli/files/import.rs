//! `ordergate import`: a thread reads and packs batches, two at most ahead of the one that is sent.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::progress::{Progress, rate};
use super::read::{self, Piece, SKIP_TRIGGERS};
use super::{FileFormat, ImportArguments, Target, What};
use crate::cli::output::Output;

/// What stands around the items of a body, at most.
const ENVELOPE_BYTES: usize = 4096;
/// How long a batch that is on its way is waited for after Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was acknowledged, all in all.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    read: u64,
    created: u64,
    updated: u64,
    unchanged: u64,
    failed: u64,
}

impl Tally {
    const NAMES: [&str; 5] = ["read", "created", "updated", "unchanged", "failed"];

    fn values(&mut self) -> [&mut u64; 5] {
        [&mut self.read, &mut self.created, &mut self.updated, &mut self.unchanged, &mut self.failed]
    }
}

/// Orders that are sent together.
struct Batch {
    fields: Vec<(String, String)>,
    items: Vec<String>,
    /// So much of the file was read for them.
    bytes: u64,
}

/// Imports files; true if no order failed.
pub(in crate::cli) async fn import(
    target: &Target,
    arguments: &ImportArguments,
    max_body_bytes: usize,
    output: Output,
    stop: &CancellationToken,
) -> anyhow::Result<bool> {
    if arguments.failed.is_some() && arguments.files.len() > 1 {
        bail!(
            "failed: expected one file to import, found {}; each has a file of its own otherwise",
            arguments.files.len()
        );
    }
    let (mut all, mut here) = (Tally::default(), 0);
    let begun = Instant::now();
    for path in &arguments.files {
        let file = FileImport::open(target, arguments, path, max_body_bytes)?;
        let (mut of_file, read_here) = Box::pin(file.run(stop)).await?;
        here += read_here;
        for (sum, value) in all.values().into_iter().zip(of_file.values()) {
            *sum += *value;
        }
    }
    let mut row: Vec<Json> = all.values().into_iter().map(|value| json!(*value)).collect();
    let seconds = begun.elapsed();
    row.extend([json!(format!("{:.1}", seconds.as_secs_f64())), json!(rate(here, seconds))]);
    let columns: Vec<&str> = Tally::NAMES.into_iter().chain(["seconds", "orders_per_second"]).collect();
    output.one(&columns, row)?;
    Ok(all.failed == 0)
}

/// One file on its way.
struct FileImport<'i> {
    target: &'i Target,
    arguments: &'i ImportArguments,
    path: PathBuf,
    format: FileFormat,
    max_body_bytes: usize,
    /// What the file says of events.
    skip_triggers: Option<(String, String)>,
    failed: Failed,
    state: Option<State>,
    tally: Tally,
}

impl<'i> FileImport<'i> {
    fn open(
        target: &'i Target,
        arguments: &'i ImportArguments,
        path: &Path,
        max_body_bytes: usize,
    ) -> anyhow::Result<Self> {
        let format = match arguments.format {
            Some(format) => format,
            None => FileFormat::of(path)?,
        };
        let is_input = path.as_os_str() == "-";
        let mut tally = Tally::default();
        let extension = Failed::extension(format);
        let failed = match &arguments.failed {
            Some(failed) => failed.clone(),
            None if is_input => PathBuf::from(format!("import.{extension}")),
            None if arguments.dry_run => beside(path, &format!("dry_run.{extension}")),
            None => beside(path, extension),
        };
        if failed == path {
            bail!("failed: expected another file than the one that is imported, found {}", failed.display());
        }
        let state = if is_input || arguments.dry_run { None } else { Some(State::of(path, arguments, &failed)?) };
        let mut failed_bytes = None;
        if let Some(state) = &state
            && !arguments.restart
        {
            failed_bytes = state.load(&mut tally)?;
        }
        let failed = Failed::open(failed, format, failed_bytes)?;
        if failed_bytes.is_some() {
            eprintln!("{}: goes on behind {} orders that were acknowledged before", path.display(), tally.read);
        }
        let path = path.to_owned();
        let skip_triggers = None;
        Ok(FileImport { target, arguments, path, format, max_body_bytes, skip_triggers, failed, state, tally })
    }

    /// Imports it; returns what was acknowledged, and how many orders of it now.
    async fn run(mut self, stop: &CancellationToken) -> anyhow::Result<(Tally, u64)> {
        let size = fs::metadata(&self.path).ok().map(|meta| meta.len());
        let mut progress = Progress::new(&self.path.display().to_string(), size);
        let (sender, mut batches) = mpsc::channel(2);
        let reader = self.reader(sender)?;
        let before = self.tally.read;
        let mut stopped = false;
        while let Some(batch) = batches.recv().await {
            let bytes = batch.bytes;
            let patience = async {
                stop.cancelled().await;
                tokio::time::sleep(PATIENCE).await;
            };
            let sent = tokio::select! {
                sent = self.send(batch) => sent,
                () = patience => {
                    stopped = true;
                    break;
                }
            };
            sent.with_context(|| self.path.display().to_string())?;
            let Tally { read, failed, .. } = self.tally;
            progress.at(bytes, read, read - before, failed);
            if stop.is_cancelled() {
                stopped = true;
                break;
            }
        }
        drop(batches);
        progress.end();
        let done = reader.join().map_err(|_| anyhow::anyhow!("the reader failed"))?;
        let so_far = || format!("{}: {} orders were acknowledged", self.path.display(), self.tally.read);
        if stopped {
            bail!("{}; run the same command again to go on", so_far());
        }
        done.with_context(|| format!("{}; behind them", so_far()))?;
        self.failed.finish()?;
        if let Some(state) = &self.state {
            state.remove()?;
        }
        if self.tally.failed > 0 {
            let (failed, path) = (self.tally.failed, self.failed.path.display());
            eprintln!("{}: {failed} orders failed; they and the reasons are in {path}", self.path.display());
        }
        Ok((self.tally, self.tally.read - before))
    }

    /// Starts to read, behind what was acknowledged before.
    fn reader(&self, sender: mpsc::Sender<Batch>) -> anyhow::Result<std::thread::JoinHandle<anyhow::Result<()>>> {
        let count = Arc::new(AtomicU64::new(0));
        let source = read::open(&self.path, &count)?;
        let mut packer = Packer {
            max_items: self.arguments.batch as usize,
            max_bytes: self.max_body_bytes.saturating_sub(ENVELOPE_BYTES),
            skip: self.tally.read,
            count,
            batch: Batch { fields: Vec::new(), items: Vec::new(), bytes: 0 },
            batch_bytes: 0,
            sender,
        };
        let (format, what, max_bytes) = (self.format, self.arguments.what, packer.max_bytes);
        Ok(std::thread::spawn(move || {
            let done = read::read(source, format, what, max_bytes, &mut |piece| packer.take(piece));
            // What was good before a fault is sent all the same.
            let _ = packer.pass_on();
            done
        }))
    }

    /// Sends a batch, and notes what became of it. One that is too large goes in halves.
    async fn send(&mut self, batch: Batch) -> anyhow::Result<()> {
        let mut waiting = vec![batch.items];
        let (of_events, mut fields): (Vec<_>, Vec<_>) =
            batch.fields.into_iter().partition(|(name, _)| name == SKIP_TRIGGERS);
        self.skip_triggers = of_events.into_iter().next_back().or(self.skip_triggers.take());
        while let Some(mut items) = waiting.pop() {
            let answer = self.call(&fields, &items).await?;
            let error = answer["error"].as_u64().unwrap_or(500);
            let text = answer["error_text"].as_str().unwrap_or("no text");
            // An order that spoils the document, by its depth, has to be found.
            let spoiled = error == 400 && ["line ", "byte "].iter().any(|start| text.starts_with(start));
            if let ([item], true) = (items.as_slice(), spoiled) {
                let item = item.clone();
                self.note(&item, &json!({"error_text": text}))?;
                self.acknowledge().await?;
                continue;
            }
            if (error == 413 || spoiled) && items.len() > 1 {
                waiting.push(items.split_off(items.len() / 2));
                waiting.push(items);
                continue;
            }
            let results = answer["result"].as_array().filter(|results| error == 0 && results.len() == items.len());
            let Some(results) = results else {
                bail!("the answer is {error}: {text}");
            };
            for (item, result) in items.iter().zip(results) {
                self.note(item, result)?;
            }
            // Those of the file are known now.
            fields.clear();
            self.acknowledge().await?;
        }
        Ok(())
    }

    /// Writes down how far the file is.
    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        self.target.finish().await?;
        let bytes = self.failed.flush()?;
        if let Some(state) = &self.state {
            state.save(self.tally, bytes)?;
        }
        Ok(())
    }

    async fn call(&self, fields: &[(String, String)], items: &[String]) -> anyhow::Result<Json> {
        let ImportArguments { skip_triggers, dry_run, what, .. } = self.arguments;
        let flags =
            [("detail", true), ("skip_triggers", *skip_triggers && *what == What::Orders), ("dry_run", *dry_run)];
        let flags = flags.into_iter().filter(|(_, set)| *set);
        let mut body = String::with_capacity(items.iter().map(String::len).sum::<usize>() + ENVELOPE_BYTES);
        if self.format == FileFormat::Xml {
            body.push_str("<xml>");
            body.extend(self.skip_triggers.iter().map(|(_, element)| element.as_str()));
            body.extend(flags.map(|(name, _)| format!("<{name}>true</{name}>")));
            body.extend(fields.iter().map(|(_, element)| element.as_str()).chain(items.iter().map(String::as_str)));
            body.push_str("</xml>");
        } else {
            body.push('{');
            body.extend(self.skip_triggers.iter().map(|(name, json)| format!("\"{name}\":{json},")));
            body.extend(flags.map(|(name, _)| format!("\"{name}\":true,")));
            body.extend(fields.iter().map(|(name, json)| format!("\"{name}\":{json},")));
            body.push_str("\"data\":[");
            body.push_str(&items.join(","));
            body.push_str("]}");
        }
        let call = format!("{}/import?format=json", what.as_str());
        let (status, answer) = self.target.post(&call, self.format.content_type(), body.into_bytes()).await?;
        if status == 413 {
            return Ok(json!({"error": 413, "error_text": "too large"}));
        }
        serde_json::from_slice(&answer)
            .with_context(|| format!("expected an answer in JSON, found HTTP {status} with another"))
    }

    fn note(&mut self, item: &str, result: &Json) -> anyhow::Result<()> {
        self.tally.read += 1;
        match result["outcome"].as_str() {
            Some("created") => self.tally.created += 1,
            Some("updated") => self.tally.updated += 1,
            Some("unchanged") => self.tally.unchanged += 1,
            _ => {
                self.tally.failed += 1;
                self.failed.write(item, result["error_text"].as_str().unwrap_or("failed"))?;
            }
        }
        Ok(())
    }
}

/// Packs pieces into batches, in the reader's thread.
struct Packer {
    max_items: usize,
    max_bytes: usize,
    /// So many items were acknowledged before.
    skip: u64,
    /// So many bytes of the file were read.
    count: Arc<AtomicU64>,
    batch: Batch,
    batch_bytes: usize,
    sender: mpsc::Sender<Batch>,
}

impl Packer {
    fn take(&mut self, piece: Piece) -> ControlFlow<()> {
        let item = match piece {
            Piece::Field(name, text) => {
                self.batch_bytes += text.len() + name.len() + 4;
                self.batch.fields.push((name, text));
                return ControlFlow::Continue(());
            }
            Piece::Item(_) if self.skip > 0 => {
                self.skip -= 1;
                return ControlFlow::Continue(());
            }
            Piece::Item(item) => item,
        };
        if self.batch.items.len() == self.max_items || self.batch_bytes + item.len() >= self.max_bytes {
            self.pass_on()?;
        }
        self.batch_bytes += item.len() + 1;
        self.batch.items.push(item);
        ControlFlow::Continue(())
    }

    /// Passes the batch on; nobody wants it any more after an error there.
    fn pass_on(&mut self) -> ControlFlow<()> {
        if self.batch.items.is_empty() {
            return ControlFlow::Continue(());
        }
        let next = Batch { fields: Vec::new(), items: Vec::new(), bytes: 0 };
        let mut batch = std::mem::replace(&mut self.batch, next);
        batch.bytes = self.count.load(Ordering::Relaxed);
        self.batch_bytes = 0;
        if self.sender.blocking_send(batch).is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// `orders.csv` and `failed.ndjson`: `orders.csv.failed.ndjson`.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// Where failed orders go, in a form that can be imported again.
struct Failed {
    path: PathBuf,
    format: FileFormat,
    file: Option<File>,
    /// So much of it is acknowledged.
    bytes: u64,
}

impl Failed {
    /// One that goes on behind so many bytes, or begins; one of an import before keeps its content under another name.
    fn open(path: PathBuf, format: FileFormat, bytes: Option<u64>) -> anyhow::Result<Self> {
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

    fn extension(format: FileFormat) -> &'static str {
        if format == FileFormat::Xml { "failed.xml" } else { "failed.ndjson" }
    }

    fn write(&mut self, item: &str, reason: &str) -> anyhow::Result<()> {
        let line = if self.format == FileFormat::Xml {
            let reason = reason.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
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
        let file = match &mut self.file {
            Some(file) => file,
            file @ None => file.insert(open_at(&self.path, self.bytes, self.format)?),
        };
        file.write_all(line.as_bytes()).with_context(|| self.path.display().to_string())
    }

    /// Everything written so far is on disk; returns how much that is.
    fn flush(&mut self) -> anyhow::Result<u64> {
        if let Some(file) = &mut self.file {
            file.sync_data()?;
            self.bytes = file.metadata()?.len();
        }
        Ok(self.bytes)
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        if self.format == FileFormat::Xml && (self.file.is_some() || self.bytes > 0) {
            let file = match &mut self.file {
                Some(file) => file,
                file @ None => file.insert(open_at(&self.path, self.bytes, self.format)?),
            };
            file.write_all(b"</xml>\n")?;
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
struct State {
    path: PathBuf,
    /// By what the file is known.
    size: u64,
    modified: String,
    /// Where it goes to, as what, and where its failed orders go.
    going: String,
}

impl State {
    fn of(path: &Path, arguments: &ImportArguments, failed: &Path) -> anyhow::Result<Self> {
        let place = &arguments.place;
        let to = place.account.as_ref().map(|name| format!("--account {name}"));
        let to = to.or(place.server.as_ref().map(|url| format!("--server {url}"))).unwrap_or_default();
        let going = format!("{to} --what {} --failed {}", arguments.what.as_str(), failed.display());
        let meta = fs::metadata(path).with_context(|| path.display().to_string())?;
        let modified = format!("{:?}", meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default());
        Ok(State { path: beside(path, "progress.json"), size: meta.len(), modified, going })
    }

    /// What was acknowledged before, and how much of the file of failed orders counts; `None` if nothing was.
    fn load(&self, tally: &mut Tally) -> anyhow::Result<Option<u64>> {
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

    fn save(&self, mut tally: Tally, failed_bytes: u64) -> anyhow::Result<()> {
        let mut state =
            json!({"size": self.size, "modified": self.modified, "going": self.going, "failed_bytes": failed_bytes});
        for (name, value) in Tally::NAMES.into_iter().zip(tally.values()) {
            state[name] = json!(*value);
        }
        let new = beside(&self.path, "new");
        fs::write(&new, state.to_string()).with_context(|| new.display().to_string())?;
        fs::rename(&new, &self.path).with_context(|| self.path.display().to_string())
    }

    fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
