//! `ordergate import`: a thread reads and packs batches, two at most ahead of the one that is sent.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use encoding_rs::Encoding;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::pack::{Batch, Packer};
use super::progress::{Progress, rate};
use super::read::{self, ROOT, Record, SKIP_TRIGGERS};
use super::source::Source;
use super::state::{Failed, State, Tally, beside};
use super::table::Layout;
use super::{FileFormat, ImportArguments, Target, What};
use crate::cli::output::Output;

/// What stands around the items of a body, at most.
const ENVELOPE_BYTES: usize = 4096;
/// How a text begins that tells of the whole document.
const SPOILED: [&str; 2] = ["line ", "byte "];
/// How long a batch that is on its way is waited for after Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(5);

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
    for path in &arguments.files {
        arguments.format(path)?;
        check_file(path)?;
    }
    let (layout, encoding) = (Arc::new(arguments.layout()?), arguments.encoding()?);
    let (mut all, mut here) = (Tally::default(), 0);
    let begun = Instant::now();
    let mut files = arguments.files.iter();
    let mut ended = Ok(());
    while ended.is_ok()
        && let Some(path) = files.next()
    {
        ended = match FileImport::open(target, arguments, &layout, encoding, path, max_body_bytes) {
            Ok(mut file) => {
                let ended = Box::pin(file.run(stop)).await;
                here += file.tally.read - file.before;
                for (sum, value) in all.values().into_iter().zip(file.tally.values()) {
                    *sum += *value;
                }
                ended
            }
            Err(error) => Err(error),
        };
    }
    if ended.is_ok() || all.read > 0 {
        let mut row: Vec<Json> = all.values().into_iter().map(|value| json!(*value)).collect();
        let seconds = begun.elapsed();
        row.extend([json!(format!("{:.1}", seconds.as_secs_f64())), json!(rate(here, seconds))]);
        let columns: Vec<&str> = Tally::NAMES.into_iter().chain(["seconds", "per_second"]).collect();
        output.one(&columns, row)?;
    }
    for path in files {
        eprintln!("{}: not begun", path.display());
    }
    ended?;
    Ok(all.failed == 0)
}

/// Refuses what is no file before another one is imported.
fn check_file(path: &Path) -> anyhow::Result<()> {
    if path.as_os_str() != "-" && fs::metadata(path).with_context(|| path.display().to_string())?.is_dir() {
        bail!("{}: expected a file, found a directory", path.display());
    }
    Ok(())
}

/// One file on its way.
struct FileImport<'i> {
    target: &'i Target,
    arguments: &'i ImportArguments,
    path: PathBuf,
    layout: Arc<Layout>,
    encoding: Option<&'static Encoding>,
    format: FileFormat,
    max_body_bytes: usize,
    /// What the file says of events.
    skip_triggers: Option<(String, String)>,
    /// Its other fields that stand before the items, until the target knows them.
    fields: Vec<(String, String)>,
    failed: Failed,
    state: Option<State>,
    tally: Tally,
    /// So many were acknowledged before.
    before: u64,
    reasons: Reasons,
    warnings: Warnings,
}

/// Why orders failed.
#[derive(Default)]
struct Reasons {
    first: Vec<String>,
    /// So many are no order that could be read.
    unread: u64,
}

/// So many reasons are shown.
const SHOWN_REASONS: usize = 3;

/// What was stored with warnings.
#[derive(Default)]
struct Warnings {
    count: u64,
    first: String,
}

impl<'i> FileImport<'i> {
    fn open(
        target: &'i Target,
        arguments: &'i ImportArguments,
        layout: &Arc<Layout>,
        encoding: Option<&'static Encoding>,
        path: &Path,
        max_body_bytes: usize,
    ) -> anyhow::Result<Self> {
        let format = arguments.format(path)?;
        // Standard input, or a pipe with a name: nothing is kept beside it.
        let is_input = path.as_os_str() == "-" || !path.is_file();
        let mut tally = Tally::default();
        let extension = Failed::extension(format);
        let failed = match &arguments.failed {
            Some(failed) => failed.clone(),
            None if is_input => PathBuf::from(format!("import.{extension}")),
            None if arguments.dry_run => beside(path, &format!("dry_run.{extension}")),
            None => beside(path, extension),
        };
        let is_same = |one: &Path, other: &Path| matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other);
        if is_same(&failed, path) {
            bail!("failed: expected another file than the one that is imported, found {}", failed.display());
        }
        let state = if is_input || arguments.dry_run {
            None
        } else {
            Some(State::of(path, target, arguments.what, &failed, &arguments.how(layout))?)
        };
        let mut acknowledged = None;
        if let Some(state) = &state {
            if arguments.restart {
                state.remove()?;
            } else {
                acknowledged = state.load(&mut tally)?;
            }
        }
        let failed = Failed::open(failed, format, acknowledged)?;
        if acknowledged.is_some() {
            let (read, what) = (tally.read, arguments.what.as_str());
            eprintln!("{}: goes on behind {read} {what} that were acknowledged before", path.display());
        }
        Ok(FileImport {
            target,
            arguments,
            path: path.to_owned(),
            layout: Arc::clone(layout),
            encoding,
            format,
            max_body_bytes,
            skip_triggers: None,
            fields: Vec::new(),
            failed,
            state,
            before: tally.read,
            tally,
            reasons: Reasons::default(),
            warnings: Warnings::default(),
        })
    }

    /// Imports it.
    async fn run(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let size = fs::metadata(&self.path).ok().map(|meta| meta.len());
        let mut progress = Progress::new(&self.path.display().to_string(), self.arguments.what.as_str(), size);
        let (sender, mut batches) = mpsc::channel(2);
        let reader = self.reader(sender);
        let ended = self.send_all(&mut batches, &mut progress, stop).await;
        drop(batches);
        progress.end();
        self.failed.close()?;
        let stopped = ended.with_context(|| self.path.display().to_string())?;
        let so_far = self.said();
        // The reader may wait for standard input, or still look through the file: it ends with the program.
        if stopped && self.state.is_some() && self.tally.read > 0 {
            bail!("{so_far}, which were acknowledged; run the same command again to go on");
        }
        if stopped {
            bail!("{so_far}: stopped");
        }
        let done = reader.join().map_err(|_| anyhow::anyhow!("the reader failed"))?;
        // A file that could not be read is imported from its start once it is mended.
        if let Some(state) = &self.state {
            state.remove()?;
        }
        done.context(so_far)
    }

    /// Sends what is read; true if it was stopped meanwhile.
    async fn send_all(
        &mut self,
        batches: &mut mpsc::Receiver<Batch>,
        progress: &mut Progress,
        stop: &CancellationToken,
    ) -> anyhow::Result<bool> {
        loop {
            let batch = tokio::select! {
                batch = batches.recv() => batch,
                () = stop.cancelled() => return Ok(true),
            };
            let Some(batch) = batch else { return Ok(false) };
            let bytes = batch.bytes;
            let patience = async {
                stop.cancelled().await;
                tokio::time::sleep(PATIENCE).await;
            };
            tokio::select! {
                sent = self.send(batch) => sent?,
                () = patience => return Ok(true),
            }
            let Tally { read, failed, .. } = self.tally;
            progress.at(bytes, read, read - self.before, failed);
            if stop.is_cancelled() {
                return Ok(true);
            }
        }
    }

    /// Says what is to be looked at; returns how far the import came, if it came no further.
    fn said(&self) -> String {
        let (Tally { read, failed, .. }, what, path) = (self.tally, self.arguments.what.as_str(), self.path.display());
        if failed > 0 {
            let reasons = self.failed.path.display();
            eprintln!("{path}: {failed} of {read} {what} failed; they and the reasons are in {reasons}");
            for reason in &self.reasons.first {
                eprintln!("  {reason}");
            }
            if failed > self.reasons.first.len() as u64 {
                eprintln!("  …");
            }
        }
        if self.reasons.unread > 0 {
            let unread = self.reasons.unread;
            eprintln!("{path}: {unread} could not be read; correct {path} itself at these lines, and import it again");
        }
        let Warnings { count, first } = &self.warnings;
        if *count > 0 {
            eprintln!("{path}: {count} {what} were stored with warnings; the first, {first}");
        }
        if read == 0 { path.to_string() } else { format!("{path}: stopped behind {read} {what}") }
    }

    /// Starts to read, behind what was acknowledged before.
    fn reader(&self, sender: mpsc::Sender<Batch>) -> std::thread::JoinHandle<anyhow::Result<()>> {
        let count = Arc::new(AtomicU64::new(0));
        let (path, format, encoding) = (self.path.clone(), self.format, self.encoding);
        let (max_items, max_bytes) =
            (self.arguments.batch as usize, self.max_body_bytes.saturating_sub(ENVELOPE_BYTES));
        let mut packer = Packer::new(max_items, max_bytes, self.tally.read, Arc::clone(&count), sender);
        let layout = Arc::clone(&self.layout);
        std::thread::spawn(move || {
            let source = Source::open(&path, format, encoding)?;
            let done = read::read(&source, &count, &layout, max_bytes, &mut |piece| packer.take(piece));
            if let Some(name) = packer.late {
                bail!("expected {name} before the items, found it behind");
            }
            // What was good before a fault is sent all the same.
            let _ = packer.pass_on();
            done
        })
    }

    /// Sends a batch, and notes what became of it. One that is too large goes in halves.
    async fn send(&mut self, batch: Batch) -> anyhow::Result<()> {
        let mut waiting = vec![batch.records];
        for (name, text) in batch.fields {
            match name.as_str() {
                SKIP_TRIGGERS => self.skip_triggers = Some((name, text)),
                ROOT => self.failed.root = text,
                _ => self.fields.push((name, text)),
            }
        }
        while let Some(mut records) = waiting.pop() {
            let items: Vec<&str> = records.iter().filter(|record| record.fault.is_none()).map(|r| &*r.text).collect();
            let answer = if items.is_empty() { json!({"error": 0, "result": []}) } else { self.call(&items).await? };
            let error = answer["error"].as_u64().unwrap_or(500);
            let text = answer["error_text"].as_str().unwrap_or("no text");
            // An order that spoils the document, by its depth, has to be found.
            let spoiled = error == 400 && SPOILED.iter().any(|start| text.starts_with(start));
            let too_large = error == 413;
            let count = items.len();
            let results = if count == 1 && (spoiled || too_large && self.fields.is_empty()) {
                vec![json!({"error_text": text})]
            } else if (too_large || spoiled) && count > 1 {
                waiting.push(records.split_off(records.len() / 2));
                waiting.push(records);
                continue;
            } else {
                let results = answer["result"].as_array().filter(|results| error == 0 && results.len() == count);
                let Some(results) = results else {
                    bail!("the answer is {error}: {text}");
                };
                // They are known now, unless nothing is kept.
                if !self.arguments.dry_run && count > 0 {
                    self.fields.clear();
                }
                results.clone()
            };
            let mut results = results.into_iter();
            for record in &records {
                let result = if record.fault.is_none() { results.next() } else { None };
                self.note(record, &result.unwrap_or_default())?;
            }
            self.acknowledge().await?;
        }
        Ok(())
    }

    /// Writes down how far the file is.
    async fn acknowledge(&mut self) -> anyhow::Result<()> {
        self.target.finish().await?;
        let failed = self.failed.flush()?;
        if let Some(state) = &self.state {
            state.save(self.tally, failed)?;
        }
        Ok(())
    }

    async fn call(&self, items: &[&str]) -> anyhow::Result<Json> {
        let ImportArguments { skip_triggers, dry_run, what, .. } = self.arguments;
        let flags =
            [("detail", true), ("skip_triggers", *skip_triggers && *what == What::Orders), ("dry_run", *dry_run)];
        let flags = flags.into_iter().filter(|(_, set)| *set);
        let mut body = String::with_capacity(items.iter().map(|item| item.len()).sum::<usize>() + ENVELOPE_BYTES);
        if self.format == FileFormat::Xml {
            body.extend(["<xml", &self.failed.root, ">"]);
            body.extend(self.skip_triggers.iter().map(|(_, element)| element.as_str()));
            body.extend(flags.map(|(name, _)| format!("<{name}>true</{name}>")));
            body.extend(self.fields.iter().map(|(_, element)| element.as_str()).chain(items.iter().copied()));
            body.push_str("</xml>");
        } else {
            body.push('{');
            body.extend(self.skip_triggers.iter().map(|(name, json)| format!("\"{name}\":{json},")));
            body.extend(flags.map(|(name, _)| format!("\"{name}\":true,")));
            body.extend(self.fields.iter().map(|(name, json)| format!("\"{name}\":{json},")));
            body.push_str("\"data\":[");
            body.push_str(&items.join(","));
            body.push_str("]}");
        }
        let call = format!("{}/import?format=json", what.as_str());
        let (status, answer) = self.target.post(&call, self.format.content_type(), body.into_bytes()).await?;
        let answered = serde_json::from_slice(&answer);
        if status == 413 && answered.is_err() {
            return Ok(json!({"error": 413, "error_text": "expected a shorter body"}));
        }
        answered.with_context(|| format!("expected an answer in JSON, found HTTP {status} with another"))
    }

    fn note(&mut self, record: &Record, result: &Json) -> anyhow::Result<()> {
        self.tally.read += 1;
        match result["outcome"].as_str() {
            Some("created") => self.tally.created += 1,
            Some("updated") => self.tally.updated += 1,
            Some("unchanged") => self.tally.unchanged += 1,
            _ => {
                self.tally.failed += 1;
                let refusal = || placed(record, result["error_text"].as_str().unwrap_or("failed"));
                let reason = record.fault.clone().unwrap_or_else(refusal);
                self.failed.write(record, &reason)?;
                self.reasons.unread += u64::from(record.fault.is_some() && !record.is_unread());
                if self.reasons.first.len() < SHOWN_REASONS {
                    self.reasons.first.push(reason);
                }
                return Ok(());
            }
        }
        if let Some(warning) = result["warnings"].as_array().and_then(|warnings| warnings.first()?.as_str()) {
            self.warnings.count += 1;
            if self.warnings.count == 1 {
                self.warnings.first = placed(record, warning);
            }
        }
        Ok(())
    }
}

/// A reason with its place in the file, not in the request, which nobody can look up: `data[7].status: …` is
/// `line 12: status: …`.
fn placed(record: &Record, reason: &str) -> String {
    let is_document = SPOILED.iter().any(|start| reason.starts_with(start));
    let reason = reason.split_once(": ").filter(|_| is_document).map_or(reason, |(_, reason)| reason);
    let in_batch = reason.strip_prefix("data[").and_then(|rest| rest.split_once(']'));
    let reason = in_batch.map_or(reason, |(_, rest)| rest.trim_start_matches(['.', ':', ' ']));
    let index = reason.strip_prefix("lines[").and_then(|rest| rest.split_once(']')?.0.parse::<usize>().ok());
    let row = index.and_then(|index| record.rows.get(index)).unwrap_or(&record.line);
    format!("line {row}: {reason}")
}
