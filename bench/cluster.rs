//! A private PostgreSQL with the settings of production, which goes when the benchmark goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use crate::sql;

/// Every commit reaches the disk, as in production. Checkpoints and autovacuum come by our own command between the
/// measures: in one of them they would hit ours or its floor by chance. There is no TCP port.
const SETTINGS: [&str; 12] = [
    "listen_addresses=",
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "shared_buffers=1GB",
    "max_wal_size=8GB",
    "min_wal_size=2GB",
    "checkpoint_timeout=30min",
    "autovacuum=off",
    "max_connections=100",
    "log_checkpoints=off",
    "log_min_messages=warning",
];
const USER: &str = "ordergate";
const DEADLINE: Duration = Duration::from_mins(1);

/// A running PostgreSQL in a temporary directory.
pub(crate) struct Cluster {
    postmaster: Child,
    bin: PathBuf,
    dir: TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let bin = programs()?;
        let dir = tempfile::Builder::new().prefix("ordergate-bench-").tempdir_in("/tmp")?;
        // PostgreSQL refuses to run as root.
        let as_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
        if as_root {
            run(Command::new("chown").arg("postgres").arg(dir.path()))?;
        }
        let data = dir.path().join("data");
        let initdb = ["--username", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"];
        run(program(&bin, as_root, "initdb", dir.path()).args(initdb).arg(&data))?;
        let mut postgres = program(&bin, as_root, "postgres", dir.path());
        postgres.arg("-D").arg(&data).arg("-c").arg(format!("unix_socket_directories={}", dir.path().display()));
        postgres.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let log = fs::File::create(dir.path().join("log"))?;
        let postmaster = postgres.stdout(Stdio::null()).stderr(log).spawn().context("start postgres")?;
        let cluster = Cluster { postmaster, bin, dir };
        cluster.wait().await?;
        Ok(cluster)
    }

    /// Waits until it takes connections.
    async fn wait(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            match self.connect("postgres").await {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > DEADLINE => {
                    let log = fs::read_to_string(self.path().join("log")).unwrap_or_default();
                    return Err(error.context(format!("PostgreSQL does not start; its log says\n{log}")));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub(crate) async fn connect(&self, database: &str) -> anyhow::Result<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass().socket(self.path()).username(USER).database(database);
        PgConnection::connect_with(&options).await.with_context(|| format!("connect to the database {database}"))
    }

    /// The address of a database, for a program.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@localhost/{database}?host={}", self.path().display())
    }

    /// The directory of the socket.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A client program of PostgreSQL's, for a database.
    pub(crate) fn client(&self, name: &str, database: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(self.bin.join(name));
        command.env("PGHOST", self.path()).env("PGUSER", USER).env("PGDATABASE", database).kill_on_drop(true);
        command
    }

    /// Makes a database anew, as a copy of another one that nobody uses.
    pub(crate) async fn copy_database(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let mut conn = self.connect("postgres").await?;
        sql::run(&mut conn, &format!("drop database if exists {to} with (force)")).await?;
        sql::run(&mut conn, &format!("create database {to} template {from}")).await
    }

    /// Leaves nothing to do in the background: what autovacuum and a checkpoint would do later is done now.
    pub(crate) async fn settle(&self, databases: &mut [&mut PgConnection]) -> anyhow::Result<()> {
        for conn in databases.iter_mut() {
            sql::run(conn, "vacuum analyze").await?;
        }
        sql::run(&mut self.connect("postgres").await?, "checkpoint").await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // An immediate stop: nothing of it is kept, and its shared memory is given back.
        signal("QUIT", self.postmaster.id());
        let _ = self.postmaster.wait();
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(name: &str, process: u32) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
}

/// Sends a signal to a process of ours that leads a group, and to the group.
pub(crate) fn signal_group(name: &str, leader: u32) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg("--").arg(format!("-{leader}")).status();
}

/// A server program of PostgreSQL's, which may run in that directory.
fn program(bin: &Path, as_root: bool, name: &str, dir: &Path) -> Command {
    let path = bin.join(name);
    let mut command = if as_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    // A signal from the terminal is for the benchmark, which then stops PostgreSQL itself.
    std::os::unix::process::CommandExt::process_group(command.current_dir(dir), 0);
    command
}

/// Runs a program to its good end.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let done = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Where PostgreSQL's programs are: on the path, or else the newest where packages put them.
fn programs() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The path may lead to a link to the one program; the others lie beside its target.
    let on_path = std::env::split_paths(&path)
        .find_map(|dir| Some(fs::canonicalize(dir.join("initdb")).ok()?.parent()?.to_owned()));
    let newest = |root: &str| {
        let versions = fs::read_dir(root).ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
        let number = |bin: &PathBuf| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
        versions.filter(|bin| bin.join("initdb").exists()).max_by_key(number)
    };
    match on_path.or_else(|| newest("/usr/lib/postgresql")) {
        Some(bin) => Ok(bin),
        None => bail!("PostgreSQL's programs were not found; script/setup gets them"),
    }
}
