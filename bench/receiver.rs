//! A receiver of webhooks, on a thread of its own: it answers whatever comes, after a pause; and a bare client that does
//! nothing but send to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::client::{Client, length};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const DEADLINE: Duration = Duration::from_mins(10);

/// What the thread and its owner share.
#[derive(Default)]
struct Shared {
    came: AtomicUsize,
    pause_micros: AtomicU64,
    last: Mutex<Vec<u8>>,
}

/// A receiver; its thread ends with it.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

impl Receiver {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (stop, stopped) = oneshot::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let on_thread = Arc::clone(&shared);
        std::thread::spawn(move || runtime.block_on(serve(listener, on_thread, stopped)));
        Ok(Receiver { address, shared, _stop: stop })
    }

    /// Every answer comes so late.
    pub(crate) fn pause(&self, pause: Duration) {
        self.shared.pause_micros.store(pause.as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many requests came so far.
    pub(crate) fn came(&self) -> usize {
        self.shared.came.load(Ordering::Relaxed)
    }

    /// Waits until so many have come.
    pub(crate) async fn wait_for(&self, count: usize) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.came() < count {
            ensure!(begun.elapsed() < DEADLINE, "expected {count} webhooks, found {}", self.came());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// The request that came last.
    pub(crate) fn last(&self) -> anyhow::Result<Vec<u8>> {
        let last = self.shared.last.lock().map_err(|_| anyhow::anyhow!("the receiver's thread failed"))?;
        ensure!(!last.is_empty(), "no webhook came");
        Ok(last.clone())
    }
}

async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await?;
            connections.spawn(answer(stream, Arc::clone(&shared)));
        }
    };
    tokio::select! {
        ended = accepting => ended,
        _ = stopped => Ok(()),
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<Shared>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::with_capacity(1 << 12);
    loop {
        bytes.clear();
        loop {
            ensure!(stream.read_buf(&mut bytes).await? > 0, "the client went away");
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            if bytes.len() >= end + 4 + length(&bytes[..end]).context("a webhook")? {
                break;
            }
        }
        if let Ok(mut last) = shared.last.lock() {
            last.clone_from(&bytes);
        }
        shared.came.fetch_add(1, Ordering::Relaxed);
        let pause = shared.pause_micros.load(Ordering::Relaxed);
        if pause > 0 {
            tokio::time::sleep(Duration::from_micros(pause)).await;
        }
        stream.write_all(ANSWER).await?;
    }
}

/// Sends the same request again and again, on so many connections, until it is dropped.
pub(crate) async fn bare_clients(receiver: SocketAddr, request: Vec<u8>, connections: usize) -> anyhow::Result<()> {
    let mut sending = JoinSet::new();
    for _ in 0..connections {
        let request = request.clone();
        sending.spawn(async move {
            let mut client = Client::connect(receiver).await?;
            loop {
                client.exchange(&request).await?;
            }
        });
    }
    sending.join_next().await.context("a client")??
}
