//! Accepts connections until it is told to stop, then lets running requests finish.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::io::{InspectReader, InspectWriter};
use tokio_util::sync::CancellationToken;
use tower::util::MapRequestLayer;
use tower::{Layer as _, Service, ServiceExt as _};

use super::idle::{Activity, HEAD_TIMEOUT, Over};
use super::peer::Peer;
use super::{App, health_router, layers, router};

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// Longest wait until a client takes the next bytes of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may rest after a signal to stop; and how long the head of a request may take then.
const REST_AT_STOP: Duration = Duration::from_secs(2);
/// How long the answers of requests may take that were dropped at the deadline of a stop.
const LATE_ANSWERS: Duration = Duration::from_millis(200);
/// How often an HTTP/2 client is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Largest head of a request, and most of a body that is read ahead, in bytes.
const BUFFER_BYTES: usize = 64 << 10;
/// Largest head of an HTTP/2 request, in bytes.
const MAX_H2_HEADER_BYTES: u32 = 64 << 10;

/// Serves until `stop`; returns when the last request has ended, or at the deadline after it.
pub async fn serve(app: App, listener: TcpListener, stop: CancellationToken) {
    serve_routes(&app, router(&app), listener, stop).await;
}

/// Serves `/health/live` and `/health/ready` alone, as [`serve`] does all.
pub async fn serve_health(app: App, listener: TcpListener, stop: CancellationToken) {
    serve_routes(&app, health_router(&app), listener, stop).await;
}

async fn serve_routes(app: &App, routes: Router, listener: TcpListener, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let service = MapRequestLayer::new(layers::clean_path::<Body>).layer(routes);
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Most often too many open files: connections that end will free some.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let connection = connection(stream, peer, service.clone(), app.settings.keep_alive, stop.clone());
        app.tasks.spawn(async move {
            connection.await;
            drop(place);
        });
    }
    drop(listener);
    app.tasks.close();
    if tokio::time::timeout(app.settings.shutdown_timeout, app.tasks.wait()).await.is_err() {
        tracing::warn!("requests still ran at the deadline; their transactions are rolled back");
        app.late.cancel();
        // What is dropped is told of, in the log and to who still listens.
        let _ = tokio::time::timeout(LATE_ANSWERS, app.tasks.wait()).await;
    }
}

/// A connection's bytes, of which its activity is told.
fn io(stream: TcpStream, activity: &Arc<Activity>) -> impl Read + Write + Unpin + Send + use<> {
    // A client that does not read its answer holds it in memory.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let (reads, writes) = (Arc::clone(activity), Arc::clone(activity));
    let stream = InspectReader::new(Box::pin(stream), move |bytes: &[u8]| {
        if !bytes.is_empty() {
            reads.read();
        }
    });
    TokioIo::new(InspectWriter::new(stream, move |_: &[u8]| writes.write()))
}

/// How a connection is spoken to, by HTTP/1.1 or HTTP/2.
fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // `Activity` times the heads: this timeout would run while a connection rests, too. A client may close its half once its
    // request is sent.
    builder.http1().header_read_timeout(None).max_buf_size(BUFFER_BYTES).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_header_list_size(MAX_H2_HEADER_BYTES);
    builder
}

/// One connection.
fn connection<S>(
    stream: TcpStream,
    peer: SocketAddr,
    service: S,
    keep_alive: Duration,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let activity = Activity::new();
    let (note, peer) = (Arc::clone(&activity), Peer(peer.ip().to_canonical()));
    let service = service_fn(move |request: Request<Incoming>| {
        let running = Arc::new(note.begin(request.version()));
        let reading = Arc::clone(&running);
        let held = |body: Incoming| {
            Body::new(body.map_frame(move |frame| {
                let _until_the_body_goes = &reading;
                frame
            }))
        };
        let mut request = request.map(held);
        request.extensions_mut().insert(peer);
        let answer = service.clone().oneshot(request);
        async move {
            let answer = answer.await;
            drop(running);
            answer
        }
    });
    let builder = builder();
    let connection = builder.serve_connection_with_upgrades(io(stream, &activity), service).into_owned();
    async move {
        let mut connection = std::pin::pin!(connection);
        let (mut rest, mut head, mut stopping) = (Some(keep_alive), HEAD_TIMEOUT, false);
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    activity.begin_to_rest();
                    (rest, head) = (Some(REST_AT_STOP), REST_AT_STOP);
                }
                over = activity.over(rest, head) => match over {
                    Over::Idle if !stopping => rest = None,
                    _ => {
                        tracing::debug!(?over, "a connection is closed");
                        return;
                    }
                },
            }
            // What runs, or is still written, finishes; the next request needs another connection.
            connection.as_mut().graceful_shutdown();
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
