//! Which request wrote an order last.

use futures_util::future::join_all;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value as Json, json};

use crate::support::server::{IMPORT, TOKEN, TestServer, answer};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_leaves_its_id_and_its_token_on_what_it_changes() {
    let server = &TestServer::start().await;
    let order = |id: &str, price: &str| {
        json!({"external_id": id, "email": "ann@example.com", "endpoint": "website", "status": "new", "total_price": price,
            "currency": "USD", "lines": [{"external_id": "1", "product": "p"}]})
    };
    let send = async |request: &str, body: Json| {
        let call = server
            .post(IMPORT)
            .bearer_auth(TOKEN)
            .header("x-request-id", request)
            .header(CONTENT_TYPE, "application/json");
        let answer = answer(call.body(body.to_string())).await;
        assert!(answer.body.starts_with(r#"{"error":0,"error_text":"","result":[{"error":0"#), "{}", answer.body);
    };
    let import = async |id: &str| {
        let body = json!({"token": TOKEN, "detail": true, "external_id": id}).to_string();
        let answer = server.market("orders/get", "json", body).await;
        let answer: Json = serde_json::from_str(&answer.body).expect("JSON");
        let import = &answer["result"]["import"];
        assert_eq!(import["token_id"], 1, "{answer}");
        import["request_id"].as_str().expect("a request id").to_owned()
    };
    let many: Vec<Json> = (0..150).map(|number| order(&format!("many {number}"), "1")).collect();
    let definition = json!([{"external_id": "size", "entity_type": "order", "value_type": "int"}]);
    // By copy, by the careful way, changed by the quick one, and not at all.
    for (request, id, body) in [
        ("copied", "many 149", json!({"data": many})),
        ("careful", "defined", json!({"custom_fields": definition, "data": [order("defined", "1")]})),
        ("changed", "many 7", json!({"data": [order("many 7", "2")]})),
        ("dry", "many 7", json!({"dry_run": true, "data": [order("many 7", "3")]})),
    ] {
        send(request, body).await;
        assert_eq!(import(id).await, if request == "dry" { "changed" } else { request });
    }
    assert_eq!(import("many 8").await, "copied", "one that was sent with others that changed");
    // Those that go in together are told apart.
    let alone: Vec<String> = (0..40).map(|number| format!("alone-{number}")).collect();
    join_all(alone.iter().map(|id| send(id, json!({"data": [order(id, "1")]})))).await;
    for id in &alone {
        assert_eq!(import(id).await, *id);
    }
}
