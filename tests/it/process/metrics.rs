//! What is measured is served where the operator says, for Prometheus.

use std::net::TcpListener;

use super::deliver::{orders, printed, set_up};
use super::program::{DEADLINE, ordergate, serve};
use crate::support::db::TestDb;
use crate::support::receiver::{Receiver, status};
use crate::support::server::answer;

/// An address that was free a moment ago.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// Waits until lines are served that begin like this; returns them.
async fn served(address: &str, beginnings: &[&str]) -> Vec<String> {
    let client = crate::support::http().build().expect("a client");
    let mut last = String::new();
    let asking = async {
        loop {
            last = answer(client.get(format!("http://{address}/metrics"))).await.body;
            let find = |start: &&str| last.lines().find(|line| line.starts_with(start)).map(ToOwned::to_owned);
            if let Some(lines) = beginnings.iter().map(find).collect::<Option<Vec<String>>>() {
                return lines;
            }
        }
    };
    let found = tokio::time::timeout(DEADLINE, asking).await;
    found.unwrap_or_else(|_| panic!("expected {beginnings:?}, found {last}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_what_was_tried_is_measured() {
    let db = TestDb::new().await;
    let token = set_up(&db);
    let receiver = Receiver::start(|_, _| status("500 Internal Server Error")).await;
    printed(&db, &format!("subscription create --account shop --events * --url {}", receiver.url()));
    let address = free_address();
    let server =
        serve(&db, &format!("--allow-private-webhooks --webhook-retry-ms 86400000 --metrics-listen {address}"));
    server.import(orders(&token, 1)).await;
    server.import(orders(&token, 1)).await;
    let all = [
        "ordergate_delivery_attempts_total{outcome=\"failed\",attempt=\"1\"} 1500",
        "ordergate_delivery_attempt_duration_seconds_count{outcome=\"failed\"} 1500",
        "ordergate_orders_total{outcome=\"created\"} 1500",
        "ordergate_orders_total{outcome=\"unchanged\"} 1500",
        "ordergate_requests_total{error=\"0\"} 2",
        "ordergate_request_duration_seconds_count 2",
        "# HELP ordergate_delivery_attempts_total ",
    ];
    served(&address, &all).await;
    assert_eq!(server.stop().code, Some(0));
    let server = serve(&db, "--no-delivery");
    server.import(orders(&token, 2)).await;
    assert_eq!(server.stop().code, Some(0));
    let address = free_address();
    let server = serve(&db, &format!("--no-delivery --metrics-listen {address}"));
    let waits = ["ordergate_deliveries_waiting{account=\"shop\"} 1500", "ordergate_packs_waiting{account=\"shop\"} 1"];
    served(&address, &waits).await;
    let oldest = served(&address, &["ordergate_deliveries_oldest_waiting_seconds{account=\"shop\"} "]).await;
    assert!(!oldest[0].ends_with(" 0"), "{oldest:?}");
    let in_use = ordergate(&db, &format!("serve --listen 127.0.0.1:0 --metrics-listen {address}")).refused();
    assert!(in_use.contains("--metrics-listen names another address"), "{in_use}");
    drop(server);
}
