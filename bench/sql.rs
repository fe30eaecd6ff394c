//! Statements that follow the schema by themselves, so that no query can be checked at compile time.

use anyhow::Context as _;
use futures_util::StreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Decode, PgConnection, Postgres, Row as _, Type};

/// Runs statements.
pub(crate) async fn run(conn: &mut PgConnection, sql: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.with_context(|| sql.to_owned())?;
    Ok(())
}

/// The first column of all rows.
pub(crate) async fn column<T>(conn: &mut PgConnection, sql: &str) -> anyhow::Result<Vec<T>>
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    #[expect(clippy::disallowed_methods, reason = "it is made at run time")]
    let rows: Vec<PgRow> =
        sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(conn).await.with_context(|| sql.to_owned())?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The first column of the first row.
pub(crate) async fn one<T>(conn: &mut PgConnection, sql: &str) -> anyhow::Result<T>
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    column(conn, sql).await?.pop().with_context(|| format!("no row: {sql}"))
}

/// The statement of that name in a file: from behind the line `-- name` to its semicolon.
pub(crate) fn statement(file: &str, name: &str) -> String {
    let marked = file.split_once(&format!("-- {name}\n")).map(|(_, behind)| behind);
    let statement = marked.and_then(|behind| behind.split_once(';')).map(|(statement, _)| statement);
    statement.unwrap_or_else(|| panic!("the statement {name}")).trim().to_owned()
}

/// The bytes of `copy … to stdout`.
pub(crate) async fn copy_out(conn: &mut PgConnection, sql: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = conn.copy_out_raw(sql).await.with_context(|| sql.to_owned())?;
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part?);
    }
    Ok(bytes)
}

/// Brings bytes by `copy … from stdin`.
pub(crate) async fn copy_in(conn: &mut PgConnection, sql: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut copy = conn.copy_in_raw(sql).await.with_context(|| sql.to_owned())?;
    copy.send(bytes).await?;
    copy.finish().await.with_context(|| sql.to_owned())?;
    Ok(())
}
