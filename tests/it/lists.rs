//! Lists: what is listed can be sent back, nothing is missed and nothing comes twice; and deletions, seen from the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ordergate::config::{Given, ListMoney};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::support::db::run;
use crate::support::server::{TOKEN, TestServer};
use crate::support::stored::stored;
use crate::support::tree::{Tree, call, object, order, text};

/// A call in JSON; its answer has to be good.
async fn ask(server: &TestServer, name: &str, mut body: Json) -> Json {
    body["token"] = json!(TOKEN);
    let answer = server.market(name, "json", body.to_string()).await;
    let json: Json = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body));
    assert_eq!(json["error"], 0, "{name}: {json}");
    json
}

/// Sends a list back to the import of its kind, in a format; every item has to be `outcome`.
async fn send_back(server: &TestServer, list: &str, import: &str, format: &str) -> String {
    let request = match format {
        "json" => json!({"token": TOKEN}).to_string(),
        _ => format!("<xml><token>{TOKEN}</token></xml>"),
    };
    let listed = server.market(list, format, request).await.body;
    let again = if format == "json" {
        let start = listed.find("\"result\":").expect("a result") + "\"result\":".len();
        format!("{{\"token\":\"{TOKEN}\",\"detail\":true,\"strict\":true,\"data\":{}", &listed[start..])
    } else {
        let items = listed.replace("<result>", "<data>").replace("</result>", "</data>");
        items.replace("<xml>", &format!("<xml><token>{TOKEN}</token><detail>true</detail><strict>true</strict>"))
    };
    server.market(import, format, again).await.body
}

fn definitions() -> Json {
    let kinds = ["unicode", "int", "float", "bool", "enum", "date"];
    let entities = ["order", "line_order", "product", "sku"];
    let define = |entity: &str, kind: &str| {
        let labels = if kind == "enum" { json!({"small": 1, "with space <&>": 2}) } else { json!({}) };
        json!({"external_id": format!("{kind} <&> \"1\""), "entity_type": entity, "value_type": kind, "enum_values": labels})
    };
    entities.iter().flat_map(|entity| kinds.iter().map(|kind| define(entity, kind))).collect()
}

fn custom_values() -> Json {
    let values = [
        ("unicode", json!(" two\r\n\tlines <&> ]]> \u{1F600} ")),
        ("int", json!("-9223372036854775808")),
        ("float", json!("-0.0000000000000000000000000001")),
        ("bool", json!("0")),
        ("enum", json!("2")),
        ("date", json!("1999-12-31T23:59:59.000001+03:00")),
    ];
    Json::Object(values.into_iter().map(|(kind, value)| (format!("{kind} <&> \"1\""), value)).collect())
}

/// Orders with every field, by every way of matching.
fn full_orders() -> Json {
    let keys = [
        json!({"email": "Ann@Example.com"}),
        json!({"matching": "phone", "phone": "+1 (555) 0100"}),
        json!({"matching": "email_phone_sub", "email": "bob@example.com", "phone": "15550101"}),
        json!({"matching": "push_sub", "provider": "apns", "subscription_id": "x y"}),
        json!({"matching": "custom", "field_name": "card", "field_value": "7"}),
        json!({"matching": "custom_sub", "field_name": "card", "field_value": "7"}),
    ];
    let full = |(number, mut order): (usize, Json)| {
        order["external_id"] = json!(format!("full <&> {number}"));
        order["endpoint"] = json!(["website", "shop", "other"][number % 3]);
        order["status"] = json!(["new", "packed"][number % 2]);
        order["total_price"] = json!("999999999999999999.999999");
        order["currency"] = json!("eur");
        order["delivery_cost"] = json!("0.000001");
        order["region"] = json!("region_YnCrJj8Y1");
        order["tags"] = json!(["one", " two <&> "]);
        order["create_time"] = json!("0001-01-01T00:00:00.000001Z");
        order["update_time"] = json!("9999-12-31T23:59:59.999999Z");
        order["custom_fields"] = custom_values();
        order["lines_mode"] = json!("replace");
        order["skip_triggers"] = json!(false);
        order["lines"] = json!([
            {"external_id": "2", "product": "p <&>", "sku": "s", "status": "at point", "base_price_per_item": "1.10",
                "min_price_per_item": "0", "final_price_per_item": "1", "count": "0", "custom_fields": custom_values()},
            {"external_id": "1", "sku": "s", "count": "2147483647"}
        ]);
        order
    };
    keys.into_iter().enumerate().map(full).collect()
}

fn full_products() -> Json {
    let goods = |id: &str| {
        json!({"external_id": id, "name": " name <&> ", "price": "12.50", "old_price": "0.000001", "currency": "rub",
            "tags": ["a", " b "], "manufacturer_name": "Acme", "description": "d\r\n".repeat(300), "url": "https://a.example/?a=1&b=2",
            "pictures": ["https://a.example/1", "https://a.example/2"], "count": 3, "expiration_time": "2030-01-01",
            "is_available": "1", "delivery": false, "barcode": ["4006381333931", "-9223372036854775808"],
            "manufacturer_warranty": true, "categories": ["wear", "shoes"], "custom_fields": custom_values(),
            "regional_data": [{"external_id": "region_YnCrJj8Y1", "price": "1", "old_price": "2", "currency": "EUR",
                "count": 0, "is_available": false, "delivery": true, "custom_fields": custom_values()}]})
    };
    let mut product = goods("p <&>");
    product["sku"] = json!([goods("s"), {"external_id": "s2", "name": "S2"}]);
    json!([product, {"external_id": "bare", "name": "Bare"}])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_can_be_sent_back_and_changes_nothing() {
    for quick in [true, false] {
        let server = TestServer::with(Given { quick_imports: Some(quick), ..Given::default() }).await;
        let statuses = json!([{"external_id": "at point", "type": "in_process"}]);
        let categories = json!([{"external_id": "shoes", "parent_external_id": "wear"}, {"external_id": "wear"}]);
        // Strict: every field that is read, and every one that is listed, is known.
        let products =
            json!({"strict": true, "custom_fields": definitions(), "categories": categories, "data": full_products()});
        let answer = ask(&server, "products/import", products).await;
        assert!(!answer.to_string().contains("error_text\":\"data"), "{answer}");
        let orders = json!({"strict": true, "custom_line_statuses": statuses, "data": full_orders()});
        let answer = ask(&server, "orders/import", orders).await;
        assert!(!answer.to_string().contains("error_text\":\"data"), "{answer}");
        let before = stored(&server.db).await;
        for format in ["json", "xml", "json"] {
            for (list, import, count) in [
                ("orders/list", "orders/import", 6),
                ("products/list", "products/import", 2),
                ("sku/list", "sku/import", 2),
            ] {
                let answer = send_back(&server, list, import, format).await;
                assert_eq!(answer.matches("unchanged").count(), count, "{list} in {format}: {answer}");
            }
        }
        assert_eq!(stored(&server.db).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_in_minor_units_says_so_and_is_not_for_import() {
    let given = Given { list_money: Some(ListMoney::Minor), ..Given::default() };
    let server = TestServer::with(given).await;
    let order = json!({"external_id": "A", "email": "a@example.com", "endpoint": "website", "status": "new", "total_price": "45490.5",
        "delivery_cost": "0.005", "currency": "USD", "lines": [{"external_id": "1", "product": "p", "final_price_per_item": "1"}]});
    ask(&server, "orders/import", json!({"data": [order]})).await;
    let products = json!({"data": [{"external_id": "p", "name": "P", "price": "12.5", "sku": [{"external_id": "s", "name": "S", "price": "1"}]}]});
    ask(&server, "products/import", products).await;
    let listed = ask(&server, "orders/list", json!({})).await;
    let order = &listed["result"][0];
    assert_eq!((&order["total_price"], &order["delivery_cost"]), (&json!("4549050"), &json!("0.5")));
    assert_eq!((&order["lines"][0]["final_price_per_item"], &order["money"]), (&json!("100"), &json!("minor")));
    let listed = ask(&server, "products/list", json!({})).await;
    assert_eq!((&listed["result"][0]["price"], &listed["result"][0]["money"]), (&json!("1250"), &json!("minor")));
    for format in ["json", "xml"] {
        for (list, import) in
            [("orders/list", "orders/import"), ("products/list", "products/import"), ("sku/list", "sku/import")]
        {
            let answer = send_back(&server, list, import, format).await;
            assert!(answer.contains("data[0].money: listed in minor units: not for import"), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_needs_its_role() {
    const TOKENS: [&str; 4] = ["orders:read", "orders:write", "catalog:read", "catalog:write"];
    let server = TestServer::start().await;
    let conn = &mut server.db.connect().await;
    for role in TOKENS {
        let hash = ordergate::auth::hash(&format!("token-of-{role}-0123456789"));
        let roles = [role.to_owned()];
        ordergate::store::tokens::create(conn, server.account_id, &hash, "", &roles, None).await.expect("a token");
    }
    for (name, needed) in [
        ("orders/import", "orders:write"),
        ("orders/list", "orders:read"),
        ("orders/get_status", "orders:read"),
        ("orders/update_order_line_status", "orders:write"),
        ("orders/delete", "orders:write"),
        ("orders/preorder", "orders:read"),
        ("orders/preorder_commit", "orders:write"),
        ("products/import", "catalog:write"),
        ("products/list", "catalog:read"),
        ("products/delete", "catalog:write"),
        ("sku/import", "catalog:write"),
        ("sku/list", "catalog:read"),
        ("sku/delete", "catalog:write"),
    ] {
        for role in TOKENS {
            for format in ["json", "xml"] {
                let body = object(vec![("token", text(format!("token-of-{role}-0123456789")))]).render(format);
                let answer = server.market(name, format, body).await;
                let refused = answer.body.contains("403");
                assert_eq!(refused, role != needed, "{name} by {role} in {format}: {}", answer.body);
                assert!(!refused || answer.body.contains(needed), "it names the role: {}", answer.body);
            }
        }
        assert_eq!(
            server
                .client()
                .get(server.url(&format!("/api/v1.1/market/{name}")))
                .send()
                .await
                .expect("an answer")
                .status(),
            405
        );
    }
}

/// All pages of a list, as the number of times that each order is on them.
async fn listed(server: &TestServer, limit: usize) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    let mut from_id = String::new();
    loop {
        let page = ask(server, "orders/list", json!({"from_id": from_id, "limit": limit})).await;
        let orders = page["result"].as_array().expect("a list");
        assert!(orders.len() <= limit);
        for order in orders {
            *times.entry(order["external_id"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
        page["next_from_id"].as_str().expect("a text").clone_into(&mut from_id);
        if from_id.is_empty() {
            return times;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_beside_eight_importers_misses_nothing_and_repeats_nothing() {
    const STAYING: usize = 300;
    let server = Arc::new(TestServer::start().await);
    let staying = (0..STAYING).map(|number| order(format!("stays_{number:04}"), 1, 0)).collect();
    server.import("json", call(staying).render("json")).await;
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(1)));
    let mut importers = JoinSet::new();
    for client in 0..8 {
        let (server, stop, next) = (Arc::clone(&server), Arc::clone(&stop), Arc::clone(&next));
        importers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                // Changed ones, new ones, and one that another client may just have deleted.
                let changed =
                    (0..20).map(|place| order(format!("stays_{:04}", (number * 13 + place) % STAYING), 1, number));
                // Not for ever, or a slow list would never come to its end.
                let new = (0..5).map(|place| order(format!("new_{}_{place}", number.min(200)), 1, 0));
                let orders: Vec<Tree> = changed.chain(new).chain([order("comes and goes", 1, 0)]).collect();
                let format = if client % 2 == 0 { "json" } else { "xml" };
                let answer = server.import(format, call(orders).render(format)).await;
                assert!(answer.status == 200 && !answer.body.contains("failed"), "{}", answer.body);
                let gone = object(vec![("token", text(TOKEN)), ("external_id", text("comes and goes"))]);
                let answer = server.market("orders/delete", format, gone.render(format)).await;
                assert!(answer.status == 200, "{}", answer.body);
            }
        });
    }
    for limit in [7, 50, 1000, 3] {
        let times = listed(&server, limit).await;
        let missed = (0..STAYING).filter(|number| !times.contains_key(&format!("stays_{number:04}"))).count();
        assert_eq!(missed, 0, "limit {limit}: an order that was there all the time is missing");
        let twice = times.iter().find(|(id, times)| **times > 1 && *id != "comes and goes");
        assert_eq!(twice, None, "limit {limit}: an order came twice");
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(importer) = importers.join_next().await {
        importer.expect("no importer fails");
    }
    let orphans = "select count(*) from order_lines l where not exists (select from orders o where o.account_id = l.account_id and o.id = l.order_id)";
    assert_eq!(server.db.text(orphans).await, "0", "a deleted order leaves no line");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_products_go_in_as_few_do() {
    let server = TestServer::start().await;
    let product = |id: usize| {
        json!({"external_id": format!("p{id}"), "name": format!(" \u{1F600} {id}"), "price": "1.50", "barcode": [4_006_381_333_931_i64],
            "sku": [{"external_id": format!("s{id}"), "name": "S", "tags": ["a", "b"]}]})
    };
    let all: Vec<Json> = (0..250).map(product).collect();
    let many = json!({"detail": true, "data": all});
    let answer = ask(&server, "products/import", many.clone()).await;
    assert_eq!(
        answer["result"].as_array().expect("a list").iter().filter(|item| item["outcome"] == "created").count(),
        250
    );
    assert_eq!(ask(&server, "products/import", many).await.to_string().matches("unchanged").count(), 250);
    let listed = ask(&server, "products/list", json!({"limit": 1000})).await;
    let made = &answer["result"][7];
    let of_id = format!("select external_id from products where id = {}", made["id"]);
    assert_eq!(
        json!(server.db.text(&of_id).await),
        made["external_id"],
        "the id that was answered is the one that is stored"
    );
    let found =
        listed["result"].as_array().expect("a list").iter().find(|item| item["external_id"] == "p7").expect("p7");
    assert_eq!(
        (&found["name"], &found["price"], &found["sku"][0]["tags"]),
        (&json!(" \u{1F600} 7"), &json!("1.5"), &json!(["a", "b"]))
    );
    // One that another request makes first is no failure of the others.
    let few = json!({"detail": true, "data": [product(1), product(1000)]});
    assert_eq!(ask(&server, "products/import", few).await.to_string().matches("created").count(), 1);
}

/// The outcomes of an import that are not the one of most, by place.
fn others(answer: &Json, most: &str) -> Vec<(usize, String)> {
    let outcome = |item: &Json| item["outcome"].as_str().expect("an outcome").to_owned();
    let all = answer["result"].as_array().expect("a list").iter().map(outcome).enumerate();
    all.filter(|(_, outcome)| outcome != most).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_changed_and_repeated_ones_among_many_products_are_answered_in_their_place() {
    let server = TestServer::start().await;
    let product = |id: usize, price: &str, sku_price: &str| {
        json!({"external_id": format!("p{id:03}"), "name": "P", "price": price,
            "sku": [{"external_id": format!("s{id:03}"), "name": "S", "price": sku_price}]})
    };
    let mut data: Vec<Json> = (0..400).map(|id| product(id, "1", "1")).collect();
    data[3]["price"] = json!("dear");
    data[390]["sku"][0]["price"] = json!("dear");
    data.push(product(10, "2", "1"));
    let answer = ask(&server, "products/import", json!({"detail": true, "data": data})).await;
    let of = |place: usize, outcome: &str| (place, outcome.to_owned());
    assert_eq!(others(&answer, "created"), [of(3, "failed"), of(390, "failed"), of(400, "updated")]);
    assert_eq!(answer["result"][390]["pointer"], "/data/390/sku/0/price");
    assert_eq!(answer["result"][400]["id"], answer["result"][10]["id"], "the same product");
    assert_eq!(server.db.text("select content->>'price' from products where external_id = 'p010'").await, "2");
    assert_eq!(server.db.text("select count(*) from products").await, "398");
    assert_eq!(server.db.text("select count(*) from skus").await, "398");

    let mut data: Vec<Json> = (0..400).map(|id| product(id, "1", "1")).collect();
    data[20]["sku"][0]["price"] = json!("5");
    data[380]["price"] = json!("6");
    let request = json!({"detail": true, "data": data});
    let answer = ask(&server, "products/import", request.clone()).await;
    let changed = [of(3, "created"), of(10, "updated"), of(20, "updated"), of(380, "updated"), of(390, "created")];
    assert_eq!(others(&answer, "unchanged"), changed);
    assert_eq!(server.db.text("select content->>'price' from skus where external_id = 's020'").await, "5");
    assert_eq!(server.db.text("select content->>'price' from products where external_id = 'p380'").await, "6");
    assert_eq!(others(&ask(&server, "products/import", request).await, "unchanged"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_line_makes_the_order_unknown() {
    let server = TestServer::start().await;
    let mut sent = order("A", 1, 0);
    sent.at("lines").item(0).set("status", text("processing"));
    let request = call(vec![sent]).render("json");
    server.import("json", request.clone()).await;
    assert!(server.import("json", request.clone()).await.body.contains("unchanged"));
    let line = server.db.text("select external_id from order_lines").await;
    let update = json!({"order_external_id": "A", "order_line_external_id": line, "status_external_id": "delivered"});
    ask(&server, "orders/update_order_line_status", update).await;
    assert!(server.import("json", request.clone()).await.body.contains("updated"), "the status goes back");
    assert!(server.import("json", request).await.body.contains("unchanged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn products_that_are_imported_at_the_same_time_end_as_one_after_the_other() {
    let server = Arc::new(TestServer::start().await);
    let mut clients = JoinSet::new();
    for client in 0..6_usize {
        let server = Arc::clone(&server);
        clients.spawn(async move {
            for round in 0..25_usize {
                let number = client * 25 + round;
                let product = |place: usize| {
                    let id = (number * 7 + place) % 30;
                    json!({"external_id": format!("p{id}"), "name": format!("{number}"),
                        "sku": [{"external_id": format!("s{id}"), "name": format!("{number}")}]})
                };
                let mut products: Vec<Json> = (0..20).map(product).collect();
                if number % 2 == 1 {
                    products.reverse();
                }
                match client {
                    4 => {
                        let sku = |id: usize| json!({"external_id": format!("s{id}"), "name": format!("{number}"), "product_external_id": format!("p{id}")});
                        let data: Vec<Json> = (0..30).map(sku).collect();
                        ask(&server, "sku/import", json!({"data": data})).await;
                    }
                    5 => drop(ask(&server, "products/delete", json!({"external_ids": ["p1", "p2"]})).await),
                    _ => {
                        let answer = ask(&server, "products/import", json!({"detail": true, "data": products})).await;
                        assert!(!answer.to_string().contains("failed"), "{answer}");
                    }
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("no request fails");
    }
    assert_eq!(server.db.text("select count(*) from products").await, "30");
    // Whatever came last: the same again is unchanged only if it reads like this.
    let all: Vec<Json> = (0..30)
        .map(|id| json!({"external_id": format!("p{id}"), "name": "last", "sku": [{"external_id": format!("s{id}"), "name": "last"}]}))
        .collect();
    for outcome in ["updated", "unchanged"] {
        let answer = ask(&server, "products/import", json!({"detail": true, "data": all})).await;
        assert_eq!(answer.to_string().matches(outcome).count(), 30, "{answer}");
    }
    assert_eq!(server.db.text("select count(*) from skus where name = 'last'").await, "30");
}

/// Imports products while another transaction holds what it changed of them, until the import waits for it.
async fn import_beside(server: &TestServer, changes: &str, request: Json) -> String {
    let conn = &mut server.db.connect().await;
    run(conn, &format!("begin; {changes}")).await;
    let committed = async {
        server.db.until_waiting(1).await;
        run(conn, "commit").await;
    };
    tokio::join!(server.market("products/import", "json", request.to_string()), committed).0.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_that_changes_while_its_product_is_waited_for_ends_as_it_was_sent() {
    let server = TestServer::start().await;
    let product = |name: &str| json!({"token": TOKEN, "data": [{"external_id": "p", "name": name, "sku": [{"external_id": "s", "name": "one"}]}]});
    ask(&server, "products/import", product("a")).await;
    // Its SKU reads as before when it is first looked at, and no longer when the product's lock is had.
    let changes = "update products set name = 'c', revision = revision + 1, sent_digest = null;
        update skus set name = 'two', revision = revision + 1";
    import_beside(&server, changes, product("b")).await;
    assert_eq!(server.db.text("select p.name || s.name from products p, skus s").await, "bone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_no_longer_fits_when_its_lock_is_had_stops_the_others_if_it_is_to() {
    let server = TestServer::with(Given { max_custom_values: Some(1), ..Given::default() }).await;
    let fields = ["a", "b"].map(|id| json!({"external_id": id, "entity_type": "product", "value_type": "unicode"}));
    let first = json!({"custom_fields": fields, "data": [{"external_id": "p", "name": "old"}]});
    ask(&server, "products/import", first).await;
    let changes = "update products set content = '{\"custom_fields\": {\"b\": \"1\"}}', revision = revision + 1, sent_digest = null";
    let data =
        json!([{"external_id": "p", "name": "new", "custom_fields": {"a": "1"}}, {"external_id": "q", "name": "new"}]);
    let answer = import_beside(&server, changes, json!({"token": TOKEN, "on_error": "abort", "data": data})).await;
    assert!(answer.contains("not written: data[0] failed"), "{answer}");
    assert_eq!(server.db.text("select count(*) from products where name = 'new'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_customer_with_many_keys_some_of_each_kind_are_shown() {
    let server = TestServer::start().await;
    let orders: Vec<Json> = (0..30)
        .map(|number| {
            json!({"external_id": format!("{number}"), "matching": "email_phone", "email": "guest@example.com",
                "phone": format!("+7999123{number:04}"), "endpoint": "website", "status": "new", "total_price": "1",
                "currency": "USD", "lines": [{"external_id": "1", "product": "p"}]})
        })
        .collect();
    ask(&server, "orders/import", json!({"data": orders})).await;
    let answer = ask(&server, "orders/get", json!({"detail": true, "external_id": "29"})).await;
    let keys = answer["result"]["customer"]["keys"].as_array().expect("keys");
    let values: Vec<&str> = keys.iter().map(|key| key["value"].as_str().expect("a value")).collect();
    assert_eq!(values.len(), 21, "{values:?}");
    assert_eq!((values[0], values[1], values[20]), ("guest@example.com", "+79991230000", "+79991230019"));
    assert_eq!(server.db.text("select count(*) from identities where kind = 'phone_profile'").await, "30");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_read_as_of_one_moment() {
    let server = Arc::new(TestServer::start().await);
    let two = call(vec![order("a", 1, 1), order("b", 1, 1)]);
    assert_eq!(server.import("json", two.render("json")).await.body.matches("created").count(), 2);
    let blocker = &mut server.db.connect().await;
    run(blocker, "begin; lock table order_lines in access exclusive mode").await;
    let asking = Arc::clone(&server);
    #[expect(clippy::disallowed_methods, reason = "a client of a test")]
    let listed = tokio::spawn(async move { ask(&asking, "orders/list", json!({"with_customer": true})).await });
    // It has read which orders there are, and waits for their lines.
    server.db.until_waiting(1).await;
    run(blocker, "delete from order_lines where order_id = 2; delete from orders where id = 2; commit").await;
    let listed = listed.await.expect("a client");
    let lines = |order: usize| listed["result"][order]["lines"].as_array().map(Vec::len);
    assert_eq!((lines(0), lines(1)), (Some(1), Some(1)), "{listed}");
}
