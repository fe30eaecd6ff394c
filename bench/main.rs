//! The benchmark: the real server on a real PostgreSQL, each measure against a floor, which is what PostgreSQL itself
//! needs for the same rows on the same machine. `script/bench` runs it.

mod client;
mod cluster;
mod data;
mod floor;
mod machine;
mod measures;
mod profile;
mod receiver;
mod render;
mod report;
mod server;
mod sql;
mod stage;
mod stats;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use cluster::Cluster;
use report::Report;
use stage::{Bench, Size};

/// Measures ordergate against what PostgreSQL itself needs for the same work.
#[derive(Debug, Parser)]
#[command(name = "script/bench")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
struct Arguments {
    /// Write the rows as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Take only the measures whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// How often each measure is taken
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Also measure on large tables, of so many orders
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10000000")]
    large: Option<u64>,
    /// Tiny numbers: shows in seconds that the benchmark works, and nothing else
    #[arg(long)]
    tiny: bool,
    /// Measure another program than the one that was just built
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_ordergate"))]
    server: PathBuf,
    /// Measure nothing: record a profile of imports into a file of perf's
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// With --profile: the orders are the same again
    #[arg(long, requires = "profile")]
    unchanged: bool,
    /// With --profile: the orders are sent as XML
    #[arg(long, requires = "profile")]
    xml: bool,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn size(&self) -> Size {
        if self.tiny {
            Size {
                tiny: true,
                customers: 50,
                products: 20,
                batch: 50,
                large_batch: 200,
                listed: 2_000,
                rounds: 1,
                seconds: 1,
            }
        } else {
            Size {
                tiny: false,
                customers: 5_000,
                products: 2_000,
                batch: 10_000,
                large_batch: 100_000,
                listed: 1_000_000,
                rounds: self.rounds.max(1),
                seconds: 3,
            }
        }
    }
}

// One thread: the load is to leave the cores to the server and the database.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let [mut interrupt, mut terminate] = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    // Whatever ends it, the guards of the processes and of the directory run.
    tokio::select! {
        done = run(&arguments) => done,
        _ = interrupt.recv() => bail!("stopped by Ctrl-C"),
        _ = terminate.recv() => bail!("stopped by a signal"),
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let size = arguments.size();
    let report = Report::new(!size.tiny);
    let (program, only) = (arguments.server.clone(), arguments.only.clone());
    let mut bench = Bench { cluster, program, size, only, report };
    let machine = machine::describe(&bench).await?;
    bench.seed().await?;
    if let Some(file) = &arguments.profile {
        let format = if arguments.xml { render::Format::Xml } else { render::Format::Json };
        return profile::record(&bench, file, format, arguments.unchanged).await;
    }
    measures::all(&mut bench, arguments.large).await?;
    println!("\n{machine}\n{}", bench.report.table());
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&bench.report.json())? + "\n";
        std::fs::write(file, json).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
