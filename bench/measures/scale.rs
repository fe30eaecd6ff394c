//! Whether an order costs the same in a small, a large, and a very large request.

use std::time::Duration;

use super::memory;
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::stage::{Bench, Stage, request};
use crate::stats::{Samples, micros_each};

pub(super) async fn per_order(bench: &mut Bench) -> anyhow::Result<()> {
    let (large, batch, small) = (bench.size.large_batch, bench.size.batch, bench.size.batch / 10);
    let name_large = format!("time for an order, {large} against {batch} a request");
    let name_small = format!("time for an order, {small} against {batch} a request");
    let sizes = [large, batch, small];
    if bench.skips(&name_large) && bench.skips(&name_small) {
        return Ok(());
    }
    let mut stage = bench.stage(&memory::flags(bench)).await?;
    let [mut of_large, mut of_batch, mut of_small] = [(); 3].map(|()| Samples::default());
    // Few rounds: a very large request is many small ones.
    for round in 0..=bench.size.rounds.div_ceil(2) {
        let mut times = [0.0; 3];
        for (time, size) in times.iter_mut().zip(sizes) {
            // So many small requests as make a large one: one alone is over too soon.
            let requests = (batch / size).max(1);
            *time = micros_each(size * requests, import(bench, &mut stage, size, requests).await?);
        }
        if round > 0 {
            of_large.push(times[0]);
            of_batch.push(times[1]);
            of_small.push(times[2]);
        }
    }
    let note = "a ratio of times: less is better";
    let row = Row::ratio(&name_large, "µs", of_large, of_batch.clone(), Goal::AtMost(1.2));
    bench.report.add(row.with_note(note.to_owned()));
    let row = Row::ratio(&name_small, "µs", of_small, of_batch, Goal::AtMost(1.3));
    bench.report.add(row.with_note(note.to_owned()));
    Ok(())
}

/// The time of so many requests with so many new orders each.
async fn import(bench: &Bench, stage: &mut Stage, orders: usize, requests: usize) -> anyhow::Result<Duration> {
    let mut took = Duration::ZERO;
    for _ in 0..requests {
        let request = request(Format::Json, bench.shop(), stage.places(orders));
        took += stage.import_new(&request).await?;
    }
    bench.settle(stage).await?;
    Ok(took)
}
