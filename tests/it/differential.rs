//! The same request in JSON and in XML, by the quick way and by the careful way, has the same effect and the same
//! answer, errors included: shown on
//! generated requests, good and bad, one after the other on two databases.

use std::cell::RefCell;
use std::fmt::Write as _;

use ordergate::config::Given;

use crate::support::server::{IMPORT, TOKEN, TestServer, answer};
use crate::support::stored::stored;
use crate::support::tree::{Tree, object, text};

const WORKERS: u64 = 4;
const REQUESTS_EACH: usize = 2_500;
const LARGE_REQUESTS: usize = 30;

/// A small generator of numbers, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("a small number")
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A good value mostly; else one that fits nowhere, or in the wrong place, or is empty.
    fn value(&mut self, good: &[&str]) -> Tree {
        if !self.one_in(80) {
            return text(self.pick(good));
        }
        match self.below(6) {
            0 => text(""),
            1 => text(" \t\n"),
            2 => object(vec![("a", text("1"))]),
            _ => text(self.pick(ODD)),
        }
    }

    /// A field that is there mostly.
    fn field(&mut self, fields: &mut Vec<(String, Tree)>, key: &str, good: &[&str]) {
        if !self.one_in(120) {
            fields.push((key.to_owned(), self.value(good)));
        }
    }

    /// A field that is there sometimes.
    fn optional(&mut self, fields: &mut Vec<(String, Tree)>, key: &str, good: &[&str]) {
        if self.one_in(3) {
            fields.push((key.to_owned(), self.value(good)));
        }
    }
}

const ODD: &[&str] = &[
    "1e400",
    "-1",
    "1e2",
    "0.0000001",
    "99999999999999999999",
    "NaN",
    "null",
    "true",
    "[]",
    "{}",
    "<b>",
    "a&b",
    "\u{1}",
    "x\0y",
    "\u{fffe}",
    "\r\n",
    "a\rb",
    "é😀",
    "10000-01-01",
    "0000-12-31T23:30:00-01:00",
    "2022-02-30",
    "2022-01-02 15:04:05.123456789+03:00",
    "9223372036854775808",
    "12345678901234567890123456789",
    "\u{a0}",
    "]]>",
    "\"",
    "\\u0000",
    TOKEN,
    "0",
    "new ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
const AMOUNTS: &[&str] = &["1", "10.5", "1e3", "0", "123456789012345678.123456", "007", " 2 "];
const TIMES: &[&str] = &["2022-01-02", "2022-01-02 15:04:05", "2022-01-02T15:04:05.141Z", "2022-01-02T15:04:05+03:00"];
const KEYS: &[&str] = &["size", "color", "when", "ok", "kind", "weight", "1 odd & key", "$serde_json::private::Number"];
const VALUES: &[&str] = &["1", "red", "2022-01-02", "true", "2.50", "-7", "", "L"];

fn custom_values(random: &mut Random) -> Tree {
    let count = random.below(3);
    Tree::Object((0..count).map(|_| (random.pick(KEYS).to_owned(), random.value(VALUES))).collect())
}

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
    random.optional(&mut fields, "count", &["1", "5", "2147483647", "2147483648"]);
    if random.one_in(4) {
        fields.push(("custom_fields".to_owned(), custom_values(random)));
    }
    Tree::Object(fields)
}

/// The ways of matching with good keys.
fn customer(random: &mut Random, fields: &mut Vec<(String, Tree)>) {
    let emails = &["a@x.com", "B@X.com ", "c@x.com", "d@x.com", "nobody"];
    let phones = &["+7 999", "8-800", "1", "x"];
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
    random.field(&mut fields, "external_id", &["o1", "o2", "o3", "o4", "o5", "o6"]);
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

fn definition(random: &mut Random) -> Tree {
    let mut fields = Vec::new();
    random.field(&mut fields, "external_id", KEYS);
    random.field(&mut fields, "entity_type", &["order", "order", "line_order", "product", "sku"]);
    random.field(&mut fields, "value_type", &["unicode", "int", "float", "bool", "enum", "date"]);
    random.optional(&mut fields, "name", &["Name", "Другое"]);
    if random.one_in(8) {
        random.optional(&mut fields, "required", &["true", "false"]);
    }
    random.optional(&mut fields, "default_value", VALUES);
    if random.one_in(2) {
        let labels = [("L", "1"), ("M", "2"), ("odd label", "3"), ("N", "2")];
        let count = random.below(4);
        let picked: Vec<_> = (0..count).map(|_| labels[random.below(4)]).collect();
        let key = random.pick(&["enum_values", "default_value"]);
        fields.retain(|(name, _)| name != key);
        let picked = picked.into_iter().map(|(label, number)| (label.to_owned(), text(number)));
        fields.push((key.to_owned(), Tree::Object(picked.collect())));
        // An object without fields has no place in XML where a text may stand.
        fields.retain(|(name, value)| name != "default_value" || *value != Tree::Object(Vec::new()));
    }
    Tree::Object(fields)
}

fn request(random: &mut Random) -> Tree {
    let count = 1 + random.below(3);
    let orders = (0..count).map(|_| order(random)).collect();
    request_of(random, orders)
}

/// Enough orders that they are looked for, decoded and copied set by set: with ids of their own mostly, in ascending
/// order or scattered; most of them good.
fn large_request(random: &mut Random) -> Tree {
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
    let mut order = crate::support::tree::order(format!("{number:07}"), 1 + random.below(3), 1 + random.below(2));
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

fn request_of(random: &mut Random, orders: Vec<Tree>) -> Tree {
    let mut fields = vec![("token".to_owned(), text(TOKEN)), ("detail".to_owned(), text("true"))];
    if random.one_in(8) {
        let count = 1 + random.below(2);
        fields.push(("custom_fields".to_owned(), Tree::List((0..count).map(|_| definition(random)).collect())));
    }
    if random.one_in(12) {
        let mut status = Vec::new();
        random.field(&mut status, "external_id", &["packed_up", "packed_up", "lost", "new"]);
        random.optional(&mut status, "name", &["Packed", "Lost"]);
        random.field(&mut status, "type", &["in_process", "canceled"]);
        fields.push(("custom_line_statuses".to_owned(), Tree::List(vec![Tree::Object(status)])));
    }
    random.optional(&mut fields, "skip_triggers", &["true", "false", "0"]);
    if random.one_in(6) {
        random.optional(&mut fields, "on_error", &["abort", "continue"]);
    }
    if random.one_in(6) {
        random.optional(&mut fields, "dry_run", &["true", "false"]);
    }
    fields.push(("data".to_owned(), Tree::List(orders)));
    Tree::Object(fields)
}

/// Sends a request in its format; the answer is asked for in JSON.
async fn send(server: &TestServer, format: &str, request: &Tree) -> String {
    let sent = server.post(&format!("{IMPORT}?format=json")).header("content-type", format!("application/{format}"));
    let found = answer(sent.body(request.render(format))).await;
    assert_eq!(found.status, 200, "{}\n{}", request.render(format), found.body);
    found.body
}

/// The answer without internal ids.
pub(crate) fn without_ids(answer: &str) -> String {
    let mut out = String::new();
    let mut rest = answer;
    while let Some(at) = rest.find(",\"id\":") {
        out.push_str(&rest[..at]);
        let after = &rest[at + 6..];
        rest = &after[after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len())..];
    }
    out + rest
}

/// The answer with internal ids numbered as they show up first: the two ways number new orders differently.
fn renumbered(answer: &str, seen: &mut Vec<String>) -> String {
    let mut out = String::new();
    let mut rest = answer;
    while let Some(at) = rest.find(",\"id\":") {
        let after = &rest[at + 6..];
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let place = seen.iter().position(|id| id == &after[..end]).unwrap_or_else(|| {
            seen.push(after[..end].to_owned());
            seen.len() - 1
        });
        let _ = write!(out, "{},\"id\":{place}", &rest[..at]);
        rest = &after[end..];
    }
    out + rest
}

/// One server takes JSON and one XML; one of them goes the quick way and one the careful way.
async fn compare(seed: u64, quick_json: bool, requests: usize, make: fn(&mut Random) -> Tree) -> (usize, usize) {
    let going = |quick| TestServer::with(Given { quick_imports: Some(quick), ..Given::default() });
    let (json, xml) = (going(quick_json).await, going(!quick_json).await);
    let shown = RefCell::new((Vec::new(), Vec::new()));
    let mut random = Random(seed);
    let (mut good, mut bad) = (0, 0);
    for number in 0..requests {
        let mut request = make(&mut random);
        let both = async |request: &Tree| {
            let (of_json, of_xml) = (send(&json, "json", request).await, send(&xml, "xml", request).await);
            let (seen_json, seen_xml) = &mut *shown.borrow_mut();
            let (of_json, of_xml) = (renumbered(&of_json, seen_json), renumbered(&of_xml, seen_xml));
            assert_eq!(
                of_json,
                of_xml,
                "request {number} of seed {seed}\n{}\n{}",
                request.render("json"),
                request.render("xml")
            );
            of_json
        };
        let dry_first = random.one_in(10) && !request.render("json").contains("dry_run");
        if dry_first {
            request.set("dry_run", text("true"));
            let dry = both(&request).await;
            request.remove("dry_run");
            let real = both(&request).await;
            assert_eq!(without_ids(&dry), without_ids(&real), "a dry run answers what the real one does");
        } else {
            let found = both(&request).await;
            good += found.matches("\"error\":0,\"external_id\"").count();
            bad += usize::from(found.contains("\"error\":4"));
            let orders = request.render("json").matches("\"endpoint\"").count();
            let all_good = orders == 1
                && found.contains("\"error\":0,\"external_id\"")
                && !request.render("json").contains("dry_run");
            if all_good && random.one_in(5) {
                let again = both(&request).await;
                assert!(again.contains("\"outcome\":\"unchanged\""), "{}\n{again}", request.render("json"));
            }
        }
    }
    assert_eq!(stored(&json.db).await, stored(&xml.db).await, "seed {seed}");
    (good, bad)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_formats_and_both_ways_answer_and_store_the_same_for_ten_thousand_requests() {
    let seeds = (1..=WORKERS).map(|worker| worker.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let runtime = tokio::runtime::Handle::current();
    let workers: Vec<_> = seeds
        .map(|seed| {
            let runtime = runtime.clone();
            std::thread::spawn(move || runtime.block_on(compare(seed, seed % 2 == 0, REQUESTS_EACH, request)))
        })
        .collect();
    let counts = tokio::task::block_in_place(|| {
        workers.into_iter().map(|worker| worker.join().expect("no difference")).collect::<Vec<_>>()
    });
    let (good, bad) = counts.into_iter().fold((0, 0), |(good, bad), (g, b)| (good + g, bad + b));
    // The generator reaches both ends: enough of its orders are good, enough of its requests hold a bad one.
    assert!(good > 2_000 && bad > 2_000, "{good} good orders, {bad} bad requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_answer_and_store_the_same_by_both_ways() {
    for (seed, quick_json) in [(0x5eed, true), (0xfeed, false)] {
        let compare = compare(seed, quick_json, LARGE_REQUESTS, large_request);
        let (good, _) = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(compare));
        assert!(good > 50 * LARGE_REQUESTS, "{good} good orders");
    }
}
