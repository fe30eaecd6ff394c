//! A server of the usual kind, in bench/rival, for the same requests.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::client::Client;
use crate::cluster::signal_group;
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::server::TOKEN;
use crate::sql;
use crate::stage::{Bench, request};
use crate::stats::{Samples, rate};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/rival/run");
const DATABASE: &str = "rival";
/// Orders of a request.
const ORDERS: usize = 1_000;
/// The first start gets packages.
const DEADLINE: Duration = Duration::from_mins(5);

pub(super) async fn against(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "requests of 1000 orders, against the rival";
    if bench.skips(name) {
        return Ok(());
    }
    if let Some(why) = missing() {
        bench.report.add(Row::skipped(name, why));
        return Ok(());
    }
    let mut stage = bench.stage(&[]).await?;
    sql::run(&mut bench.cluster.connect("postgres").await?, &format!("drop database if exists {DATABASE}")).await?;
    sql::run(&mut bench.cluster.connect("postgres").await?, &format!("create database {DATABASE}")).await?;
    let (_rival, mut client) = Rival::start(bench).await?;
    let mut database = bench.cluster.connect(DATABASE).await?;
    client.import(&bench.first_orders()).await.context("the rival's first import")?;
    bench.cluster.settle(&mut [&mut database]).await?;
    let [mut ours, mut theirs] = [(); 2].map(|()| Samples::default());
    for round in 0..=bench.size.rounds {
        let request = request(Format::Json, bench.shop(), stage.places(ORDERS));
        let took = stage.import_new(&request).await?;
        let took_theirs = client.import(&request).await.context("an import by the rival")?;
        if round > 0 {
            ours.push(rate(ORDERS, took));
            theirs.push(rate(ORDERS, took_theirs));
        }
        bench.cluster.settle(&mut [&mut stage.ours, &mut database]).await?;
    }
    bench.report.add(Row::ratio(name, "orders/s", ours, theirs, Goal::AtLeast(10.0)));
    Ok(())
}

/// What the rival lacks to run.
fn missing() -> Option<&'static str> {
    if !Path::new(PROGRAM).exists() {
        return Some("bench/rival/run is not there");
    }
    let python = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    (!python.is_ok_and(|status| status.success())).then_some("python3 is not there")
}

/// The rival's processes.
struct Rival(Child);

impl Rival {
    /// Starts it and waits until it answers.
    async fn start(bench: &Bench) -> anyhow::Result<(Self, Client)> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(PROGRAM);
        command.arg(port.to_string()).arg(bench.cluster.url(DATABASE)).env("RIVAL_TOKEN", TOKEN);
        let log = bench.cluster.path().join("rival.log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut rival = Rival(command.spawn().with_context(|| PROGRAM.to_owned())?);
        let begun = Instant::now();
        loop {
            if let Ok(mut client) = Client::connect(([127, 0, 0, 1], port).into()).await
                && client.exchange(b"GET /health HTTP/1.1\r\nHost: shop.example.com\r\n\r\n").await.is_ok()
            {
                return Ok((rival, client));
            }
            let waits = rival.0.try_wait()?.is_none() && begun.elapsed() < DEADLINE;
            ensure!(waits, "the rival does not start:\n{}", fs::read_to_string(&log)?);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        // Its workers are processes, too; they end by the same signal.
        signal_group("TERM", self.0.id());
        let begun = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) {
            if begun.elapsed() > Duration::from_secs(10) {
                signal_group("KILL", self.0.id());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
