//! The ledger answers why an event was, or was not, sent; and what was given up is sent again.

use ordergate::auth;
use ordergate::config::{Delivery, Given};
use ordergate::store::tokens;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value as Json, json};

use crate::delivery::{deliver, quick_retries, send, subscribe, until};
use crate::support::db::run;
use crate::support::receiver::{Receiver, status};
use crate::support::server::{TestServer, answer};
use crate::support::tree::{call, order, text};

const ADMIN: &str = "admin-token-0123456789";

/// A call of the admin API.
async fn admin(server: &TestServer, path: &str, body: &Json) -> Json {
    let conn = &mut server.db.connect().await;
    // Only the first call of a test makes it.
    let _ = tokens::create(conn, server.account_id, &auth::hash(ADMIN), "", &["admin".to_owned()], None).await;
    let request = server.post(&format!("/api/v1.1/admin/{path}")).header(AUTHORIZATION, format!("Bearer {ADMIN}"));
    let answer = answer(request.header("content-type", "application/json").body(body.to_string())).await;
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.body))
}

/// The lines of the ledger that were asked for, as `state type` of each.
async fn states(server: &TestServer, body: &Json) -> Vec<String> {
    let answer = admin(server, "events/list", body).await;
    assert_eq!(answer["error"], 0, "{answer}");
    let word = |value: &Json| value.as_str().unwrap_or("-").to_owned();
    let line = |line: &Json| format!("{} {}", word(&line["state"]), word(&line["type"]));
    answer["result"].as_array().expect("a list").iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_tells_what_became_of_each_order() {
    for (format, quick) in [("json", true), ("xml", true), ("json", false)] {
        let given = Given { quick_imports: Some(quick), ..Given::default() };
        let server = TestServer::with(given).await;
        let receiver = Receiver::start(|_, _| status("204 No Content")).await;
        let (id, _) = subscribe(&server, &receiver.url(), &["order.created"]).await;
        deliver(&server, quick_retries());
        send(&server, format, vec![order("a", 1, 1)], &[]).await;
        until(&server, "select count(*) from deliveries_done", "1").await;
        server.turn_clock(1);
        send(&server, format, vec![order("a", 1, 1)], &[]).await;
        server.turn_clock(1);
        send(&server, format, vec![order("a", 1, 2)], &[("skip_triggers", "true")]).await;
        server.turn_clock(1);
        let mut silent = order("b", 1, 1);
        silent.set("skip_triggers", text("true"));
        send(&server, format, vec![order("a", 1, 3), silent, order("dry", 1, 1)], &[]).await;
        send(&server, format, vec![order("a", 1, 4)], &[("dry_run", "true")]).await;
        until(&server, "select count(*) from outbox where spread_at is null", "0").await;
        let expected =
            ["fired order.updated", "skipped -", "unchanged -", "delivered order.created"].map(ToOwned::to_owned);
        assert_eq!(states(&server, &json!({"order": "a"})).await, expected, "{format}");
        assert_eq!(states(&server, &json!({"order": "b"})).await, ["skipped -"]);
        assert_eq!(states(&server, &json!({"states": ["skipped"]})).await, ["skipped -", "skipped -"]);
        assert_eq!(states(&server, &json!({"limit": 1})).await.len(), 1);
        assert_eq!(states(&server, &json!({"subscription": id})).await.len(), 2, "two orders were new for it");
        let first = admin(&server, "events/list", &json!({"order": "a", "states": ["delivered"]})).await;
        let line = &first["result"][0];
        assert_eq!((&line["attempts"], &line["status"]), (&json!(1), &json!(204)), "{line}");
        assert_eq!((&line["order"], &line["revision"]), (&json!("a"), &json!(1)), "{line}");
        assert_eq!(line["event"], receiver.came()[0].id, "the id is the one that webhook-id says");
        assert_eq!(line["changes"]["status"]["to"], "new");
        let shown = admin(&server, "events/show", &json!({"event": line["event"]})).await;
        assert_eq!(shown["result"], json!([line]));
        let counts = "select string_agg(concat_ws('/', skip_triggers, created, updated, unchanged, failed), ' ' order by created_at)
            from imports where token_id = (select id from tokens where name = 'test')";
        assert_eq!(server.db.text(counts).await, "f/1/0/0/0 f/0/0/1/0 t/0/1/0/0 f/2/1/0/0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_of_every_size_say_which_orders_did_not_change() {
    let server = TestServer::start().await;
    for count in [1, 50, 1_500] {
        let orders = |version: usize| (0..count).map(|number| order(format!("{count}-{number}"), 1, version)).collect();
        let mut again: Vec<_> = orders(1);
        again[0] = order(format!("{count}-0"), 1, 2);
        for orders in [orders(1), orders(1), again] {
            send(&server, "json", orders, &[]).await;
        }
        let first =
            admin(&server, "events/list", &json!({"order": format!("{count}-0"), "states": ["unchanged"]})).await;
        assert_eq!(first["result"].as_array().map(Vec::len), Some(1), "{first}");
        let last = format!("{count}-{}", count - 1);
        let last = admin(&server, "events/list", &json!({"order": last, "states": ["unchanged"]})).await;
        assert_eq!(last["result"].as_array().map(Vec::len), Some(if count == 1 { 1 } else { 2 }), "{last}");
    }
    let sizes = "select max(length(unchanged_orders)) < 4000 from imports";
    assert_eq!(server.db.text(sizes).await, "true", "1,500 ids are packed");
    let all = states(&server, &json!({"states": ["unchanged"], "limit": 10000})).await;
    assert_eq!(all.len(), 1 + 50 + 1_500 + 49 + 1_499);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_sent_again_one_by_one_by_order_and_by_time() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_, _| status("500 Internal Server Error")).await;
    let (id, _) = subscribe(&server, &receiver.url(), &["*"]).await;
    for version in [1, 2] {
        send(&server, "json", vec![order("a", 1, version), order("b", 1, version)], &[]).await;
    }
    let worker = deliver(&server, quick_retries());
    // The last try of all that is still to come.
    let conn = &mut server.db.connect().await;
    until(&server, "select count(*) from deliveries", "4").await;
    run(conn, "update deliveries set attempts = 10").await;
    until(&server, "select count(*) from deliveries_done where outcome = 'dead'", "4").await;
    worker.cancel();
    let dead = ["failed order.updated", "failed order.created"];
    assert_eq!(states(&server, &json!({"order": "a"})).await, dead);
    let good = Receiver::start(|_, _| status("200 OK")).await;
    run(conn, format!("update subscriptions set url = '{}'", good.url())).await;
    let lines = admin(&server, "events/list", &json!({"order": "b"})).await;
    let event = lines["result"][1]["event"].clone();
    assert!(lines["result"][0]["error"].as_str().is_some_and(|error| error.contains("found 500")), "{lines}");
    let server = &server;
    let again = |body: Json| async move { admin(server, "events/replay", &body).await };
    assert_eq!(again(json!({"event": event})).await["result"], json!({"deliveries": 1}));
    assert_eq!(states(server, &json!({"event": event})).await, ["waiting order.created"]);
    assert_eq!(again(json!({"order": "a"})).await["result"], json!({"deliveries": 2}));
    let waiting = ["waiting order.updated", "waiting order.created"];
    assert_eq!(states(server, &json!({"order": "a"})).await, waiting);
    deliver(server, quick_retries());
    good.wait_for(3).await;
    until(server, "select count(*) from deliveries", "0").await;
    let nothing = json!({"deliveries": 0, "reason": "no event is kept that fits"});
    assert_eq!(again(json!({"from": "2020-01-01", "subscription": id + 1})).await["result"], nothing);
    assert_eq!(again(json!({"from": "2020-01-01"})).await["result"], json!({"deliveries": 1}));
    good.wait_for(4).await;
    until(server, "select count(*) from deliveries", "0").await;
    let came: Vec<String> = good.came().iter().map(|hook| format!("{} {}", hook.id, hook.what())).collect();
    let of_a: Vec<&str> =
        came.iter().filter(|what| what.ends_with(" a")).filter_map(|what| what.split(' ').nth(1)).collect();
    assert_eq!(of_a, ["order.created", "order.updated"], "in order: {came:?}");
    assert!(came.contains(&format!("{} order.created b", event.as_str().expect("an id"))), "{came:?}");
    let reason = "nothing to send: 4 delivered; say delivered: true to send them again";
    let nothing = json!({"deliveries": 0, "reason": reason});
    assert_eq!(again(json!({"to": "2100-01-01"})).await["result"], nothing, "nothing is left");
    let delivered = json!({"order": "a", "delivered": true});
    assert_eq!(again(delivered).await["result"], json!({"deliveries": 2}));
    let came = good.wait_for(6).await;
    assert_eq!(came[0].id.split('_').next(), Some("evt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_nothing_tells_what_becomes_of_the_events() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_, _| status("204 No Content")).await;
    let (id, _) = subscribe(&server, &receiver.url(), &["order.created", "order.updated"]).await;
    let worker = deliver(&server, quick_retries());
    send(&server, "json", vec![order("a", 1, 1)], &[]).await;
    until(&server, "select count(*) from deliveries_done", "1").await;
    worker.cancel();
    let conn = &mut server.db.connect().await;
    let event = receiver.came()[0].id.clone();
    let reason = async |body: Json| {
        let answer = admin(&server, "events/replay", &body).await;
        assert_eq!((&answer["error"], &answer["result"]["deliveries"]), (&json!(0), &json!(0)), "{answer}");
        answer["result"]["reason"].as_str().expect("a reason").to_owned()
    };
    let one = async |text: &str| assert_eq!(reason(json!({"event": event})).await, format!("{event} {text}"));
    one("was delivered; say delivered: true to send it again").await;
    let again = admin(&server, "events/replay", &json!({"event": event, "delivered": true})).await;
    assert_eq!(again["result"], json!({"deliveries": 1}), "what is sent again needs no reason");
    one("is waiting: it is due now").await;
    run(conn, "update deliveries set next_at = '2100-01-31 12:00Z'").await;
    one("is waiting: it will be sent at 2100-01-31T12:00:00Z").await;
    run(conn, "update deliveries set next_at = null").await;
    one("is waiting: it will be sent after an earlier event of its order").await;
    admin(&server, "subscriptions/disable", &json!({"id": id})).await;
    one(&format!("is waiting: it will be sent when subscription {id} is enabled")).await;
    // For whom it is was not yet looked at: nobody works here.
    send(&server, "json", vec![order("a", 1, 2)], &[]).await;
    let fates =
        "nothing to send: 1 waiting for a subscription that is disabled; 1 for no subscription, or not yet looked at";
    assert_eq!(reason(json!({"order": "a"})).await, fates);
    let given_up = |subscription_id: &str, done_at: &str| {
        format!(
            "insert into deliveries_done (account_id, id, subscription_id, pack_id, place, order_id, event, created_at,
            attempts, outcome, done_at) select account_id, id, {subscription_id}, pack_id, place, order_id, event,
            created_at, 11, 'dead', {done_at} from deliveries"
        )
    };
    run(conn, given_up("subscription_id", "now() + interval '1 day'")).await;
    run(conn, "delete from deliveries where id in (select id from deliveries_done)").await;
    one("was given up only now; replay it once more to send it again").await;
    run(conn, "update deliveries_done set subscription_id = 99").await;
    one("was for subscription 99, which is no longer there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_to_a_private_address_warns_unless_the_server_allows_it() {
    let delivery = Delivery { allow_private_webhooks: Some(true), ..Delivery::default() };
    let allowing = Given { delivery, ..Given::default() };
    let (server, allowing) = (TestServer::start().await, TestServer::with(allowing).await);
    let warnings = async |server: &TestServer, url: &str| {
        let made = admin(server, "subscriptions/create", &json!({"url": url, "events": ["*"]})).await;
        assert!(made["result"]["secret"].is_string(), "{made}");
        made["result"]["warnings"].clone()
    };
    let text = "url: localhost is a private address: only a server with --allow-private-webhooks sends events there";
    assert_eq!(warnings(&server, "http://localhost:9000/").await, json!([text]));
    assert_eq!(warnings(&allowing, "http://localhost:9000/").await, json!(null));
    assert_eq!(warnings(&server, "https://example.com/").await, json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_managed_over_the_admin_api() {
    let server = TestServer::start().await;
    let create = json!({"url": "https://example.com/hook", "events": ["order.created"], "touchpoints": ["website"],
        "description": "shop"});
    let made = admin(&server, "subscriptions/create", &create).await;
    let id = json!({"id": made["result"]["id"]});
    assert!(made["result"]["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{made}");
    let shown = admin(&server, "subscriptions/show", &id).await["result"].clone();
    assert_eq!((&shown["url"], &shown["enabled"]), (&create["url"], &json!(true)));
    assert_eq!(admin(&server, "subscriptions/list", &json!({})).await["result"], json!([shown]));
    assert_eq!(admin(&server, "subscriptions/disable", &id).await["result"]["enabled"], false);
    assert_eq!(admin(&server, "subscriptions/enable", &id).await["result"]["enabled"], true);
    let rotated = admin(&server, "subscriptions/rotate", &id).await;
    assert!(rotated["result"]["secret"] != made["result"]["secret"] && rotated["result"]["secret"].is_string());
    assert!(!admin(&server, "subscriptions/list", &json!({})).await.to_string().contains("whsec_"));
    for (path, body, number, why) in [
        ("subscriptions/create", json!({"events": ["*"]}), 400, "url: required"),
        ("subscriptions/create", json!({"url": "ftp://a", "events": ["*"]}), 400, "url: expected http or https"),
        ("subscriptions/create", json!({"url": "https://a"}), 400, "events: expected * or some of"),
        (
            "subscriptions/create",
            json!({"url": "https://a", "events": "order.lost"}),
            400,
            "events[0]: expected * or one of",
        ),
        ("subscriptions/create", json!({"url": "https://a/\n", "events": ["*"]}), 400, "url: expected no blanks"),
        ("subscriptions/create", json!({"url": "https://a/ b", "events": ["*"]}), 400, "url: expected no blanks"),
        ("subscriptions/create", json!({"url": "https://a", "events": {"a": "*"}}), 400, "events: expected a list"),
        (
            "subscriptions/create",
            json!({"url": "https://a", "events": ["*"], "touchpoints": ["moon"]}),
            404,
            "touchpoints[0]: unknown touchpoint \"moon\"; expected one of other, shop, website",
        ),
        (
            "subscriptions/create",
            json!({"url": "https://a", "events": ["*"], "touchpoints": [ADMIN]}),
            404,
            "touchpoints[0]: unknown touchpoint \"[token]\"; expected",
        ),
        (
            "touchpoints/create",
            json!({"external_id": "t", "channel": ADMIN}),
            404,
            "unknown channel \"[token]\"; expected",
        ),
        ("subscriptions/show", json!({}), 400, "id: required"),
        ("subscriptions/show", json!({"id": 99}), 404, "id: expected a subscription of the account's, found 99"),
        ("subscriptions/enable", json!({"id": -1}), 400, "id: expected a whole number from 0"),
        ("subscriptions/explode", json!({}), 404, "path: there is no such path"),
        ("events/list", json!({"order": "moon"}), 404, "order: expected one that is stored, found \"moon\""),
        ("events/list", json!({"order": ADMIN}), 404, "found \"[token]\""),
        ("events/list", json!({"states": ["lost"]}), 400, "states[0]: expected one of fired, waiting"),
        ("events/list", json!({"event": "evt_1_0"}), 404, "event: expected one that is kept, found \"evt_1_0\""),
        ("events/list", json!({"event": "evt_+1_0"}), 400, "event: expected an id like evt_12_0"),
        ("events/list", json!({"event": "evt_-1_0"}), 400, "event: expected an id like evt_12_0"),
        ("events/list", json!({"event": "evt_01_0"}), 400, "event: expected an id like evt_12_0"),
        ("events/replay", json!({"event": "evt_1_0"}), 404, "event: expected one that is kept, found \"evt_1_0\""),
        ("events/list", json!({"limit": 10001}), 400, "limit: expected at most 10000"),
        ("events/show", json!({"event": "evt_1_0"}), 404, "event: expected one that is kept"),
        ("events/show", json!({"event": "1"}), 400, "event: expected an id like evt_12_0"),
        ("events/replay", json!({}), 400, "event: required; or order, or from or to"),
        ("events/replay", json!({"from": "yesterday"}), 400, "from: expected a time"),
    ] {
        let answer = admin(&server, path, &body).await;
        assert_eq!(answer["error"], number, "{path} {body}: {answer}");
        assert!(answer["error_text"].as_str().is_some_and(|text| text.contains(why)), "{path} {body}: {answer}");
    }
    assert_eq!(admin(&server, "subscriptions/delete", &id).await["result"], id);
    assert_eq!(admin(&server, "subscriptions/list", &json!({})).await["result"], json!([]));
    let market = server.post("/api/v1.1/admin/subscriptions/list").header("content-type", "application/json");
    let market = answer(market.body(call(vec![]).render("json"))).await;
    assert!(
        market.body.starts_with(r#"{"error":403,"error_text":"token: expected the role admin, found market""#),
        "{}",
        market.body
    );
    let xml = server.post("/api/v1.1/admin/subscriptions/list").header("content-type", "application/xml");
    let xml = answer(xml.header(AUTHORIZATION, format!("Bearer {ADMIN}")).body("<xml/>")).await;
    assert!(xml.status == 415 && xml.body.contains("send Content-Type: application/json"), "{}", xml.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_knows_orders_that_are_gone_and_changes_that_were_silent() {
    let server = TestServer::start().await;
    let receiver = Receiver::start(|_, _| status("204 No Content")).await;
    subscribe(&server, &receiver.url(), &["order.deleted", "order_line.status_changed"]).await;
    deliver(&server, quick_retries());
    send(&server, "json", vec![order("a", 1, 1), order("b", 1, 1)], &[]).await;
    let line = server.db.text("select min(external_id) from order_lines").await;
    for (call, body) in [
        (
            "update_order_line_status",
            json!({"order_external_id": "a", "order_line_external_id": line, "status_external_id": "refunded"}),
        ),
        ("delete", json!({"external_id": "a"})),
        ("delete", json!({"external_id": "b", "skip_triggers": true})),
    ] {
        server.turn_clock(1);
        let mut body = body;
        body["token"] = json!(crate::support::server::TOKEN);
        let answer = server.market(&format!("orders/{call}"), "json", body.to_string()).await;
        assert_eq!(answer.body, "{\"error\":0,\"error_text\":\"\"}", "{call}");
    }
    until(&server, "select count(*) from deliveries_done", "2").await;
    let of_a = states(&server, &json!({"order": "a"})).await;
    let told = ["delivered order.deleted", "delivered order_line.status_changed"];
    assert!(told.iter().all(|told| of_a.contains(&(*told).to_owned())), "{of_a:?}");
    let of_b = states(&server, &json!({"order": "b"})).await;
    assert!(of_b.contains(&"skipped -".to_owned()) && !of_b.iter().any(|line| line.contains("deleted")), "{of_b:?}");
}
