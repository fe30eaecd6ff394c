//! Requests that touch the same orders at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::support::server::TestServer;
use crate::support::tree::{Tree, call, object, order, text};

const REQUESTS: usize = 1_000;
const AT_ONCE: usize = 8;
const ORDERS: usize = 60;
const IN_A_REQUEST: usize = 40;
const GROWING: usize = 2;

/// The orders of a request: a window of the shared ones, forwards or backwards, and one that grows by a line.
fn request(number: usize) -> Tree {
    let shared = (0..IN_A_REQUEST).map(|place| (number * 7 + place) % ORDERS);
    let mut orders: Vec<Tree> = shared.map(|id| order(id, 1 + number % 4, number)).collect();
    if number % 2 == 1 {
        orders.reverse();
    }
    let mut growing = order(format!("growing_{}", number % GROWING), 0, 0);
    let line =
        object(vec![("external_id", text(format!("line_{number}"))), ("sku", text(format!("sku_{}", number % 10)))]);
    growing.set("lines", Tree::List(vec![line]));
    growing.set("lines_mode", text("merge"));
    orders.insert(number % IN_A_REQUEST, growing);
    call(orders)
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_batches_in_opposite_orders_lose_nothing() {
    let server = Arc::new(TestServer::start().await);
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for client in 0..AT_ONCE {
        let (server, next) = (Arc::clone(&server), Arc::clone(&next));
        clients.spawn(async move {
            let format = if client % 2 == 0 { "json" } else { "xml" };
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= REQUESTS {
                    break;
                }
                let answer = server.import(format, request(number).render(format)).await;
                assert_eq!(answer.status, 200, "{}", answer.body);
                assert!(!answer.body.contains("failed"), "{}", answer.body);
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("no request fails");
    }
    let growing = server.db.text(
        "select count(*) from order_lines l join orders o on o.id = l.order_id where o.external_id like 'growing%'",
    );
    assert_eq!(growing.await, REQUESTS.to_string(), "no line is lost");
    // A request leaves an order with one price everywhere, and as many lines as its number says.
    let torn = "select count(*) from orders o where o.external_id not like 'growing%' and (
        exists (select from order_lines l where l.order_id = o.id and l.final_price_per_item <> o.total_price)
        or (select count(*) from order_lines l where l.order_id = o.id) <> 1 + o.total_price::bigint % 4)";
    assert_eq!(server.db.text(torn).await, "0");
    assert_eq!(server.db.text("select count(*) from orders").await, (ORDERS + GROWING).to_string());
    assert_eq!(
        server.db.text("select count(*) from profiles").await,
        (ORDERS + GROWING).to_string(),
        "no profile twice"
    );
    let orphans = "select count(*) from order_lines l where not exists (select from orders o where o.account_id = l.account_id and o.id = l.order_id)";
    assert_eq!(server.db.text(orphans).await, "0");
    // Every change has its event: revisions have no gaps.
    let gaps = "select count(*) from orders o where o.revision <> (select count(distinct order_revision) from outbox_events e where e.order_id = o.id)";
    assert_eq!(server.db.text(gaps).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_new_customers_are_made_once() {
    let server = Arc::new(TestServer::start().await);
    let mut clients = JoinSet::new();
    for client in 0..AT_ONCE {
        let server = Arc::clone(&server);
        clients.spawn(async move {
            for round in 0..20 {
                let same_customers = |number: usize| {
                    let mut order = order(format!("{client}_{round}_{number}"), 1, 1);
                    order.set(
                        "email",
                        text(format!("{round}_{}@example.com", if client % 2 == 0 { number } else { 29 - number })),
                    );
                    order
                };
                let answer = server.import("json", call((0..30).map(same_customers).collect()).render("json")).await;
                assert_eq!(answer.body.matches("created").count(), 30, "{}", answer.body);
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("no request fails");
    }
    assert_eq!(server.db.text("select count(*) from profiles").await, "600");
    assert_eq!(
        server.db.text("select count(*) from (select profile from orders group by 1 having count(*) = 8) t").await,
        "600"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_not_had_in_time_answers_503() {
    let delivery = ordergate::config::Delivery { lock_timeout_ms: Some(100), ..Default::default() };
    let given = ordergate::config::Given { delivery, ..Default::default() };
    let server = TestServer::with(given).await;
    let body = call(vec![order(1, 1, 1)]).render("json");
    server.import("json", body.clone()).await;
    let conn = &mut server.db.connect().await;
    crate::support::db::run(conn, "begin; select from orders for update").await;
    assert_eq!(server.import("json", body).await.status, 200, "what is unchanged needs no lock");
    let changed = call(vec![order(1, 1, 2)]).render("json");
    let request =
        server.post(crate::support::server::IMPORT).header("content-type", "application/json").body(changed.clone());
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert!(
        response
            .text()
            .await
            .expect("a body")
            .starts_with("{\"error\":503,\"error_text\":\"another request holds the same data")
    );
    crate::support::db::run(conn, "rollback").await;
    assert!(server.import("json", changed).await.body.contains("updated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_made_and_deleted_meanwhile_goes_on_above_its_last_revision() {
    let given = ordergate::config::Given { quick_imports: Some(false), ..Default::default() };
    let server = Arc::new(TestServer::with(given).await);
    let import = |orders: Vec<crate::support::tree::Tree>| {
        let server = Arc::clone(&server);
        async move { server.import("json", call(orders).render("json")).await.body }
    };
    let delete = format!(r#"{{"token":"{}","external_id":"b"}}"#, crate::support::server::TOKEN);
    let delete = async || {
        let answer = server.market("orders/delete", "json", delete.clone()).await;
        assert_eq!(answer.body, r#"{"error":0,"error_text":""}"#);
    };
    assert_eq!(import(vec![order("a", 1, 1), order("b", 1, 1)]).await.matches("created").count(), 2);
    delete().await;
    let blocker = &mut server.db.connect().await;
    crate::support::db::run(blocker, "begin; select from orders where external_id = 'a' for update").await;
    // It has read that there is no `b`, and waits for `a`.
    #[expect(clippy::disallowed_methods, reason = "a client of a test")]
    let waiting = tokio::spawn(import(vec![order("a", 1, 2), order("b", 1, 0)]));
    server.db.until_waiting(1).await;
    for version in 1..4 {
        let body = import(vec![order("b", 1, version)]).await;
        assert!(body.contains(if version == 1 { "created" } else { "updated" }), "{body}");
    }
    delete().await;
    crate::support::db::run(blocker, "commit").await;
    let body = waiting.await.expect("a client");
    assert_eq!((body.matches("updated").count(), body.matches("created").count()), (1, 1), "{body}");
    let told = "select string_agg(order_revision::text, ' ' order by pack_id, place) from outbox_events
        where order_external_id = 'b' and type in ('order.created', 'order.updated', 'order.deleted')";
    assert_eq!(server.db.text(told).await, "1 2 3 4 5 6 7", "the revisions of its events only rise");
    assert_eq!(server.db.text("select revision from orders where external_id = 'b'").await, "7");
}
