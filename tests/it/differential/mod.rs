//! The same request in JSON and in XML, by the quick way and by the careful way, has the same effect and the same
//! answer, errors included: shown on
//! generated requests, good and bad, one after the other on two databases.

mod orders;
mod products;

use std::cell::RefCell;
use std::collections::HashMap;

use ordergate::config::Given;

use crate::support::server::{TOKEN, TestServer};
use crate::support::stored::stored;
use crate::support::tree::{Tree, object, text};

const WORKERS: u64 = 4;

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

    /// An id, sometimes with what nobody sees around it.
    fn padded(&mut self, id: String) -> String {
        if self.one_in(30) { format!("\n {id}\u{a0}\u{200b}") } else { id }
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
const AMOUNTS: &[&str] =
    &["1", "10.5", "1e3", "0", "123456789012345678.123456", "007", " 2 ", "-3.50", "0.30000000000000004"];
const TIMES: &[&str] = &[
    "2022-01-02",
    "2022-01-02 15:04:05",
    "2022-01-02T15:04:05.141Z",
    "2022-01-02T15:04:05+03:00",
    "2022-01-02 15:04 +0300",
    "0001-01-01T00:00:00",
];
const KEYS: &[&str] = &["size", "color", "when", "ok", "kind", "weight", "1 odd & key", "$serde_json::private::Number"];
const VALUES: &[&str] = &["1", "red", "2022-01-02", "true", "2.50", "-7", "", "L"];

fn custom_values(random: &mut Random) -> Tree {
    let count = random.below(3);
    Tree::Object((0..count).map(|_| (random.pick(KEYS).to_owned(), random.value(VALUES))).collect())
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

/// A call of the market, `orders/import` or another, and what it says.
type Call = (&'static str, Tree);

/// Sends a call in a format; the answer is asked for in JSON.
async fn send(server: &TestServer, format: &str, (call, request): &Call) -> String {
    let found = server.market(&format!("{call}?format=json"), format, request.render(format)).await;
    assert_eq!(found.status, 200, "{call} {}\n{}", request.render(format), found.body);
    found.body
}

/// The answer with something else in the place of each internal id.
fn with_ids(answer: &str, mut shown: impl FnMut(&str) -> String) -> String {
    const KEY: &str = "\"id\":";
    let mut out = String::new();
    let mut rest = answer;
    while let Some(at) = rest.find(KEY) {
        let (before, id) = rest.split_at(at + KEY.len());
        let end = id.find(|c: char| !c.is_ascii_digit()).unwrap_or(id.len());
        out += before;
        out += &shown(&id[..end]);
        rest = &id[end..];
    }
    out + rest
}

/// The answer without internal ids, also where a `next_from_id` holds one.
pub(crate) fn without_ids(answer: &str) -> String {
    let answer = with_ids(answer, |_| String::new()).replace(",\"id\":", "");
    let Some((before, after)) = answer.split_once("next_from_id") else { return answer };
    // `":"o12"` or `>o12</`
    let start = after.find(|c: char| c.is_ascii_digit()).filter(|start| *start <= 4).unwrap_or(0);
    let rest = after[start..].trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}next_from_id{}{rest}", &after[..start])
}

/// The internal ids that one server has shown, of each kind of thing.
type Shown = HashMap<&'static str, Vec<String>>;

/// The answer with internal ids numbered as they show up first: the two ways number what is new differently. Lists show none.
fn renumbered(call: &'static str, answer: &str, shown: &mut Shown) -> String {
    let (kind, verb) = call.split_once('/').expect("a call");
    if verb == "list" {
        return without_ids(answer);
    }
    let seen = shown.entry(kind).or_default();
    with_ids(answer, |id| {
        let place = seen.iter().position(|seen| seen == id).unwrap_or_else(|| {
            seen.push(id.to_owned());
            seen.len() - 1
        });
        place.to_string()
    })
}

/// One server takes JSON and one XML; one of them goes the quick way and one the careful way. Returns how many items were
/// good, and how many requests held a bad one.
async fn compare(seed: u64, quick_json: bool, requests: usize, make: fn(&mut Random) -> Call) -> (usize, usize) {
    let going = |quick| TestServer::with(Given { quick_imports: Some(quick), ..Given::default() });
    let (json, xml) = (going(quick_json).await, going(!quick_json).await);
    let shown = RefCell::new(<[Shown; 2]>::default());
    let both = async |call: &Call| {
        let (of_json, of_xml) = (send(&json, "json", call).await, send(&xml, "xml", call).await);
        let (name, request) = call;
        let [shown_json, shown_xml] = &mut *shown.borrow_mut();
        let (of_json, of_xml) = (renumbered(name, &of_json, shown_json), renumbered(name, &of_xml, shown_xml));
        let renders = || format!("{name}\n{}\n{}", request.render("json"), request.render("xml"));
        assert_eq!(of_json, of_xml, "seed {seed}: {}", renders());
        of_json
    };
    let mut random = Random(seed);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..requests {
        let mut call = make(&mut random);
        let imports = call.0.ends_with("/import") && !call.1.render("json").contains("dry_run");
        if imports && random.one_in(10) {
            call.1.set("dry_run", text("true"));
            let dry = both(&call).await;
            call.1.remove("dry_run");
            let real = both(&call).await;
            assert_eq!(without_ids(&dry), without_ids(&real), "a dry run answers what the real one does");
            continue;
        }
        let found = both(&call).await;
        good += found.matches("\"error\":0,\"external_id\"").count();
        bad += usize::from(found.contains("\"error\":4"));
        let one_is_good = found.contains("\"error\":0,\"external_id\"") && found.matches("\"index\"").count() == 1;
        if imports && one_is_good && random.one_in(5) {
            let again = both(&call).await;
            assert!(again.contains("\"outcome\":\"unchanged\""), "{}\n{again}", call.1.render("json"));
        }
    }
    assert_eq!(stored(&json.db).await, stored(&xml.db).await, "seed {seed}");
    (good, bad)
}

/// The same by several workers at once, each with so many requests.
fn compare_many(requests_each: usize, make: fn(&mut Random) -> Call) -> (usize, usize) {
    let seeds = (1..=WORKERS).map(|worker| worker.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let runtime = tokio::runtime::Handle::current();
    let workers: Vec<_> = seeds
        .map(|seed| {
            let runtime = runtime.clone();
            std::thread::spawn(move || runtime.block_on(compare(seed, seed % 2 == 0, requests_each, make)))
        })
        .collect();
    let counts = tokio::task::block_in_place(|| {
        workers.into_iter().map(|worker| worker.join().expect("no difference")).collect::<Vec<_>>()
    });
    counts.into_iter().fold((0, 0), |(good, bad), (g, b)| (good + g, bad + b))
}

/// Few large requests, either way; returns how many items were good.
fn compare_large(requests: usize, make: fn(&mut Random) -> Call) -> usize {
    let compare = |(seed, quick_json)| {
        let compare = compare(seed, quick_json, requests, make);
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(compare)).0
    };
    [(0x5eed, true), (0xfeed, false)].into_iter().map(compare).sum()
}

/// Sometimes definitions of custom fields, and the options of an import.
fn head(random: &mut Random) -> Vec<(String, Tree)> {
    let mut fields = vec![("token".to_owned(), text(TOKEN)), ("detail".to_owned(), text("true"))];
    if random.one_in(8) {
        let count = 1 + random.below(2);
        fields.push(("custom_fields".to_owned(), Tree::List((0..count).map(|_| definition(random)).collect())));
    }
    if random.one_in(6) {
        random.optional(&mut fields, "on_error", &["abort", "continue"]);
    }
    if random.one_in(6) {
        random.optional(&mut fields, "dry_run", &["true", "false"]);
    }
    fields
}
