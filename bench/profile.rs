//! Imports under perf, for script/profile.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::cluster::signal;
use crate::render::Format;
use crate::server::Outcome;
use crate::stage::{Bench, request};

/// How long imports are sent.
const TIME: Duration = Duration::from_secs(10);

/// Records the server during imports into a file of perf's.
pub(crate) async fn record(bench: &Bench, file: &Path, format: Format, unchanged: bool) -> anyhow::Result<()> {
    let mut stage = bench.stage(&[]).await?;
    let first = request(format, bench.shop(), stage.places(bench.size.batch));
    stage.import_new(&first).await?;
    let mut perf = std::process::Command::new("perf");
    // Enough of the stack for the depth of async code; it is unwound by the tables that every program has.
    perf.args(["record", "--quiet", "--freq=999", "--call-graph=dwarf,16384", "--output"]).arg(file);
    perf.arg(format!("--pid={}", stage.server.id()));
    let mut perf = perf.spawn().context("run perf (on Debian: apt-get install linux-perf)")?;
    let begun = Instant::now();
    let mut imported = Ok(());
    while begun.elapsed() < TIME && imported.is_ok() {
        let count = first.orders as u64;
        imported = if unchanged {
            stage.import(&first, Outcome { created: 0, updated: 0, unchanged: count }).await.map(drop)
        } else {
            let request = request(format, bench.shop(), stage.places(bench.size.batch));
            stage.import_new(&request).await.map(drop)
        };
    }
    signal("INT", perf.id());
    let status = perf.wait()?;
    imported?;
    // perf ends by the signal that stops it.
    ensure!(status.success() || status.code().is_none(), "perf ended with {status}");
    Ok(())
}
