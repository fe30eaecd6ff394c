//! The memory that the server needs for a large request, above the request's own bytes.

use crate::client::Request;
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::server::Outcome;
use crate::stage::{Bench, Stage, request};
use crate::stats::float;

const MIB: f64 = 1_048_576.0;
/// What the server may need beyond the body, in MiB.
const ALLOWED: f64 = 32.0;

/// Limits that let a large request through.
pub(super) fn flags(bench: &Bench) -> Vec<String> {
    let orders = format!("--max-orders={}", bench.size.large_batch.max(bench.size.batch));
    [&orders, "--max-body-bytes=536870912", "--max-inflight-bytes=2147483648"].map(str::to_owned).to_vec()
}

pub(super) async fn peak(bench: &mut Bench, format: Format) -> anyhow::Result<()> {
    let name = |kind: &str| format!("peak memory, {} {kind} orders, {}", bench.size.large_batch, format.name());
    let names = [name("new"), name("unchanged")];
    if names.iter().all(|name| bench.skips(name)) {
        return Ok(());
    }
    let flags = flags(bench);
    let mut stage = bench.stage(&flags).await?;
    let request = request(format, bench.shop(), stage.places(bench.size.large_batch));
    stage.import_new(&request).await?;
    bench.report.add(row(&names[0], &stage, &request)?);
    drop(stage);
    // A new process, whose peak is that of its only request.
    let mut stage = bench.stage_as_it_is(&flags).await?;
    stage.import(&request, Outcome { created: 0, updated: 0, unchanged: request.orders as u64 }).await?;
    bench.report.add(row(&names[1], &stage, &request)?);
    Ok(())
}

/// Bytes, in MiB.
pub(super) fn mib(bytes: u64) -> anyhow::Result<f64> {
    Ok(float(usize::try_from(bytes)?) / MIB)
}

fn row(name: &str, stage: &Stage, request: &Request) -> anyhow::Result<Row> {
    let peak = mib(stage.server.peak_memory()?)?;
    let row = Row::difference(name, "MiB", peak, float(request.body) / MIB, Goal::AtMost(ALLOWED));
    Ok(row.with_note("floor: the body; ratio: peak minus body, in MiB".to_owned()))
}
