//! Requests of one order, against PostgreSQL's own load program with the statements of one order.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use crate::client::{Client, put_head};
use crate::data::Shop;
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::stage::{Bench, FLOOR};
use crate::stats::{Samples, float};

const CLIENTS: u64 = 32;
/// Each client has keys of its own, ascending: as `key` in bench/single.sql.
const FIRST: u64 = 100_000_000;
const KEYS: u64 = 10_000_000;
/// More than a client sends in a round.
const KEYS_OF_A_ROUND: u64 = 200_000;
const SINGLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/single.sql");
const SINGLE_CTE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/single_cte.sql");

pub(super) async fn throughput(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "requests of one order, 32 clients";
    let name_cte = "requests of one order, 32 clients, against one statement";
    if bench.skips(name) && bench.skips(name_cte) {
        return Ok(());
    }
    let stage = bench.stage(&[]).await?;
    let [mut ours, mut floor, mut cte] = [const { None }; 3].map(|_: Option<()>| Samples::default());
    for round in rounds(bench) {
        let load = load(bench, stage.server.address, CLIENTS, round).await?;
        let single = pgbench(bench, SINGLE, CLIENTS, round * 2, &[]).await?;
        let single_cte = pgbench(bench, SINGLE_CTE, CLIENTS, round * 2 + 1, &[]).await?;
        if round > 0 {
            ours.push(load.rate);
            floor.push(rate(&single)?);
            cte.push(rate(&single_cte)?);
        }
    }
    if !bench.skips(name) {
        bench.report.add(Row::ratio(name, "orders/s", ours.clone(), floor, Goal::AtLeast(2.0)));
    }
    bench.report.add(Row::ratio(name_cte, "orders/s", ours, cte, Goal::None));
    Ok(())
}

pub(super) async fn latency(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "requests of one order, 1 client, time";
    if bench.skips(name) {
        return Ok(());
    }
    let stage = bench.stage(&[]).await?;
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    let prefix = bench.cluster.path().join("transactions");
    for round in rounds(bench) {
        let load = load(bench, stage.server.address, 1, round).await?;
        let log = format!("--log-prefix={}", prefix.display());
        pgbench(bench, SINGLE, 1, round, &["--log", &log]).await?;
        let times = transactions(&prefix)?;
        if round > 0 {
            ours.push(load.times.median());
            floor.push(times.median());
        }
    }
    let row = Row::ratio(name, "µs", ours, floor, Goal::AtMost(0.8));
    bench.report.add(row.with_note("a ratio of times: less is better".to_owned()));
    Ok(())
}

/// The round that is not counted, and those that are. Tiny measures are not judged and need no warm-up.
fn rounds(bench: &Bench) -> std::ops::RangeInclusive<u64> {
    u64::from(bench.size.tiny)..=bench.size.rounds as u64
}

/// What clients saw.
struct Load {
    /// Orders a second.
    rate: f64,
    /// Microseconds of each request.
    times: Samples,
}

/// Sends single orders for a while, each client one after the other.
async fn load(bench: &Bench, server: SocketAddr, clients: u64, round: u64) -> anyhow::Result<Load> {
    let mut running = JoinSet::new();
    let begun = Instant::now();
    let end = begun + Duration::from_secs(bench.size.seconds);
    for client in 0..clients {
        let first = FIRST + client * KEYS + round * KEYS_OF_A_ROUND;
        running.spawn(one_client(server, bench.shop(), first, end));
    }
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        times.append(&mut done.context("a client")??);
    }
    let rate = float(times.len()) / begun.elapsed().as_secs_f64();
    Ok(Load { rate, times: times.into_iter().collect() })
}

/// The microseconds of each request of one client.
async fn one_client(server: SocketAddr, shop: Shop, first: u64, end: Instant) -> anyhow::Result<Vec<f64>> {
    let mut client = Client::connect(server).await?;
    let (mut body, mut request, mut expected, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for place in first.. {
        let order = shop.order(place);
        body.clear();
        Format::Json.body(&mut body, false, std::iter::once(order));
        request.clear();
        put_head(&mut request, Format::Json, body.len());
        request.extend_from_slice(&body);
        expected.clear();
        write!(expected, r#"{{"error":0,"error_text":"","result":[{{"error":0,"external_id":"{}"}}]}}"#, order.id)?;
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        let answer = client.exchange(&request).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        ensure!(answer == expected, "an answer to one order: {}", String::from_utf8_lossy(answer));
    }
    Ok(times)
}

/// Runs a script for a while and returns what the program printed; `part`: which keys it uses.
async fn pgbench(bench: &Bench, script: &str, clients: u64, part: u64, flags: &[&str]) -> anyhow::Result<String> {
    let mut pgbench = bench.cluster.client("pgbench", FLOOR);
    pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--random-seed=1", "--file", script]);
    pgbench.arg(format!("--client={clients}")).arg(format!("--time={}", bench.size.seconds));
    pgbench.arg(format!("--define=n={}", part * KEYS_OF_A_ROUND)).args(flags);
    pgbench.arg(format!("--define=customers={}", bench.size.customers));
    pgbench.arg(format!("--define=products={}", bench.size.products));
    let done = pgbench.output().await.context("run pgbench")?;
    let errors = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success() && !errors.contains("ERROR"), "pgbench with {script}: {errors}");
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Transactions a second, as the program printed them.
fn rate(printed: &str) -> anyhow::Result<f64> {
    let rate = printed.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.with_context(|| format!("no tps in what pgbench printed: {printed}"))
}

/// The microseconds of all transactions in the program's logs, which go.
fn transactions(prefix: &Path) -> anyhow::Result<Samples> {
    let (dir, name) =
        (prefix.parent().context("a directory")?, prefix.file_name().context("a name")?.to_string_lossy());
    let mut times = Samples::default();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name.as_ref())) {
            let log = std::fs::read_to_string(&path)?;
            // The third field of a line is the time of the transaction.
            for field in log.lines().filter_map(|line| line.split(' ').nth(2)) {
                times.push(field.parse().with_context(|| format!("a time in {}: {field}", path.display()))?);
            }
            std::fs::remove_file(path)?;
        }
    }
    Ok(times)
}
