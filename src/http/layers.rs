//! What stands around every call: a clean path, a request id, a caught panic, one line in the log.

use std::any::Any;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use super::log::{Line, RequestHead};
use super::peer::{Peer, forwarded_for};
use super::reply::{Answering, Reply};
use crate::auth;
use crate::config::LogFormat;
use crate::domain::hex;
use crate::error::Error;

/// The header that carries a request id in both directions.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header that tells how long a call's phases took.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// What a client sends in `Prefer` to get it.
const TIMING_PREFERENCE: &str = "server-timing";

/// Longest request id that is taken from a client, in characters.
const MAX_REQUEST_ID_CHARS: usize = 64;

/// Takes doubled and trailing slashes out of a path, before it is routed.
pub(super) fn clean_path<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    let path = request.uri().path();
    if path.contains("//") || (path.len() > 1 && path.ends_with('/')) {
        let parts = path.split('/').filter(|part| !part.is_empty());
        let clean = parts.fold(String::new(), |path, part| path + "/" + part);
        let clean = if clean.is_empty() { "/" } else { &clean };
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        if let Ok(uri) = format!("{clean}{query}").parse::<Uri>() {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// Runs a call in a task of its own, which goes on when the client goes away, with a request id and one
/// line in the log; a panic answers 500.
pub(super) async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get().map(|Peer(address)| *address);
    let trusted = &app.settings.trusted_proxies;
    let head = RequestHead {
        request_id: request_id(&request),
        method: known_method(request.method()),
        path: request.uri().path().to_owned(),
        peer,
        forwarded_for: peer.and_then(|peer| forwarded_for(peer, request.headers(), trusted)),
    };
    let line = Arc::new(Line::new(head, app.settings.log_format == LogFormat::Json));
    request.extensions_mut().insert(Arc::clone(&line));
    let answering = Answering::of(request.uri(), request.headers());
    let tasks = app.tasks.clone();
    let timing = app.settings.server_timing || asks_for_timing(&request);
    let noted = Arc::clone(&line);
    let call = tasks.spawn(async move {
        let mut response = tokio::select! {
            response = next.run(request) => response,
            // Dropped, its transaction is rolled back.
            () = app.late.cancelled() => {
                let error = Error::unavailable("the server stopped before the request was done; send the same again");
                Reply::from(error).respond(&app, &line, answering.format(None, None))
            }
        };
        if let Some(Panicked(text)) = response.extensions_mut().remove::<Panicked>() {
            response = Reply::from(Error::internal(text)).respond(&app, &line, answering.format(None, None));
        }
        let timing = if timing { line.server_timing() } else { None };
        if let Some(timing) = timing.and_then(|timing| HeaderValue::from_str(&timing).ok()) {
            response.headers_mut().insert(SERVER_TIMING, timing);
        }
        line.finish(response.status().as_u16());
        response
    });
    let mut response = call.await.unwrap_or_else(|_| {
        // Only a panic while an answer is written comes here.
        let mut response = Response::new(r#"{"error":500,"error_text":"the server failed"}"#.into());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    if let Ok(value) = HeaderValue::from_str(noted.request_id()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// True if the client asks how long its call takes.
fn asks_for_timing(request: &Request) -> bool {
    let preferences = request.headers().get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    preferences.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(TIMING_PREFERENCE))
}

/// Marks the answer of a call that panicked.
#[derive(Clone)]
struct Panicked(String);

/// What a panic leaves for [`around`].
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    let mut response = Response::default();
    response.extensions_mut().insert(Panicked(format!("panic: {}", text.unwrap_or_default())));
    response
}

/// A method's name for the log; a client can make up any other.
fn known_method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// The client's request id, if it is harmless, and no token of header or query; else a new one.
fn request_id(request: &Request) -> String {
    let headers = request.headers();
    let sent = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let query = request.uri().query().unwrap_or_default();
    let harmless = |id: &&str| {
        (1..=MAX_REQUEST_ID_CHARS).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && !(id.len() >= auth::MIN_TOKEN_CHARS && (authorization.contains(id) || query.contains(id)))
    };
    sent.filter(harmless).map_or_else(new_request_id, ToOwned::to_owned)
}

/// A request id of our own.
pub(super) fn new_request_id() -> String {
    let mut id = [0; 8];
    // An id of zeros is still an id.
    let _ = getrandom::fill(&mut id);
    hex(&id)
}
