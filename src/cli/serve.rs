//! `serve`: the database, the schema, the listener, the janitor; and everything back in the end.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::{Connection as _, PgPool};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::database::Database;
use super::{demo, listen};
use crate::clock::Clock;
use crate::config::{Listen, Settings};
use crate::delivery;
use crate::error::chain;
use crate::http::App;
use crate::import::records;
use crate::shutdown::Stop;
use crate::store;

/// How often the janitor writes down when tokens were used, and looks for old events.
const JANITOR_INTERVAL: Duration = Duration::from_mins(1);
/// Longest wait for the database connections to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Most events that one statement deletes.
const PRUNE_SET: i64 = 10_000;
/// One to be woken by, one to work with.
const DELIVERY_CONNECTIONS: u32 = 2;
/// Of `deliver`: one to ask the database whether it answers, one to count what waits.
const HEALTH_CONNECTIONS: u32 = 2;

pub(super) async fn serve(settings: Settings, demo: bool) -> anyhow::Result<()> {
    let listener = listen::bind("listen", &settings.listen).await?;
    let address = listener.local_addr().context("the listener's address")?;
    if demo && !address.ip().is_loopback() {
        anyhow::bail!("serve --demo: expected a loopback address to listen on, found {address}: its token is public");
    }
    if settings.max_inflight_bytes / 2 < settings.limits.max_body_bytes {
        tracing::warn!(
            max_inflight_bytes = settings.max_inflight_bytes,
            max_body_bytes = settings.limits.max_body_bytes,
            "a body of more than half of max_inflight_bytes is answered 503, unless its token is in header or query"
        );
    }
    let stop = crate::shutdown::on_signal(settings.drain).context("signals")?;
    let mut database = tokio::select! {
        database = Database::for_server(&settings, demo) => database?,
        // Dropped, a private PostgreSQL that is still starting is told to stop.
        () = stop.asked.cancelled() => return Ok(()),
    };
    let mut own_postgres = database.take_own_postgres();
    let served = tokio::select! {
        served = Box::pin(run(settings, demo, listener, stop, &database)) => served,
        never = own_postgres.keep_up() => match never {},
    };
    let stopped = own_postgres.stop().await;
    served.and(stopped)
}

async fn run(
    settings: Settings,
    demo: bool,
    listener: TcpListener,
    stop: Stop,
    database: &Database,
) -> anyhow::Result<()> {
    let migrated = tokio::select! {
        migrated = store::connect::migrate(&database.options) => migrated?,
        () = stop.asked.cancelled() => return Ok(()),
    };
    if migrated.after > migrated.before {
        tracing::info!(from = migrated.before, to = migrated.after, "the schema was brought up to date");
    }
    let pool = store::connect::pool(database.options.clone(), &settings);
    let address = listener.local_addr().context("the listener's address")?;
    // Before it is said that all is ready.
    let measuring = measure(settings.metrics_listen.clone(), &pool).await?;
    if demo {
        demo::set_up(&pool, migrated.before == 0 || database.is_private()).await?;
        demo::print_how_to_try(address);
    }
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "ordergate is ready");
    let outbox_max_age = settings.outbox_max_age;
    let delivering = deliver(settings.clone(), database, stop.now.clone());
    let app = App::new(settings, pool.clone(), Clock::System, demo);
    let janitor = janitor(&app, &pool, outbox_max_age);
    let draining = async {
        stop.asked.cancelled().await;
        app.drain();
        std::future::pending::<()>().await;
    };
    let serving = async {
        tokio::select! {
            () = crate::http::serve::serve(app.clone(), listener, stop.now.clone()) => {}
            () = draining => {}
            () = janitor => {}
            () = delivery::announce(&pool, app.events_written()) => {}
            () = records::keep_writing(app.records(), &pool) => {}
        }
        Ok(())
    };
    let served = tokio::select! {
        served = async { tokio::try_join!(serving, delivering) } => served,
        () = measuring => Ok(((), ())),
    };
    write_last(&app, &pool).await;
    // What still runs past its deadline ends with the process, before it can commit.
    if !app.is_late() {
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, pool.close()).await;
    }
    tracing::info!("ordergate has stopped");
    served.map(drop)
}

/// Writes down what is kept in memory; a stop waits for no database that is away.
async fn write_last(app: &App, pool: &PgPool) {
    let written = async {
        store::connect::look(pool).await?;
        note_uses(app, pool).await;
        app.records().write(pool).await
    };
    if let Err(error) = written.await {
        tracing::warn!(error = chain(&error), "the records of the last imports were not written");
    }
}

/// Measures and serves what was measured, for ever; or does nothing, for ever.
async fn measure(listen: Option<Listen>, pool: &PgPool) -> anyhow::Result<impl Future<Output = ()>> {
    let serving = match listen {
        None => None,
        Some(listen) => {
            let address = listen::address("metrics-listen", &listen).await?;
            let serving = crate::telemetry::serve_metrics(address);
            Some(serving.with_context(|| format!("listen on {address} (--metrics-listen names another address)"))?)
        }
    };
    Ok(async move {
        if let Some(serving) = serving {
            tokio::join!(serving, delivery::count_waiting(pool));
        }
        std::future::pending::<()>().await;
    })
}

/// `deliver`: delivers events, and tells at an address of its own how it is, if there is one.
pub(super) async fn deliver_alone(settings: Settings, health_listen: Option<Listen>) -> anyhow::Result<()> {
    let stop = crate::shutdown::on_signal(Duration::ZERO).context("signals")?.now;
    let health = match health_listen {
        None => None,
        Some(listen) => Some(listen::bind("health-listen", &listen).await?),
    };
    let mut database = tokio::select! {
        database = Database::for_command(&settings) => database?,
        () = stop.cancelled() => return Ok(()),
    };
    let mut own_postgres = database.take_own_postgres();
    let delivered = tokio::select! {
        delivered = Box::pin(deliver_on(settings, health, stop, &database)) => delivered,
        never = own_postgres.keep_up() => match never {},
    };
    let stopped = own_postgres.stop().await;
    delivered.and(stopped)
}

async fn deliver_on(
    settings: Settings,
    health: Option<TcpListener>,
    stop: CancellationToken,
    database: &Database,
) -> anyhow::Result<()> {
    database.connect().await?.close().await?;
    let settings = Settings { no_delivery: false, max_connections: HEALTH_CONNECTIONS, ..settings };
    let pool = store::connect::pool(database.options.clone(), &settings);
    let measuring = measure(settings.metrics_listen.clone(), &pool).await?;
    let health_address = health.as_ref().and_then(|listener| listener.local_addr().ok()).map(tracing::field::display);
    tracing::info!(health_address, version = env!("CARGO_PKG_VERSION"), "ordergate delivers events");
    let app = App::new(settings.clone(), pool.clone(), Clock::System, false);
    let telling = async {
        if let Some(listener) = health {
            crate::http::serve::serve_health(app, listener, stop.clone()).await;
        }
        Ok(())
    };
    let delivered = tokio::select! {
        delivered = async { tokio::try_join!(deliver(settings, database, stop.clone()), telling) } => delivered.map(drop),
        () = measuring => Ok(()),
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, pool.close()).await;
    tracing::info!("ordergate has stopped");
    delivered
}

/// Delivers events until `stop`, or the deadline after it, by connections of its own: imports never wait for them.
async fn deliver(settings: Settings, database: &Database, stop: CancellationToken) -> anyhow::Result<()> {
    if settings.no_delivery {
        return Ok(());
    }
    let settings = Settings { max_connections: DELIVERY_CONNECTIONS, ..settings };
    let pool = store::connect::pool(database.options.clone(), &settings);
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(settings.shutdown_timeout).await;
    };
    tokio::select! {
        delivered = delivery::run(pool.clone(), settings.webhooks, stop.clone()) => delivered.context("delivery")?,
        () = late => tracing::warn!("events were still on their way at the deadline; they are sent again"),
    }
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, pool.close()).await;
    Ok(())
}

/// Tidies up for ever.
async fn janitor(app: &App, pool: &PgPool, outbox_max_age: Duration) {
    loop {
        tokio::time::sleep(JANITOR_INTERVAL).await;
        note_uses(app, pool).await;
        match prune(pool, outbox_max_age).await {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "old events were deleted"),
            Err(error) => tracing::warn!(%error, "old events were not deleted; the next try is in a minute"),
        }
    }
}

async fn prune(pool: &PgPool, max_age: Duration) -> store::Result<u64> {
    let mut conn = store::connect::acquire(pool).await?;
    let mut deleted = 0;
    loop {
        let packs = store::outbox::prune(&mut conn, max_age, PRUNE_SET).await?;
        let deliveries = store::deliveries::prune(&mut conn, max_age, PRUNE_SET).await?;
        let imports = store::imports::prune(&mut conn, max_age, PRUNE_SET).await?;
        let orders = store::order_edits::prune_deleted(&mut conn, max_age, PRUNE_SET).await?;
        deleted += packs + deliveries + imports + orders;
        if packs.max(deliveries).max(imports).max(orders) < PRUNE_SET.unsigned_abs() {
            return Ok(deleted);
        }
    }
}

/// Writes down when tokens were last used.
async fn note_uses(app: &App, pool: &PgPool) {
    let mut uses: Vec<_> = app.last_used().take().into_iter().collect();
    if uses.is_empty() {
        return;
    }
    // In one order, so that two servers never wait for each other in a circle.
    uses.sort_unstable();
    let (ids, times): (Vec<_>, Vec<_>) = uses.iter().copied().unzip();
    let noted = async {
        let mut conn = store::connect::acquire(pool).await?;
        store::tokens::note_uses(&mut conn, &ids, &times).await
    };
    if let Err(error) = noted.await {
        tracing::warn!(%error, "when tokens were last used was not written down; the next try is in a minute");
        for (id, at) in uses {
            app.last_used().note(id, at);
        }
    }
}
