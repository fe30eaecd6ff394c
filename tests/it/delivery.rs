//! Events reach their subscriptions: signed, in order for each order, at least once.

use std::collections::HashMap;
use std::time::Duration;

use ordergate::config::{Common, Given, Settings, Webhooks};
use ordergate::delivery;
use ordergate::delivery::subscriptions::{self, Secret, Wanted};
use ordergate::store::connect;
use tokio_util::sync::CancellationToken;

use crate::support::receiver::{Receiver, status};
use crate::support::server::TestServer;
use crate::support::tree::{Tree, call, order, text};

pub(crate) fn quick_retries() -> Webhooks {
    let (timeout, first_wait) = (Duration::from_millis(500), Duration::from_millis(5));
    Webhooks { allow_private: true, timeout, first_wait, max_inflight: 16, nats_url: None }
}

/// A worker beside a server, until it is killed by the token or the server goes.
pub(crate) fn deliver(server: &TestServer, webhooks: Webhooks) -> CancellationToken {
    let settings = Settings::resolve(Common::default(), &Given::default()).expect("settings");
    let pool = connect::pool(server.db.options.clone(), &settings);
    let killed = server.stop.child_token();
    let (app, until) = (server.app.clone(), killed.clone());
    #[expect(clippy::disallowed_methods, reason = "the worker of a test")]
    tokio::spawn(async move {
        tokio::select! {
            () = delivery::announce(&pool, app.events_written()) => {}
            ended = delivery::run(pool.clone(), webhooks, CancellationToken::new()) => ended.expect("a worker"),
            () = until.cancelled() => {}
        }
    });
    killed
}

pub(crate) async fn subscribe(server: &TestServer, url: &str, events: &[&str]) -> (i64, String) {
    let events: Vec<String> = events.iter().map(|&kind| kind.to_owned()).collect();
    let wanted = Wanted { url, events: &events, touchpoints: &[], description: "" };
    let made = subscriptions::create(&mut server.db.connect().await, server.account_id, wanted).await;
    let Secret { id, secret } = made.expect("a subscription");
    (id, secret)
}

pub(crate) async fn send(server: &TestServer, format: &str, orders: Vec<Tree>, options: &[(&str, &str)]) {
    let mut call = call(orders);
    for (name, value) in options {
        call.set(name, text(value));
    }
    let answer = server.import(format, call.render(format)).await;
    let refused = options.iter().any(|(name, _)| *name == "on_error");
    let stopped = ["\"error\":424", "<error>424"].iter().any(|word| answer.body.contains(word));
    assert_eq!(stopped, refused, "{}", answer.body);
}

/// Waits until a question has an answer.
pub(crate) async fn until(server: &TestServer, question: &str, answer: &str) {
    let asking = async { while server.db.text(question).await != answer {} };
    let found = tokio::time::timeout(Duration::from_mins(1), asking).await;
    assert!(found.is_ok(), "{question}: expected {answer}, found {}", server.db.text(question).await);
}

const WAITING: &str = "select count(*) from deliveries";

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_arrives_and_nothing_else() {
    for format in ["json", "xml"] {
        let server = TestServer::start().await;
        let receiver = Receiver::start(|_, _| status("204 No Content")).await;
        send(&server, format, vec![order("before", 1, 1)], &[]).await;
        subscribe(&server, &receiver.url(), &["*"]).await;
        deliver(&server, quick_retries());
        send(&server, format, vec![order("a", 1, 1)], &[]).await;
        send(&server, format, vec![order("a", 1, 1)], &[]).await;
        send(&server, format, vec![order("silent", 1, 1)], &[("skip_triggers", "true")]).await;
        let mut silent = order("silent by itself", 1, 1);
        silent.set("skip_triggers", text("true"));
        send(&server, format, vec![silent], &[]).await;
        send(&server, format, vec![order("silent by itself", 1, 1)], &[]).await;
        send(&server, format, vec![order("dry", 1, 1)], &[("dry_run", "true")]).await;
        let mut bad = order("bad", 1, 1);
        bad.set("currency", text("JPY"));
        send(&server, format, vec![order("rolled back", 1, 1), bad], &[("on_error", "abort")]).await;
        let mut changed = order("a", 1, 1);
        changed.set("status", text("packed"));
        changed.at("lines").item(0).set("status", text("delivering"));
        send(&server, format, vec![changed], &[]).await;
        let came = receiver.wait_for(4).await;
        until(&server, "select count(*) from deliveries_done where outcome = 'delivered'", "4").await;
        let what: Vec<String> = came.iter().map(super::support::receiver::Hook::what).collect();
        let expected = ["order.created a", "order.updated a", "order.status_changed a", "order_line.status_changed a"];
        assert_eq!(what, expected);
        assert_eq!(receiver.came().len(), 4, "nothing else came");
        assert_eq!(server.db.text(WAITING).await, "0");
        let data = &came[2].body["data"];
        assert_eq!(data["changes"]["status"].to_string(), r#"{"from":"new","to":"packed"}"#);
        assert_eq!(came[0].body["data"]["changes"]["total_price"]["to"], "1");
        assert_eq!(came[0].body["data"]["endpoint"], "website");
        assert_eq!(came[3].body["data"]["line_external_id"], "line_0");
        assert!(data["id"].is_i64() && data["revision"] == 2, "{data}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_gets_the_types_that_it_asked_for() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    subscribe(&server, &receiver.url(), &["order.status_changed"]).await;
    deliver(&server, quick_retries());
    send(&server, "json", vec![order("a", 1, 1)], &[]).await;
    let mut changed = order("a", 1, 2);
    changed.set("status", text("packed"));
    send(&server, "json", vec![changed], &[]).await;
    receiver.wait_for(1).await;
    until(&server, "select count(*) from deliveries_done", "1").await;
    assert_eq!(receiver.came()[0].what(), "order.status_changed a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_holds_back_those_of_its_order_only_and_comes_again_with_its_id() {
    let server = TestServer::start().await;
    // The first three that come for the order "stuck" fail, each in another way.
    let receiver = Receiver::start(|before, hook| match (hook.order(), before) {
        ("stuck", 0) => status("500 Internal Server Error"),
        ("stuck", _) if hook.body["type"] == "order.created" && before < 4 => String::new(),
        _ => status("200 OK"),
    })
    .await;
    subscribe(&server, &receiver.url(), &["*"]).await;
    send(&server, "json", vec![order("stuck", 1, 1)], &[]).await;
    send(&server, "json", vec![order("stuck", 1, 2), order("free", 1, 1)], &[]).await;
    deliver(&server, Webhooks { first_wait: Duration::from_millis(50), ..quick_retries() });
    until(&server, "select count(*) from deliveries_done where outcome = 'delivered'", "3").await;
    let came = receiver.came();
    let stuck: Vec<_> = came.iter().filter(|hook| hook.order() == "stuck").collect();
    let (last, again) = stuck.split_last().expect("some");
    assert_eq!(last.body["type"], "order.updated", "in order");
    assert!(again.len() > 1, "{came:#?}");
    for hook in again {
        assert_eq!((&hook.id, &hook.raw), (&again[0].id, &again[0].raw), "the same again");
    }
    assert!(last.id != again[0].id);
    let free = came.iter().position(|hook| hook.order() == "free").expect("it came");
    let updated = came.iter().position(|hook| hook.body["type"] == "order.updated").expect("it came");
    assert!(free < updated, "another order is not held back");
    let attempts = "select attempts from deliveries_done where event::json ->> 'type' = 'order.created'
        and event::json ->> 'order' = 'stuck'";
    assert_eq!(server.db.text(attempts).await, again.len().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_success_is_tried_again() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|before, _| match before {
        0 => "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned(),
        1 => "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n".to_owned() + &"endless".repeat(1000),
        _ => status("404 Not Found"),
    })
    .await;
    subscribe(&server, &receiver.url(), &["*"]).await;
    send(&server, "json", vec![order("a", 1, 1)], &[]).await;
    deliver(&server, quick_retries());
    until(&server, "select count(*) from deliveries_done where outcome = 'delivered' and attempts = 2", "1").await;
    assert_eq!(receiver.came().len(), 2, "the redirect was not followed, the endless answer not read");
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured_and_410_disables() {
    let server = TestServer::start().await;
    let patient =
        Receiver::start(|_, _| "HTTP/1.1 429 Too Many\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n".to_owned())
            .await;
    let gone = Receiver::start(|_, _| status("410 Gone")).await;
    let (patient_id, _) = subscribe(&server, &patient.url(), &["*"]).await;
    let (gone_id, _) = subscribe(&server, &gone.url(), &["*"]).await;
    deliver(&server, quick_retries());
    send(&server, "json", vec![order("a", 1, 1)], &[]).await;
    let waits = format!(
        "select next_at between now() + '59 minutes' and now() + '1 hour' from deliveries
        where subscription_id = {patient_id} and attempts = 1 and last_status = 429"
    );
    until(&server, &waits, "true").await;
    let disabled = format!("select disabled_reason from subscriptions where id = {gone_id} and not enabled");
    until(&server, &disabled, "the receiver answered 410").await;
    send(&server, "json", vec![order("b", 1, 1)], &[]).await;
    until(&server, &format!("select count(*) from deliveries where subscription_id = {patient_id}"), "2").await;
    let kept = format!("select count(*) from deliveries where subscription_id = {gone_id}");
    assert_eq!(server.db.text(&kept).await, "1", "what waits stays, nothing new comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_is_refused_unless_allowed() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    let port = receiver.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"] {
        subscribe(&server, &format!("http://{host}:{port}/"), &["*"]).await;
    }
    deliver(&server, Webhooks { allow_private: false, first_wait: Duration::from_hours(1), ..quick_retries() });
    send(&server, "json", vec![order("a", 1, 1)], &[]).await;
    until(
        &server,
        "select count(*) from deliveries where attempts = 1 and last_error like '%the address is private%'",
        "5",
    )
    .await;
    assert!(receiver.came().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_worker_that_died_is_delivered_by_the_next_one() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    subscribe(&server, &receiver.url(), &["*"]).await;
    let orders = |version| (0..300).map(|number| order(number, 1, version)).collect::<Vec<_>>();
    for version in 1..=3 {
        send(&server, "json", orders(version), &[]).await;
    }
    let first = deliver(&server, quick_retries());
    until(&server, "select count(*) > 0 from outbox where spread_at is not null", "true").await;
    first.cancel();
    // As if it had died long ago: what it has claimed is free.
    let died = "update deliveries set next_at = now() - interval '1 second' where next_at is not null";
    crate::support::db::run(&mut server.db.connect().await, died).await;
    let workers: Vec<_> = (0..3).map(|_| deliver(&server, quick_retries())).collect();
    until(&server, "select count(*) from deliveries_done where outcome = 'delivered'", "900").await;
    workers.iter().for_each(CancellationToken::cancel);
    let mut revisions: HashMap<String, Vec<i64>> = HashMap::new();
    for hook in receiver.came() {
        let seen = revisions.entry(hook.order().to_owned()).or_default();
        let revision = hook.body["data"]["revision"].as_i64().expect("a revision");
        // What a worker sent that died may come twice.
        if !seen.contains(&revision) {
            seen.push(revision);
        }
    }
    assert_eq!(revisions.len(), 300);
    for (order, seen) in revisions {
        assert_eq!(seen, [1, 2, 3], "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_secrets_sign_after_a_rotation_until_the_old_one_ends() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    let (id, _) = subscribe(&server, &receiver.url(), &["*"]).await;
    deliver(&server, quick_retries());
    let mut signatures = Vec::new();
    for (number, keep) in [None, Some(Duration::from_hours(1)), Some(Duration::ZERO)].into_iter().enumerate() {
        if let Some(keep) = keep {
            let conn = &mut server.db.connect().await;
            subscriptions::rotate(conn, server.account_id, id, keep).await.expect("a new secret");
        }
        send(&server, "json", vec![order(number, 1, 1)], &[]).await;
        let came = receiver.wait_for(number + 1).await;
        let hook = &came[number];
        assert!(!hook.timestamp.is_empty());
        signatures.push(hook.signature.split(' ').filter(|signature| signature.starts_with("v1,")).count());
    }
    assert_eq!(signatures, [1, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_or_silent_slows_no_other_and_is_disabled_after_five_days() {
    let server = TestServer::start().await;
    let good = Receiver::start(|_, _| status("200 OK")).await;
    // It takes connections, and answers nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent_url = format!("http://{}/", silent.local_addr().expect("an address"));
    let (silent_id, _) = subscribe(&server, &silent_url, &["*"]).await;
    let (down_id, _) = subscribe(&server, "http://127.0.0.1:1/", &["*"]).await;
    subscribe(&server, &good.url(), &["*"]).await;
    let timeout = Duration::from_millis(200);
    deliver(&server, Webhooks { max_inflight: 2, timeout, ..quick_retries() });
    send(&server, "json", (0..200).map(|number| order(number, 1, 1)).collect(), &[]).await;
    good.wait_for(200).await;
    let waiting = "select count(distinct subscription_id) || ' ' || count(*) from deliveries";
    until(&server, waiting, "2 400").await;
    for id in [silent_id, down_id] {
        let failing = format!("select failing_since is not null and enabled from subscriptions where id = {id}");
        until(&server, &failing, "true").await;
        let age = format!("update subscriptions set failing_since = now() - interval '6 days' where id = {id}");
        crate::support::db::run(&mut server.db.connect().await, age).await;
        let reason =
            format!("select disabled_reason like 'nothing was delivered since 20%' from subscriptions where id = {id}");
        until(&server, &reason, "true").await;
    }
    assert_eq!(server.db.text(waiting).await, "2 400", "what waits stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_is_moved_delivers_at_once_and_in_order() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    subscribe(&server, &receiver.url(), &["*"]).await;
    let decade = 10 * 365 * 24 * 3_600;
    for (version, seconds) in [(1, decade), (2, -2 * decade), (3, decade)] {
        server.turn_clock(seconds);
        send(&server, "json", vec![order("a", 1, version)], &[]).await;
    }
    deliver(&server, quick_retries());
    let came = receiver.wait_for(3).await;
    let revisions: Vec<_> = came.iter().map(|hook| hook.body["data"]["revision"].to_string()).collect();
    assert_eq!(revisions, ["1", "2", "3"]);
    for hook in came {
        let recent = format!("select abs(extract(epoch from now()) - {}) < 60", hook.timestamp);
        assert_eq!(server.db.text(&recent).await, "true", "it is signed for now, by the database's clock");
    }
    until(&server, WAITING, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_gets_what_happens_after_it_was_made_or_enabled() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    let (first, _) = subscribe(&server, "http://127.0.0.1:1/", &["*"]).await;
    let (paused, _) = subscribe(&server, &receiver.url(), &["*"]).await;
    let conn = &mut server.db.connect().await;
    subscriptions::enable(conn, server.account_id, paused, false).await.expect("it is there");
    // Nobody delivers yet: these wait in the outbox.
    send(&server, "json", vec![order("early", 1, 1)], &[]).await;
    let (second, _) = subscribe(&server, &receiver.url(), &["*"]).await;
    subscriptions::enable(conn, server.account_id, paused, true).await.expect("it is there");
    send(&server, "json", vec![order("late", 1, 1)], &[]).await;
    deliver(&server, quick_retries());
    until(&server, "select count(*) from deliveries_done", "2").await;
    let waits = format!("select count(*) from deliveries where subscription_id = {first}");
    assert_eq!(server.db.text(&waits).await, "2", "who was there before gets both");
    assert!(receiver.came().iter().all(|hook| hook.order() == "late"), "{:?}", receiver.came());
    let heard = "select string_agg(subscription_id::text, ' ' order by subscription_id) from deliveries_done";
    assert_eq!(server.db.text(heard).await, format!("{paused} {second}"));
}
