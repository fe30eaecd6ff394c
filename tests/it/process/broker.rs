//! Events of a subscription to `nats:` stand in a stream of a real NATS server, in order, each once.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, stream};
use futures_util::StreamExt as _;
use serde_json::Value as Json;

use super::deliver::{ORDERS, orders, printed, set_up};
use super::program::{DEADLINE, ordergate, serve};
use crate::support::db::{TestDb, run};

/// A broker that keeps its streams in a folder.
struct Broker(Child);

impl Broker {
    fn start(port: u16, folder: &Path) -> Self {
        let mut command = Command::new("nats-server");
        command.args([
            "--jetstream",
            "--addr",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--user",
            "shop",
            "--pass",
            "pass word",
        ]);
        command.arg("--store_dir").arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
        Broker(command.spawn().expect("nats-server; script/setup installs it"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The stream of all events, at a broker that may be about to start.
async fn stream(url: &str) -> Stream {
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let options = options.user_and_password("shop".to_owned(), "pass word".to_owned());
    let context = jetstream::new(options.connect(url).await.expect("a URL"));
    let subjects = vec!["ordergate.>".to_owned()];
    let config = stream::Config { name: "orders".to_owned(), subjects, ..Default::default() };
    let mut last = None;
    let up = async {
        loop {
            match context.get_or_create_stream(config.clone()).await {
                Ok(stream) => return stream,
                Err(error) => last = Some(error),
            }
        }
    };
    tokio::time::timeout(DEADLINE, up).await.unwrap_or_else(|_| panic!("expected a broker, found {last:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_stand_in_a_stream_in_order_each_once() {
    ordergate::delivery::install_tls();
    let db = TestDb::new().await;
    let token = set_up(&db);
    let folder = tempfile::tempdir().expect("a folder");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let url = format!("nats://shop:pass%20word@127.0.0.1:{port}");
    let made = printed(&db, "subscription create --account shop --events * --url nats:");
    assert!(made["secret"].is_string());
    // Without a broker the events wait; so they do for one that is not there yet.
    let server = serve(&db, "--webhook-retry-ms 50");
    server.import(orders(&token, 1)).await;
    let conn = &mut db.connect().await;
    let failed = "select count(*) > 0 from deliveries where last_error = 'expected a server that runs with --nats-url'";
    let found = async { while db.text(failed).await != "true" {} };
    assert!(tokio::time::timeout(DEADLINE, found).await.is_ok(), "it is told why");
    assert_eq!(server.stop().code, Some(0));
    run(conn, "update deliveries set next_at = now(), attempts = 0 where next_at is not null").await;
    let broker = Broker::start(port, folder.path());
    stream(&url).await;
    let server = serve(&db, &format!("--webhook-timeout-ms 1000 --webhook-retry-ms 50 --nats-url {url}"));
    server.import(orders(&token, 2)).await;
    let some = "select count(*) > 0 from deliveries_done";
    let begun = async { while db.text(some).await != "true" {} };
    assert!(tokio::time::timeout(DEADLINE, begun).await.is_ok(), "events are delivered");
    drop(broker);
    server.import(orders(&token, 3)).await;
    let _broker = Broker::start(port, folder.path());
    let all = (3 * ORDERS).to_string();
    let done = "select count(*) from deliveries_done where outcome = 'delivered'";
    let finished = async { while db.text(done).await != all {} };
    assert!(tokio::time::timeout(DEADLINE, finished).await.is_ok(), "{} of {all}", db.text(done).await);
    assert_eq!(server.stop().code, Some(0));
    let stream = stream(&url).await;
    let config = pull::Config { ack_policy: AckPolicy::None, ..Default::default() };
    let consumer: PullConsumer = stream.create_consumer(config).await.expect("a consumer");
    let messages = consumer.fetch().max_messages(4 * ORDERS).expires(Duration::from_secs(5)).messages().await;
    let mut revisions: HashMap<String, Vec<i64>> = HashMap::new();
    let mut messages = messages.expect("messages").take(3 * ORDERS);
    while let Some(message) = messages.next().await {
        let message = message.expect("a message");
        let body: Json = serde_json::from_slice(&message.payload).expect("JSON");
        assert_eq!(message.subject.as_str(), format!("ordergate.1.{}", body["type"].as_str().expect("a type")));
        let headers = message.headers.as_ref().expect("headers");
        let header = |name: &str| headers.get(name).map(ToString::to_string).unwrap_or_default();
        assert_eq!(header("Nats-Msg-Id"), header("webhook-id"));
        assert!(header("webhook-signature").starts_with("v1,") && !header("webhook-timestamp").is_empty());
        let order = body["data"]["external_id"].as_str().expect("an order").to_owned();
        revisions.entry(order).or_default().push(body["data"]["revision"].as_i64().expect("a revision"));
    }
    assert_eq!(revisions.len(), ORDERS);
    for (order, seen) in revisions {
        assert_eq!(seen, [1, 2, 3], "{order}");
    }
    let wrong = ordergate(&db, "deliver --nats-url nats://shop:word@").refused();
    assert!(wrong.contains("nats-url: expected a URL like nats://") && !wrong.contains("pass word"), "{wrong}");
}
