//! Accounts are set up over the admin API as they are from the command line, and what is made counts at once.

use ordergate::accounts;
use ordergate::auth;
use ordergate::store::tokens;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value as Json, json};

use crate::support::server::{Answer, IMPORT, TestServer, answer};
use crate::support::tree::{call, order, text};

const ADMIN: &str = "admin-token-0123456789";

async fn start() -> TestServer {
    let server = TestServer::start().await;
    let conn = &mut server.db.connect().await;
    let roles = ["admin".to_owned()];
    tokens::create(conn, server.account_id, &auth::hash(ADMIN), "", &roles, None).await.expect("a token");
    server
}

async fn send(server: &TestServer, path: &str, body: &Json) -> Answer {
    let request = server.post(&format!("/api/v1.1/admin/{path}")).header(AUTHORIZATION, format!("Bearer {ADMIN}"));
    answer(request.header("content-type", "application/json").body(body.to_string())).await
}

/// The result of a call that has to be carried out.
async fn ask(server: &TestServer, path: &str, body: Json) -> Json {
    let answer = send(server, path, &body).await.body;
    let mut json: Json = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"));
    assert_eq!(json["error"], 0, "{path}: {json}");
    json["result"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_up_counts_at_once() {
    let server = start().await;
    let mut sent = order("A", 1, 0);
    for (field, value) in [("endpoint", "kiosk"), ("currency", "GBP"), ("region", "north"), ("status", "shipped")] {
        sent.set(field, text(value));
    }
    let request = call(vec![sent]);
    let found = server.import("json", request.render("json")).await.body;
    assert!(found.contains("unknown touchpoint"), "{found}");
    for (path, body, result) in [
        ("channels/create", json!({"external_id": "kiosks"}), json!({"external_id": "kiosks"})),
        ("channels/create", json!({"external_id": "abroad", "database": "abroad"}), json!({"external_id": "abroad"})),
        ("touchpoints/create", json!({"external_id": "kiosk", "channel": "kiosks"}), json!({"external_id": "kiosk"})),
        ("regions/create", json!({"external_id": "north", "name": "North"}), json!({"external_id": "north"})),
        ("regions/create", json!({"external_id": "south"}), json!({"external_id": "south"})),
        ("currencies/create", json!({"codes": ["gbp", "CHF"]}), json!({"codes": ["GBP", "CHF"]})),
        ("order_statuses/create", json!({"external_id": "shipped"}), json!({"external_id": "shipped"})),
    ] {
        assert_eq!(ask(&server, path, body).await, result, "{path}");
    }
    for format in ["json", "xml"] {
        let found = server.import(format, request.render(format)).await.body;
        assert!(found.contains("created") || found.contains("unchanged"), "{found}");
    }
    let policies = ask(&server, "policies/set", json!({"unknown_product": "reject"})).await;
    assert_eq!(policies[1], json!({"policy": "unknown_product", "value": "reject"}));
    assert_eq!(ask(&server, "policies/list", json!({})).await, policies);
    let mut unknown = order("B", 1, 0);
    unknown.at("lines").item(0).set("product", text("nobody knows it"));
    let found = server.import("json", call(vec![unknown]).render("json")).await.body;
    assert!(found.contains("unknown product"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_and_the_command_line_see_the_same() {
    let server = start().await;
    let conn = &mut server.db.connect().await;
    accounts::create_channel(conn, server.account_id, "by hand", "main").await.expect("a channel");
    ask(&server, "channels/create", json!({"external_id": "by call"})).await;
    let table = accounts::channels(conn, server.account_id).await.expect("channels");
    let ids: Vec<_> = table.rows.iter().map(|row| row[0].clone()).collect();
    let listed = ask(&server, "channels/list", json!({})).await;
    let listed: Vec<_> = listed.as_array().expect("a list").iter().map(|row| row["external_id"].clone()).collect();
    assert_eq!(listed, ids);
    assert!(ids.contains(&json!("by hand")) && ids.contains(&json!("by call")), "{ids:?}");
    for (path, first) in [
        ("touchpoints/list", json!({"external_id": "other", "channel": "other"})),
        ("regions/list", json!({"external_id": "region_YnCrJj8Y1", "name": "region"})),
        ("currencies/list", json!({"code": "EUR"})),
        ("order_statuses/list", json!({"external_id": "new", "built_in": true})),
    ] {
        assert_eq!(ask(&server, path, json!({})).await[0], first, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_ends_at_once() {
    let server = start().await;
    let new = json!({"name": "shop", "roles": ["orders:write"], "expires_at": "2030-01-31"});
    let made = ask(&server, "tokens/create", new).await;
    let token = made["token"].as_str().expect("the token").to_owned();
    let import = || {
        let request = server.post(IMPORT).header(AUTHORIZATION, format!("Bearer {token}"));
        let body = call(vec![order("A", 1, 0)]).render("json").replace(crate::support::server::TOKEN, "");
        answer(request.header("content-type", "application/json").body(body))
    };
    assert!(import().await.body.contains("created"));
    let listed = ask(&server, "tokens/list", json!({})).await;
    assert!(!listed.to_string().contains(&token), "it is stored nowhere");
    let found = listed.as_array().expect("a list").iter().find(|row| row["id"] == made["id"]).expect("the token");
    assert_eq!((&found["name"], &found["expires_at"]), (&json!("shop"), &json!("2030-01-31T00:00:00Z")));
    assert_eq!(ask(&server, "tokens/revoke", json!({"id": made["id"]})).await, json!({"id": made["id"]}));
    assert!(import().await.body.contains("\"error\":401"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_refused_with_its_reason() {
    let server = start().await;
    let long = "x".repeat(256);
    for (path, body, error, text) in [
        ("channels/create", json!({}), 400, "external_id: required"),
        ("channels/create", json!({"external_id": "web"}), 409, "external_id: channel \"web\" is there already"),
        (
            "channels/create",
            json!({"external_id": long}),
            400,
            "external_id: expected at most 255 characters, found 256",
        ),
        (
            "channels/create",
            json!({"external_id": "a\nb"}),
            400,
            "external_id: expected no control characters, found \"a\\nb\"",
        ),
        ("touchpoints/create", json!({"external_id": "t"}), 400, "channel: required"),
        (
            "touchpoints/create",
            json!({"external_id": "t", "channel": "c"}),
            404,
            "channel: unknown channel \"c\"; expected one of other, shop, web",
        ),
        (
            "touchpoints/create",
            json!({"external_id": "website", "channel": "web"}),
            409,
            "external_id: touchpoint \"website\" is there already",
        ),
        (
            "regions/create",
            json!({"external_id": "region_YnCrJj8Y1"}),
            409,
            "external_id: region \"region_YnCrJj8Y1\" is there already",
        ),
        ("currencies/create", json!({"codes": []}), 400, "codes: required"),
        (
            "currencies/create",
            json!({"codes": ["GBP", "pound"]}),
            400,
            "codes[1]: expected three letters, found \"pound\"",
        ),
        ("currencies/create", json!({"codes": ["GBP", "USD"]}), 409, "codes[1]: currency \"USD\" is there already"),
        (
            "order_statuses/create",
            json!({"external_id": "paid"}),
            409,
            "external_id: order status \"paid\" is there already",
        ),
        ("policies/set", json!({}), 400, "unknown_profile: required, or unknown_product or unknown_sku"),
        ("policies/set", json!({"unknown_sku": "ask"}), 400, "unknown_sku: expected create or reject, found \"ask\""),
        (
            "tokens/create",
            json!({}),
            400,
            "roles: expected some of market, orders:read, orders:write, catalog:read, catalog:write or admin, found none",
        ),
        (
            "tokens/create",
            json!({"roles": ["root"]}),
            400,
            "roles[0]: expected market, orders:read, orders:write, catalog:read, catalog:write or admin, found \"root\"",
        ),
        (
            "tokens/create",
            json!({"roles": ["market"], "expires_at": "2020-01-01"}),
            400,
            "expires_at: expected a time to come, found 2020-01-01T00:00:00Z",
        ),
        ("tokens/revoke", json!({}), 400, "id: required"),
        (
            "tokens/revoke",
            json!({"id": 999}),
            404,
            "id: expected a token of the account's that is not revoked, found 999",
        ),
    ] {
        let found: Json = serde_json::from_str(&send(&server, path, &body).await.body).expect("JSON");
        assert_eq!(found, json!({"error": error, "error_text": text}), "{path} {body}");
    }
    assert!(!ask(&server, "currencies/list", json!({})).await.to_string().contains("GBP"), "all of them, or none");
    // What nobody sees around an id is not a part of it.
    for (path, body, made) in [
        ("channels/create", json!({"external_id": "\n  tv\t", "database": " main "}), json!({"external_id": "tv"})),
        ("touchpoints/create", json!({"external_id": "\u{feff}app", "channel": "tv "}), json!({"external_id": "app"})),
        ("regions/create", json!({"external_id": " north\u{a0}"}), json!({"external_id": "north"})),
        ("order_statuses/create", json!({"external_id": "lost\r\n"}), json!({"external_id": "lost"})),
        ("currencies/create", json!({"codes": " gbp "}), json!({"codes": ["GBP"]})),
    ] {
        assert_eq!(ask(&server, path, body).await, made, "{path}");
    }
    for path in ["policies/create", "channels/delete", "nothing/list"] {
        assert_eq!(send(&server, path, &json!({})).await.status, 404, "{path}");
    }
}
