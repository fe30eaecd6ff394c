//! Tells whether a cluster has a live postmaster, from its `postmaster.pid` and the processes.
//!
//! What never enters here: starting and stopping one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::error::{Result, if_there, io_error, read_if_there};
use super::host::plain_command;
use super::{PORT, Place};

/// How long a new postmaster may leave its `postmaster.pid` empty.
const NEWBORN: Duration = Duration::from_secs(2);

/// A live postmaster, as its cluster's `postmaster.pid` tells.
pub(super) struct Postmaster {
    pub(super) pid: u32,
    pub(super) place: Place,
    /// `starting`, `ready` or `stopping`; empty in its first moments.
    pub(super) status: String,
    pub(super) command: String,
    /// When it started, in seconds since 1970.
    pub(super) started_s: i64,
}

impl Postmaster {
    /// The postmaster of a cluster; `None` if there is none, though its file may be there.
    pub(super) fn of(cluster: &Path) -> Result<Option<Self>> {
        let Some(text) = read_if_there(&cluster.join("postmaster.pid"))? else {
            return Ok(None);
        };
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let line = |number: usize| lines.get(number - 1).copied().unwrap_or_default();
        let Ok(pid) = line(1).parse() else {
            return Ok(None);
        };
        let Some(command) = command_of(pid).filter(|line| is_postmaster(pid, line, cluster)) else {
            return Ok(None);
        };
        let place = Place { socket_dir: line(5).into(), port: line(4).parse().unwrap_or(PORT) };
        // In its first moments it has not said when: then just now.
        let started_s = line(3).parse().unwrap_or(i64::MAX);
        Ok(Some(Self { pid, place, status: line(8).to_owned(), command, started_s }))
    }
}

/// Whether a process is the postmaster of a cluster, not another that got its number.
fn is_postmaster(pid: u32, command: &str, cluster: &Path) -> bool {
    // A postmaster works in its cluster, however that was spelled when it was started by hand.
    let works_there = || {
        let directory = fs::metadata(format!("/proc/{pid}/cwd"));
        directory
            .ok()
            .zip(fs::metadata(cluster).ok())
            .is_some_and(|(found, cluster)| (found.dev(), found.ino()) == (cluster.dev(), cluster.ino()))
    };
    command.contains(&format!("/postgres -D {} ", cluster.display()))
        || command.split(' ').next().is_some_and(|program| program.ends_with("postgres")) && works_there()
}

/// Removes a `postmaster.pid` that names a foreign process or nothing at all (the machine lost
/// power while it was written): Postgres would refuse to start. A number that nobody has does not
/// bother it, and it knows its own leftover processes by their shared memory.
pub(super) fn remove_false_pid_file(cluster: &Path) -> Result<()> {
    let path = cluster.join("postmaster.pid");
    let Some(text) = read_if_there(&path)? else {
        return Ok(());
    };
    // A minus marks a server in single-user mode.
    let pid = text.lines().next().and_then(|line| line.trim_start_matches('-').trim().parse().ok());
    let is_false = match pid {
        Some(pid) => command_of(pid).is_some_and(|line| !is_postmaster(pid, &line, cluster)),
        // A postmaster just being born has yet to write its number.
        None => fs::metadata(&path)
            .and_then(|file| file.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > NEWBORN)),
    };
    if is_false {
        tracing::warn!(pid, path = %path.display(), "removing the file of a postmaster that is gone");
        if_there(fs::remove_file(&path)).map_err(io_error("remove", &path))?;
    }
    Ok(())
}

/// Whether a process lives and is the postmaster of a cluster.
pub(super) fn lives(pid: u32, cluster: &Path) -> bool {
    command_of(pid).is_some_and(|line| is_postmaster(pid, &line, cluster))
}

/// The command line of a process, its words parted by blanks; `None` if there is no process.
fn command_of(pid: u32) -> Option<String> {
    let line = if cfg!(target_os = "linux") {
        // Readable whoever owns the process; empty if it has ended and was not reaped.
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    } else {
        let pid = pid.to_string();
        let mut ps = plain_command(Path::new("ps"));
        let output = ps.args(["-ww", "-o", "command=", "-p", &pid]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())?
    };
    Some(line.trim().to_owned())
}
