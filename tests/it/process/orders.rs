//! `order show`, `order list`, and an export that goes into another account.

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::program::{ordergate, set_up};
use crate::support::db::TestDb;
use crate::support::server::TOKEN;

fn order(id: &str, email: &str, status: &str) -> Json {
    json!({"external_id": id, "email": email, "endpoint": "website", "status": status, "total_price": "10.5",
        "currency": "USD", "update_time": "2024-01-01", "lines": [{"external_id": "1", "product": "p", "count": 2}]})
}

/// A database with two accounts, and three orders in one of them.
async fn shop() -> TestDb {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    ordergate(&db, "account create other").done();
    ordergate(&db, "channel create --account other web").done();
    ordergate(&db, "touchpoint create --account other website --channel web").done();
    ordergate(&db, "currency create --account other USD").done();
    let mut phone = order("1003", "", "new");
    phone["matching"] = json!("phone");
    phone["phone"] = json!("+79991234567");
    let orders = [order("1001", "ann@example.com", "new"), order("1002", "bob@example.com", "paid"), phone];
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("orders.json");
    std::fs::write(&file, json!({"data": orders}).to_string()).expect("a file");
    ordergate(&db, "import --account test").arg(&file).done();
    db
}

fn json(db: &TestDb, arguments: &str) -> Json {
    let printed = ordergate(db, &format!("--output json {arguments}")).done();
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{arguments}: {error}: {printed}"))
}

fn ids(orders: &Json) -> Vec<&str> {
    orders.as_array().expect("a list").iter().map(|order| order["external_id"].as_str().expect("an id")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_shown_with_its_customer_and_who_wrote_it() {
    let db = shop().await;
    let shown = json(&db, "order show --account test 1002");
    assert_eq!(
        (&shown["external_id"], &shown["status"], &shown["revision"]),
        (&json!("1002"), &json!("paid"), &json!(1))
    );
    assert_eq!(shown["customer"]["keys"], json!([{"kind": "email_profile", "value": "bob@example.com"}]));
    let import = shown["import"].as_object().expect("the import");
    assert!(import.contains_key("request_id") && import.contains_key("time"), "{import:?}");
    assert!(!import.contains_key("token_id"), "a command of the program itself has no token: {import:?}");
    assert_eq!(json(&db, &format!("order show --account test --id {}", shown["id"])), shown);
    let text = ordergate(&db, "order show --account test 1002").done();
    let has_row = |row: [&str; 2]| text.lines().any(|line| line.split_whitespace().eq(row));
    assert!(has_row(["external_id", "1002"]) && has_row(["status", "paid"]), "{text}");
    assert!(has_row(["email_profile", "bob@example.com"]) && text.contains("\nEXTERNAL ID  PRODUCT"), "{text}");
    assert_eq!(ordergate(&db, "order show --account test 1009").refused(), "external_id: unknown order \"1009\"");
    assert_eq!(ordergate(&db, "order show --account other 1002").refused(), "external_id: unknown order \"1002\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_by_the_filters_of_the_call() {
    let db = shop().await;
    for (filter, expected) in [
        ("", vec!["1001", "1002", "1003"]),
        ("--newest-first --limit 2", vec!["1003", "1002"]),
        ("--statuses paid,canceled", vec!["1002"]),
        ("--external-ids 1003,1001", vec!["1001", "1003"]),
        ("--email ANN@example.com", vec!["1001"]),
        ("--phone +79991234567", vec!["1003"]),
        ("--endpoint website --updated-from 2024-01-01 --updated-to 2024-01-02", vec!["1001", "1002", "1003"]),
        ("--updated-to 2024-01-01", vec![]),
    ] {
        assert_eq!(ids(&json(&db, &format!("order list --account test {filter}"))), expected, "{filter}");
    }
    let text = ordergate(&db, "order list --account test --statuses paid").done();
    assert!(text.starts_with("ID  EXTERNAL ID  STATUS") && text.contains("1002"), "{text}");
    assert!(ordergate(&db, "order list --account test --statuses payed").refused().contains("unknown order status"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_with_customers_goes_into_another_account_and_is_unchanged_in_its_own() {
    let db = shop().await;
    let dir = TempDir::new().expect("a directory");
    for name in ["orders.ndjson", "orders.xml", "orders.csv"] {
        let file = dir.path().join(name);
        ordergate(&db, "export orders --account test --with-customers --file").arg(&file).done();
        let import = |account: &str| {
            let printed = ordergate(&db, &format!("--output json import --account {account}")).arg(&file).done();
            let said: Json = serde_json::from_str(&printed).expect("JSON");
            ["created", "unchanged"].map(|outcome| said[outcome].as_i64().expect("a number"))
        };
        assert_eq!(import("test"), [0, 3], "{name}");
        let expected = if name == "orders.ndjson" { [3, 0] } else { [0, 3] };
        assert_eq!(import("other"), expected, "{name}");
    }
    let keys = "select string_agg(kind || '=' || value, ' ' order by kind, value) from identities i
        join accounts a on a.id = i.account_id where a.name = 'other' and kind <> 'profile_id'";
    for account in ["test", "other"] {
        let listed = json(&db, &format!("order list --account {account} --email ann@example.com"));
        assert_eq!(ids(&listed), ["1001"], "each account has its own customers");
    }
    assert_eq!(
        db.text(keys).await,
        "email_profile=ann@example.com email_profile=bob@example.com phone_profile=+79991234567"
    );
    let refused = ordergate(&db, "export products --account test --with-customers").refused();
    assert_eq!(refused, "with-customers: expected orders, found products");
}
