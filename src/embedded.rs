//! The private Postgres of a server that was given no `DATABASE_URL`: finds the programs
//! installed on the machine, makes a cluster in the data directory, starts it, keeps it up, takes it up
//! again after a crash and stops it.
//!
//! What lies in the data directory: `pg` (the cluster), `lock` (held while a server runs),
//! `socket` (the place of the socket directory) and `postgres.log`.
//!
//! What never enters here: SQL, the schema and connection pools; TCP and passwords (the only way
//! in is a Unix socket in a directory closed to other users); downloads; moving a cluster from
//! one major version of Postgres to another; the server named by a `DATABASE_URL`.

mod error;
mod host;
mod log;
mod postmaster;
mod programs;
mod socket;
mod supervise;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

pub use self::error::EmbeddedError;
use self::error::{Result, if_there, io_error, read_if_there};
use self::host::{Account, SHELL, find_programs, id, major_of};
use self::log::{Log, last_lines};
use self::postmaster::{Postmaster, lives, remove_false_pid_file};
use self::programs::{Programs, newer_than};
use self::socket::{make_socket_dir, remove_noted, remove_socket_dir, renew_socket_dir};

/// The database user, a superuser of the private cluster; it has no password.
pub const USER: &str = "ordergate";
/// The database made in a new cluster.
pub const DATABASE: &str = "ordergate";

/// A port in name only: it is part of the socket's file name, and nothing listens on TCP.
const PORT: u16 = 5432;
/// What a cluster in the making is called, so that `pg` is whole or absent.
const UNFINISHED: &str = "pg.new-";
const POLL: Duration = Duration::from_millis(50);
/// How long a fast shutdown, then an immediate one, may take.
const SHUTDOWN: [(&str, Duration); 2] = [("INT", Duration::from_mins(1)), ("QUIT", Duration::from_secs(15))];
/// How long processes of a killed postmaster may hold on to the cluster.
const LEFTOVERS: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_millis(500);
/// How long a postmaster that calls itself ready may leave its socket unanswered.
const SILENCE: Duration = Duration::from_secs(30);
/// Postgres cuts paths at 1023 bytes, and needs room for file names below the cluster.
const PATH_LIMIT: usize = 900;

/// Where a running cluster takes connections, as [`USER`] to [`DATABASE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The directory of the Unix socket; only root and the user Postgres runs as can enter it.
    pub socket_dir: PathBuf,
    /// The number in the socket's name, `.s.PGSQL.<port>`; no TCP port is open.
    pub port: u16,
}

impl Place {
    fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{}", self.port))
    }
}

/// A running private Postgres, and the lock on its data directory.
///
/// End it with [`Embedded::stop`]. Dropping it sends a fast shutdown and does not wait; a next
/// start waits for that to end.
#[derive(Debug)]
pub struct Embedded {
    data_dir: PathBuf,
    cluster: PathBuf,
    account: Account,
    bin: PathBuf,
    /// What stood there when the postmaster was started.
    programs: Programs,
    settings: Vec<(String, String)>,
    /// The same for all postmasters that follow each other; without a directory before the first.
    place: Place,
    /// The postmaster to stop: ours, or one left by a killed server.
    pid: Option<u32>,
    /// The postmaster if this process started it.
    child: Option<Child>,
    log: Log,
    _lock: File,
}

impl Embedded {
    /// Starts the cluster in `data_dir`, making both if they are not there; takes up a
    /// postmaster that a killed server left.
    ///
    /// `settings` are Postgres settings such as `("max_connections", "50")`; those that keep
    /// the cluster private (addresses, socket, port) cannot be changed. `("fsync", "off")` also
    /// makes the first start faster, and is for tests. Recovery after a crash has no time limit:
    /// to give up, drop the future. As root, the programs run as the owner of the cluster or of
    /// the data directory, else as `postgres`, else as `nobody`.
    ///
    /// # Errors
    /// If Postgres is not installed, the data directory is in use or cannot be used, or
    /// Postgres does not start; see [`EmbeddedError`].
    pub async fn start(data_dir: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let wanted = std::path::absolute(data_dir).map_err(io_error("resolve", data_dir))?;
        let account = Account::of(&wanted)?;
        let bin = find_programs(&account, &wanted.join("pg"))?;
        account.check_way_to(&wanted)?;
        let data_dir = account.make_data_dir(&wanted)?;
        let length = data_dir.as_os_str().len();
        if length > PATH_LIMIT {
            return Err(EmbeddedError::PathTooLong(length));
        }
        let mut embedded = Self {
            _lock: lock(&account, &data_dir)?,
            cluster: data_dir.join("pg"),
            log: Log::of(&data_dir),
            data_dir,
            account,
            programs: Programs::in_dir(&bin),
            bin,
            settings: settings.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
            place: Place { socket_dir: PathBuf::new(), port: PORT },
            pid: None,
            child: None,
        };
        embedded.make_cluster().await?;
        embedded.bring_up().await?;
        Ok(embedded)
    }

    /// Where to connect.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Stops the cluster: a fast shutdown (60 seconds), then an immediate one (15 seconds).
    ///
    /// # Errors
    /// [`EmbeddedError::NotStopped`] if the postmaster outlives both.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.pid {
            if !self.alive(pid) {
                tracing::warn!(pid, "PostgreSQL had ended before it was told to");
            }
            self.halt(pid).await?;
        }
        Ok(())
    }

    /// Makes `pg` beside its final place and renames it, so that an interrupted `initdb` leaves
    /// only a directory that the next start removes.
    async fn make_cluster(&self) -> Result<()> {
        let entries = fs::read_dir(&self.data_dir).map_err(io_error("list", &self.data_dir))?;
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes())
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                // An initdb that outlived its server may still write there.
                tracing::warn!(path = %entry.path().display(), %error, "left an unfinished cluster");
            }
        }
        if major_of(&self.cluster)?.is_some() {
            return Ok(());
        }
        // rename(2) puts a directory in the place of an empty one only.
        let old = if_there(fs::read_dir(&self.cluster)).map_err(io_error("list", &self.cluster))?;
        if old.is_some_and(|mut files| files.next().is_some()) {
            return Err(EmbeddedError::NotACluster(self.cluster.clone()));
        }
        tracing::info!(cluster = %self.cluster.display(), "making a PostgreSQL cluster");
        let new = self.data_dir.join(format!("{UNFINISHED}{}", random_name()));
        self.account.make_dir(&new)?;
        self.fill_cluster(&new).await?;
        fs::rename(&new, &self.cluster).map_err(io_error("rename", &new))?;
        File::open(&self.data_dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", &self.data_dir))
    }

    async fn fill_cluster(&self, new: &Path) -> Result<()> {
        let initdb = self.bin.join("initdb");
        let mut command = self.account.command(&initdb);
        command.arg("-D").arg(new).args(["--encoding=UTF8", "--locale=C", "--auth=trust"]);
        command.arg(format!("--username={USER}")).arg("--no-instructions");
        if self.settings.iter().any(|(name, value)| name == "fsync" && value == "off") {
            command.arg("--no-sync");
        }
        self.run(&initdb, command).await?;

        let postgres = self.bin.join("postgres");
        let (reader, mut writer) = io::pipe().map_err(io_error("open a pipe to", &postgres))?;
        writeln!(writer, "CREATE DATABASE {DATABASE}").map_err(io_error("write to", &postgres))?;
        drop(writer);
        let mut command = self.account.command(&postgres);
        // exit_on_error: else a failed statement would end in success.
        command.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(new).arg("postgres");
        command.stdin(reader);
        self.run(&postgres, command).await
    }

    /// Runs a program to its end; it is killed if the future is dropped.
    async fn run(&self, program: &Path, mut command: Command) -> Result<()> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(self.account.run_error(program))?;
        if output.status.success() {
            return Ok(());
        }
        let text = [output.stdout, output.stderr].concat();
        Err(EmbeddedError::Failed {
            program: program.to_owned(),
            status: output.status,
            output: last_lines(&String::from_utf8_lossy(&text)),
        })
    }

    /// Brings the cluster from whatever state it is in to one that takes connections.
    async fn bring_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut told = begun;
        let mut ready_since = None;
        loop {
            match Postmaster::of(&self.cluster)? {
                None if self.child.is_none() => self.spawn()?,
                None => {}
                Some(found) => {
                    self.pid = Some(found.pid);
                    if found.status == "stopping" || !self.fits(&found) {
                        tracing::info!(pid = found.pid, "restarting a PostgreSQL that was left");
                        self.halt(found.pid).await?;
                    } else if found.status == "ready" {
                        if self.answers(&found.place).await? {
                            tracing::info!(pid = found.pid, after = ?begun.elapsed(),
                                cluster = %self.cluster.display(), "PostgreSQL is ready");
                            self.place = found.place;
                            return Ok(());
                        }
                        if ready_since.get_or_insert_with(Instant::now).elapsed() > SILENCE {
                            let socket_dir = found.place.socket_dir;
                            return Err(EmbeddedError::Silent { pid: found.pid, socket_dir });
                        }
                    }
                }
            }
            self.check_child(begun).await?;
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                tracing::info!(after = ?begun.elapsed(), "PostgreSQL is still starting, it may be recovering");
            }
            sleep(POLL).await;
        }
    }

    /// Fails if the postmaster we started has ended, unless it gave way to what a killed
    /// predecessor left: backends that are about to notice, or a postmaster just being born.
    async fn check_child(&mut self, begun: Instant) -> Result<()> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        let Some(status) = child.try_wait().map_err(io_error("wait for", &self.bin))? else {
            return Ok(());
        };
        self.child = None;
        self.pid = None;
        let text = self.log.tail()?;
        let leftovers = text.contains("is still in use") || text.contains("lock file \"postmaster.pid\"");
        if leftovers && begun.elapsed() < LEFTOVERS {
            sleep(RETRY).await;
            return Ok(());
        }
        let log = self.log.path().to_owned();
        Err(EmbeddedError::NotStarted { status, log, lines: last_lines(&text) })
    }

    fn spawn(&mut self) -> Result<()> {
        remove_false_pid_file(&self.cluster)?;
        if self.place.socket_dir.as_os_str().is_empty() {
            remove_noted(&self.data_dir);
            self.place.socket_dir = make_socket_dir(&self.account, &self.data_dir)?;
        } else {
            renew_socket_dir(&self.account, &self.place.socket_dir)?;
        }
        self.programs = Programs::in_dir(&self.bin);
        let (stdout, stderr) = self.log.open(&self.account)?;
        let line = self.command_line(&self.place.socket_dir);
        let program = Path::new(&line[0]);
        let mut command = self.account.command(program);
        let child =
            command.args(&line[1..]).stdout(stdout).stderr(stderr).spawn().map_err(self.account.run_error(program))?;
        self.pid = Some(child.id());
        self.child = Some(child);
        Ok(())
    }

    /// The program and its arguments; of settings given twice Postgres takes the last.
    fn command_line(&self, socket_dir: &Path) -> Vec<OsString> {
        let defaults = [
            // Some packages turn the collector on, which would leave our log empty.
            ("logging_collector", "off"),
            ("log_checkpoints", "off"),
            // Compiling costs more than the short queries of a server.
            ("jit", "off"),
        ];
        let port = PORT.to_string();
        let private = [("listen_addresses", ""), ("unix_socket_permissions", "0700"), ("port", &port)];
        let given = self.settings.iter().map(|(name, value)| (&**name, &**value));
        let mut line: Vec<OsString> = vec![self.bin.join("postgres").into(), "-D".into()];
        line.push(self.cluster.clone().into());
        for (name, value) in defaults.into_iter().chain(given).chain(private) {
            line.extend(["-c".into(), format!("{name}={value}").into()]);
        }
        let mut socket = OsString::from("unix_socket_directories=");
        socket.push(socket_dir);
        line.extend(["-c".into(), socket]);
        line
    }

    /// Whether a postmaster is one that this start would make: same programs and settings, the
    /// place of the one before, and its socket not lost to a cleaner of temporary files.
    fn fits(&self, found: &Postmaster) -> bool {
        if self.child.as_ref().is_some_and(|child| child.id() == found.pid) {
            return true;
        }
        let place = &found.place;
        // While it is starting, its socket may not be there yet.
        let same = found.status != "ready"
            || place.socket().exists() && found.command == join(&self.command_line(&place.socket_dir));
        let elsewhere = !self.place.socket_dir.as_os_str().is_empty() && self.place != *place;
        same && !elsewhere && !newer_than(&self.bin, found.started_s)
    }

    async fn answers(&self, place: &Place) -> Result<bool> {
        let program = self.bin.join("pg_isready");
        let mut command = self.account.command(&program);
        command.arg("-h").arg(&place.socket_dir).args(["-p", &place.port.to_string()]);
        command.args(["-U", USER, "-d", DATABASE, "-t", "5", "-q"]);
        let status = tokio::process::Command::from(command).kill_on_drop(true).status().await;
        Ok(status.map_err(self.account.run_error(&program))?.success())
    }

    fn alive(&mut self, pid: u32) -> bool {
        match &mut self.child {
            // Asking also reaps it.
            Some(child) if child.id() == pid => matches!(child.try_wait(), Ok(None)),
            _ => lives(pid, &self.cluster),
        }
    }

    /// The command that signals a postmaster; run as its user, it can hit no one else's process.
    /// A shell's, as the programs of Postgres may have been removed.
    fn signal(&self, signal: &str, pid: u32) -> Command {
        let mut command = self.account.command(Path::new(SHELL));
        command.args(["-c", &format!("kill -s {signal} {pid}")]).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    async fn halt(&mut self, pid: u32) -> Result<()> {
        for (signal, patience) in SHUTDOWN {
            let begun = Instant::now();
            if self.alive(pid) {
                self.signal(signal, pid).status().map_err(self.account.run_error(Path::new(SHELL)))?;
            }
            while begun.elapsed() < patience {
                if !self.alive(pid) {
                    self.child = None;
                    self.pid = None;
                    return Ok(());
                }
                sleep(POLL).await;
            }
            tracing::warn!(pid, signal, "PostgreSQL did not stop in time");
        }
        Err(EmbeddedError::NotStopped { pid })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let pid = self.pid;
        match pid {
            Some(pid) if self.alive(pid) => {
                if let Err(error) = self.signal("INT", pid).status() {
                    tracing::warn!(pid, %error, "PostgreSQL is left running");
                }
            }
            // While it shuts down it needs the directory; the next start removes that one.
            _ => {
                remove_noted(&self.data_dir);
                // Should the note be gone, with all of the data directory.
                remove_socket_dir(&self.place.socket_dir);
            }
        }
    }
}

/// Finds the running cluster of a data directory without taking the lock, for commands that run
/// beside a server; `None` if there is none or it does not take connections yet.
///
/// # Errors
/// [`EmbeddedError::Io`] if the data directory cannot be read, as by another user.
pub fn running(data_dir: &Path) -> Result<Option<Place>> {
    let real = if_there(data_dir.canonicalize()).map_err(io_error("resolve", data_dir))?;
    let Some(real) = real else { return Ok(None) };
    let found = Postmaster::of(&real.join("pg"))?;
    Ok(found.filter(|found| found.status == "ready").map(|found| found.place))
}

/// The data directory when none is configured: `/var/lib/ordergate` for root, else
/// `$XDG_DATA_HOME/ordergate` or `~/.local/share/ordergate`.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    if id(&["-u"]).is_ok_and(|uid| uid == "0") {
        return "/var/lib/ordergate".into();
    }
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_default()
        .join("ordergate")
}

/// Takes the lock that keeps two servers off one data directory; the system drops it with us.
fn lock(account: &Account, data_dir: &Path) -> Result<File> {
    let path = data_dir.join("lock");
    let mut file = account.open_file(&path).map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = read_if_there(&path)?.and_then(|text| text.trim().parse().ok());
            return Err(EmbeddedError::InUse { data_dir: data_dir.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io_error("write", &path))?;
    Ok(file)
}

fn join(words: &[OsString]) -> String {
    let line = words.join(OsStr::new(" "));
    line.to_string_lossy().trim().to_owned()
}

fn random_name() -> String {
    // The standard library's only source of random bits; a taken name is refused, not reused.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
