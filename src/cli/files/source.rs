//! Opens a file, or standard input, as UTF-8: unpacked and decoded, by what it begins with.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, bail};
use encoding_rs::{Encoding, UTF_8};

use super::charset::{self, Transcoder};
use super::{FileFormat, SAVE_AS_CSV};

/// So much of a file is looked at before it is read.
const HEAD_BYTES: usize = 4096;

const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What a workbook begins with: a zip file, or an OLE one.
const WORKBOOKS: [&[u8]; 2] = [b"PK\x03\x04", b"\xd0\xcf\x11\xe0"];

/// A file that is to be read.
pub(super) struct Source {
    /// Standard input, unless it had to be copied.
    file: Option<File>,
    pub(super) format: FileFormat,
    encoding: Option<&'static Encoding>,
}

/// What is read of it.
pub(super) struct Text {
    pub(super) reader: Box<dyn Read + Send>,
    pub(super) charset: &'static Encoding,
    pub(super) is_packed: bool,
}

impl Source {
    /// Opens it. A CSV file is read twice: what cannot be, is copied.
    pub(super) fn open(path: &Path, format: FileFormat, encoding: Option<&'static Encoding>) -> anyhow::Result<Self> {
        let place = || path.display().to_string();
        let file = if path.as_os_str() == "-" { None } else { Some(File::open(path).with_context(place)?) };
        let is_regular = match &file {
            Some(file) => file.metadata().with_context(place)?.is_file(),
            None => false,
        };
        Ok(Source {
            file: if format == FileFormat::Csv && !is_regular { Some(copied(file)?) } else { file },
            format,
            encoding,
        })
    }

    /// What stands in it, from the start; `count` counts the bytes that are read of it.
    pub(super) fn text(&self, count: &Arc<AtomicU64>) -> anyhow::Result<Text> {
        let source: Box<dyn Read + Send> = match &self.file {
            Some(file) => {
                let mut file = file.try_clone()?;
                // A pipe is read once, and has no start to go to.
                let _ = file.seek(SeekFrom::Start(0));
                Box::new(file)
            }
            None => Box::new(io::stdin()),
        };
        let (head, source) = peeked(Counter { source, count: Arc::clone(count) })?;
        let is_packed = head.starts_with(&GZIP);
        let (head, source): (_, Box<dyn Read + Send>) = if is_packed {
            let (head, source) = peeked(flate2::read::MultiGzDecoder::new(source))?;
            (head, Box::new(source))
        } else {
            (head, Box::new(source))
        };
        if WORKBOOKS.iter().any(|start| head.starts_with(start)) {
            bail!(SAVE_AS_CSV);
        }
        let (charset, mark) = charset::of(&head, self.encoding, self.format == FileFormat::Xml)?;
        let mut reader = source;
        reader.read_exact(&mut [0; 4][..mark])?;
        if charset != UTF_8 {
            reader = Box::new(Transcoder::new(reader, charset));
        }
        Ok(Text { reader, charset, is_packed })
    }
}

/// A copy without a name, which ends with the program.
fn copied(file: Option<File>) -> anyhow::Result<File> {
    let mut source: Box<dyn Read> = match file {
        Some(file) => Box::new(file),
        None => Box::new(io::stdin()),
    };
    let mut copy = tempfile::tempfile().context("a temporary file")?;
    io::copy(&mut source, &mut copy).context("a temporary file")?;
    Ok(copy)
}

/// The first bytes of a source, and the source with them.
fn peeked<R: Read>(mut source: R) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    source.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(source)))
}

/// Counts what is read.
struct Counter {
    source: Box<dyn Read + Send>,
    count: Arc<AtomicU64>,
}

impl Read for Counter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
