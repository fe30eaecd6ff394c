//! Accepts connections until it is told to stop, then lets running requests finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequestLayer;
use tower::{Layer, Service};

use super::{App, layers, router};

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// Longest wait for a request's head, from its first byte or from the answer before.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait until a client takes the next bytes of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head of a request, and most of a body that is read ahead, in bytes.
const BUFFER_BYTES: usize = 64 << 10;
/// Largest head of an HTTP/2 request, in bytes.
const MAX_H2_HEADER_BYTES: u32 = 64 << 10;

/// Serves until `stop`; returns when the last request has ended, or at the deadline after it.
pub async fn serve(app: App, listener: TcpListener, stop: CancellationToken) {
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let service = MapRequestLayer::new(layers::clean_path::<Body>).layer(router(&app));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Most often too many open files: connections that end will free some.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let connection = connection(stream, service.clone(), &connections);
        app.tasks.spawn(async move {
            connection.await;
            drop(place);
        });
    }
    drop(listener);
    app.tasks.close();
    let finish = async {
        connections.shutdown().await;
        app.tasks.wait().await;
    };
    if tokio::time::timeout(app.settings.shutdown_timeout, finish).await.is_err() {
        tracing::warn!("requests still ran at the deadline; their transactions are rolled back");
    }
}

/// One connection, HTTP/1.1 or HTTP/2.
fn connection<S>(
    stream: TcpStream,
    service: S,
    connections: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static
where
    S: Service<Request<Body>, Response = axum::response::Response, Error = std::convert::Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let asked = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&asked);
    let service = tower::util::MapRequest::new(service, move |request: Request<Incoming>| {
        note.store(true, Ordering::Relaxed);
        request.map(Body::new)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEADER_TIMEOUT)
        .max_header_list_size(MAX_H2_HEADER_BYTES);
    // A client that does not read its answer holds it in memory.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let io = TokioIo::new(Box::pin(stream));
    let connection = builder.serve_connection_with_upgrades(io, TowerToHyperService::new(service)).into_owned();
    let connection = connections.watch(connection);
    async move {
        let mut connection = std::pin::pin!(connection);
        let ended = match tokio::time::timeout(HEADER_TIMEOUT, &mut connection).await {
            Ok(ended) => ended,
            Err(_) if asked.load(Ordering::Relaxed) => connection.await,
            // Nothing was asked yet: hyper itself would wait for the first bytes for ever.
            Err(_) => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
