//! An account is set up from the command line alone, whether a server runs or not.

use serde_json::{Value as Json, json};

use super::program::{DataDir, Home, call, ordergate, serve, text};
use crate::support::db::{TestDb, run};

/// What a command prints for scripts.
fn printed(home: &impl Home, command: &str) -> Json {
    let printed = ordergate(home, &format!("--output json {command}")).done();
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{command}: {error}: {printed}"))
}

/// Sets an account up, checks what the commands print and list, and returns its token's id and the token.
fn set_up(home: &impl Home, name: &str) -> (i64, String) {
    let made = printed(home, &format!("account create {name}"));
    assert_eq!(made["name"], name);
    for (command, id) in [
        ("channel create web --database shop", "web"),
        ("touchpoint create website --channel web", "website"),
        ("region create north --name North", "north"),
        ("order-status create packed", "packed"),
    ] {
        assert_eq!(printed(home, &format!("{command} --account {name}")), json!({"external_id": id}), "{command}");
    }
    let currencies = printed(home, &format!("currency create --account {name} usd"));
    assert_eq!(currencies, json!({"codes": ["USD"]}));
    let token = printed(home, &format!("token create --account {name} --name shop --role orders:write"));
    let value = token["token"].as_str().expect("the token, shown once").to_owned();
    assert!(value.starts_with("ordergate_") && value.len() == 82, "{value}");
    (token["id"].as_i64().expect("an id"), value)
}

fn assert_listed(home: &impl Home, name: &str) {
    for (command, expected) in [
        ("channel list", json!([{"external_id": "web", "database": "shop"}])),
        ("touchpoint list", json!([{"external_id": "website", "channel": "web"}])),
        ("currency list", json!([{"code": "USD"}])),
        ("region list", json!([{"external_id": "north", "name": "North"}])),
    ] {
        assert_eq!(printed(home, &format!("{command} --account {name}")), expected, "{command}");
    }
    let statuses = printed(home, &format!("order-status list --account {name}"));
    let statuses = statuses.as_array().expect("a list");
    assert!(statuses.contains(&json!({"external_id": "packed", "built_in": false})), "{statuses:?}");
    assert!(statuses.contains(&json!({"external_id": "new", "built_in": true})), "{statuses:?}");
    let policies = printed(home, &format!("policy set --account {name} --unknown-sku reject"));
    let expected = json!([
        {"policy": "unknown_profile", "value": "create"},
        {"policy": "unknown_product", "value": "create"},
        {"policy": "unknown_sku", "value": "reject"},
    ]);
    assert_eq!(policies, expected);
    assert_eq!(printed(home, &format!("policy list --account {name}")), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_set_up_before_a_server_runs_and_beside_it() {
    let dir = DataDir::new();
    let (_, cold) = set_up(&dir, "cold");
    assert_eq!(dir.postmaster(), None, "a command stops the PostgreSQL that it started");

    let server = serve(&dir, "");
    let (id, warm) = set_up(&dir, "warm");
    assert_listed(&dir, "cold");
    assert_listed(&dir, "warm");
    let names: Vec<_> =
        printed(&dir, "account list").as_array().expect("a list").iter().map(|a| a["name"].clone()).collect();
    assert_eq!(names, ["cold", "warm"]);
    let done = r#"{"error":0,"error_text":"","result":[{"error":0,"external_id":"o0"}]}"#;
    for token in [&cold, &warm] {
        assert_eq!(server.import(call(token, "o", 1, 1)).await.body, done);
    }

    assert_eq!(printed(&dir, &format!("token revoke --account warm {id}")), json!({"id": id}));
    let answer = server.import(call(&warm, "o", 1, 1)).await;
    assert!(answer.body.starts_with(r#"{"error":401,"#), "a revoked token ends at once: {}", answer.body);
    assert_eq!(server.import(call(&cold, "o", 1, 1)).await.body, done, "the other account's lives on");

    let listed = printed(&dir, "token list --account warm");
    let [token] = listed.as_array().expect("a list").as_slice() else { panic!("expected one, found {listed}") };
    assert_eq!((&token["id"], &token["name"], &token["roles"]), (&json!(id), &json!("shop"), &json!(["orders:write"])));
    assert!(token["revoked_at"].is_string() && token["expires_at"].is_null(), "{token}");
    assert!(!listed.to_string().contains(&warm), "a list shows no token");
    assert_eq!(
        text(&mut dir.connect().await, "select string_agg(t::text, ' ') from tokens t")
            .await
            .matches("ordergate_")
            .count(),
        0
    );
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(dir.postmaster(), None, "PostgreSQL is gone with the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_names_what_is_wrong() {
    let db = TestDb::new().await;
    for command in ["account create test", "channel create --account test web", "currency create --account test USD"] {
        ordergate(&db, command).done();
    }
    for command in ["touchpoint create --account test website --channel web", "region create --account test north"] {
        ordergate(&db, command).done();
    }
    for (command, expected) in [
        ("account create test", r#"name: account "test" is there already"#),
        ("channel create --account test web", r#"external_id: channel "web" is there already"#),
        (
            "touchpoint create --account test website --channel web",
            r#"external_id: touchpoint "website" is there already"#,
        ),
        ("currency create --account test usd", r#"codes[0]: currency "USD" is there already"#),
        ("region create --account test north", r#"external_id: region "north" is there already"#),
        ("order-status create --account test new", r#"external_id: order status "new" is there already"#),
        ("channel list --account nobody", r#"account: expected one that exists, found "nobody""#),
        ("token create --account nobody", r#"account: expected one that exists, found "nobody""#),
        ("token create --account test --role owner", "roles[0]: expected market, orders:read,"),
        (
            "token create --account test --expires-at soon",
            r#"expires-at: expected a time like 2030-01-31, found "soon""#,
        ),
        (
            "token create --account test --expires-at 2020-01-31",
            "expires_at: expected a time to come, found 2020-01-31T00:00:00Z",
        ),
        ("--log loud account list", r#"log: expected error, warn, info, debug or trace, found "loud""#),
        ("token revoke --account test 77", "id: expected a token of the account's that is not revoked, found 77"),
        ("currency create --account test EURO", r#"codes[0]: expected three letters, found "EURO""#),
        ("touchpoint create --account test app --channel tv", r#"channel: unknown channel "tv"; expected one of web"#),
        ("policy set --account test", "unknown_profile: required, or unknown_product"),
    ] {
        let sentence = ordergate(&db, command).refused();
        assert!(sentence.contains(expected), "{command}: {sentence}");
    }
    let sentence = ordergate(&db, "account create").arg("").refused();
    assert!(sentence.contains("name: expected 1 to"), "{sentence}");
    let sentence = ordergate(&db, "account create").arg("a\u{1}b").refused();
    assert!(sentence.contains(r#"name: expected no control characters, found "a\u{1}b""#), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_currency_of_several_leaves_none() {
    let db = TestDb::new().await;
    ordergate(&db, "account create test").done();
    ordergate(&db, "currency create --account test EUR").done();
    for (codes, wrong) in [("USD EURO", "EURO"), ("USD EUR", "EUR")] {
        let sentence = ordergate(&db, &format!("currency create --account test {codes}")).refused();
        assert!(sentence.contains(wrong), "{sentence}");
        assert_eq!(db.text("select string_agg(code, ' ' order by code) from currencies").await, "EUR", "{codes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_clients_carry_is_taken_over_and_stored_as_a_hash_alone() {
    let db = TestDb::new().await;
    super::program::set_up(&db, "sixteen-or-more!");
    let server = serve(&db, "");
    let answer = server.import(call("sixteen-or-more!", "o", 1, 1)).await;
    assert!(answer.body.starts_with(r#"{"error":0,"#), "{}", answer.body);

    let generated = ordergate(&db, "token create --account test").done();
    let [cut, mistyped] = [&generated[..81], &generated.replace("ordergate_", "ordergate_0")[..82]];
    for (value, expected) in [
        ("fifteen-or-less", "token: expected 16 to 255 characters, found 15"),
        ("", "token: expected 16 to 255 characters, found 0"),
        ("with a blank in between", "token: expected printable ASCII characters without blanks"),
        ("sixteen-or-more!", "token: it is there already"),
        (cut, "needs its checksum"),
        (mistyped, "needs its checksum"),
    ] {
        let create = ordergate(&db, "token create --account test --value-stdin");
        let sentence = create.start(&format!("{value}\n")).ended().refusal();
        assert!(sentence.contains(expected), "{value:?}: {sentence}");
        assert!(value.is_empty() || !sentence.contains(value), "a refusal does not repeat a token: {sentence}");
    }
    assert_eq!(db.text("select count(*) from tokens").await, "2");
    let stored = db.text("select string_agg(t::text, ' ') from tokens t").await;
    for token in ["sixteen-or-more!", generated.as_str(), &generated[..40]] {
        assert!(!stored.contains(token), "a token is stored: {stored}");
        let in_hex = db.text(&format!("select encode('{token}', 'hex')")).await;
        assert!(!stored.contains(&in_hex), "a token is stored: {stored}");
    }
    assert_eq!(db.text("select sum(length(hash)) from tokens").await, "64");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_the_role_is_refused_with_its_name_and_one_that_has_expired_is_unknown() {
    let db = TestDb::new().await;
    super::program::set_up(&db, "sixteen-or-more!");
    let server = serve(&db, "");
    let reader = ordergate(&db, "token create --account test --role orders:read --role catalog:write").done();
    let expired = ordergate(&db, "token create --account test --expires-at 2900-01-31").done();
    run(&mut db.connect().await, "update tokens set expires_at = '2020-01-31' where expires_at < '2901-01-01'").await;
    let living = ordergate(&db, "token create --account test --expires-at 2999-01-31T12:00:00Z").done();
    for (token, expected) in [
        (
            reader,
            r#"{"error":403,"error_text":"token: expected the role orders:write, found orders:read, catalog:write"}"#,
        ),
        (expired, r#"{"error":401,"#),
        (living, r#"{"error":0,"#),
    ] {
        let answer = server.import(call(&token, "o", 1, 1)).await;
        assert!(answer.body.starts_with(expected), "{}", answer.body);
    }
}
