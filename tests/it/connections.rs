//! How long connections are kept.

use std::time::Duration;

use ordergate::config::Given;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::db::run;
use crate::support::server::{IMPORT, TestServer};
use crate::support::tree::{call, order};

/// The status of an HTTP/1.1 answer whose end is the last byte of its envelope.
async fn status_of_next_answer(stream: &mut TcpStream) -> String {
    let mut found = Vec::new();
    while !found.ends_with(b"}") {
        let byte = stream.read_u8().await.expect("a whole answer");
        found.push(byte);
    }
    String::from_utf8(found).expect("UTF-8").chars().take("HTTP/1.1 200".len()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_is_closed_and_one_with_a_request_is_not() {
    let server = TestServer::with(Given { keep_alive_ms: Some(50), ..Given::default() }).await;
    let request = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut idle = TcpStream::connect(server.address).await.expect("a connection");
    let mut working = TcpStream::connect(server.address).await.expect("a connection");
    // An import that waits for us.
    let mut holder = server.db.connect().await;
    run(&mut holder, "begin; lock table orders in exclusive mode").await;
    let body = call(vec![order("a", 1, 1)]).render("json");
    let head = format!("POST {IMPORT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
    let import = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    working.write_all(import.as_bytes()).await.expect("the request is sent");
    server.db.until_waiting(1).await;
    idle.write_all(request.as_bytes()).await.expect("the request is sent");
    assert_eq!(status_of_next_answer(&mut idle).await, "HTTP/1.1 200");
    let closed = tokio::time::timeout(Duration::from_secs(30), idle.read(&mut [0; 1])).await;
    assert_eq!(closed.expect("it is closed").expect("in peace"), 0);
    run(&mut holder, "commit").await;
    assert_eq!(status_of_next_answer(&mut working).await, "HTTP/1.1 200", "a request may take what it takes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_2_is_told_that_its_idle_connection_ends() {
    const GOAWAY: u8 = 7;
    let server = TestServer::with(Given { keep_alive_ms: Some(50), ..Given::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    // GET http://x/health/live, by indexes of HPACK's static table.
    let headers = b"\x82\x86\x04\x0c/health/live\x01\x01x";
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    request.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    request.extend([0, 0, u8::try_from(headers.len()).expect("a small head"), 1, 5, 0, 0, 0, 1]);
    request.extend(headers);
    stream.write_all(&request).await.expect("the request is sent");
    let frames = async {
        let mut kinds = Vec::new();
        while !kinds.contains(&GOAWAY) {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("a frame");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            stream.read_exact(&mut vec![0; length]).await.expect("a whole frame");
            kinds.push(head[3]);
        }
        kinds
    };
    let kinds = tokio::time::timeout(Duration::from_secs(30), frames).await.expect("the connection ends");
    assert!(kinds.contains(&0), "the request was answered before: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_half_behind_a_request_gets_its_answer() {
    let server = TestServer::start().await;
    let mut holder = server.db.connect().await;
    run(&mut holder, "begin; lock table orders in exclusive mode").await;
    let body = call(vec![order("a", 1, 1)]).render("json");
    let head = format!("POST {IMPORT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let import = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(import.as_bytes()).await.expect("the request is sent");
    stream.shutdown().await.expect("its half is closed");
    server.db.until_waiting(1).await;
    run(&mut holder, "commit").await;
    assert_eq!(status_of_next_answer(&mut stream).await, "HTTP/1.1 200");
}
