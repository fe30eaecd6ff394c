//! The only room that knows axum: routes, layers, one call's way from bytes to reply.
//!
//! Never enters: SQL, what a format looks like.

mod admin;
mod body;
mod call;
mod catalogue;
mod health;
mod idle;
mod inflight;
mod layers;
pub mod local;
mod log;
mod market;
mod orders;
mod peer;
mod preorder;
mod reply;
pub mod serve;
mod setup;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::routing::{get, post};
use sqlx::PgPool;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::{Callers, LastUsed};
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::catalogue::ItemType;
use crate::import::joint::Joints;
use crate::import::orders::Imports;
use crate::import::records::Records;
use crate::import::setup::Setups;
use inflight::Inflight;
use market::Call;
use preorder::Pricing;

/// What all requests share.
#[derive(Debug, Clone)]
pub struct App(Arc<Shared>);

/// What all requests share.
#[derive(Debug)]
pub struct Shared {
    settings: Settings,
    imports: Arc<Imports>,
    callers: Callers,
    clock: Clock,
    /// This server is a demo: it takes the public token.
    demo: bool,
    last_used: LastUsed,
    inflight: Inflight,
    /// Calls at work at once: each holds a decoded batch, and needs a connection.
    work: Semaphore,
    /// Told after events were written.
    events_written: Notify,
    /// Nobody new should come.
    draining: AtomicBool,
    /// Connections, calls and what outlives them: a stop waits for all of it.
    tasks: TaskTracker,
    /// The deadline of a stop has passed: calls that still run are dropped.
    late: CancellationToken,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// What all requests share.
    #[must_use]
    pub fn new(settings: Settings, pool: PgPool, clock: Clock, demo: bool) -> Self {
        let inflight = Inflight::new(settings.max_inflight_bytes);
        let work = Semaphore::new(settings.max_connections as usize);
        let (last_used, tasks) = (LastUsed::default(), TaskTracker::new());
        let is_local = pool.connect_options().get_socket().is_some();
        let (setups, limits, quick) = (Setups::default(), settings.limits.clone(), settings.quick_imports);
        let imports = Arc::new(Imports {
            pool,
            setups,
            records: Records::default(),
            joints: Joints::default(),
            limits,
            is_local,
            quick,
        });
        let (callers, events_written, draining, late) = Default::default();
        App(Arc::new(Shared {
            settings,
            imports,
            callers,
            clock,
            demo,
            last_used,
            inflight,
            work,
            events_written,
            draining,
            tasks,
            late,
        }))
    }

    /// Told after events were written.
    #[must_use]
    pub fn events_written(&self) -> &Notify {
        &self.events_written
    }

    /// From now on `/health/ready` says that nobody new should come.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Calls were dropped at the deadline of a stop.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.late.is_cancelled()
    }

    /// The records of imports, until they are written.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.imports.records
    }

    /// When each token was last used, since this was last asked.
    #[must_use]
    pub fn last_used(&self) -> &LastUsed {
        &self.last_used
    }
}

/// Work on fewer bytes is done where it comes up: to make place for it takes longer.
const FEW_BYTES: usize = 64 << 10;

/// Does work on so many bytes without holding up other calls.
fn in_place<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes < FEW_BYTES { work() } else { tokio::task::block_in_place(work) }
}

/// All routes.
fn router(app: &App) -> Router {
    let routes = Router::new()
        .route("/api/v1.1/market/orders/import", post(orders::import))
        .route("/api/v1.1/market/orders/list", market::route(Call::ListOrders))
        .route("/api/v1.1/market/orders/get", market::route(Call::GetOrder))
        .route("/api/v1.1/market/orders/get_status", market::route(Call::GetStatus))
        .route("/api/v1.1/market/orders/update_order_line_status", market::route(Call::UpdateLineStatus))
        .route("/api/v1.1/market/orders/delete", market::route(Call::DeleteOrder))
        .route("/api/v1.1/market/orders/preorder", market::route(Call::Preorder(Pricing::Check)))
        .route("/api/v1.1/market/orders/preorder_commit", market::route(Call::Preorder(Pricing::Commit)))
        .route("/api/v1.1/market/products/import", catalogue::import(ItemType::Product))
        .route("/api/v1.1/market/products/list", market::route(Call::ListItems(ItemType::Product)))
        .route("/api/v1.1/market/products/delete", market::route(Call::DeleteItems(ItemType::Product)))
        .route("/api/v1.1/market/sku/import", catalogue::import(ItemType::Sku))
        .route("/api/v1.1/market/sku/list", market::route(Call::ListItems(ItemType::Sku)))
        .route("/api/v1.1/market/sku/delete", market::route(Call::DeleteItems(ItemType::Sku)))
        .route("/api/v1.1/admin/{subject}/{verb}", post(admin::call));
    served(app, routes.merge(health_routes()))
}

/// The routes of whoever only tells how it is.
fn health_router(app: &App) -> Router {
    served(app, health_routes())
}

fn health_routes() -> Router<App> {
    Router::new().route("/health/live", get(health::live)).route("/health/ready", get(health::ready))
}

/// Routes with what stands around every call.
fn served(app: &App, routes: Router<App>) -> Router {
    routes
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::method_not_allowed)
        .with_state(app.clone())
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(axum::middleware::from_fn_with_state(app.clone(), layers::around))
}
