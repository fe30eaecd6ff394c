//! Whether the process lives, and whether it can serve.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::App;
use super::log::Line;
use super::reply::{Reply, answer_early};
use crate::error::Error;
use crate::store;

/// The process lives.
pub(super) async fn live(
    State(app): State<App>,
    Extension(line): Extension<Arc<Line>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    answer_early(&app, &line, &uri, &headers, Reply::done(Vec::new()))
}

/// The database can be worked with, by a new connection and by one of those that imports use; and the server is not about to stop.
pub(super) async fn ready(
    State(app): State<App>,
    Extension(line): Extension<Arc<Line>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if app.draining.load(Ordering::Relaxed) {
        // Asked for: no failure that the log has to tell.
        line.note(|facts| facts.draining = true);
        return answer_early(&app, &line, &uri, &headers, Error::unavailable("the server stops soon").into());
    }
    let reply = match store::connect::probe(&app.imports.pool).await {
        Ok(()) => Reply::done(Vec::new()),
        Err(error) => Reply::from(Error::from(error)),
    };
    answer_early(&app, &line, &uri, &headers, reply)
}
