//! Imports that are interrupted and go on.

use std::path::Path;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::{BASKETS, Files, read, summary};
use crate::process::program::ordergate;
use crate::support::server::{TOKEN, TestServer};

/// A way to a server on which the third request gets no answer; tells when it is there.
async fn broken_way(server: Arc<TestServer>) -> (String, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (url, stuck) = (format!("http://{}", listener.local_addr().expect("an address")), Arc::new(Notify::new()));
    let tell = Arc::clone(&stuck);
    #[expect(clippy::disallowed_methods, reason = "it lives as long as its test")]
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut read = Vec::new();
        for request in 1.. {
            let (head, body) = loop {
                let text = String::from_utf8_lossy(&read).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.to_lowercase().split_once("content-length: ").expect("a length").1.to_owned();
                    let length: usize = length.split("\r\n").next().expect("a length").parse().expect("a number");
                    if body.len() >= length {
                        break (head.to_owned(), body.to_owned());
                    }
                }
                if stream.read_buf(&mut read).await.expect("bytes") == 0 {
                    return;
                }
            };
            read.clear();
            if request == 3 {
                tell.notify_one();
                return std::future::pending().await;
            }
            let path = head.split(' ').nth(1).expect("a path");
            let sent = server
                .post(path)
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, format!("Bearer {TOKEN}"));
            let answer = sent.body(body).send().await.expect("an answer").text().await.expect("a text");
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            stream.write_all(answer.as_bytes()).await.expect("a client");
        }
    });
    (url, stuck)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_goes_on_where_it_was() {
    let server = Arc::new(TestServer::start().await);
    let conn = &mut server.db.connect().await;
    ordergate::accounts::create_touchpoint(conn, server.account_id, "store", "web").await.expect("a touchpoint");
    let files = Files::new();
    let baskets = read(Path::new(BASKETS));
    // One of the first batch fails.
    let file = files.write("orders.csv", baskets.replacen(",delivered,", ",lost,", 1));
    let (url, stuck) = broken_way(Arc::clone(&server)).await;
    let run = |url: &str, options: &str| {
        let program = ordergate(&server.db, &format!("--output json import --server {url} --batch 10 {options}"));
        program.env("ORDERGATE_TOKEN", TOKEN).arg(&file)
    };
    let program = run(&url, "").start("");
    stuck.notified().await;
    program.signal("KILL");
    assert_eq!(program.ended().code, None);
    assert_eq!(server.db.text("select count(*) from orders").await, "19");
    let direct = server.url("");
    let state = files.path("orders.csv.progress.json");
    std::fs::write(&state, read(&state).replace(&url, &direct)).expect("a file");
    let ended = run(&direct, "").run();
    assert!(ended.err.contains("goes on behind 20 orders that were acknowledged before"), "{}", ended.err);
    assert_eq!((ended.code, summary(&ended)), (Some(3), [40, 39, 0, 0, 1]), "{}", ended.err);
    assert_eq!(server.db.text("select count(*) from orders").await, "39");
    assert_eq!(read(&files.path("orders.csv.failed.ndjson")).lines().count(), 1);
    assert_eq!(summary(&run(&direct, "").run()), [40, 0, 0, 39, 1], "done: the next one begins anew");
    assert_eq!(read(&files.path("orders.csv.failed.ndjson.before")).lines().count(), 1, "what failed before is kept");
    // What was begun for another target, or a file that was changed meanwhile, is not gone on with.
    let (url, stuck) = broken_way(Arc::clone(&server)).await;
    let program = run(&url, "").start("");
    stuck.notified().await;
    program.signal("KILL");
    program.ended();
    let other = run(&direct, "").run();
    assert!(
        other.err.contains("expected the options with which the import of it began") && other.err.contains(&url),
        "{}",
        other.err
    );
    let another = run(&url, "").env("ORDERGATE_TOKEN", "another-token-0123456789").run();
    for other in [another, run(&url, "--decimal-comma").run()] {
        assert!(other.err.contains("expected the options with which the import of it began"), "{}", other.err);
    }
    std::fs::write(&file, baskets).expect("a file");
    assert!(run(&url, "").run().err.contains("found it changed; --restart begins anew"));
    assert_eq!(summary(&run(&direct, "--restart").run())[0], 40);
    assert!(!state.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_orders_that_are_corrected_before_an_import_goes_on_are_kept() {
    let server = Arc::new(TestServer::start().await);
    let conn = &mut server.db.connect().await;
    ordergate::accounts::create_touchpoint(conn, server.account_id, "store", "web").await.expect("a touchpoint");
    let files = Files::new();
    let file = files.write("orders.csv", read(Path::new(BASKETS)).replacen(",delivered,", ",lost,", 1));
    let (url, stuck) = broken_way(Arc::clone(&server)).await;
    let run = |url: &str, file: &Path| {
        let program = ordergate(&server.db, &format!("--output json import --server {url} --batch 10"));
        program.env("ORDERGATE_TOKEN", TOKEN).arg(file)
    };
    let program = run(&url, &file).start("");
    stuck.notified().await;
    program.signal("KILL");
    program.ended();
    let failed = files.path("orders.csv.failed.ndjson");
    std::fs::write(&failed, read(&failed).replace("\"lost\"", "\"delivered\"")).expect("a file");
    let (state, direct) = (files.path("orders.csv.progress.json"), server.url(""));
    let progress = read(&state).replace(&url, &direct);
    std::fs::write(&state, &progress).expect("a file");
    let ended = run(&direct, &file).run();
    assert!(ended.err.contains("was changed since; it is kept as"), "{}", ended.err);
    assert_eq!(summary(&ended), [40, 39, 0, 0, 1]);
    let kept = files.write("corrected.ndjson", read(&files.path("orders.csv.failed.ndjson.before")));
    assert_eq!(summary(&run(&direct, &kept).run()), [1, 1, 0, 0, 0]);
    // What is added to what was acknowledged is kept, too.
    let acknowledged = "{}\n";
    let mut progress: serde_json::Value = serde_json::from_str(&progress).expect("JSON");
    progress["failed_bytes"] = acknowledged.len().into();
    progress["failed_crc32"] = crc32fast::hash(acknowledged.as_bytes()).into();
    std::fs::write(&state, progress.to_string()).expect("a file");
    std::fs::write(&failed, format!("{acknowledged}added by hand\n")).expect("a file");
    let ended = run(&direct, &file).run();
    assert!(ended.err.contains("was longer than the import knew; it is kept as"), "{}", ended.err);
    assert!(read(&files.path("orders.csv.failed.ndjson.before.2")).ends_with("added by hand\n"));
    assert_eq!(read(&failed), acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_behind_records_that_cannot_be_read() {
    let server = Arc::new(TestServer::start().await);
    let files = Files::new();
    let order = |id: usize| {
        format!(
            "{{\"external_id\":\"{id:02}\",\"email\":\"a@example.com\",\"endpoint\":\"website\",\"status\":\"new\",\"total_price\":\"1\",\
            \"currency\":\"USD\",\"lines\":[{{\"external_id\":\"1\",\"product\":\"p\"}}]}}"
        )
    };
    // Every third is no JSON; the last batch that is acknowledged ends with such a one.
    let lines: Vec<_> = (0..40).map(|id| if id % 3 == 1 { format!("{{'id': {id}}}") } else { order(id) }).collect();
    let row = |id: usize| match id % 3 {
        1 => format!("{id:02},p\n"),
        _ => format!("{id:02},a@example.com,website,new,1,USD,1,p\n"),
    };
    let head = "external_id,email,endpoint,status,total_price,currency,line.external_id,line.product\n";
    let rows = (0..40).map(row).collect::<Vec<_>>().concat();
    for (name, text, first) in [
        ("a.ndjson", lines.join("\n"), 1),
        ("b.json", format!("[{}]", lines.join(",\n")), 1),
        ("c.csv", format!("{head}{rows}"), 2),
    ] {
        let file = files.write(name, text);
        let (url, stuck) = broken_way(Arc::clone(&server)).await;
        let run = |url: &str| {
            let program = ordergate(&server.db, &format!("--output json import --server {url} --batch 10"));
            program.env("ORDERGATE_TOKEN", TOKEN).arg(&file)
        };
        let program = run(&url).start("");
        stuck.notified().await;
        program.signal("KILL");
        assert_eq!(program.ended().code, None);
        let (direct, state) = (server.url(""), files.path(&format!("{name}.progress.json")));
        std::fs::write(&state, read(&state).replace(&url, &direct)).expect("a file");
        let ended = run(&direct).run();
        assert!(ended.err.contains("goes on behind 20 orders that were acknowledged before"), "{}", ended.err);
        let [all, created, _, unchanged, failed] = summary(&ended);
        assert_eq!((ended.code, all, created + unchanged, failed), (Some(3), 40, 27, 13), "{name}: {}", ended.err);
        let failed = read(&files.path(&format!("{name}.failed.ndjson")));
        let numbers: Vec<u64> = failed
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).expect("JSON")["line"].as_u64().expect("a line")
            })
            .collect();
        assert_eq!(
            numbers,
            (0..40).filter(|id| id % 3 == 1).map(|id| id + first).collect::<Vec<_>>(),
            "{name}: each once"
        );
    }
    assert_eq!(server.db.text("select count(*) from orders").await, "27");
}
