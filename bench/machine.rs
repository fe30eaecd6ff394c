//! On what was measured, and what.

use std::fs;
use std::process::Command;

use crate::stage::Bench;
use crate::{server, sql};

/// The machine and the versions, a line each.
pub(crate) async fn describe(bench: &Bench) -> anyhow::Result<String> {
    let cpu = value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let cores = std::thread::available_parallelism()?;
    let memory = value("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut conn = bench.cluster.connect("postgres").await?;
    let postgres: String = sql::one(&mut conn, "select current_setting('server_version')").await?;
    Ok(format!(
        "machine     {cpu}, {cores} cores, {memory} of memory\nkernel      {}\nPostgreSQL  {postgres}\nserver      {}, commit {}\n",
        kernel.trim(),
        server::version(&bench.program)?,
        commit(),
    ))
}

/// The first value of that name in a file of the kernel's.
fn value(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The commit of the sources, and whether they differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let done = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments).output().ok()?;
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain"]) {
        Some(changes) if !changes.is_empty() => format!("{commit} with changes"),
        _ => commit,
    }
}
