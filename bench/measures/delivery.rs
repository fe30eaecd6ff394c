//! Events on their way to a receiver, against a bare client that sends the same bytes to it.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::receiver::{Receiver, bare_clients};
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::server::{Worker, command};
use crate::stage::{Bench, OURS, Stage, request};
use crate::stats::{Samples, float, rate};

/// Requests on their way at once: what a worker does by itself.
const INFLIGHT: usize = 16;
/// Events a second, while imports run beside them.
const RATE: f64 = 1_000.0;
/// Requests of an import's measure: several seconds.
const REQUESTS: usize = 40;

fn requests(bench: &Bench) -> usize {
    if bench.size.tiny { 1 } else { REQUESTS }
}

fn subscribe(bench: &Bench, receiver: &Receiver) -> anyhow::Result<()> {
    let create = format!("subscription create --account bench --events * --url http://{}/", receiver.address);
    command(&bench.program, &bench.cluster.url(OURS), &create)
}

fn worker(bench: &Bench) -> anyhow::Result<Worker> {
    Worker::start(&bench.program, &bench.cluster.url(OURS), bench.cluster.path().join("worker.log"))
}

async fn import(bench: &Bench, stage: &mut Stage, requests: usize) -> anyhow::Result<Duration> {
    let mut took = Duration::ZERO;
    for _ in 0..requests {
        let request = request(Format::Json, bench.shop(), stage.places(bench.size.batch));
        took += stage.import_new(&request).await?;
    }
    Ok(took)
}

/// 100,000 events that wait, by one worker.
pub(super) async fn drained(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "events that wait, by one worker";
    if bench.skips(name) {
        return Ok(());
    }
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..bench.size.rounds.min(3) {
        let mut stage = bench.stage(&["--no-delivery".to_owned()]).await?;
        let receiver = Receiver::start()?;
        subscribe(bench, &receiver)?;
        let requests = bench.size.large_batch / bench.size.batch;
        let events = requests * bench.size.batch;
        import(bench, &mut stage, requests).await?;
        bench.settle(&mut stage).await?;
        let begun = Instant::now();
        let worker = worker(bench)?;
        receiver.wait_for(events).await?;
        ours.push(rate(events, begun.elapsed()));
        worker.stop()?;
        let (begun, before) = (Instant::now(), receiver.came());
        tokio::select! {
            ended = bare_clients(receiver.address, receiver.last()?, INFLIGHT) => ended?,
            done = receiver.wait_for(before + events) => done?,
        }
        bare.push(rate(receiver.came() - before, begun.elapsed()));
    }
    let row = Row::ratio(name, "events/s", ours, bare, Goal::None);
    bench.report.add(row.with_note("floor: a bare client of the same receiver".to_owned()));
    Ok(())
}

/// What imports lose beside a worker, against what they lose beside a bare client; both held to a rate by a receiver that
/// takes its time.
pub(super) async fn beside_imports(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "imports beside deliveries: loss";
    if bench.skips(name) {
        return Ok(());
    }
    let mut stage = bench.stage(&["--no-delivery".to_owned()]).await?;
    let receiver = Receiver::start()?;
    subscribe(bench, &receiver)?;
    import(bench, &mut stage, 2).await?;
    let first = worker(bench)?;
    receiver.wait_for(1).await?;
    first.stop()?;
    receiver.pause(Duration::from_secs_f64(float(INFLIGHT) / RATE));
    let [mut alone, mut beside_bare, mut beside_worker] = [(); 3].map(|()| Samples::default());
    let [mut worker_rates, mut bare_rates] = [(); 2].map(|()| Samples::default());
    for round in 0..=bench.size.rounds {
        bench.settle(&mut stage).await?;
        let took_alone = import(bench, &mut stage, requests(bench)).await?;
        bench.settle(&mut stage).await?;
        let sending = bare_clients(receiver.address, receiver.last()?, INFLIGHT);
        let (took_bare, bare_rate) = tokio::select! {
            ended = sending => bail!("the bare client ended: {ended:?}"),
            done = measured(bench, &mut stage, &receiver) => done?,
        };
        bench.settle(&mut stage).await?;
        let worker = worker(bench)?;
        let (took_worker, worker_rate) = measured(bench, &mut stage, &receiver).await?;
        worker.stop()?;
        if round > 0 {
            let orders = requests(bench) * bench.size.batch;
            alone.push(rate(orders, took_alone));
            beside_bare.push(rate(orders, took_bare));
            beside_worker.push(rate(orders, took_worker));
            worker_rates.push(worker_rate);
            bare_rates.push(bare_rate);
        }
    }
    let loss = |beside: &Samples| 100.0 * (1.0 - beside.median() / alone.median());
    let note = format!(
        "of {:.0} orders/s alone; beside {:.0} events/s of a worker and {:.0} requests/s of a bare client",
        alone.median(),
        worker_rates.median(),
        bare_rates.median()
    );
    let row = Row::difference(name, "%", loss(&beside_worker), loss(&beside_bare), Goal::AtMost(15.0));
    bench.report.add(row.with_note(note));
    Ok(())
}

/// Imports while requests come at the receiver: how long they took, and how many came a second.
async fn measured(bench: &Bench, stage: &mut Stage, receiver: &Receiver) -> anyhow::Result<(Duration, f64)> {
    // Until it is under way.
    receiver.wait_for(receiver.came() + 2 * INFLIGHT).await?;
    let (begun, before) = (Instant::now(), receiver.came());
    let took = import(bench, stage, requests(bench)).await?;
    Ok((took, rate(receiver.came() - before, begun.elapsed())))
}
