//! `ordergate export`: page by page into a file, or to standard output.

use std::fs::{self, Permissions};
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use encoding_rs::UTF_8;
use serde_json::json;
use serde_json::value::RawValue;

use super::read::{Bounds, Piece};
use super::scan::Scanner;
use super::{ExportArguments, FileFormat, Target, What, table, xml};

/// Items of a page.
const PAGE: u32 = 1_000;
/// Who may read and write a new file, but for what the umask takes away.
const NEW_MODE: u32 = 0o666;

/// The file, if it is not standard output, and how it is written.
pub(in crate::cli) fn check(arguments: &ExportArguments) -> anyhow::Result<(Option<&Path>, FileFormat)> {
    let is_gz = |file: &PathBuf| file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    if let Some(file) = arguments.file.as_ref().filter(|file| is_gz(file)) {
        bail!("{}: expected a name without .gz; pack it afterwards", file.display());
    }
    let format = match (arguments.format, &arguments.file) {
        (Some(format), _) => format,
        (None, Some(file)) if file.as_os_str() != "-" => FileFormat::of(file)?,
        (None, _) => FileFormat::Ndjson,
    };
    format.check(arguments.what)?;
    if arguments.with_customers && arguments.what != What::Orders {
        bail!("with-customers: expected orders, found {}", arguments.what.as_str());
    }
    let file = arguments.file.as_deref().filter(|file| file.as_os_str() != "-");
    file.map_or(Ok(()), |file| check_place(file, arguments.force))?;
    Ok((file, format))
}

/// Exports; returns how many items there were.
pub(in crate::cli) async fn export(target: &Target, arguments: &ExportArguments) -> anyhow::Result<u64> {
    let (file, format) = check(arguments)?;
    let Some(file) = file else {
        return pages(target, arguments, format, std::io::stdout().lock()).await;
    };
    // What a link names is written, not the link.
    let place = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let named = || file.display().to_string();
    // Under another name until it is whole; dropped before, it is gone.
    let dir = place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let old = fs::metadata(&place).ok().map(|old| old.permissions());
    let permissions = old.clone().unwrap_or(Permissions::from_mode(NEW_MODE));
    let mut new = tempfile::Builder::new();
    let new = new.prefix(".ordergate-").suffix(".new").permissions(permissions);
    let new = new.tempfile_in(dir).with_context(named)?;
    if let Some(old) = old {
        // The umask takes away from a new file alone.
        new.as_file().set_permissions(old).with_context(named)?;
    }
    let count = pages(target, arguments, format, new.as_file()).await?;
    new.as_file().sync_all().with_context(named)?;
    let kept = if arguments.force { new.persist(&place) } else { new.persist_noclobber(&place) };
    kept.map_err(|error| error.error).with_context(named)?;
    Ok(count)
}

/// Refuses a place where a file may not be put.
fn check_place(file: &Path, force: bool) -> anyhow::Result<()> {
    let Ok(old) = fs::metadata(file) else { return Ok(()) };
    if !old.is_file() {
        bail!("{}: expected a file, found something else; without --file, it goes to standard output", file.display());
    }
    if !force {
        bail!("{}: expected a file that is not there yet; say --force to replace it", file.display());
    }
    Ok(())
}

async fn pages(
    target: &Target,
    arguments: &ExportArguments,
    format: FileFormat,
    out: impl Write,
) -> anyhow::Result<u64> {
    let mut out = Writer::new(format, out)?;
    let mut from_id = String::new();
    loop {
        let (items, next) = page(target, arguments, format, &from_id).await?;
        for item in &items {
            out.write(item)?;
        }
        if next.is_empty() {
            return out.finish();
        }
        from_id = next;
    }
}

/// A page's items, and where the next one begins.
async fn page(
    target: &Target,
    arguments: &ExportArguments,
    format: FileFormat,
    from_id: &str,
) -> anyhow::Result<(Vec<String>, String)> {
    let mut body = json!({"limit": PAGE, "from_id": from_id});
    if arguments.with_customers {
        body["with_customer"] = true.into();
    }
    let body = body.to_string().into_bytes();
    let answered = if format == FileFormat::Xml { "xml" } else { "json" };
    let call = format!("{}/list?format={answered}", arguments.what.as_str());
    let (_, answer) = target.post(&call, "application/json", body).await?;
    let mut items = Vec::new();
    let mut next = String::new();
    let refused = || format!("the answer is {:.300}", String::from_utf8_lossy(&answer));
    if format == FileFormat::Xml {
        if !answer.starts_with(b"<xml><error>0</error>") {
            bail!(refused());
        }
        let mut fault = None;
        let mut take = |piece| {
            match piece {
                Piece::Start(_) => {}
                Piece::Record(record) => {
                    fault = record.fault.or(fault.take());
                    items.push(record.text);
                }
                Piece::Field(_, element) => xml::inner(&element).clone_into(&mut next),
            }
            ControlFlow::Continue(())
        };
        let bounds = Bounds { max_bytes: answer.len(), charset: UTF_8 };
        xml::read(&mut Scanner::new(answer.as_slice()), bounds, true, &mut take)?;
        if let Some(fault) = fault {
            bail!("the answer: {fault}");
        }
    } else {
        let fields: std::collections::BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(&answer).with_context(refused)?;
        let (Some(result), Some(from_id)) = (fields.get("result"), fields.get("next_from_id")) else {
            bail!(refused());
        };
        let result: Vec<Box<RawValue>> = serde_json::from_str(result.get())?;
        items.extend(result.into_iter().map(|item| item.get().to_owned()));
        next = serde_json::from_str(from_id.get())?;
    }
    Ok((items, next))
}

/// Writes items one by one.
enum Writer<W: Write> {
    Lines { out: BufWriter<W>, format: FileFormat, count: u64 },
    Table { out: Box<csv::Writer<W>>, count: u64 },
}

impl<W: Write> Writer<W> {
    fn new(format: FileFormat, out: W) -> anyhow::Result<Self> {
        if format == FileFormat::Csv {
            let mut out = Box::new(csv::Writer::from_writer(out));
            table::write_head(&mut out)?;
            return Ok(Writer::Table { out, count: 0 });
        }
        let mut out = BufWriter::with_capacity(1 << 20, out);
        out.write_all(match format {
            FileFormat::Json => b"{\"data\":[",
            FileFormat::Xml => b"<xml>\n",
            FileFormat::Ndjson | FileFormat::Csv => b"",
        })?;
        Ok(Writer::Lines { out, format, count: 0 })
    }

    fn write(&mut self, item: &str) -> anyhow::Result<()> {
        match self {
            Writer::Table { out, count } => {
                *count += 1;
                table::write(out, item)
            }
            Writer::Lines { out, format, count } => {
                let between = match (*format, *count) {
                    (FileFormat::Json, 0) => "\n",
                    (FileFormat::Json, _) => ",\n",
                    _ => "",
                };
                *count += 1;
                let end = if *format == FileFormat::Json { "" } else { "\n" };
                Ok(write!(out, "{between}{item}{end}")?)
            }
        }
    }

    fn finish(self) -> anyhow::Result<u64> {
        match self {
            Writer::Table { mut out, count } => {
                out.flush()?;
                Ok(count)
            }
            Writer::Lines { mut out, format, count } => {
                out.write_all(match format {
                    FileFormat::Json => b"\n]}\n",
                    FileFormat::Xml => b"</xml>\n",
                    FileFormat::Ndjson | FileFormat::Csv => b"",
                })?;
                out.flush()?;
                Ok(count)
            }
        }
    }
}
