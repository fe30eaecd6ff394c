//! Products, SKUs and categories; orders that name them; lists and deletions between them.

use super::{AMOUNTS, Call, Random, TIMES, VALUES, compare_large, compare_many, custom_values, head};
use crate::support::server::TOKEN;
use crate::support::tree::{Tree, object, text};

const CATEGORIES: &[&str] = &["c1", "c2", "c3", "c4"];
const PRODUCTS: &[&str] = &["p1", "p2", "p3", "p4", "p5"];
const SKUS: &[&str] = &["s1", "s2", "s3", "s4", "s5", "s6"];
const FLAGS: &[&str] = &["true", "false", "1", ""];
const COUNTS: &[&str] = &["0", "5", "2147483647", ""];

fn some(random: &mut Random, good: &[&str]) -> Tree {
    let count = random.below(4);
    Tree::List((0..count).map(|_| random.value(good)).collect())
}

/// What differs by region, or not.
fn priced(random: &mut Random, fields: &mut Vec<(String, Tree)>) {
    random.optional(fields, "price", AMOUNTS);
    random.optional(fields, "old_price", AMOUNTS);
    random.optional(fields, "currency", &["USD", "eur", ""]);
    random.optional(fields, "count", COUNTS);
    random.optional(fields, "is_available", FLAGS);
    random.optional(fields, "delivery", FLAGS);
    if random.one_in(6) {
        fields.push(("custom_fields".to_owned(), custom_values(random)));
    }
}

fn item(random: &mut Random, ids: &[&str]) -> Vec<(String, Tree)> {
    let mut fields = Vec::new();
    random.field(&mut fields, "external_id", ids);
    if let Some((_, Tree::Text(id))) = fields.last_mut() {
        *id = random.padded(std::mem::take(id));
    }
    random.field(&mut fields, "name", &["Name", "Другое", " N "]);
    priced(random, &mut fields);
    random.optional(&mut fields, "manufacturer_name", &["Acme", ""]);
    random.optional(&mut fields, "description", &["Long", "<b>", ""]);
    random.optional(&mut fields, "url", &["https://shop.example.com/?a=1&b=2", ""]);
    random.optional(&mut fields, "expiration_time", TIMES);
    random.optional(&mut fields, "manufacturer_warranty", FLAGS);
    let lists: [(&str, &[&str]); 4] = [
        ("tags", &["one", "two"]),
        ("pictures", &["1.jpg", "2.jpg"]),
        ("barcode", &["4006381333931", "-9223372036854775808", " 7 "]),
        ("categories", CATEGORIES),
    ];
    for (key, good) in lists {
        if random.one_in(4) {
            fields.push((key.to_owned(), some(random, good)));
        }
    }
    if random.one_in(6) {
        let count = random.below(3);
        let regional = |_| {
            let mut regional = Vec::new();
            random.field(&mut regional, "external_id", &["region_YnCrJj8Y1"]);
            priced(random, &mut regional);
            Tree::Object(regional)
        };
        fields.push(("regional_data".to_owned(), Tree::List((0..count).map(regional).collect())));
    }
    fields
}

fn sku(random: &mut Random, alone: bool) -> Tree {
    let mut fields = item(random, SKUS);
    if alone || random.one_in(30) {
        random.field(&mut fields, "product_external_id", PRODUCTS);
    }
    Tree::Object(fields)
}

fn product(random: &mut Random) -> Tree {
    if random.one_in(60) {
        return random.value(&["no product", "1"]);
    }
    let mut fields = item(random, PRODUCTS);
    if random.one_in(2) {
        let count = random.below(3);
        fields.push(("sku".to_owned(), Tree::List((0..count).map(|_| sku(random, false)).collect())));
    }
    Tree::Object(fields)
}

fn category(random: &mut Random) -> Tree {
    let mut fields = Vec::new();
    random.field(&mut fields, "external_id", CATEGORIES);
    random.optional(&mut fields, "name", &["Shoes", "Hats", ""]);
    random.optional(&mut fields, "parent_external_id", &["c1", "c2", ""]);
    Tree::Object(fields)
}

fn import_of(random: &mut Random, call: &'static str, items: Vec<Tree>, categories_one_in: usize) -> Call {
    let mut fields = head(random);
    if random.one_in(categories_one_in) {
        let count = 1 + random.below(2);
        fields.push(("categories".to_owned(), Tree::List((0..count).map(|_| category(random)).collect())));
    }
    fields.push(("data".to_owned(), Tree::List(items)));
    (call, Tree::Object(fields))
}

fn import(random: &mut Random) -> Call {
    let count = 1 + random.below(3);
    if random.one_in(3) {
        let items = (0..count).map(|_| sku(random, true)).collect();
        return import_of(random, "sku/import", items, 4);
    }
    let items = (0..count).map(|_| product(random)).collect();
    import_of(random, "products/import", items, 4)
}

/// An import, or a call that sees or changes what imports made.
fn call(random: &mut Random) -> Call {
    let mut fields = vec![("token".to_owned(), text(TOKEN))];
    let call = match random.below(40) {
        0 | 1 => {
            random.optional(&mut fields, "limit", &["50", "1000", "0"]);
            if random.one_in(2) { "products/list" } else { "sku/list" }
        }
        2 => {
            fields.push(("external_ids".to_owned(), some(random, PRODUCTS)));
            "products/delete"
        }
        3 => {
            fields.push(("external_ids".to_owned(), some(random, SKUS)));
            "sku/delete"
        }
        4 => {
            let mut order = crate::support::tree::order("o", 1, 1);
            order.at("lines").item(0).set("product", text(random.pick(PRODUCTS)));
            order.at("lines").item(0).set("sku", text(random.pick(SKUS)));
            fields.push(("data".to_owned(), Tree::List(vec![order])));
            "orders/import"
        }
        _ => return import(random),
    };
    (call, Tree::Object(fields))
}

/// Enough products that they are decoded and copied set by set; most of them good, and new or changed.
fn large_call(random: &mut Random) -> Call {
    let count = 510 + random.below(200);
    // Few ids are mostly stored before, many are mostly new.
    let ids = if random.one_in(4) { 2_000 } else { 1_000_000 };
    let base = random.below(ids);
    let spoils = random.one_in(2);
    let numbered = |place| {
        if spoils && random.one_in(100) {
            return product(random);
        }
        let number = base + place;
        let id = random.padded(format!("{number:07}"));
        let mut product = object(vec![("external_id", text(id)), ("name", text("P"))]);
        if random.one_in(3) {
            product.set("price", text(random.pick(AMOUNTS)));
        }
        if spoils && random.one_in(60) {
            product.set("categories", some(random, CATEGORIES));
        }
        if random.one_in(20) {
            product.set("custom_fields", object(vec![("size", text(random.pick(VALUES)))]));
        }
        // Elsewhere no SKU is another product's.
        let shared = spoils && random.one_in(50);
        let of = if shared { number / 10 } else { number };
        let sku = object(vec![("external_id", text(format!("{of:07}-1"))), ("name", text("S"))]);
        product.set("sku", Tree::List(vec![sku]));
        product
    };
    let items = (0..count).map(numbered).collect();
    import_of(random, "products/import", items, 2)
}

const CALLS_EACH: usize = 800;
const LARGE_CALLS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn both_formats_and_both_ways_answer_and_store_the_same_for_thousands_of_calls_for_products() {
    let (good, bad) = compare_many(CALLS_EACH, call);
    assert!(good > 500 && bad > 500, "{good} good items, {bad} bad calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_imports_of_products_answer_and_store_the_same_by_both_ways() {
    let good = compare_large(LARGE_CALLS, large_call);
    assert!(good > 200 * LARGE_CALLS, "{good} good products");
}
