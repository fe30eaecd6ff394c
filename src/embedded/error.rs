//! What can go wrong with the private Postgres, and the helpers that say where.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::host::OLDEST_MAJOR;
use super::{PATH_LIMIT, SILENCE};

/// Why there is no private Postgres.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages tell what the fields are")]
pub enum EmbeddedError {
    /// There are no programs to make a cluster with.
    #[error(
        "no PostgreSQL {OLDEST_MAJOR} or later was found on this machine (found: {found}); \
         install it:\n  \
         Debian, Ubuntu: sudo apt-get install postgresql\n  \
         Debian 11, Ubuntu 22.04: sudo apt-get install postgresql-common && \
         sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y && \
         sudo apt-get install postgresql-17\n  \
         Fedora, Red Hat 10: sudo dnf install postgresql-server\n  \
         Red Hat 8 and 9: sudo dnf module install postgresql:16/server\n  \
         macOS (Homebrew): brew install postgresql@17\n\
         or set DATABASE_URL to the address of a PostgreSQL server that runs elsewhere"
    )]
    NotInstalled { found: String },
    /// There are no programs for the cluster that is there.
    #[error(
        "the cluster {} was made by PostgreSQL {wanted}, whose programs are not installed: \
         expected postgres, initdb, pg_ctl and pg_isready of version {wanted}, found: {found}",
        cluster.display()
    )]
    OtherVersion { cluster: PathBuf, wanted: u32, found: String },
    /// `pg` holds something else.
    #[error("{} holds files but no PG_VERSION: expected a PostgreSQL cluster or nothing", .0.display())]
    NotACluster(PathBuf),
    /// Another server holds the lock.
    #[error(
        "the data directory {} is in use by another ordergate server{}",
        data_dir.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse { data_dir: PathBuf, pid: Option<u32> },
    /// The user that Postgres runs as cannot get at the data directory.
    #[error(
        "PostgreSQL runs as the user {user}, who cannot enter {}, so it cannot use the data \
         directory {}: choose a data directory elsewhere, or let that user enter",
        directory.display(),
        data_dir.display()
    )]
    Unreachable { user: String, directory: PathBuf, data_dir: PathBuf },
    /// Postgres would refuse the cluster, or we may not use it.
    #[error(
        "the cluster {} belongs to the user {owner}, expected {expected} (chown -R hands it over)",
        cluster.display()
    )]
    WrongOwner { cluster: PathBuf, owner: String, expected: String },
    /// Postgres would cut file names.
    #[error("the path of the data directory has {0} bytes, expected at most {PATH_LIMIT}")]
    PathTooLong(usize),
    /// A file of the data directory or of the system could not be used.
    #[error("could not {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// A program could not be started.
    #[error("could not run {} as the user {user}: {source}", program.display())]
    Run { program: PathBuf, user: String, source: io::Error },
    /// A program ended in failure.
    #[error("{} failed ({status}), its last lines:\n{output}", program.display())]
    Failed { program: PathBuf, status: ExitStatus, output: String },
    /// The postmaster ended before it took connections.
    #[error("PostgreSQL did not start ({status}), the last lines of {}:\n{lines}", log.display())]
    NotStarted { status: ExitStatus, log: PathBuf, lines: String },
    /// The postmaster runs, and takes no connections.
    #[error(
        "PostgreSQL (pid {pid}) calls itself ready, but has not answered on its socket in {} for \
         {} seconds",
        socket_dir.display(),
        SILENCE.as_secs()
    )]
    Silent { pid: u32, socket_dir: PathBuf },
    /// The postmaster outlived a fast and an immediate shutdown.
    #[error("PostgreSQL (pid {pid}) still runs, though it was told twice to stop")]
    NotStopped { pid: u32 },
}

pub(super) type Result<T> = std::result::Result<T, EmbeddedError>;

/// Puts the file and what was done with it into an I/O error.
pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::Io { action, path, source }
}

/// Turns "no such file" into `None`.
pub(super) fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn read_if_there(path: &Path) -> Result<Option<String>> {
    if_there(fs::read_to_string(path)).map_err(io_error("read", path))
}
