//! Which programs are on disk: a package manager may replace them while a postmaster runs.
//!
//! A postmaster keeps its own old program, but each of its new backends loads libraries from the disk: with those of
//! another build it fails at the first statement that needs one.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where PL/pgSQL's library lies, seen from the programs.
const LIBRARIES: [&str; 6] = [
    "../lib/plpgsql.so",            // Debian, Ubuntu, Red Hat from postgresql.org
    "../lib/plpgsql.dylib",         // macOS
    "../lib/postgresql/plpgsql.so", // Homebrew on Linux, others
    "../lib/postgresql/plpgsql.dylib",
    "../lib64/pgsql/plpgsql.so", // Fedora, Red Hat
    "../lib64/plpgsql.so",       // SUSE
];

/// What tells one file from another that took its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// `postgres` and PL/pgSQL's library, as they are on disk; equal as long as nobody replaces one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs(Vec<Option<Version>>);

impl Programs {
    /// Those of a directory of programs, as they are now.
    pub(super) fn in_dir(bin: &Path) -> Self {
        Programs(files(bin).map(|found| found.as_ref().map(version)).collect())
    }
}

/// Whether one of a directory's came there later than a time, in seconds since 1970. One that got another link or mode
/// since counts as well, as nothing tells those apart afterwards.
pub(super) fn newer_than(bin: &Path, time_s: i64) -> bool {
    files(bin).flatten().any(|found| found.ctime() > time_s)
}

fn files(bin: &Path) -> impl Iterator<Item = Option<Metadata>> {
    ["postgres"].into_iter().chain(LIBRARIES).map(|file| fs::metadata(bin.join(file)).ok())
}

fn version(found: &Metadata) -> Version {
    Version {
        device: found.dev(),
        inode: found.ino(),
        bytes: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
    }
}
