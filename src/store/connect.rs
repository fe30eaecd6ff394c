//! Connections and migrations.

use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::Semaphore;

use super::outage::{self, Cause, Outage};
use super::{Error, Result};
use crate::config::Settings;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a connection may rest before it is tested.
const IDLE_BEFORE_TEST: Duration = Duration::from_secs(1);

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// It cannot be connected to.
    #[error(transparent)]
    Connect(#[from] Error),
    /// It refuses.
    #[error("the database")]
    Database(#[source] Cause),
    /// It stores texts in another encoding.
    #[error(
        "the database's encoding: expected UTF8, found {0}; create it with: createdb --encoding=UTF8 --template=template0 NAME"
    )]
    Encoding(String),
    /// Its schema was made by a newer program.
    #[error(
        "the database's schema is at version {found}, this program knows versions up to {known}: run the newer ordergate that made it"
    )]
    Newer {
        /// The schema's version.
        found: i64,
        /// The newest one that this program knows.
        known: i64,
    },
    /// Its schema is older than the program.
    #[error(
        "the database's schema is at version {found}, this program needs version {known}: run `ordergate migrate` or start the server"
    )]
    Older {
        /// The schema's version.
        found: i64,
        /// The one that this program needs.
        known: i64,
    },
    /// A migration failed.
    #[error("migration {version}")]
    Migration {
        /// Its number.
        version: i64,
        /// Why.
        source: Cause,
    },
    /// The migrations that ran are not this program's.
    #[error("migration")]
    Migrate(#[source] MigrateError),
}

impl From<sqlx::Error> for SetupError {
    fn from(error: sqlx::Error) -> Self {
        SetupError::Database(Cause(error))
    }
}

impl From<MigrateError> for SetupError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(source) => source.into(),
            MigrateError::ExecuteMigration(source, version) => SetupError::Migration { version, source: Cause(source) },
            error => SetupError::Migrate(error),
        }
    }
}

/// A pool whose connections give up on locks in time.
#[must_use]
pub fn pool(options: PgConnectOptions, settings: &Settings) -> PgPool {
    let lock_timeout = settings.lock_timeout.as_millis().to_string();
    PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        // A test before each use costs a round trip; one that was idle may have lost its server.
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                let trusted = meta.idle_for < IDLE_BEFORE_TEST && !outage::is_doubtful(meta.age);
                Ok(trusted || conn.ping().await.is_ok())
            })
        })
        .after_connect(move |conn, _| {
            let lock_timeout = lock_timeout.clone();
            Box::pin(async move {
                // Every statement goes by keys, however large its arrays and its tables are: so one plan is kept
                // for a connection's life, and it must not be one that reads all of a table that was small when
                // it was made. Compiling it would take longer than running it.
                sqlx::query!(
                    "-- connection.settings
                    select set_config('lock_timeout', $1, false) as lock_timeout,
                        set_config('enable_seqscan', 'off', false) as enable_seqscan,
                        set_config('plan_cache_mode', 'force_generic_plan', false) as plan_cache_mode,
                        set_config('jit', 'off', false) as jit",
                    lock_timeout
                )
                .fetch_one(&mut *conn)
                .await?;
                load_plpgsql(conn).await
            })
        })
        // A connection's buffers would stay as large as the largest import that it has served.
        .after_release(|conn, _| {
            Box::pin(async move {
                conn.shrink_buffers();
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// Has a backend load PL/pgSQL's library, which the schema's triggers need: one of another build than the server, as it
/// lies there after an upgrade, fails here and not in an import.
async fn load_plpgsql(conn: &mut PgConnection) -> std::result::Result<(), sqlx::Error> {
    sqlx::query!("-- connection.load_plpgsql\ndo $$ begin end $$").execute(conn).await.map(drop)
}

/// A connection for reads that need no transaction; a server that is starting again is waited for.
///
/// # Errors
/// There is none, or the database is away.
pub async fn acquire(pool: &PgPool) -> Result<PoolConnection<Postgres>> {
    patiently(pool, || pool.acquire()).await
}

/// Begins a transaction; a server that is starting again is waited for.
///
/// # Errors
/// There is no connection, or the database is away.
pub async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>> {
    patiently(pool, || pool.begin()).await
}

/// Rest before the next try to connect.
const REST: Duration = Duration::from_millis(50);

/// Tries again, for as long as a connection may take, while the failure is one that passes; nothing was done before.
async fn patiently<T, F>(pool: &PgPool, attempt: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = std::result::Result<T, sqlx::Error>>,
{
    let trying = async {
        loop {
            match attempt().await {
                Err(error) if outage::passes(&error) => {
                    outage::note(Outage::of_connecting(&error));
                    tokio::time::sleep(REST).await;
                }
                done => break done,
            }
        }
    };
    let tried = tokio::time::timeout(pool.options().get_acquire_timeout(), trying).await;
    let error = match tried.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
        Ok(done) => return Ok(done),
        Err(error) => error,
    };
    if matches!(error, sqlx::Error::PoolTimedOut) {
        // The pool does not say whether all connections were in use or none could be made. Nor does a look that takes
        // too long.
        let looking = async {
            let _place = LOOKS.acquire().await;
            look_now(pool).await
        };
        tokio::time::timeout(LATE_LOOK_TIMEOUT, looking).await.unwrap_or(Ok(()))?;
    }
    Err(unconnected(&pool.connect_options(), error))
}

/// A failure to connect, with the place.
fn unconnected(options: &PgConnectOptions, source: sqlx::Error) -> Error {
    unavailable(options, Outage::of_connecting(&source), source)
}

fn unavailable(options: &PgConnectOptions, outage: Outage, source: sqlx::Error) -> Error {
    Error::Unavailable { outage, at: Some(outage::place(options)), source: Cause(source) }
}

/// Longest wait for a connection that no pool makes.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection of its own.
///
/// # Errors
/// It cannot be made, and where; never with a password.
pub async fn open(options: &PgConnectOptions) -> Result<PgConnection> {
    let opened = tokio::time::timeout(OPEN_TIMEOUT, PgConnection::connect_with(options)).await;
    let opened = opened.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
    opened.map_err(|error| unconnected(options, error))
}

/// Longest look, longest wait for others that look before, and longest wait for one of a pool's connections to answer:
/// 3 seconds together.
const LOOK_TIMEOUT: Duration = Duration::from_millis(1_500);
const PLACE_TIMEOUT: Duration = Duration::from_millis(500);
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest look for why a wait was in vain, the wait for others that look included.
const LATE_LOOK_TIMEOUT: Duration = Duration::from_millis(500);
/// So many look at once, whoever asks.
static LOOKS: Semaphore = Semaphore::const_new(4);

/// Looks within 3 seconds, by a new connection and by one of the pool's, whether the database can be worked with.
///
/// # Errors
/// It cannot, and why.
pub async fn probe(pool: &PgPool) -> Result<()> {
    // First, as the pool would wait for a database that is away.
    look(pool).await?;
    let asking = async { ping(&mut *acquire(pool).await?).await };
    let busy = |_| unconnected(&pool.connect_options(), sqlx::Error::PoolTimedOut);
    tokio::time::timeout(PING_TIMEOUT, asking).await.map_err(busy)?
}

/// Looks by a new connection, without patience, whether the database can be worked with.
///
/// A connection that is kept tells nothing of that: its backend goes on, by what it has loaded, where every new one
/// fails. That there is none left for us tells nothing either: those of a pool are.
///
/// # Errors
/// It cannot, and why.
pub async fn look(pool: &PgPool) -> Result<()> {
    let options = pool.connect_options();
    let busy = |_| unconnected(&options, sqlx::Error::PoolTimedOut);
    let _place = tokio::time::timeout(PLACE_TIMEOUT, LOOKS.acquire()).await.map_err(busy)?;
    let timed_out = |_| Err(unconnected(&options, sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
    tokio::time::timeout(LOOK_TIMEOUT, look_now(pool)).await.unwrap_or_else(timed_out)
}

async fn look_now(pool: &PgPool) -> Result<()> {
    let options = pool.connect_options();
    let mut conn = match PgConnection::connect_with(&options).await {
        Err(error) if Outage::of(&error) == Some(Outage::Busy) => return Ok(()),
        connected => connected.map_err(|error| unconnected(&options, error))?,
    };
    if let Err(source) = load_plpgsql(&mut conn).await {
        return Err(unavailable(&options, Outage::of(&source).unwrap_or(Outage::Unusable), source));
    }
    let is_read_only = sqlx::query_scalar!(
        "-- connection.is_read_only\nselect current_setting('transaction_read_only')::boolean as \"is_read_only!\""
    );
    if is_read_only.fetch_one(&mut conn).await? {
        let source = sqlx::Error::Protocol("transaction_read_only is on".to_owned());
        return Err(unavailable(&options, Outage::ReadOnly, source));
    }
    if outage::disk_was_full() {
        look_for_room(&mut conn).await?;
    }
    let _ = conn.close().await;
    Ok(())
}

/// Whether a disk that was full has room again, for a mebibyte.
async fn look_for_room(conn: &mut PgConnection) -> Result<()> {
    let made = sqlx::query!(
        "-- connection.look_for_room
        create temp table room on commit drop as select repeat('x', 1024) as bytes from generate_series(1, 1024)"
    );
    match made.execute(conn).await.map_err(Error::from) {
        Err(error @ Error::Unavailable { .. }) => return Err(error),
        // Whoever may not make temporary tables cannot know.
        Ok(_) | Err(_) => outage::note_room(),
    }
    Ok(())
}

/// Begins a transaction whose statements all see one moment, and which writes nothing.
///
/// # Errors
/// See [`begin`].
pub async fn begin_snapshot(pool: &PgPool) -> Result<Transaction<'static, Postgres>> {
    patiently(pool, || pool.begin_with("begin isolation level repeatable read read only")).await
}

/// Longest wait for a lock in a transaction that gives way: less than PostgreSQL's default `deadlock_timeout` of a
/// second.
const IMPATIENCE: Duration = Duration::from_millis(300);

/// Begins a transaction that gives way where another one holds what it needs.
///
/// # Errors
/// See [`begin`].
pub async fn begin_impatient(pool: &PgPool) -> Result<Transaction<'static, Postgres>> {
    let statement = format!("begin; set local lock_timeout = {}", IMPATIENCE.as_millis());
    patiently(pool, || pool.begin_with(sqlx::AssertSqlSafe(statement.clone()))).await
}

/// The schema's version before and after migrations ran; 0 is an empty database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Before.
    pub before: i64,
    /// After.
    pub after: i64,
}

/// Brings the schema up to this program's version, under a lock.
///
/// # Errors
/// The database is away, of another encoding, or newer than this program; or a migration failed.
pub async fn migrate(options: &PgConnectOptions) -> std::result::Result<Migrated, SetupError> {
    let mut conn = open(options).await?;
    let encoding =
        sqlx::query_scalar!("-- connection.encoding\nselect current_setting('server_encoding') as \"encoding!\"")
            .fetch_one(&mut conn)
            .await?;
    if encoding != "UTF8" {
        return Err(SetupError::Encoding(encoding));
    }
    // Another server may start at the same moment; the lock goes with the connection.
    conn.lock().await?;
    let before = version(&mut conn).await?;
    if before > known() {
        return Err(SetupError::Newer { found: before, known: known() });
    }
    MIGRATIONS.run(&mut conn).await?;
    conn.close().await?;
    Ok(Migrated { before, after: known() })
}

/// Checks that the schema is this program's, without changing it.
///
/// # Errors
/// The database is away, or its schema is older or newer.
pub async fn check_version(conn: &mut PgConnection) -> std::result::Result<(), SetupError> {
    match version(conn).await? {
        found if found > known() => Err(SetupError::Newer { found, known: known() }),
        found if found < known() => Err(SetupError::Older { found, known: known() }),
        _ => Ok(()),
    }
}

/// The newest version that this program knows.
fn known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// The schema's version; 0 for a database without one.
async fn version(conn: &mut PgConnection) -> std::result::Result<i64, SetupError> {
    let table = &MIGRATIONS.table_name;
    let exists = sqlx::query_scalar!(
        "-- connection.has_schema\nselect to_regclass($1) is not null as \"exists!\"",
        table.as_ref()
    );
    if !exists.fetch_one(&mut *conn).await? {
        return Ok(0);
    }
    let applied = conn.list_applied_migrations(table).await?;
    Ok(applied.iter().map(|migration| migration.version).max().unwrap_or_default())
}

/// Asks the database anything.
///
/// # Errors
/// It does not answer.
pub async fn ping(conn: &mut PgConnection) -> Result<()> {
    sqlx::query_scalar!("-- connection.ping\nselect 1 as \"one!\"").fetch_one(conn).await.map_err(Error::from)?;
    Ok(())
}

/// True if the database was made by a demo server.
///
/// # Errors
/// The database failed.
pub async fn is_demo(conn: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar!("-- installation.is_demo\nselect demo from installation").fetch_one(conn).await?)
}

/// Marks a database without accounts as a demo's. Returns whether it is one now.
///
/// # Errors
/// The database failed.
pub async fn mark_demo(conn: &mut PgConnection) -> Result<bool> {
    sqlx::query!(
        "-- installation.mark_demo\nupdate installation set demo = true where not exists (select from accounts)"
    )
    .execute(&mut *conn)
    .await?;
    is_demo(conn).await
}
