//! What an order of three lines takes on disk, indexes included.

use sqlx::PgConnection;

use crate::render::Format;
use crate::report::{Goal, Row};
use crate::sql;
use crate::stage::{Bench, request};

/// Bytes for each order.
const BYTES: &str = "select (pg_total_relation_size('orders') + pg_total_relation_size('order_lines'))::float8
    / (select count(*) from orders)";

pub(super) async fn on_disk(bench: &mut Bench) -> anyhow::Result<()> {
    let name = "bytes on disk for an order";
    if bench.skips(name) {
        return Ok(());
    }
    let mut stage = bench.stage(&[]).await?;
    for _ in 0..bench.size.rounds {
        let request = request(Format::Json, bench.shop(), stage.places(bench.size.batch));
        stage.import_new(&request).await?;
        let rows = stage.written().await?;
        stage.floor.copy(&rows).await?;
    }
    bench.settle(&mut stage).await?;
    let (ours, floor) = (bytes(&mut stage.ours).await?, bytes(stage.floor.conn()).await?);
    bench.report.add(Row::ratio(name, "bytes", ours.into(), floor.into(), Goal::None));
    Ok(())
}

async fn bytes(conn: &mut PgConnection) -> anyhow::Result<f64> {
    sql::one(conn, BYTES).await
}
