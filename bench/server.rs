//! The server that is measured: the real program, as a process of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value as Json;

use crate::cluster::signal;

/// The token of every request; bench/single.sql has it, too.
pub(crate) const TOKEN: &str = "benchmark-token-0123456789";
/// What has to be set up before the first import.
const SET_UP: [&str; 6] = [
    "migrate",
    "account create bench",
    "channel create --account bench web",
    "touchpoint create --account bench website --channel web",
    "currency create --account bench USD EUR RUB",
    "token create --account bench --name bench --value-stdin",
];
const DEADLINE: Duration = Duration::from_mins(1);

/// A running server. It is stopped when the measure is done with it.
pub(crate) struct Server {
    process: Child,
    log: PathBuf,
    pub(crate) address: SocketAddr,
}

/// What a request did, as the server's log tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) created: u64,
    pub(crate) updated: u64,
    pub(crate) unchanged: u64,
}

impl Server {
    /// Starts it; `log` is a file for its log.
    pub(crate) async fn start(program: &Path, database: &str, log: PathBuf, flags: &[String]) -> anyhow::Result<Self> {
        let mut command = ordergate(program, database);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]).args(flags);
        let process = command.stderr(File::create(&log)?).stdin(Stdio::null()).spawn().context("start the server")?;
        let mut server = Server { process, log, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = server.wait_for(|line| line["message"] == "ordergate is ready").await?;
        server.address = line["address"].as_str().and_then(|text| text.parse().ok()).context("the server's address")?;
        Ok(server)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The memory that the process has, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most memory that the process has had, in bytes.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    /// A number of bytes that the system tells of the process.
    fn status(&self, key: &'static str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)).context(key)?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context(key)?;
        Ok(kib * 1024)
    }

    /// What a request did; they are counted from 1 since the start.
    pub(crate) async fn outcome(&mut self, request: usize) -> anyhow::Result<Outcome> {
        let mut seen = 0;
        let line = self
            .wait_for(|line| {
                seen += usize::from(line["message"] == "request");
                seen == request
            })
            .await?;
        let count = |key: &str| line[key].as_u64().with_context(|| format!("no {key} in the log: {line}"));
        Ok(Outcome { created: count("created")?, updated: count("updated")?, unchanged: count("unchanged")? })
    }

    /// The first line of the log that fits, as soon as it is there.
    async fn wait_for(&mut self, mut fits: impl FnMut(&Json) -> bool) -> anyhow::Result<Json> {
        let begun = Instant::now();
        let mut looked_at = 0;
        loop {
            let log = fs::read_to_string(&self.log)?;
            for line in log[looked_at..].split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                looked_at += line.len();
                let line = serde_json::from_str(line).unwrap_or_default();
                if fits(&line) {
                    return Ok(line);
                }
            }
            if self.process.try_wait()?.is_some() || begun.elapsed() > DEADLINE {
                bail!("the server ended, or its log lacks a line:\n{}", &log[log.len().saturating_sub(2_000)..]);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets it end by itself, so that it leaves no connection behind.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        signal("TERM", self.id());
        let status = self.process.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A running worker, which delivers and does nothing else.
pub(crate) struct Worker(Child);

impl Worker {
    /// Starts it; `log` is a file for its log.
    pub(crate) fn start(program: &Path, database: &str, log: PathBuf) -> anyhow::Result<Self> {
        let mut command = ordergate(program, database);
        command.args(["deliver", "--allow-private-webhooks"]).stderr(File::create(log)?).stdin(Stdio::null());
        Ok(Worker(command.spawn().context("start a worker")?))
    }

    /// Lets it end by itself.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        signal("TERM", self.0.id());
        let status = self.0.wait()?;
        ensure!(status.success(), "the worker ended with {status}");
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sets an account up in an empty database.
pub(crate) fn set_up(program: &Path, database: &str) -> anyhow::Result<()> {
    SET_UP.into_iter().try_for_each(|step| command(program, database, step))
}

/// Runs a command; a token that it asks for is the one of every request.
pub(crate) fn command(program: &Path, database: &str, arguments: &str) -> anyhow::Result<()> {
    let mut command = ordergate(program, database);
    command.args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("run {}", program.display()))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that reads nothing may have ended before.
        let _ = std::io::Write::write_all(&mut input, TOKEN.as_bytes());
    }
    let done = child.wait_with_output()?;
    ensure!(done.status.success(), "ordergate {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// What the program says of itself.
pub(crate) fn version(program: &Path) -> anyhow::Result<String> {
    let done = Command::new(program).arg("--version").output().with_context(|| program.display().to_string())?;
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// The program, in an environment without anything of ours.
fn ordergate(program: &Path, database: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("DATABASE_URL", database);
    // A signal from the terminal is for the benchmark, which then ends the server itself.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}
