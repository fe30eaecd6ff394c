//! The floors: what PostgreSQL itself needs for the rows that the server wrote, without any server around it.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::sql::{self, copy_in, copy_out};

const COPY: &str = include_str!("copy.sql");
const UPSERT: &str = include_str!("upsert.sql");
const SCHEMA: &str = include_str!("schema.sql");
/// Orders that one `copy` brings.
const CHUNK: usize = 2_000;
const TABLES: [&str; 2] = ["orders", "order_lines"];

/// Rows as PostgreSQL writes them in binary, orders and lines by chunks.
pub(crate) struct Rows(Vec<[Vec<u8>; 2]>);

/// The statements of the floors, with the columns that the schema has.
pub(crate) struct Floor {
    conn: PgConnection,
    columns: [String; 2],
    changes: [String; 2],
}

impl Floor {
    /// The floor in a database.
    pub(crate) async fn new(mut conn: PgConnection) -> anyhow::Result<Self> {
        let (mut columns, mut changes) = ([const { String::new() }; 2], [const { String::new() }; 2]);
        for (place, table) in TABLES.into_iter().enumerate() {
            let of_table = |name| sql::statement(SCHEMA, name).replace("{table}", table);
            columns[place] = sql::one(&mut conn, &of_table("schema.columns")).await?;
            changes[place] = sql::one(&mut conn, &of_table("schema.changes")).await?;
        }
        Ok(Floor { conn, columns, changes })
    }

    /// Its database.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.conn
    }

    /// What the server has written into its database since the order with that id.
    pub(crate) async fn read(&self, ours: &mut PgConnection, after: i64) -> anyhow::Result<Rows> {
        let ids = sql::statement(COPY, "copy.ids").replace("{account}", "1").replace("{after}", &after.to_string());
        let ids: Vec<i64> = sql::column(ours, &ids).await?;
        let mut rows = Rows(Vec::new());
        for ids in ids.chunks(CHUNK) {
            let mut chunk = [Vec::new(), Vec::new()];
            for (place, name) in ["copy.read_orders", "copy.read_lines"].into_iter().enumerate() {
                let read = self
                    .statement(COPY, name, place)
                    .replace("{account}", "1")
                    .replace("{first}", &ids[0].to_string())
                    .replace("{last}", &ids[ids.len() - 1].to_string());
                chunk[place] = copy_out(ours, &read).await?;
            }
            rows.0.push(chunk);
        }
        Ok(rows)
    }

    /// The floor `copy`: writes the rows, which are new here.
    pub(crate) async fn copy(&mut self, rows: &Rows) -> anyhow::Result<Duration> {
        let statements = [self.statement(COPY, "copy.write_orders", 0), self.statement(COPY, "copy.write_lines", 1)];
        let begun = Instant::now();
        sql::run(&mut self.conn, "begin").await?;
        for chunk in &rows.0 {
            for (statement, bytes) in statements.iter().zip(chunk) {
                copy_in(&mut self.conn, statement, bytes).await?;
            }
        }
        sql::run(&mut self.conn, "commit").await?;
        Ok(begun.elapsed())
    }

    /// Lays the rows ready for [`Floor::upsert`].
    pub(crate) async fn stage(&mut self, rows: &Rows) -> anyhow::Result<()> {
        for name in ["upsert.stage_orders", "upsert.stage_lines", "upsert.clear"] {
            sql::run(&mut self.conn, &sql::statement(UPSERT, name)).await?;
        }
        let statements =
            [self.statement(UPSERT, "upsert.fill_orders", 0), self.statement(UPSERT, "upsert.fill_lines", 1)];
        for chunk in &rows.0 {
            for (statement, bytes) in statements.iter().zip(chunk) {
                copy_in(&mut self.conn, statement, bytes).await?;
            }
        }
        Ok(())
    }

    /// The floor `upsert`: writes the staged rows over those that are there.
    pub(crate) async fn upsert(&mut self) -> anyhow::Result<Duration> {
        let statements = [self.statement(UPSERT, "upsert.orders", 0), self.statement(UPSERT, "upsert.lines", 1)];
        let begun = Instant::now();
        sql::run(&mut self.conn, "begin").await?;
        for statement in &statements {
            sql::run(&mut self.conn, statement).await?;
        }
        sql::run(&mut self.conn, "commit").await?;
        Ok(begun.elapsed())
    }

    fn statement(&self, file: &str, name: &str, table: usize) -> String {
        let statement = sql::statement(file, name);
        statement.replace("{columns}", &self.columns[table]).replace("{changes}", &self.changes[table])
    }
}
