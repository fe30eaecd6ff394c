//! What the events of an import cost.

use crate::client::Request;
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::stage::Bench;
use crate::stats::Samples;

pub(super) async fn cost(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "outbox: time with events against without";
    if bench.skips(name) {
        return Ok(());
    }
    let mut stage = bench.stage(&[]).await?;
    let [mut with, mut without] = [(); 2].map(|()| Samples::default());
    for round in 0..=bench.size.rounds {
        // In turns also inside a round: the tables grow.
        for skip_triggers in [round % 2 == 0, round % 2 == 1] {
            let (shop, places) = (bench.shop(), stage.places(bench.size.batch));
            let request = Request::new(Format::Json, skip_triggers, places.map(|place| shop.order(place)));
            let took = stage.import_new(&request).await?;
            if round > 0 {
                let samples = if skip_triggers { &mut without } else { &mut with };
                samples.push(took.as_secs_f64() * 1e3);
            }
            bench.settle(&mut stage).await?;
        }
    }
    let row = Row::ratio(name, "ms", with, without, Goal::AtMost(1.05));
    bench.report.add(row.with_note("a ratio of times: less is better".to_owned()));
    Ok(())
}
