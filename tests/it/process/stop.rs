//! One server on a data directory, and its end by a signal.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use super::program::{DEADLINE, DataDir, Process, call, ordergate, serve, set_up, text};
use crate::support::db::{TestDb, run};
use crate::support::server::IMPORT;

const TOKEN: &str = "a-token-of-an-old-client";

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_a_data_directory_is_refused_and_the_first_goes_on() {
    let dir = DataDir::new();
    let first = serve(&dir, "");
    let sentence = ordergate(&dir, "serve --listen 127.0.0.1:0").refused();
    assert!(sentence.contains(&format!("the data directory {} is in use", dir.path().display())), "{sentence}");
    assert_eq!(first.get("/health/ready").await, 200);
    assert_eq!(first.stop().code, Some(0));
    assert_eq!(dir.postmaster(), None, "PostgreSQL is gone with the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_running_import_finish_and_then_stops_everything() {
    let dir = DataDir::new();
    let server = serve(&dir, "");
    set_up(&dir, TOKEN);
    let address = server.address();
    // The import has to be running when the signal comes, so it is made to wait for us.
    let mut holder = dir.connect().await;
    run(&mut holder, "begin; lock table orders in exclusive mode").await;
    let import = server.import(call(TOKEN, "o", 10_000, 3));
    let stop = async {
        someone_waits_for_a_lock(&dir).await;
        server.signal("TERM");
        until_refused(address).await;
        // The import still runs.
        someone_waits_for_a_lock(&dir).await;
        run(&mut holder, "commit").await;
        drop(holder);
    };
    let (answer, ()) = tokio::join!(import, stop);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.matches(r#"{"error":0,"external_id""#).count(), 10_000, "{:.300}", answer.body);
    assert_eq!(server.ended().code, Some(0));
    assert_eq!(dir.postmaster(), None, "PostgreSQL is gone with the server");
    assert_eq!(stored_orders(&dir).await, "10000");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_taken_in_the_drain_which_a_second_signal_ends() {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let server = ordergate(&db, "serve --listen 127.0.0.1:0 --drain-ms 86400000").by_terminal().start("");
    assert_eq!(server.get("/health/ready").await, 200);
    server.signal("HUP");
    let told = async { while server.get("/health/ready").await != 503 {} };
    assert!(tokio::time::timeout(DEADLINE, told).await.is_ok(), "who balances load is told");
    assert_eq!(server.get("/health/live").await, 200);
    let answer = server.import(call(TOKEN, "o", 1, 1)).await;
    assert!(answer.body.starts_with(r#"{"error":0,"#), "{}", answer.body);
    server.signal("TERM");
    let ended = server.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for line in ["draining: /health/ready answers 503", "signal=\"SIGHUP\" drain_ms=86400000", "signal=\"SIGTERM\""] {
        assert!(ended.err.contains(line), "expected {line}, found {}", ended.err);
    }
    assert!(!ended.err.contains("path=\"/health/ready\""), "a drain that was asked for is no failure: {}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_by_itself_and_a_server_without_one_stops_at_once() {
    let db = TestDb::new().await;
    for (arguments, signal) in [("--drain-ms 1", "TERM"), ("", "HUP"), ("", "INT")] {
        let server = ordergate(&db, &format!("serve --listen 127.0.0.1:0 {arguments}")).by_terminal().start("");
        server.address();
        server.signal(signal);
        let ended = server.ended();
        assert_eq!(ended.code, Some(0), "{arguments} {signal}: {}", ended.err);
        assert_eq!(ended.err.contains("draining"), !arguments.is_empty(), "{}", ended.err);
        assert!(ended.err.contains(&format!("signal=\"SIG{signal}\"")), "{}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_at_the_deadline_is_answered_and_never_stored() {
    for orders in [1, 200] {
        let db = TestDb::new().await;
        set_up(&db, TOKEN);
        let server = serve(&db, "--shutdown-timeout-ms 1");
        let mut holder = db.connect().await;
        run(&mut holder, "begin; lock table orders in exclusive mode").await;
        let stop = async {
            db.until_waiting(1).await;
            server.signal("TERM");
        };
        let import = crate::support::http().build().expect("a client").post(server.url(IMPORT)).bearer_auth(TOKEN);
        let import = import.header("content-type", "application/json").body(call(TOKEN, "o", orders, 1));
        let (answer, ()) = tokio::join!(import.send(), stop);
        let status = answer.map(|answer| answer.status().as_u16());
        assert!(status.as_ref().is_ok_and(|status| *status == 503) || status.is_err(), "{status:?}");
        let ended = server.ended();
        assert!(ended.err.contains("requests still ran at the deadline"), "{}", ended.err);
        run(&mut holder, "commit").await;
        // Whoever held a connection of the server's is gone.
        let others = "select count(*) from pg_stat_activity where datname = current_database()
            and pid <> pg_backend_pid() and backend_type = 'client backend' and state <> 'idle'";
        while db.text(others).await != "0" {
            tokio::task::yield_now().await;
        }
        assert_eq!(db.text("select count(*) from orders").await, "0", "{orders} orders");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_hold_up_no_stop() {
    let db = TestDb::new().await;
    let server = serve(&db, "--shutdown-timeout-ms 60000");
    let (mut head, mut silent) = (
        TcpStream::connect(server.address()).expect("a connection"),
        TcpStream::connect(server.address()).expect("one"),
    );
    head.write_all(b"POST /api/v1").expect("the request begins");
    // The preface of HTTP/2 and its settings; then nothing is answered any more.
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("the preface is sent");
    silent.write_all(b"\0\0\x13\x01\x05\0\0\0\x01\x82\x86\x04\x0c/health/live\x01\x01x").expect("a request is sent");
    silent.read_exact(&mut [0; 9]).expect("an answer");
    assert_eq!(server.get("/health/live").await, 200);
    server.signal("TERM");
    let ended = server.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(!ended.err.contains("still ran at the deadline"), "{}", ended.err);
    drop((head, silent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_by_nohup_outlives_its_terminal() {
    let db = TestDb::new().await;
    let server = ordergate(&db, "serve --listen 127.0.0.1:0 --drain-ms 86400000").by_nohup().start("");
    server.address();
    server.signal("HUP");
    server.signal("TERM");
    server.log.wait_for("the drain", |line| line.contains("draining: ").then_some(()));
    assert_eq!(server.get("/health/live").await, 200, "only one of the signals counts");
    server.signal("TERM");
    let ended = server.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(!ended.err.contains("SIGHUP"), "{}", ended.err);
}

/// What a next server finds.
async fn stored_orders(dir: &DataDir) -> String {
    let _server: Process = serve(dir, "");
    text(&mut dir.connect().await, "select count(*) from orders").await
}

async fn someone_waits_for_a_lock(dir: &DataDir) {
    let mut conn = dir.connect().await;
    let begun = Instant::now();
    let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    while text(&mut conn, waiting).await == "0" {
        assert!(begun.elapsed() < DEADLINE, "the import never came to the orders");
    }
}

async fn until_refused(address: std::net::SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(address).map_err(|error| error.kind()).err() != Some(ErrorKind::ConnectionRefused) {
        assert!(begun.elapsed() < DEADLINE, "new connections are still taken");
        tokio::task::yield_now().await;
    }
}
