//! A receiver of webhooks: a real HTTP server that answers as it is told, and keeps what came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A webhook that came.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) raw: String,
    pub(crate) body: Json,
}

impl Hook {
    /// The event's type and the order's external id.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.body["type"].as_str().unwrap_or("?"), self.order())
    }

    pub(crate) fn order(&self) -> &str {
        self.body["data"]["external_id"].as_str().unwrap_or("?")
    }
}

/// Answers the hook that comes, after so many came before it: the bytes of an answer; nothing at all is a reset.
pub(crate) type Answers = fn(usize, &Hook) -> String;

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    came: Arc<(Mutex<Vec<Hook>>, Notify)>,
}

pub(crate) fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n")
}

impl Receiver {
    pub(crate) async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let came: Arc<(Mutex<Vec<Hook>>, Notify)> = Arc::default();
        let shared = Arc::clone(&came);
        #[expect(clippy::disallowed_methods, reason = "it lives as long as its test")]
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(receive(stream, Arc::clone(&shared), answers));
            }
        });
        Receiver { address, came }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn came(&self) -> Vec<Hook> {
        self.came.0.lock().expect("the list").clone()
    }

    /// Waits until so many have come.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Hook> {
        let waiting = async {
            loop {
                let notified = self.came.1.notified();
                if self.came().len() >= count {
                    return self.came();
                }
                notified.await;
            }
        };
        let came = tokio::time::timeout(Duration::from_mins(1), waiting).await;
        came.unwrap_or_else(|_| panic!("expected {count} hooks, found {:#?}", self.came()))
    }
}

async fn receive(mut stream: TcpStream, came: Arc<(Mutex<Vec<Hook>>, Notify)>, answers: Answers) {
    while let Some(hook) = read(&mut stream).await {
        let before = {
            let mut list = came.0.lock().expect("the list");
            list.push(hook.clone());
            list.len() - 1
        };
        let answer = answers(before, &hook);
        came.1.notify_waiters();
        if answer.is_empty() || stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Hook> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).expect("a head");
            let field = |name: &str| {
                let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
                line.and_then(|line| line.split_once(": ")).map_or_else(String::new, |(_, value)| value.to_owned())
            };
            let length: usize = field("content-length").parse().expect("a length");
            if bytes.len() >= end + 4 + length {
                let raw = String::from_utf8(bytes[end + 4..].to_vec()).expect("a body");
                let body = serde_json::from_str(&raw).expect("JSON");
                let [id, timestamp, signature] =
                    ["id", "timestamp", "signature"].map(|name| field(&format!("webhook-{name}")));
                return Some(Hook { id, timestamp, signature, raw, body });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
