//! Whether a request costs the same on large tables as on small ones.

use std::process::Command;

use anyhow::{Context as _, ensure};
use sqlx::PgConnection;

use super::batch::{self, Pair};
use crate::data::{Ids, Shop};
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::sql;
use crate::stage::{Bench, FLOOR, OURS, SEED};

const LARGE: &str = include_str!("../large.sql");
const SCHEMA: &str = include_str!("../schema.sql");
/// What an order with its lines takes on disk in both databases, with the log and room to spare.
const BYTES: u64 = 4_000;
/// Copies of the seed that one statement makes.
const COPIES: u64 = 20;

/// The measures on one kind of tables.
struct Measured {
    name: String,
    pair: Pair,
}

pub(super) async fn tables(bench: &mut Bench, orders: u64) -> anyhow::Result<()> {
    let name = format!("on {orders} orders");
    if bench.skips(&name) {
        return Ok(());
    }
    let small = measured(bench, &name, bench.size.customers).await?;
    fill(bench, orders).await?;
    bench.cluster.copy_database(OURS, FLOOR).await?;
    let large = measured(bench, &name, orders).await?;
    for (small, large) in small.into_iter().zip(large) {
        let of_small = small.pair.ours.median() / small.pair.floor.median();
        let row = Row::ratio(&large.name, "orders/s", large.pair.ours, large.pair.floor, Goal::AtLeast(of_small * 0.8));
        bench.report.add(row.with_note(format!("on the small tables {of_small:.2}")));
    }
    Ok(())
}

/// New and unchanged orders, with ascending and with random ids, on what is there if it is large, else on fresh tables.
async fn measured(bench: &Bench, name: &str, stored: u64) -> anyhow::Result<Vec<Measured>> {
    let fresh = stored == bench.size.customers;
    let mut stage = if fresh { bench.stage(&[]).await? } else { bench.stage_as_it_is(&[]).await? };
    let mut all = Vec::new();
    for (ids, of_ids) in [(Ids::Ascending, "ascending"), (Ids::Random(stored), "random")] {
        let shop = Shop { ids, ..bench.shop() };
        let pair = batch::rounds_of_new(bench, &mut stage, Format::Json, shop).await?;
        all.push(Measured { name: format!("new orders {name}, {of_ids} ids"), pair });
        let pair = batch::rounds_of_unchanged(bench, &mut stage, Format::Json, shop).await?;
        all.push(Measured { name: format!("unchanged orders {name}, {of_ids} ids"), pair });
    }
    Ok(all)
}

/// Refuses to fill a disk.
pub(super) fn enough_space(bench: &Bench, orders: u64) -> anyhow::Result<()> {
    let done = Command::new("df").args(["--output=avail", "-B1"]).arg(bench.cluster.path()).output().context("df")?;
    let printed = String::from_utf8_lossy(&done.stdout);
    let free: u64 = printed.lines().nth(1).and_then(|line| line.trim().parse().ok()).context("what df printed")?;
    let needed = orders * BYTES;
    ensure!(
        free >= needed,
        "--large {orders}: expected {} GB of free space in {}, found {} GB",
        needed / 1_000_000_000,
        bench.cluster.path().display(),
        free / 1_000_000_000
    );
    Ok(())
}

/// Fills the server's database.
pub(super) async fn fill(bench: &Bench, orders: u64) -> anyhow::Result<()> {
    bench.cluster.copy_database(SEED, OURS).await?;
    let mut conn = bench.cluster.connect(OURS).await?;
    for table in ["orders", "order_lines"] {
        sql::run(&mut conn, &format!("create temporary table seed_{table} as select * from {table}")).await?;
    }
    let span: i64 = sql::one(&mut conn, "select max(id) from orders").await?;
    let copies = orders.div_ceil(bench.size.customers);
    let [of_orders, of_lines] = [("orders", "large.orders"), ("order_lines", "large.lines")];
    let statements =
        [statement(bench, &mut conn, of_orders, span).await?, statement(bench, &mut conn, of_lines, span).await?];
    for from in (1..copies).step_by(usize::try_from(COPIES)?) {
        let to = (from + COPIES - 1).min(copies - 1);
        for statement in &statements {
            let statement = statement.replace("{from}", &from.to_string()).replace("{to}", &to.to_string());
            sql::run(&mut conn, &statement).await?;
        }
        eprint!("\r{} of {orders} orders are there", (to + 1) * bench.size.customers);
    }
    eprintln!();
    let _: i64 = sql::one(&mut conn, &sql::statement(LARGE, "large.ids")).await?;
    Ok(())
}

/// The statement of that name for a table, with its columns and how they are made; `span`: what the ids move on by.
async fn statement(
    bench: &Bench,
    conn: &mut PgConnection,
    (table, name): (&str, &str),
    span: i64,
) -> anyhow::Result<String> {
    let columns = sql::statement(SCHEMA, "schema.columns").replace("{table}", table);
    let columns: String = sql::one(conn, &columns).await?;
    let values = sql::statement(LARGE, "large.values").replace("{table}", table).replace("{span}", &span.to_string());
    let values: String = sql::one(conn, &values.replace("{customers}", &bench.size.customers.to_string())).await?;
    Ok(sql::statement(LARGE, name).replace("{columns}", &columns).replace("{values}", &values))
}
