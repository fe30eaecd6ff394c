//! A database for each test, cloned from one that was migrated once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Longest wait for what a test brings about.
const DEADLINE: Duration = Duration::from_mins(1);

/// A database of one test's own.
#[derive(Clone)]
pub(crate) struct TestDb {
    name: String,
    pub(crate) options: PgConnectOptions,
}

pub(crate) fn admin_options() -> PgConnectOptions {
    super::database_url().parse().expect("a database URL")
}

/// Runs a statement that is not checked at compile time.
pub(crate) async fn run(conn: &mut PgConnection, sql: impl Into<String>) {
    let sql = sql.into();
    sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(conn).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn admin() -> PgConnection {
    PgConnection::connect_with(&admin_options()).await.expect("the test cluster")
}

async fn template() -> String {
    let name = format!("template_{}", std::process::id());
    run(&mut admin().await, format!("create database {name}")).await;
    ordergate::store::connect::migrate(&admin_options().database(&name)).await.expect("migrations");
    name
}

impl TestDb {
    pub(crate) async fn new() -> Self {
        let template = TEMPLATE.get_or_init(template).await;
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(&mut admin().await, format!("create database {name} template {template}")).await;
        TestDb { options: admin_options().database(&name), name }
    }

    /// A database without a schema.
    pub(crate) async fn empty() -> Self {
        let name = format!("empty_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(&mut admin().await, format!("create database {name} template template0")).await;
        TestDb { options: admin_options().database(&name), name }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The address of the database, for a program.
    pub(crate) fn url(&self) -> String {
        super::database_url().replacen("/postgres?", &format!("/{}?", self.name), 1)
    }

    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.options).await.expect("the test's database")
    }

    /// How many connections wait for a lock.
    pub(crate) async fn waiting(&self) -> usize {
        let waiting =
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        self.text(waiting).await.parse().expect("a number")
    }

    /// Waits until so many connections wait for a lock.
    pub(crate) async fn until_waiting(&self, connections: usize) {
        let begun = Instant::now();
        while self.waiting().await < connections {
            assert!(begun.elapsed() < DEADLINE, "expected {connections} connections to wait for a lock");
        }
    }

    /// The first column of the first row, as text.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let mut conn = self.connect().await;
        let sql = format!("select coalesce(({sql})::text, 'null')");
        #[expect(clippy::disallowed_methods, reason = "a test's own question")]
        sqlx::query_scalar(AssertSqlSafe(sql.clone()))
            .fetch_one(&mut conn)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the database of this test is {}", self.name);
        }
    }
}
