//! Whether the last page of a long list costs what the first one costs.

use std::time::Instant;

use anyhow::ensure;

use super::large;
use crate::client::{Client, post};
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::sql;
use crate::stage::{Bench, FLOOR, SEED};
use crate::stats::{Samples, rate};

const LIST: &str = include_str!("../list.sql");
/// Orders of a page.
const PAGE: usize = 1_000;
/// Pages in one sample.
const PAGES: usize = 10;

/// The last pages against the first ones.
pub(super) async fn pages(bench: &mut Bench) -> anyhow::Result<()> {
    let name = format!("pages of {PAGE} of {} orders: the last against the first", bench.size.listed);
    if bench.skips(&name) {
        return Ok(());
    }
    large::enough_space(bench, bench.size.listed)?;
    large::fill(bench, bench.size.listed).await?;
    // The stage wants both databases.
    bench.cluster.copy_database(SEED, FLOOR).await?;
    let mut stage = bench.stage_as_it_is(&[]).await?;
    let mut client = Client::connect(stage.server.address).await?;
    let before_last = sql::statement(LIST, "list.before_last").replace("{count}", &PAGE.to_string());
    let before_last: i64 = sql::one(&mut stage.ours, &before_last).await?;
    let (mut first, mut last) = (Samples::default(), Samples::default());
    for round in 0..=bench.size.rounds {
        for (from_id, samples) in [(String::new(), &mut first), (format!("o{before_last}"), &mut last)] {
            let body = format!("{{\"token\":\"{}\",\"limit\":{PAGE},\"from_id\":\"{from_id}\"}}", crate::server::TOKEN);
            let request = post("orders/list", Format::Json, body.as_bytes());
            let begun = Instant::now();
            for _ in 0..PAGES {
                let answer = client.exchange(&request).await?;
                let found = String::from_utf8_lossy(answer).matches("\"profile_id\"").count();
                ensure!(found == PAGE, "expected a page of {PAGE} orders, found {found}");
            }
            if round > 0 {
                samples.push(rate(PAGES * PAGE, begun.elapsed()));
            }
        }
    }
    bench.report.add(Row::ratio(&name, "orders/s", last, first, Goal::AtLeast(0.9)));
    Ok(())
}
