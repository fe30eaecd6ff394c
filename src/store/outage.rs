//! Why the database cannot be used for now: each failure of it that passes is told from the others.

use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;

/// Why the database cannot be used for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// It could not store more.
    DiskFull,
    /// It ended under a connection, is starting or is stopping.
    Ended,
    /// No connection can be made.
    Unreachable,
    /// A connection can be made, and not be worked with.
    Unusable,
    /// No connection was free in time.
    Busy,
    /// It became a standby.
    ReadOnly,
}

impl Outage {
    /// The sentence that answers.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Outage::DiskFull => "the database's disk is full",
            Outage::Ended => "the database ended or is starting",
            Outage::Unreachable => "the database cannot be reached",
            Outage::Unusable => "the database cannot be worked with",
            Outage::Busy => "no database connection is free",
            Outage::ReadOnly => "the database takes no writes",
        }
    }

    /// The outage that a statement's failure tells of.
    pub(super) fn of(error: &sqlx::Error) -> Option<Self> {
        if let Some(code) = code(error) {
            return match code.as_str() {
                "53100" => Some(Outage::DiskFull),
                // The server stops, crashed, starts; it closed an idle connection.
                "57P01" | "57P02" | "57P03" | "57P05" => Some(Outage::Ended),
                "53300" => Some(Outage::Busy),
                "25006" => Some(Outage::ReadOnly),
                _ => None,
            };
        }
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => Some(Outage::Ended),
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Some(Outage::Busy),
            _ => None,
        }
    }

    /// The outage that a failure to connect tells of.
    pub(super) fn of_connecting(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(error) if is_broken(error.kind()) => Outage::Ended,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => Outage::Unreachable,
            error => Outage::of(error).unwrap_or(Outage::Unreachable),
        }
    }
}

/// What happened, as an operator reads it: PostgreSQL's own words, without the line of its source that sqlx adds.
#[derive(Debug)]
pub struct Cause(pub sqlx::Error);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(error) = self.0.as_database_error() else { return self.0.fmt(f) };
        f.write_str(error.message())?;
        error.code().map_or(Ok(()), |code| write!(f, " (SQLSTATE {code})"))
    }
}

impl std::error::Error for Cause {}

/// The SQLSTATE of a failure.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Whether a failure to connect, or to begin, passes when the server has started again.
pub(super) fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => {
            // The socket of a server that was stopped is not there.
            is_broken(error.kind()) || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
        }
        // Of certificates and of what both sides support; it stays.
        sqlx::Error::Tls(_) => false,
        error => Outage::of(error) == Some(Outage::Ended),
    }
}

/// A connection that was there and broke.
fn is_broken(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// When a connection last broke.
static BROKE: Mutex<Option<Instant>> = Mutex::new(None);
/// How long one that broke casts doubt on the others.
const DOUBT: Duration = Duration::from_secs(5);

/// Whether another connection broke lately, and this one was there then: it may be as dead.
pub(super) fn is_doubtful(age: Duration) -> bool {
    let broke = *BROKE.lock().unwrap_or_else(PoisonError::into_inner);
    broke.map(|at| at.elapsed()).is_some_and(|since| since < DOUBT && since < age)
}

/// Where connections go: host and port, or a socket.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let (host, port) = (options.get_host(), options.get_port());
    match options.get_socket() {
        Some(dir) => format!("{}/.s.PGSQL.{port}", dir.display()),
        None if host.starts_with('/') => format!("{host}/.s.PGSQL.{port}"),
        None => format!("{host}:{port}"),
    }
}

/// Whether a statement of this process met a full disk, and nobody has seen since that there is room again.
static DISK_WAS_FULL: AtomicBool = AtomicBool::new(false);

/// Keeps in mind what an outage says of later statements and of other connections.
pub(super) fn note(outage: Outage) {
    match outage {
        Outage::DiskFull => DISK_WAS_FULL.store(true, Ordering::Relaxed),
        Outage::Ended => *BROKE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now()),
        _ => {}
    }
}

pub(super) fn note_room() {
    DISK_WAS_FULL.store(false, Ordering::Relaxed);
}

pub(super) fn disk_was_full() -> bool {
    DISK_WAS_FULL.load(Ordering::Relaxed)
}
