//! Large batches: every order answered and stored, a bad one by itself, and statements by the set.

use crate::support::server::TestServer;
use crate::support::tree::{Tree, call, order, text};

const ORDERS: usize = 10_000;

fn orders(version: usize) -> Vec<Tree> {
    (0..ORDERS).map(|number| order(number, 3, version)).collect()
}

async fn count(server: &TestServer, table: &str) -> String {
    server.db.text(&format!("select count(*) from {table}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_orders_are_stored_with_one_result_each() {
    for format in ["json", "xml"] {
        let server = TestServer::start().await;
        let mut request = call(orders(1));
        let created = server.import(format, request.render(format)).await;
        assert_eq!(created.body.matches("created").count(), ORDERS);
        assert_eq!(count(&server, "orders").await, ORDERS.to_string());
        assert_eq!(count(&server, "order_lines").await, (3 * ORDERS).to_string());
        assert_eq!(count(&server, "profiles").await, ORDERS.to_string());
        assert_eq!(count(&server, "outbox_events").await, ORDERS.to_string());
        let unchanged = server.import(format, request.render(format)).await;
        assert_eq!(unchanged.body.matches("unchanged").count(), ORDERS);
        for number in (0..ORDERS).step_by(10) {
            request.at("data").item(number).set("total_price", text(2));
        }
        let updated = server.import(format, request.render(format)).await;
        assert_eq!(updated.body.matches("updated").count(), ORDERS / 10);
        assert_eq!(updated.body.matches("unchanged").count(), ORDERS - ORDERS / 10);
        assert_eq!(
            server.db.text("select count(*) from orders where total_price = 2 and revision = 2").await,
            (ORDERS / 10).to_string()
        );
    }
}

/// Makes ten orders wrong in ten ways; returns where each says that it is wrong.
fn spoil(request: &mut Tree) -> [(usize, &'static str); 10] {
    let data = request.at("data");
    data.item(5).remove("external_id");
    data.item(1_000).set("endpoint", text("nowhere"));
    data.item(2_000).set("status", text("lost"));
    data.item(3_000).set("total_price", text("1e400"));
    data.item(4_000).set("currency", text("JPY"));
    data.item(5_000).set("create_time", text("10000-01-01"));
    data.item(6_000).set("email", text("nobody"));
    data.item(7_000).at("lines").item(1).set("status", text("packed"));
    data.item(8_000).at("lines").item(2).set("external_id", text("line_0"));
    data.item(9_999).set("custom_fields", Tree::Object(vec![("color".to_owned(), text("red"))]));
    [
        (5, "data[5].external_id: required"),
        (1_000, "data[1000].endpoint: unknown touchpoint \"nowhere\"; expected one of other, shop, website"),
        (
            2_000,
            "data[2000].status: unknown order status \"lost\"; expected one of new, delivered, paid, canceled, part_refunded, packed",
        ),
        (
            3_000,
            "data[3000].total_price: expected a decimal like 12.50, with at most 18 digits before the point, found \"1e400\"",
        ),
        (4_000, "data[4000].currency: unknown currency \"JPY\"; expected one of EUR, RUB, USD"),
        (
            5_000,
            "data[5000].create_time: expected a time like 2022-01-02T15:04:05Z, 2022-01-02 15:04 or 2022-01-02, found \"10000-01-01\"",
        ),
        (6_000, "data[6000].email: expected an e-mail address, found \"nobody\""),
        (
            7_000,
            "data[7000].lines[1].status: unknown line status \"packed\"; expected one of new, processing, delivering, delivered, canceled, refunded",
        ),
        (8_000, "data[8000].lines[2].external_id: line \"line_0\" is there twice"),
        (9_999, "data[9999].custom_fields.color: unknown custom field \"color\"; the account has none"),
    ]
}

fn quoted(text: &str) -> String {
    text.replace('"', "\\\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_wrong_orders_are_explained_and_the_others_stored() {
    let mut request = call(orders(1));
    let reasons = spoil(&mut request);
    let mut answers = Vec::new();
    for format in ["json", "xml"] {
        let server = TestServer::start().await;
        let request = crate::support::server::answer(
            server
                .post(&format!("{}?format=json", crate::support::server::IMPORT))
                .header("content-type", format!("application/{format}"))
                .body(request.render(format)),
        );
        let answer = request.await.body;
        assert!(answer.starts_with("{\"error\":0,\"error_text\":\"\",\"result\":["), "{}", &answer[..200]);
        assert_eq!(answer.matches("\"created\"").count(), ORDERS - 10);
        assert_eq!(answer.matches("\"failed\"").count(), 10);
        for (index, reason) in reasons {
            assert!(
                answer.contains(&format!("{{\"error\":400,\"error_text\":\"{}\"", quoted(reason))),
                "{index}: {reason}"
            );
        }
        assert_eq!(count(&server, "orders").await, (ORDERS - 10).to_string());
        assert_eq!(count(&server, "profiles").await, (ORDERS - 10).to_string());
        answers.push(answer);
    }
    assert_eq!(answers[0], answers[1], "both formats answer the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_order_stops_everything_if_asked_to() {
    let mut request = call(orders(1));
    let reasons = spoil(&mut request);
    request.set("on_error", text("abort"));
    let definition = crate::support::tree::object(vec![
        ("external_id", text("size")),
        ("entity_type", text("order")),
        ("value_type", text("int")),
    ]);
    request.set("custom_fields", Tree::List(vec![definition]));
    for format in ["json", "xml"] {
        let server = TestServer::start().await;
        let answer = server.import(format, request.render(format)).await.body;
        let (first, aborted) = if format == "json" {
            (
                format!("{{\"error\":400,\"error_text\":\"{}\",\"result\":[", reasons[0].1),
                "{\"error\":424,\"error_text\":\"not written: data[5] failed\",",
            )
        } else {
            (
                format!("<xml><error>400</error><error_text>{}</error_text><result>", reasons[0].1),
                "<result><error>424</error><error_text>not written: data[5] failed</error_text>",
            )
        };
        assert!(answer.starts_with(&first), "{}", &answer[..200]);
        assert_eq!(answer.matches(aborted).count(), ORDERS - 10);
        for table in ["orders", "order_lines", "profiles", "identities", "products", "outbox", "custom_fields"] {
            assert_eq!(count(&server, table).await, "0", "{table}");
        }
    }
}

/// Statements of an import: at most this many, …
const CONSTANT: i64 = 10;
/// … and this many more for each started set of 2,000 orders.
const PER_SET: i64 = 8;

/// How many statements the database has run for the server.
async fn statements(server: &TestServer) -> i64 {
    let calls = "select sum(s.calls) from pg_stat_statements s join pg_database d on d.oid = s.dbid
        where d.datname = current_database() and s.query not like '%pg_stat_statements%'";
    server.db.text(calls).await.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_grow_by_sets_of_orders() {
    let server = TestServer::start().await;
    crate::support::db::run(&mut server.db.connect().await, "create extension pg_stat_statements").await;
    // The connections that the first request makes are not counted.
    server.import("json", call(vec![order("first", 3, 1)]).render("json")).await;
    let mut seen = Vec::new();
    for (round, orders) in [1, 2_000, 2_001, ORDERS].into_iter().enumerate() {
        let numbered = |version| (0..orders).map(|number| order(format!("{round}_{number}"), 5, version)).collect();
        for (kind, version) in [("new", 1), ("unchanged", 1), ("changed", 2)] {
            let body = call(numbered(version)).render("json");
            let before = statements(&server).await;
            let answer = server.import("json", body).await;
            assert!(answer.body.starts_with("{\"error\":0,"), "{}", answer.body);
            let ran = statements(&server).await - before;
            let sets = i64::try_from(orders.div_ceil(2_000)).expect("a small number");
            seen.push(format!("{orders} {kind}: {ran}"));
            assert!(ran <= CONSTANT + PER_SET * sets, "{seen:?}");
        }
    }
    println!("{seen:?}");
}
