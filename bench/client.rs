//! The load: HTTP/1.1 over a connection that is kept, as cheap as can be, because it shares the machine with what is
//! measured. One write for each request; of the answer only what tells its length is looked at.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::data::Order;
use crate::render::Format;

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// A request, ready to be sent.
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Bytes of the body.
    pub(crate) body: usize,
    /// How many orders it holds.
    pub(crate) orders: usize,
    format: Format,
}

impl Request {
    pub(crate) fn new(format: Format, skip_triggers: bool, orders: impl Iterator<Item = Order>) -> Self {
        let (mut body, mut count) = (Vec::new(), 0);
        format.body(&mut body, skip_triggers, orders.inspect(|_| count += 1));
        let mut bytes = Vec::with_capacity(body.len() + 256);
        put_head(&mut bytes, format, body.len());
        bytes.extend_from_slice(&body);
        Request { bytes, body: body.len(), orders: count, format }
    }
}

/// A request to a call of the market, as bytes.
pub(crate) fn post(call: &str, format: Format, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 256);
    put_head_of(&mut bytes, call, format, body.len());
    bytes.extend_from_slice(body);
    bytes
}

/// Appends the head of an import.
pub(crate) fn put_head(out: &mut Vec<u8>, format: Format, body: usize) {
    put_head_of(out, "orders/import", format, body);
}

fn put_head_of(out: &mut Vec<u8>, call: &str, format: Format, body: usize) {
    let head = format!(
        "POST /api/v1.1/market/{call} HTTP/1.1\r\nHost: shop.example.com\r\nContent-Type: {}\r\n\
         Content-Length: {body}\r\n\r\n",
        format.content_type()
    );
    out.extend_from_slice(head.as_bytes());
}

/// A connection to the server.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, received: vec![0; 1 << 16] })
    }

    /// Sends an import and checks the answer; the time from the first byte sent to the last one read.
    pub(crate) async fn import(&mut self, request: &Request) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let answer = self.exchange(&request.bytes).await?;
        let took = begun.elapsed();
        request.format.check(answer, request.orders)?;
        Ok(took)
    }

    /// Sends the bytes of a request; the body of the answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        self.stream.write_all(request).await.context("send a request")?;
        let mut read = 0;
        let start = loop {
            read += self.read(read).await?;
            if let Some(end) = self.received[..read].windows(END.len()).position(|window| window == END) {
                break end + END.len();
            }
        };
        let length = length(&self.received[..start])?;
        if self.received.len() < start + length {
            self.received.resize(start + length, 0);
        }
        while read < start + length {
            read += self.read(read).await?;
        }
        Ok(&self.received[start..start + length])
    }

    async fn read(&mut self, from: usize) -> anyhow::Result<usize> {
        if from == self.received.len() {
            self.received.resize(from * 2, 0);
        }
        let read = self.stream.read(&mut self.received[from..]).await.context("read an answer")?;
        ensure!(read > 0, "the server closed the connection in the middle of an answer");
        Ok(read)
    }
}

/// The length of the body that a head announces.
pub(crate) fn length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head).context("the head of an answer is not UTF-8")?;
    for line in head.split("\r\n") {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            return value.trim().parse().with_context(|| format!("a length in {line:?}"));
        }
    }
    bail!("expected an answer with a Content-Length, found {head:?}")
}
