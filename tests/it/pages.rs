//! Pages of lists, as clients of both habits walk through them; and what bounds them.

use std::collections::BTreeSet;

use ordergate::config::Given;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::support::server::{TOKEN, TestServer};

async fn ask(server: &TestServer, call: &str, mut body: Json) -> Json {
    body["token"] = json!(TOKEN);
    let answer = server.market(call, "json", body.to_string()).await;
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

/// A page in a format: its external ids, and where the next one begins.
async fn page(server: &TestServer, call: &str, format: &str, from_id: &str) -> (Vec<String>, String) {
    let request = match format {
        "json" => json!({"token": TOKEN, "limit": 2, "from_id": from_id}).to_string(),
        _ => format!("<xml><token>{TOKEN}</token><limit>2</limit><from_id>{from_id}</from_id></xml>"),
    };
    let body = server.market(call, format, request).await.body;
    let between = |text: &str, start: &str, end: &str| {
        let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{start}: {text}"));
        rest.split_once(end).expect("an end").0.to_owned()
    };
    if format == "json" {
        let page: Json = serde_json::from_str(&body).expect("JSON");
        let id = |item: &Json| item["external_id"].as_str().expect("an id").to_owned();
        let ids = page["result"].as_array().expect("a list").iter().map(id).collect();
        return (ids, page["next_from_id"].as_str().expect("a text").to_owned());
    }
    let ids = body.split("<result>").skip(1).map(|item| between(item, "<external_id>", "</external_id>")).collect();
    (ids, between(&body, "<next_from_id>", "</next_from_id>"))
}

async fn filled() -> TestServer {
    let server = TestServer::start().await;
    let product = |n: usize| json!({"external_id": format!("{n}"), "name": "P", "sku": [{"external_id": format!("{n}"), "name": "S"}]});
    let order = |n: usize| {
        json!({"external_id": format!("{n}"), "email": "ann@example.com", "endpoint": "website", "status": "new", "total_price": 1,
            "currency": "USD", "lines": [{"external_id": "1", "product": "1"}]})
    };
    for (call, data) in [
        ("products/import", (0..6).map(product).collect::<Vec<_>>()),
        ("orders/import", (0..6).map(order).collect::<Vec<_>>()),
    ] {
        assert_eq!(ask(&server, call, json!({"data": data})).await["error"], 0, "{call}");
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_both_habits_see_everything_once_and_end() {
    let server = filled().await;
    let all: Vec<String> = (0..6).map(|n| n.to_string()).collect();
    for call in ["orders/list", "products/list", "sku/list"] {
        for format in ["json", "xml"] {
            // Altcraft's documentation says: until the result is empty.
            let (mut seen, mut from_id, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let (ids, next) = page(&server, call, format, &from_id).await;
                pages += 1;
                assert_eq!(ids.is_empty(), next.is_empty(), "{call} {format}: only an empty page leads nowhere");
                if ids.is_empty() {
                    break;
                }
                seen.extend(ids);
                from_id = next;
            }
            assert_eq!((&seen, pages), (&all, 4), "{call} {format}, until the result is empty");
            // Others go on until there is no next page.
            let (mut seen, mut from_id, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let (ids, next) = page(&server, call, format, &from_id).await;
                pages += 1;
                seen.extend(ids);
                if next.is_empty() {
                    break;
                }
                from_id = next;
            }
            assert_eq!((&seen, pages), (&all, 4), "{call} {format}, until there is no next page");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_would_be_too_large_ends_early() {
    const MAX_PAGE_BYTES: usize = 9 << 20;
    let server = TestServer::start().await;
    let long = "x".repeat(10_000);
    let pictures: Vec<&str> = (0..30).map(|_| long.as_str()).collect();
    let sku = |n: usize| json!({"external_id": format!("s{n}"), "name": "S", "pictures": pictures});
    let product = |n: usize| json!({"external_id": format!("{n}"), "name": "P", "pictures": pictures, "sku": [sku(n)]});
    for start in [0, 10] {
        let data: Vec<Json> = (start..start + 10).map(product).collect();
        assert_eq!(ask(&server, "products/import", json!({"data": data})).await["error"], 0);
    }
    let fields: Vec<Json> = (0..100)
        .map(|n| json!({"external_id": format!("f{n}"), "entity_type": "order", "value_type": "unicode"}))
        .collect();
    let values: serde_json::Map<String, Json> = (0..100).map(|n| (format!("f{n}"), json!(long))).collect();
    let order = |n: usize| {
        json!({"external_id": format!("{n}"), "email": "ann@example.com", "endpoint": "website", "status": "new", "total_price": 1,
            "currency": "USD", "custom_fields": values, "lines": [{"external_id": "1", "product": "1"}]})
    };
    for n in 0..12 {
        assert_eq!(
            ask(&server, "orders/import", json!({"custom_fields": fields, "data": [order(n)]})).await["error"],
            0
        );
    }
    for (call, count) in [("products/list", 20), ("sku/list", 20), ("orders/list", 12)] {
        let (mut seen, mut from_id, mut pages) = (BTreeSet::new(), json!(""), 0);
        loop {
            let page = ask(&server, call, json!({"limit": 1000, "from_id": from_id})).await;
            let items = page["result"].as_array().expect("a list");
            if items.is_empty() {
                break;
            }
            assert!(page.to_string().len() <= MAX_PAGE_BYTES, "{call}: {} bytes", page.to_string().len());
            for item in items {
                assert!(seen.insert(item["id"].as_i64()), "{call}: {} comes once", item["id"]);
            }
            from_id = page["next_from_id"].clone();
            pages += 1;
        }
        assert_eq!(seen.len(), count, "{call}");
        assert_eq!(pages, if call == "sku/list" { 1 } else { 2 }, "{call}");
    }
}

/// A server on which a product has at most three SKUs.
async fn bounded() -> TestServer {
    TestServer::with(Given { max_lines: Some(3), ..Given::default() }).await
}

fn sku(id: &str, product: &str) -> Json {
    json!({"external_id": id, "name": "S", "product_external_id": product})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_has_at_most_as_many_skus_as_a_request_can_bring() {
    const FULL: &str = "expected at most 3 SKUs of a product, found 4";
    let server = bounded().await;
    let outcomes = async |call: &str, data: Json| -> Vec<String> {
        let answer = ask(&server, call, json!({"detail": true, "data": data})).await;
        let outcome = |item: &Json| match item["error_text"].as_str() {
            Some(text) => text.to_owned(),
            None => item["outcome"].as_str().expect("an outcome").to_owned(),
        };
        answer["result"].as_array().expect("a list").iter().map(outcome).collect()
    };
    let skus = json!([sku("a", "p"), sku("b", "p"), sku("c", "p"), sku("d", "p")]);
    let last = format!("data[3].product_external_id: {FULL}");
    assert_eq!(outcomes("sku/import", skus.clone()).await, ["created", "created", "created", &last]);
    assert_eq!(outcomes("sku/import", skus).await, ["unchanged", "unchanged", "unchanged", &last]);
    let product = json!([{"external_id": "p", "name": "P", "sku": [{"external_id": "a", "name": "A"}, {"external_id": "e", "name": "E"}]}]);
    assert_eq!(outcomes("products/import", product).await, [format!("data[0].sku: {FULL}")]);
    // One that leaves makes place for another.
    let at_once = json!([sku("d", "p"), sku("c", "q")]);
    let first = format!("data[0].product_external_id: {FULL}");
    assert_eq!(outcomes("sku/import", at_once).await, [&first, "updated"], "each as if it came alone");
    assert_eq!(outcomes("sku/import", json!([sku("c", "p")])).await, ["updated"]);
    assert_eq!(outcomes("sku/import", json!([sku("c", "q"), sku("d", "p")])).await, ["updated", "created"]);
    assert_eq!(outcomes("sku/import", json!([sku("c", "p")])).await, [format!("data[0].product_external_id: {FULL}")]);
    // A stub is not listed, and does not count until it is imported.
    let line = json!([{"external_id": "1", "email": "ann@example.com", "endpoint": "website", "status": "new", "total_price": 1,
        "currency": "USD", "lines": [{"external_id": "1", "product": "p", "sku": "f"}]}]);
    assert_eq!(outcomes("orders/import", line).await, ["created"]);
    assert_eq!(outcomes("sku/import", json!([sku("f", "p")])).await, [format!("data[0].product_external_id: {FULL}")]);
    let listed = ask(&server, "products/list", json!({})).await;
    assert_eq!(listed["result"], json!([]), "neither product was imported");
    let product = json!([{"external_id": "p", "name": "P", "sku": [{"external_id": "a", "name": "A"}]}]);
    assert_eq!(outcomes("products/import", product).await, ["created"]);
    let listed = ask(&server, "products/list", json!({})).await;
    assert_eq!(listed["result"][0]["sku"].as_array().expect("a list").len(), 3);
    assert_eq!(outcomes("products/import", listed["result"].clone()).await, ["unchanged"], "what is listed goes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_bring_skus_at_once_do_not_bring_too_many() {
    let server = std::sync::Arc::new(bounded().await);
    for round in 0..5 {
        let mut clients = JoinSet::new();
        for client in 0..8 {
            let server = std::sync::Arc::clone(&server);
            clients.spawn(async move {
                let new = sku(&format!("{round}_{client}"), &format!("p{round}"));
                ask(&server, "sku/import", json!({"detail": true, "data": [new]})).await
            });
        }
        let answers = clients.join_all().await;
        let created = answers.iter().filter(|answer| answer["result"][0]["outcome"] == "created").count();
        let failed = answers.iter().filter(|answer| answer["result"][0]["code"] == "too_many").count();
        assert_eq!((created, failed), (3, 5), "{answers:?}");
    }
}
