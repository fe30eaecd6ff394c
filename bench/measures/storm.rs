//! The memory that the server keeps after a storm of large requests.

use std::time::Duration;

use anyhow::ensure;
use tokio::task::JoinSet;

use super::memory::mib;
use crate::client::{Client, post};
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::server::TOKEN;
use crate::stage::{Bench, Stage, request};

/// Requests at once. Most are refused: the server bounds what all bodies take.
const REQUESTS: usize = 40;
/// Bytes of a body, just below the server's limit.
const BYTES: usize = 29_000_000;
/// From how many orders it is told how many make such a body.
const SAMPLE: usize = 100;
/// When the memory is looked at, after the last answer.
const LATER: Duration = Duration::from_secs(10);
/// What the server may have by then, in MiB.
const ALLOWED: f64 = 100.0;

pub(super) async fn kept(bench: &mut Bench) -> anyhow::Result<()> {
    let (requests, later) = if bench.size.tiny { (4, Duration::ZERO) } else { (REQUESTS, LATER) };
    let name = format!("memory {} s after {requests} bodies of 29 MB at once", later.as_secs());
    if bench.skips(&name) {
        return Ok(());
    }
    let mut stage = bench.stage(&["--max-orders=100000".to_owned()]).await?;
    let before = mib(stage.server.memory()?)?;
    let formats = Format::ALL.into_iter().cycle().take(requests);
    let bodies: Vec<Body> = formats.map(|format| body(bench, &mut stage, format)).collect();
    let mut running = JoinSet::new();
    for body in bodies {
        let client = Client::connect(stage.server.address).await?;
        running.spawn(send(client, body));
    }
    let taken = running.join_all().await.into_iter().filter(|taken| *taken).count();
    ensure!(taken > 0, "expected a request to be taken, found all {requests} refused");
    tokio::time::sleep(later).await;
    let (after, peak) = (mib(stage.server.memory()?)?, mib(stage.server.peak_memory()?)?);
    let row = Row::amount(&name, "MiB", after, before, Goal::AtMost(ALLOWED));
    bench.report.add(row.with_note(format!("floor: before; ratio: ours; {taken} taken, peak {peak:.0} MiB")));
    Ok(())
}

/// A request that brings its token in the query: what it may take together with others is not halved.
struct Body {
    bytes: Vec<u8>,
    orders: usize,
    format: Format,
}

/// Orders that nobody else sends, about as large as is allowed.
fn body(bench: &Bench, stage: &mut Stage, format: Format) -> Body {
    let orders = if bench.size.tiny {
        bench.size.large_batch
    } else {
        SAMPLE * BYTES / request(format, bench.shop(), 0..SAMPLE as u64).body
    };
    let (shop, mut body) = (bench.shop(), Vec::new());
    format.body(&mut body, false, stage.places(orders).map(|place| shop.order(place)));
    let bytes = post(&format!("orders/import?token={TOKEN}"), format, &body);
    Body { bytes, orders, format }
}

/// Whether all orders were taken. A server that refuses a body need not read it to its end.
async fn send(mut client: Client, body: Body) -> bool {
    client.exchange(&body.bytes).await.is_ok_and(|answer| body.format.check(answer, body.orders).is_ok())
}
