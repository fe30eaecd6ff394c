//! `postgres.log`: opened for a postmaster, kept short while it runs, and read for why one ended.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::task::block_in_place;

use super::error::{Result, if_there, io_error};
use super::host::Account;

/// A longer log is put aside, and so much of its end is kept at most, in bytes.
const LIMIT: u64 = 16 << 20;
/// So much of its end is read, in bytes.
const TAIL: u64 = 64 << 10;

/// The log of a cluster's postmasters.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Where the last one began to write.
    from: u64,
}

impl Log {
    pub(super) fn of(data_dir: &Path) -> Self {
        Log { path: data_dir.join("postgres.log"), from: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it for a postmaster that is to be started: its standard output and its standard error.
    pub(super) fn open(&mut self, account: &Account) -> Result<(File, File)> {
        if let Err(error) = self.put_aside() {
            tracing::warn!(%error, "the log of PostgreSQL stays long");
        }
        let opened = account.open_file(&self.path).and_then(|log| Ok((log.metadata()?.len(), log.try_clone()?, log)));
        let (length, stdout, stderr) = opened.map_err(io_error("open", &self.path))?;
        self.from = length;
        Ok((stdout, stderr))
    }

    fn is_long(&self) -> Result<bool> {
        let found = if_there(fs::metadata(&self.path)).map_err(io_error("look at", &self.path))?;
        Ok(found.is_some_and(|found| found.len() > LIMIT))
    }

    /// Gives a long log another name, when no postmaster appends to it. That takes no room on the disk.
    fn put_aside(&self) -> Result<()> {
        if self.is_long()? {
            fs::rename(&self.path, old(&self.path)).map_err(io_error("rename", &self.path))?;
        }
        Ok(())
    }

    /// Puts the end of a long log aside and empties the log where it is: a postmaster goes on appending to the same
    /// file, whether or not its server lives. What it writes between the copy and the cut is lost; so is all of it where
    /// there is no room for the copy.
    pub(super) fn shorten(&mut self, account: &Account) -> Result<()> {
        if !self.is_long()? {
            return Ok(());
        }
        self.from = 0;
        block_in_place(|| {
            let mut log = account.open_file(&self.path).map_err(io_error("open", &self.path))?;
            let kept = keep_end(&mut log, &old(&self.path), account);
            log.set_len(0).map_err(io_error("empty", &self.path))?;
            kept
        })
    }

    /// The end of what the last postmaster wrote.
    pub(super) fn tail(&self) -> Result<String> {
        let mut text = Vec::new();
        File::open(&self.path)
            .and_then(|mut log| {
                let from = self.from.max(log.metadata()?.len().saturating_sub(TAIL));
                log.seek(SeekFrom::Start(from))?;
                log.read_to_end(&mut text)
            })
            .map_err(io_error("read", &self.path))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// What a log that was put aside is called.
fn old(path: &Path) -> PathBuf {
    path.with_extension("log.old")
}

fn keep_end(log: &mut File, old: &Path, account: &Account) -> Result<()> {
    if_there(fs::remove_file(old)).map_err(io_error("remove", old))?;
    let copied = account.open_file(old).and_then(|mut old| {
        log.seek(SeekFrom::Start(log.metadata()?.len().saturating_sub(LIMIT)))?;
        io::copy(&mut log.take(LIMIT), &mut old)
    });
    copied.map_err(io_error("write", old)).map(drop)
}

/// The last lines of a text, enough to tell why a program ended.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
