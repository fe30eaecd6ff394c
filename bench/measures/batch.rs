//! Large requests: new orders, the same again, and the same with a few changes.

use crate::client::Request;
use crate::data::{Customers, Shop};
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::server::Outcome;
use crate::stage::{Bench, Stage, request};
use crate::stats::{Samples, rate};

/// Orders a second of the server and of its floor.
pub(crate) struct Pair {
    pub(crate) ours: Samples,
    pub(crate) floor: Samples,
}

impl Pair {
    fn row(self, name: &str, goal: Goal) -> Row {
        Row::ratio(name, "orders/s", self.ours, self.floor, goal)
    }
}

pub(super) async fn new(bench: &mut Bench, format: Format) -> anyhow::Result<()> {
    let goal = if format == Format::Json { 0.9 } else { 0.8 };
    let name = format!("new orders, {}", format.name());
    measure_new(bench, &name, format, bench.shop(), Goal::AtLeast(goal)).await
}

pub(super) async fn new_customers(bench: &mut Bench) -> anyhow::Result<()> {
    let shop = Shop { customers: Customers::New, ..bench.shop() };
    measure_new(bench, "new orders of new customers, JSON", Format::Json, shop, Goal::None).await
}

async fn measure_new(bench: &mut Bench, name: &str, format: Format, shop: Shop, goal: Goal) -> anyhow::Result<()> {
    if bench.skips(name) {
        return Ok(());
    }
    let mut stage = bench.stage(&[]).await?;
    let pair = rounds_of_new(bench, &mut stage, format, shop).await?;
    bench.report.add(pair.row(name, goal));
    Ok(())
}

/// New orders against the floor `copy`. The first round is not counted.
pub(super) async fn rounds_of_new(
    bench: &Bench,
    stage: &mut Stage,
    format: Format,
    shop: Shop,
) -> anyhow::Result<Pair> {
    let mut pair = Pair { ours: Samples::default(), floor: Samples::default() };
    for round in 0..=bench.size.rounds {
        let request = request(format, shop, stage.places(bench.size.batch));
        let ours = stage.import_new(&request).await?;
        let rows = stage.written().await?;
        let floor = stage.floor.copy(&rows).await?;
        if round > 0 {
            pair.ours.push(rate(request.orders, ours));
            pair.floor.push(rate(request.orders, floor));
        }
        bench.settle(stage).await?;
    }
    Ok(pair)
}

pub(super) async fn unchanged(bench: &mut Bench, format: Format) -> anyhow::Result<()> {
    let name = format!("unchanged orders, {}", format.name());
    if bench.skips(&name) {
        return Ok(());
    }
    let mut stage = bench.stage(&[]).await?;
    let pair = rounds_of_unchanged(bench, &mut stage, format, bench.shop()).await?;
    let goal = if format == Format::Json { 5.0 } else { 4.0 };
    bench.report.add(pair.row(&name, Goal::AtLeast(goal)));
    Ok(())
}

/// The same orders again and again, against the floor `upsert`.
pub(super) async fn rounds_of_unchanged(
    bench: &Bench,
    stage: &mut Stage,
    format: Format,
    shop: Shop,
) -> anyhow::Result<Pair> {
    let places = stage.places(bench.size.batch);
    let request = request(format, shop, places);
    stored(bench, stage, &request).await?;
    let count = request.orders as u64;
    again(bench, stage, |_| (Outcome { created: 0, updated: 0, unchanged: count }, None), &request).await
}

pub(super) async fn changed(bench: &mut Bench, format: Format) -> anyhow::Result<()> {
    let name = format!("orders of which 1 in 10 changed, {}", format.name());
    if bench.skips(&name) {
        return Ok(());
    }
    let mut stage = bench.stage(&[]).await?;
    let (shop, places) = (bench.shop(), stage.places(bench.size.batch));
    let first = request(format, shop, places.clone());
    stored(bench, &mut stage, &first).await?;
    let (count, changes) = (first.orders as u64, first.orders.div_ceil(10) as u64);
    let in_round = |round: usize| {
        let version = round as u64 + 1;
        let order = |(place, number)| {
            let order = shop.order(place);
            if number % 10 == 0 { order.changed(version) } else { order }
        };
        let request = Request::new(format, false, places.clone().zip(0_u64..).map(order));
        (Outcome { created: 0, updated: changes, unchanged: count - changes }, Some(request))
    };
    let pair = again(bench, &mut stage, in_round, &first).await?;
    let goal = if format == Format::Json { 3.0 } else { 2.5 };
    bench.report.add(pair.row(&name, Goal::AtLeast(goal)));
    Ok(())
}

/// Stores orders here and there, and lays their rows ready for the floor.
async fn stored(bench: &Bench, stage: &mut Stage, request: &Request) -> anyhow::Result<()> {
    stage.import_new(request).await?;
    let rows = stage.written().await?;
    stage.floor.copy(&rows).await?;
    stage.floor.stage(&rows).await?;
    bench.settle(stage).await
}

/// Sends stored orders again: a request for each round, or the first one. Its first round is not counted.
async fn again(
    bench: &Bench,
    stage: &mut Stage,
    round: impl Fn(usize) -> (Outcome, Option<Request>),
    first: &Request,
) -> anyhow::Result<Pair> {
    let mut pair = Pair { ours: Samples::default(), floor: Samples::default() };
    for number in 0..=bench.size.rounds {
        let (outcome, request) = round(number);
        let ours = stage.import(request.as_ref().unwrap_or(first), outcome).await?;
        let floor = stage.floor.upsert().await?;
        if number > 0 {
            pair.ours.push(rate(first.orders, ours));
            pair.floor.push(rate(first.orders, floor));
        }
        bench.settle(stage).await?;
    }
    Ok(pair)
}
