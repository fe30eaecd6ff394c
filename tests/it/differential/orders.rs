//! Orders.

use super::{AMOUNTS, Call, Random, TIMES, compare_large, compare_many, custom_values, head};
use crate::support::tree::{Tree, text};

fn line(random: &mut Random) -> Tree {
    let mut fields = Vec::new();
    random.field(&mut fields, "external_id", &["l1", "l2", "l3", "l4"]);
    if random.one_in(2) {
        random.field(&mut fields, "product", &["p1", "p2", "p3"]);
    } else {
        random.field(&mut fields, "sku", &["s1", "s2"]);
    }
    random.optional(&mut fields, "product", &["p1", "p2"]);
    random.optional(&mut fields, "status", &["new", "delivered", "packed_up", "canceled", "refunded"]);
    random.optional(&mut fields, "base_price_per_item", AMOUNTS);
    random.optional(&mut fields, "final_price_per_item", AMOUNTS);
    random.optional(&mut fields, "count", &["1", "5", "2.0000", "2147483647", "2147483648"]);
    if random.one_in(4) {
        fields.push(("custom_fields".to_owned(), custom_values(random)));
    }
    Tree::Object(fields)
}

/// The ways of matching with good keys.
fn customer(random: &mut Random, fields: &mut Vec<(String, Tree)>) {
    let emails = &["a@x.com", "B@X.com ", "mailto:c@x.com", "d@x.com", "nobody"];
    let phones = &["+7 999 555", "8-800-5550", "12345678", "+7 (___) ___", "x"];
    let mode = random.pick(&[
        "",
        "email",
        "email_profile",
        "email_sub",
        "phone",
        "phone_sub",
        "profile_id",
        "push_sub",
        "custom",
        "custom_sub",
        "email_phone",
        "email_phone_sub",
        "fax",
    ]);
    if !mode.is_empty() {
        fields.push(("matching".to_owned(), text(mode)));
    }
    if mode.contains("email") || mode.is_empty() {
        random.field(fields, "email", emails);
    }
    if mode.contains("phone") {
        random.field(fields, "phone", phones);
    }
    match mode {
        "profile_id" => random.field(fields, "profile_id", &["5f0000000000000000000abc", "5f"]),
        "push_sub" => {
            random.field(fields, "provider", &["fcm", "apns"]);
            random.field(fields, "subscription_id", &["1", "2"]);
        }
        "custom" | "custom_sub" => {
            random.field(fields, "field_name", &["card", "passport"]);
            random.field(fields, "field_value", &["1", "2"]);
        }
        _ => {}
    }
}

fn order(random: &mut Random) -> Tree {
    if random.one_in(60) {
        return random.value(&["no order", "1"]);
    }
    let mut fields = Vec::new();
    random.field(&mut fields, "external_id", &["o1", "o2", "o3", "o4", "o5", "o6", " o1", "o2\u{a0}"]);
    customer(random, &mut fields);
    random.field(&mut fields, "endpoint", &["website", "website", "shop", "other"]);
    random.field(&mut fields, "status", &["new", "paid", "packed", "delivered"]);
    random.field(&mut fields, "total_price", AMOUNTS);
    random.field(&mut fields, "currency", &["USD", "eur", "RUB"]);
    random.optional(&mut fields, "delivery_cost", AMOUNTS);
    random.optional(&mut fields, "create_time", TIMES);
    random.optional(&mut fields, "update_time", TIMES);
    random.optional(&mut fields, "region", &["region_YnCrJj8Y1", ""]);
    random.optional(&mut fields, "lines_mode", &["replace", "merge"]);
    random.optional(&mut fields, "skip_triggers", &["true", "false"]);
    if random.one_in(3) {
        let count = random.below(4);
        fields.push((
            "tags".to_owned(),
            Tree::List((0..count).map(|_| random.value(&["one", "two", "three"])).collect()),
        ));
    }
    if random.one_in(3) {
        fields.push(("custom_fields".to_owned(), custom_values(random)));
    }
    let count = if random.one_in(30) { 0 } else { 1 + random.below(3) };
    fields.push(("lines".to_owned(), Tree::List((0..count).map(|_| line(random)).collect())));
    Tree::Object(fields)
}

fn request(random: &mut Random) -> Call {
    let count = 1 + random.below(3);
    let orders = (0..count).map(|_| order(random)).collect();
    request_of(random, orders)
}

/// Enough orders that they are looked for, decoded and copied set by set: with ids of their own mostly, in ascending
/// order or scattered; most of them good.
fn large_request(random: &mut Random) -> Call {
    let (count, ascending) = (150 + random.below(150), random.one_in(2));
    // Few ids are mostly stored before, many are mostly new.
    let ids = if random.one_in(2) { 800 } else { 1_000_000 };
    let base = random.below(ids);
    let numbered = |place| {
        if random.one_in(100) {
            return order(random);
        }
        let number = if ascending && !random.one_in(40) { base + place } else { random.below(ids) };
        good_order(random, number)
    };
    let orders = (0..count).map(numbered).collect();
    request_of(random, orders)
}

fn good_order(random: &mut Random, number: usize) -> Tree {
    let id = random.padded(format!("{number:07}"));
    let mut order = crate::support::tree::order(id, 1 + random.below(3), 1 + random.below(2));
    let mut some = |key: &str, good: &[&str]| {
        if random.one_in(3) {
            order.set(key, text(random.pick(good)));
        }
    };
    some("email", &["a@x.com", "B@X.com ", "c@x.com", "d@x.com", "é😀@x.com"]);
    some("endpoint", &["website", "shop", "other"]);
    some("status", &["paid", "packed", "delivered"]);
    some("total_price", AMOUNTS);
    some("currency", &["eur", "RUB"]);
    some("delivery_cost", AMOUNTS);
    some("create_time", TIMES);
    some("update_time", TIMES);
    some("region", &["region_YnCrJj8Y1", ""]);
    some("lines_mode", &["merge"]);
    if random.one_in(3) {
        order.set(
            "tags",
            Tree::List((0..random.below(4)).map(|_| text(random.pick(&["one", "a,b", "\"{é}\\"]))).collect()),
        );
    }
    let line = order.at("lines").item(0);
    let mut some = |key: &str, good: &[&str]| {
        if random.one_in(3) {
            line.set(key, text(random.pick(good)));
        }
    };
    some("sku", &["s1", "s2", "s3"]);
    some("status", &["delivered", "canceled"]);
    some("base_price_per_item", AMOUNTS);
    some("final_price_per_item", &["", "0.000001"]);
    some("count", &["5", "2147483647"]);
    if random.one_in(20) {
        order.set("custom_fields", custom_values(random));
    }
    order
}

fn request_of(random: &mut Random, orders: Vec<Tree>) -> Call {
    let mut fields = head(random);
    if random.one_in(12) {
        let mut status = Vec::new();
        random.field(&mut status, "external_id", &["packed_up", "packed_up", "lost", "new"]);
        random.optional(&mut status, "name", &["Packed", "Lost"]);
        random.field(&mut status, "type", &["in_process", "canceled"]);
        fields.push(("custom_line_statuses".to_owned(), Tree::List(vec![Tree::Object(status)])));
    }
    random.optional(&mut fields, "skip_triggers", &["true", "false", "0"]);
    fields.push(("data".to_owned(), Tree::List(orders)));
    ("orders/import", Tree::Object(fields))
}

const REQUESTS_EACH: usize = 2_500;
const LARGE_REQUESTS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn both_formats_and_both_ways_answer_and_store_the_same_for_ten_thousand_requests() {
    let (good, bad) = compare_many(REQUESTS_EACH, request);
    // The generator reaches both ends: enough of its orders are good, enough of its requests hold a bad one.
    assert!(good > 2_000 && bad > 2_000, "{good} good orders, {bad} bad requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_answer_and_store_the_same_by_both_ways() {
    let good = compare_large(LARGE_REQUESTS, large_request);
    assert!(good > 100 * LARGE_REQUESTS, "{good} good orders");
}
