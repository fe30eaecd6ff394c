//! Products, imported: new ones, and the same again.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::client::{Client, post};
use crate::render::Format;
use crate::report::{Goal, Row};
use crate::sql::{self, copy_in, copy_out};
use crate::stage::{Bench, FLOOR, OURS};
use crate::stats::{Samples, rate};

const CATALOGUE: &str = include_str!("../catalogue.sql");
const SCHEMA: &str = include_str!("../schema.sql");
const TABLES: [&str; 2] = ["products", "skus"];

/// New products against the floor `copy`, and the same again against the floor `upsert`; the first round is not counted.
pub(super) async fn imports(bench: &mut Bench, format: Format) -> anyhow::Result<()> {
    let [new, unchanged] = ["new products", "unchanged products"].map(|what| format!("{what}, {}", format.name()));
    if bench.skips(&new) && bench.skips(&unchanged) {
        return Ok(());
    }
    let mut stage = bench.stage(&[]).await?;
    let mut client = Client::connect(stage.server.address).await?;
    let mut floor = Floor::new(bench).await?;
    let [mut news, mut copies, mut sames, mut upserts] = <[Samples; 4]>::default();
    let count = bench.size.batch;
    for round in 0..=bench.size.rounds {
        let body = body(format, round * count..(round + 1) * count);
        let request = post("products/import", format, body.as_bytes());
        let ours = import(&mut client, &request, count, "created").await?;
        let floor_new = floor.copy().await?;
        bench.settle(&mut stage).await?;
        let same = import(&mut client, &request, count, "unchanged").await?;
        let floor_same = floor.upsert().await?;
        bench.settle(&mut stage).await?;
        if round > 0 {
            news.push(rate(count, ours));
            copies.push(rate(count, floor_new));
            sames.push(rate(count, same));
            upserts.push(rate(count, floor_same));
        }
    }
    let goals = if format == Format::Json { [0.9, 5.0] } else { [0.8, 4.0] };
    bench.report.add(Row::ratio(&new, "products/s", news, copies, Goal::AtLeast(goals[0])));
    bench.report.add(Row::ratio(&unchanged, "products/s", sames, upserts, Goal::AtLeast(goals[1])));
    Ok(())
}

async fn import(client: &mut Client, request: &[u8], count: usize, outcome: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let answer = client.exchange(request).await?;
    let took = begun.elapsed();
    let found = String::from_utf8_lossy(answer).matches(outcome).count();
    ensure!(found == count, "expected {count} products that are {outcome}, found {found}");
    Ok(took)
}

/// Products with one SKU each.
fn body(format: Format, places: Range<usize>) -> String {
    let mut body = String::new();
    let token = crate::server::TOKEN;
    match format {
        Format::Json => {
            let _ = write!(body, "{{\"token\":\"{token}\",\"detail\":true,\"data\":[");
            for (number, place) in places.enumerate() {
                let comma = if number == 0 { "" } else { "," };
                let _ = write!(
                    body,
                    "{comma}{{\"external_id\":\"N{place:09}\",\"name\":\"Product {place}\",\"price\":\"{place}.90\",\
                     \"old_price\":\"{place}.95\",\"currency\":\"USD\",\"tags\":[\"new\",\"sale\"],\"manufacturer_name\":\"Acme\",\
                     \"description\":\"A product of the benchmark\",\"url\":\"https://shop.example.com/p/{place}\",\
                     \"pictures\":[\"https://shop.example.com/p/{place}.jpg\"],\"count\":{place},\"is_available\":true,\
                     \"barcode\":[{}],\"sku\":[{{\"external_id\":\"N{place:09}-1\",\"name\":\"SKU {place}\",\"price\":\"{place}.90\"}}]}}",
                    4_000_000_000_000 + place
                );
            }
            body.push_str("]}");
        }
        Format::Xml => {
            let _ = write!(body, "<xml><token>{token}</token><detail>true</detail>");
            for place in places {
                let _ = write!(
                    body,
                    "<data><external_id>N{place:09}</external_id><name>Product {place}</name><price>{place}.90</price>\
                     <old_price>{place}.95</old_price><currency>USD</currency><tags>new</tags><tags>sale</tags>\
                     <manufacturer_name>Acme</manufacturer_name><description>A product of the benchmark</description>\
                     <url>https://shop.example.com/p/{place}</url><pictures>https://shop.example.com/p/{place}.jpg</pictures>\
                     <count>{place}</count><is_available>true</is_available><barcode>{}</barcode>\
                     <sku><external_id>N{place:09}-1</external_id><name>SKU {place}</name><price>{place}.90</price></sku></data>",
                    4_000_000_000_000_usize + place
                );
            }
            body.push_str("</xml>");
        }
    }
    body
}

/// What PostgreSQL needs for the rows that the server wrote.
struct Floor {
    ours: sqlx::PgConnection,
    theirs: sqlx::PgConnection,
    columns: [String; 2],
    changes: [String; 2],
    last: [i64; 2],
}

impl Floor {
    async fn new(bench: &Bench) -> anyhow::Result<Self> {
        let (mut ours, theirs) = (bench.cluster.connect(OURS).await?, bench.cluster.connect(FLOOR).await?);
        let (mut columns, mut changes) = ([const { String::new() }; 2], [const { String::new() }; 2]);
        let mut last = [0; 2];
        for (place, table) in TABLES.into_iter().enumerate() {
            let of_table = |name| sql::statement(SCHEMA, name).replace("{table}", table);
            columns[place] = sql::one(&mut ours, &of_table("schema.columns")).await?;
            changes[place] = sql::one(&mut ours, &of_table("schema.changes")).await?;
            last[place] =
                sql::one(&mut ours, &sql::statement(CATALOGUE, "catalogue.last").replace("{table}", table)).await?;
        }
        Ok(Floor { ours, theirs, columns, changes, last })
    }

    fn statement(&self, name: &str, place: usize) -> String {
        sql::statement(CATALOGUE, name)
            .replace("{table}", TABLES[place])
            .replace("{columns}", &self.columns[place])
            .replace("{changes}", &self.changes[place])
            .replace("{after}", &self.last[place].to_string())
    }

    /// Writes what is new, and lays it ready for [`Floor::upsert`].
    async fn copy(&mut self) -> anyhow::Result<Duration> {
        let mut rows = Vec::new();
        for place in 0..TABLES.len() {
            let read = self.statement("catalogue.read", place);
            rows.push(copy_out(&mut self.ours, &read).await?);
            let last = self.statement("catalogue.last", place);
            self.last[place] = sql::one(&mut self.ours, &last).await?;
        }
        for (place, rows) in rows.iter().enumerate() {
            for name in ["catalogue.stage", "catalogue.clear"] {
                let statement = self.statement(name, place);
                sql::run(&mut self.theirs, &statement).await?;
            }
            let fill = self.statement("catalogue.fill", place);
            copy_in(&mut self.theirs, &fill, rows).await?;
        }
        let begun = Instant::now();
        sql::run(&mut self.theirs, "begin").await?;
        for (place, rows) in rows.iter().enumerate() {
            let write = self.statement("catalogue.write", place);
            copy_in(&mut self.theirs, &write, rows).await?;
        }
        sql::run(&mut self.theirs, "commit").await?;
        Ok(begun.elapsed())
    }

    /// Writes the same over what is there.
    async fn upsert(&mut self) -> anyhow::Result<Duration> {
        let statements = [self.statement("catalogue.upsert", 0), self.statement("catalogue.upsert", 1)];
        let begun = Instant::now();
        sql::run(&mut self.theirs, "begin").await?;
        for statement in &statements {
            sql::run(&mut self.theirs, statement).await?;
        }
        sql::run(&mut self.theirs, "commit").await?;
        Ok(begun.elapsed())
    }
}
