//! What a re-send costs and what makes it count: every input is changed between two sends, and the send after that is
//! known again without a look at what is stored.

use ordergate::config::Given;
use ordergate::store::tokens;

use crate::support::db::run;
use crate::support::server::{IMPORT, TestServer, answer};
use crate::support::stored::stored;
use crate::support::tree::{Tree, call, object, order, text};

/// How often stored orders were read as a whole.
async fn reads(server: &TestServer) -> String {
    let calls = "select coalesce(sum(s.calls), 0) from pg_stat_statements s join pg_database d on d.oid = s.dbid
        where d.datname = current_database() and s.query like '-- orders.read%'";
    server.db.text(calls).await
}

async fn start() -> TestServer {
    let server = TestServer::start().await;
    run(&mut server.db.connect().await, "create extension pg_stat_statements").await;
    server
}

/// Sends a request that has to be answered like this, without a look at what is stored.
async fn assert_known(server: &TestServer, format: &str, request: &Tree, what: &str) {
    let before = reads(server).await;
    let found = server.import(format, request.render(format)).await.body;
    assert!(!found.contains("failed") && !found.contains("created"), "{what}, {format}: {found:.400}");
    assert!(found.contains("unchanged") && !found.contains("updated"), "{what}, {format}: {found:.400}");
    assert_eq!(reads(server).await, before, "{what}, {format}: what is stored was read");
}

/// An order with every field.
fn full_order(external_id: &str) -> Tree {
    let mut order = order(external_id, 2, 1);
    order.set("delivery_cost", text("5"));
    order.set("create_time", text("2022-01-02T15:04:05Z"));
    order.set("update_time", text("2022-01-03T15:04:05Z"));
    order.set("region", text("region_YnCrJj8Y1"));
    order.set("tags", Tree::List(vec![text("one"), text("two")]));
    order.set("lines_mode", text("replace"));
    order.set("custom_fields", object(vec![("size", text("1"))]));
    let line = order.at("lines").item(0);
    line.set("base_price_per_item", text("3"));
    line.set("min_price_per_item", text("2"));
    line.set("final_price_per_item", text("2.5"));
    line.set("count", text("2"));
    line.set("status", text("new"));
    line.set("custom_fields", object(vec![("color", text("red"))]));
    order
}

const DEFINITIONS: &str = "insert into custom_fields (account_id, entity_type, external_id, value_type, name, required)
    select id, e, x, 'unicode', x, false from accounts, (values ('order', 'size'), ('line_order', 'color')) v (e, x)";

/// A change of one input of an order.
type Change = (&'static str, fn(&mut Tree));

fn line(order: &mut Tree) -> &mut Tree {
    order.at("lines").item(0)
}

/// Every field of an order and of a line.
const CHANGES: [Change; 21] = [
    ("email", |order| order.set("email", text("other@example.com"))),
    ("endpoint", |order| order.set("endpoint", text("shop"))),
    ("status", |order| order.set("status", text("paid"))),
    ("total_price", |order| order.set("total_price", text("77.25"))),
    ("currency", |order| order.set("currency", text("EUR"))),
    ("delivery_cost", |order| order.set("delivery_cost", text("6"))),
    ("create_time", |order| order.set("create_time", text("2022-01-02T15:04:06Z"))),
    ("region", |order| order.set("region", text(""))),
    ("tags", |order| order.set("tags", Tree::List(vec![text("two"), text("one")]))),
    ("custom_fields", |order| order.set("custom_fields", object(vec![("size", text("2"))]))),
    ("a line more", |order| {
        let more = object(vec![("external_id", text("more")), ("product", text("p"))]);
        if let Tree::List(lines) = order.at("lines") {
            lines.push(more);
        }
    }),
    ("line external_id", |order| line(order).set("external_id", text("another"))),
    ("line product", |order| line(order).set("product", text("another"))),
    ("line sku", |order| line(order).set("sku", text("another"))),
    ("line status", |order| line(order).set("status", text("delivered"))),
    ("line base_price_per_item", |order| line(order).set("base_price_per_item", text("3.5"))),
    ("line min_price_per_item", |order| line(order).set("min_price_per_item", text("2.25"))),
    ("line final_price_per_item", |order| line(order).set("final_price_per_item", text(""))),
    ("line count", |order| line(order).set("count", text("3"))),
    ("line custom_fields", |order| line(order).set("custom_fields", object(vec![("color", text("blue"))]))),
    ("line gone", |order| {
        if let Tree::List(lines) = order.at("lines") {
            lines.pop();
        }
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_input_that_changes_is_seen_and_the_next_send_is_known_again() {
    // Alone an order goes by one statement, among others set by set.
    for (format, others) in [("json", 0), ("xml", 150)] {
        let server = start().await;
        run(&mut server.db.connect().await, DEFINITIONS).await;
        let mut orders: Vec<Tree> = (0..others).map(|number| order(format!("other_{number}"), 1, 1)).collect();
        orders.push(full_order("it"));
        let mut request = call(orders);
        let first = server.import(format, request.render(format)).await.body;
        assert_eq!(first.matches("created").count(), others + 1, "{first:.400}");
        assert_known(&server, format, &request, "the same").await;
        for (what, change) in CHANGES {
            change(request.at("data").item(others));
            let found = server.import(format, request.render(format)).await.body;
            assert_eq!(found.matches("updated").count(), 1, "{what}, {format}: {found:.400}");
            assert_eq!(found.matches("unchanged").count(), others, "{what}, {format}: {found:.400}");
            assert_known(&server, format, &request, what).await;
        }
        request.at("data").item(others).set("update_time", text("2023-01-01"));
        assert_known(&server, format, &request, "update_time is never a change by itself").await;
        request.at("data").item(others).set("no_such_field", text("1"));
        assert_known(&server, format, &request, "other words for the same").await;
        let other_format = if format == "json" { "xml" } else { "json" };
        assert_known(&server, other_format, &request, "the other format").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_depends_on_is_looked_at_again_when_it_changes() {
    let server = start().await;
    run(&mut server.db.connect().await, DEFINITIONS).await;
    let request = call(vec![full_order("it")]);
    server.import("json", request.render("json")).await;
    let changes = [
        ("insert into regions select id, 'new', 'new' from accounts", "unchanged"),
        (
            "update accounts set unknown_product = 'reject', unknown_sku = 'reject', unknown_profile = 'reject'",
            "unchanged",
        ),
        ("delete from skus", "unchanged"),
        ("delete from products where external_id = 'product_1'", "unknown product"),
        ("update accounts set unknown_product = 'create'", "unchanged"),
        ("delete from regions where external_id = 'region_YnCrJj8Y1'", "unknown region"),
        ("insert into regions select id, 'region_YnCrJj8Y1', 'region' from accounts", "unchanged"),
        ("delete from currencies where code = 'USD'", "unknown currency"),
        ("insert into currencies select id, 'USD' from accounts", "unchanged"),
        ("delete from custom_fields where external_id = 'color'", "unknown custom field"),
        (
            "insert into custom_fields (account_id, entity_type, external_id, value_type, name, required)
            select id, 'line_order', 'color', 'int', 'color', false from accounts",
            "expected a whole number of 64 bits",
        ),
        ("update custom_fields set value_type = 'unicode' where external_id = 'color'", "unchanged"),
        ("delete from touchpoints where external_id = 'website'", "unknown touchpoint"),
        ("insert into touchpoints select id, 'website', 'other' from accounts", "unknown profile"),
        ("update touchpoints set channel = 'web' where external_id = 'website'", "unchanged"),
        ("update orders set status = 'paid', revision = revision + 1, digest = null, sent_digest = null", "updated"),
    ];
    for (change, expected) in changes {
        run(&mut server.db.connect().await, change).await;
        let found = server.import("json", request.render("json")).await.body;
        assert!(found.contains(expected), "{change}: {found}");
        if expected == "unchanged" || expected == "updated" {
            assert_known(&server, "json", &request, change).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_is_refused_at_once_by_every_server() {
    let first = TestServer::start().await;
    let second = TestServer::on(first.db.clone(), Given::default()).await;
    let good = call(vec![order(1, 1, 1)]).render("json");
    let malformed = good.replace("\"data\"", "data");
    let large = call((0..200).map(|number| order(number, 1, 1)).collect()).render("json");
    let with_header = |server: &TestServer, body: &str| {
        let request = server.post(IMPORT).header("content-type", "application/json").body(body.to_owned());
        answer(request.bearer_auth(crate::support::server::TOKEN))
    };
    for server in [&first, &second] {
        assert!(with_header(server, &good).await.body.starts_with("{\"error\":0,"));
        assert!(with_header(server, &malformed).await.body.starts_with("{\"error\":400,"));
        assert!(with_header(server, &large).await.body.starts_with("{\"error\":0,"));
    }
    let conn = &mut first.db.connect().await;
    let token = tokens::list(conn, first.account_id).await.expect("tokens").remove(0);
    let now = time::OffsetDateTime::UNIX_EPOCH;
    assert!(tokens::revoke(conn, first.account_id, token.id, now).await.expect("tokens"));
    for server in [&first, &second] {
        for body in [&good, &malformed, &large] {
            let found = with_header(server, body).await.body;
            assert!(found.starts_with("{\"error\":401,"), "{found:.300}");
        }
        assert!(server.import("json", large.clone()).await.body.starts_with("{\"error\":401,"), "in the body");
    }
}

/// Many clients at once, each with orders of one request each: good ones, bad ones, and one that all of them send.
#[tokio::test(flavor = "multi_thread")]
async fn joined_requests_keep_their_own_answers() {
    const CLIENTS: usize = 24;
    const ORDERS: usize = 20;
    let server = std::sync::Arc::new(TestServer::start().await);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let server = std::sync::Arc::clone(&server);
        clients.spawn(async move {
            let format = if client % 2 == 0 { "json" } else { "xml" };
            for number in 0..ORDERS {
                let id = format!("{client}_{number}");
                let mut mine = order(&id, 1 + number % 3, 1);
                let bad = number % 5 == 4;
                if bad {
                    mine.set("currency", text("JPY"));
                }
                let mut request = call(vec![mine]);
                request.set("skip_triggers", text(number % 2 == 1));
                if number % 10 == 4 {
                    request.set("on_error", text("abort"));
                }
                let found = server.import(format, request.render(format)).await.body;
                assert!(found.contains(&id), "its own answer: {found}");
                assert_eq!(found.contains("data[0].currency: unknown currency"), bad, "{found}");
                assert_eq!(found.contains("created"), !bad, "{found}");
                let shared = call(vec![order("shared", 1, client)]);
                let found = server.import(format, shared.render(format)).await.body;
                assert!(found.contains("shared") && !found.contains("failed"), "{found}");
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("no request fails");
    }
    let good = CLIENTS * ORDERS * 4 / 5;
    let counts = "select count(*) || ' ' || count(distinct external_id) from orders";
    assert_eq!(server.db.text(counts).await, format!("{0} {0}", good + 1));
    let silent = "select count(*) from orders o where external_id <> 'shared'
        and (split_part(external_id, '_', 2)::int % 2 = 1) = exists (select from outbox_events e where e.order_id = o.id)";
    assert_eq!(server.db.text(silent).await, "0", "events where they were asked for");
    let gaps = "select count(*) from orders o where external_id = 'shared' and revision <>
        (select count(distinct order_revision) from outbox_events e where e.order_id = o.id)";
    assert_eq!(server.db.text(gaps).await, "0", "every change has its event");
    let torn = "select count(*) from orders o join order_lines l on l.order_id = o.id
        where o.external_id = 'shared' and l.final_price_per_item <> o.total_price";
    assert_eq!(server.db.text(torn).await, "0", "no order is a mixture");
    assert!(stored(&server.db).await.contains("shared"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_found_by_a_kind_of_key_that_another_server_brought() {
    for count in [3, 300] {
        let first = TestServer::start().await;
        let second = TestServer::on(first.db.clone(), Given::default()).await;
        let orders = |name: &str, matching: &str| {
            let one = |number| {
                let mut order = order(format!("{name}_{number}"), 1, 1);
                order.set("matching", text(matching));
                order.set("email", text(format!("{number}@example.com")));
                order
            };
            call((0..count).map(one).collect()).render("json")
        };
        // The account knows its customers by one kind of key, and the first server has seen that.
        let mut known = order("known", 1, 1);
        known.set("matching", text("email_profile"));
        known.set("email", text("known@example.com"));
        first.import("json", call(vec![known]).render("json")).await;
        second.import("json", orders("second", "email_sub")).await;
        first.import("json", orders("first", "email")).await;
        let together = "select count(*) from orders a join orders b on b.profile = a.profile
            where a.external_id like 'second%' and b.external_id = replace(a.external_id, 'second', 'first')";
        assert_eq!(first.db.text(together).await, count.to_string());
    }
}
