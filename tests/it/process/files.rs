//! Files that are imported and exported by the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::program::{Ended, ordergate, set_up};
use crate::support::db::TestDb;
use crate::support::server::{TOKEN, TestServer};

const BASKETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/files/orders.csv");

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Files(TempDir::new().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), text).expect("a file");
        self.path(name)
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A database with an account that takes the baskets.
async fn shop() -> TestDb {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    ordergate(&db, "touchpoint create --account test store --channel web").done();
    db
}

fn import(db: &TestDb, options: &str, file: &Path) -> Ended {
    ordergate(db, &format!("--output json import --account test {options}")).arg(file).run()
}

/// What an import says in the end: read, created, updated, unchanged, failed.
fn summary(ended: &Ended) -> [i64; 5] {
    let said: Json =
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}{}", ended.out, ended.err));
    ["read", "created", "updated", "unchanged", "failed"].map(|name| said[name].as_i64().expect("a number"))
}

fn export(db: &TestDb, what: &str, file: &Path) {
    ordergate(db, &format!("export {what} --account test --file")).arg(file).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_goes_in_and_out_and_in_again() {
    let (db, files) = (shop().await, Files::new());
    let ended = import(&db, "--batch 7", Path::new(BASKETS));
    assert_eq!((ended.code, summary(&ended)), (Some(0), [40, 40, 0, 0, 0]), "{}", ended.err);
    let products = json!({"categories": [{"external_id": "c"}], "data": [{"external_id": "P", "name": "<P>", "price": "1.5",
        "barcode": [4_006_381_333_931_i64], "categories": ["c"], "sku": [{"external_id": "S", "name": "S"}]}]});
    let file = files.write("products.json", products.to_string());
    assert_eq!(summary(&import(&db, "--what products", &file)), [1, 1, 0, 0, 0]);
    for name in ["orders.json", "orders.ndjson", "orders.xml", "orders.csv"] {
        export(&db, "orders", &files.path(name));
        let ended = import(&db, "--batch 7", &files.path(name));
        assert_eq!((ended.code, summary(&ended)), (Some(0), [40, 0, 0, 40, 0]), "{name}: {}", ended.err);
    }
    for name in ["products.json", "products.ndjson", "products.xml"] {
        export(&db, "products", &files.path(name));
        assert_eq!(summary(&import(&db, "--what products", &files.path(name))), [1, 0, 0, 1, 0], "{name}");
    }
    let left: Vec<_> = std::fs::read_dir(files.0.path()).expect("a directory").collect();
    assert_eq!(left.len(), 7, "nothing is left beside the files: {left:?}");
    // The same orders in another account's database read the same.
    let other = shop().await;
    assert_eq!(summary(&import(&other, "--dry-run", Path::new(BASKETS))), [40, 40, 0, 0, 0]);
    assert_eq!(other.text("select count(*) from orders").await, "0");
    let sum = "select md5(string_agg(concat_ws('|', o.external_id, o.total_price, o.create_time, l.external_id, l.count, l.final_price_per_item), ';'
        order by o.external_id, l.position)) from orders o join order_lines l on l.order_id = o.id";
    assert_eq!(summary(&import(&other, "", Path::new(BASKETS)))[1], 40);
    assert_eq!(other.text(sum).await, db.text(sum).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_knows_the_definitions_of_a_file_in_every_batch() {
    let (db, files) = (shop().await, Files::new());
    let order = |id: &str| {
        json!({"external_id": id, "email": "a@example.com", "endpoint": "website", "status": "new", "total_price": "1",
            "currency": "USD", "custom_fields": {"size": "1"}, "lines": [{"external_id": "1", "product": "p"}]})
    };
    let fields = json!([{"external_id": "size", "entity_type": "order", "value_type": "int"}]);
    let file =
        files.write("orders.json", json!({"custom_fields": fields, "data": [order("A"), order("B")]}).to_string());
    for options in ["--batch 1 --dry-run", "--batch 1"] {
        let ended = import(&db, options, &file);
        assert_eq!(summary(&ended), [2, 2, 0, 0, 0], "{options}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_orders_are_written_down_and_can_be_corrected_and_sent_again() {
    let (db, files) = (shop().await, Files::new());
    let order = |id: &str, price: &str| {
        json!({"external_id": id, "email": "a@example.com", "endpoint": "website", "status": "new", "total_price": price,
            "currency": "USD", "custom_fields": {"size": "1"}, "lines": [{"external_id": "1", "product": "p"}]})
    };
    let fields = json!([{"external_id": "size", "entity_type": "order", "value_type": "int"}]);
    let all = json!({"token": "not read", "custom_fields": fields, "data": [order("A", "1"), order("B", "x <&>"), "no order", order("C", "3")]});
    let xml = |id: &str, price: &str| {
        format!(
            "<data><external_id>{id}</external_id><email>a@example.com</email><endpoint>website</endpoint><status>new</status>\
            <total_price>{price}</total_price><currency>USD</currency><lines><external_id>1</external_id><product>p</product></lines></data>"
        )
    };
    let all_xml = format!(
        "<?xml version=\"1.0\"?>\n<xml><!-- c -->{}\n{}{}</xml>",
        xml("A", "1"),
        xml("D", "x &lt;&amp;>"),
        xml("E", "5")
    );
    for (name, text, failed, reason, expected) in [
        ("orders.json", all.to_string(), "orders.json.failed.ndjson", "\"import_error\":\"", [4, 2, 0, 0, 2]),
        ("orders.xml", all_xml, "orders.xml.failed.xml", "<import_error>", [3, 1, 0, 1, 1]),
    ] {
        let ended = import(&db, "--batch 1", &files.write(name, text));
        assert_eq!((ended.code, summary(&ended)), (Some(3), expected), "{name}: {}", ended.err);
        assert!(
            ended.err.contains(&format!("they and the reasons are in {}", files.path(failed).display())),
            "{}",
            ended.err
        );
        let text = read(&files.path(failed));
        assert!(text.contains(&format!("{reason}total_price: expected a decimal like 12.50")), "{text}");
        let corrected = text
            .replace("x <&>", "2")
            .replace("x &lt;&amp;>", "2")
            .replace("\"item\":\"no order\"", "\"external_id\":\"\"");
        let again = import(&db, "", &files.write(failed, corrected));
        let expected = if name.ends_with("json") { [2, 1, 0, 0, 1] } else { [1, 1, 0, 0, 0] };
        assert_eq!(summary(&again), expected, "{failed}: {}", again.err);
    }
    assert_eq!(db.text("select string_agg(external_id, ',' order by external_id) from orders").await, "A,B,C,D,E");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_says_where_and_what() {
    let (db, files) = (shop().await, Files::new());
    for (name, text, expected) in [
        ("a.json", "{\"data\":[{\"external_id\":1},", "EOF while parsing"),
        ("b.json", "{\"orders\":[]}", "missing field `data`"),
        ("c.json", "{\"data\":[],\"custom_fields\":[]}", "expected custom_fields before data, found it behind"),
        ("d.ndjson", "{}\n{\"a\":}\n", "line 2, column 6: expected one JSON object a line"),
        ("e.csv", "external_id,price\nA,1\n", "column: expected one of external_id, matching"),
        ("f.csv", "status\nnew\n", "line 1: expected a column external_id"),
        ("g.csv", "external_id,tags\nA,one\n", "line 2: tags: expected JSON, found \"one\""),
        ("h.xml", "<xml><data></xml>", "byte"),
        ("j.xml", "<orders><order/></orders>", "expected the root xml with elements data, found none"),
        (
            "k.csv",
            "external_id,total_price,line.external_id\nA,1,1\nA,2,2\n",
            "line 3: total_price: expected what stands in the order's first row, found \"2\"",
        ),
        ("l.json", "{\"dry_run\":true,\"data\":[]}", "dry_run: expected none in a file; say --dry-run"),
        ("m.xml", "<xml><on_error>abort</on_error><data></data></xml>", "on_error: expected none in a file"),
        ("i.txt", "", "expected a name that ends in .json, .ndjson, .jsonl, .xml or .csv; or say --format"),
    ] {
        let ended = import(&db, "", &files.write(name, text));
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.err);
        assert!(ended.err.contains(expected), "{name}: {}", ended.err);
    }
    assert!(import(&db, "", &files.path("none.json")).err.contains("none.json"));
    let nobody = ordergate(&db, "import --server http://127.0.0.1:9").arg(BASKETS).run();
    assert!(nobody.err.contains("ORDERGATE_TOKEN: expected the server's token, found nothing"), "{}", nobody.err);
    assert_eq!(ordergate(&db, "import").arg(BASKETS).run().code, Some(2), "where to is not said");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_says_of_events_holds_for_all_its_batches() {
    let (db, files) = (shop().await, Files::new());
    let order = |id: &str| {
        json!({"external_id": id, "email": "a@example.com", "endpoint": "website", "status": "new", "total_price": "1",
            "currency": "USD", "lines": [{"external_id": "1", "product": "p"}]})
    };
    let silent = format!("{{\"skip_triggers\":\"1\",\"data\":{}}}", json!([order("A"), order("B")]));
    assert_eq!(summary(&import(&db, "--batch 1", &files.write("a.json", silent)))[1], 2);
    assert_eq!(db.text("select count(*) from outbox").await, "0");
    let loud = json!({"data": [order("C")]}).to_string();
    assert_eq!(summary(&import(&db, "--skip-triggers", &files.write("b.json", &loud)))[1], 1);
    assert_eq!(db.text("select count(*) from outbox").await, "0");
    let deep = format!("{{\"external_id\":{}1{}}}", "[".repeat(70), "]".repeat(70));
    let ended = import(&db, "", &files.write("c.ndjson", format!("{}\n{deep}\n{}\n", order("D"), order("E"))));
    assert_eq!((ended.code, summary(&ended)), (Some(3), [3, 2, 0, 0, 1]), "one order too deep: {}", ended.err);
    assert!(read(&files.path("c.ndjson.failed.ndjson")).contains("expected at most 64 levels of nesting"));
    let huge = format!("{{\"external_id\":\"{}\"}}\n", "x".repeat(33 << 20));
    let ended = import(&db, "", &files.write("d.ndjson", format!("{}\n{huge}", order("F"))));
    assert!(ended.code == Some(1) && ended.err.contains("expected an order of at most"), "{}", ended.err);
    assert_eq!(db.text("select count(*) from orders where external_id in ('D', 'E', 'F')").await, "3");
}

/// A way to a server on which the third request gets no answer; tells when it is there.
async fn broken_way(server: Arc<TestServer>) -> (String, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (url, stuck) = (format!("http://{}", listener.local_addr().expect("an address")), Arc::new(Notify::new()));
    let tell = Arc::clone(&stuck);
    #[expect(clippy::disallowed_methods, reason = "it lives as long as its test")]
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut read = Vec::new();
        for request in 1.. {
            let (head, body) = loop {
                let text = String::from_utf8_lossy(&read).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let length = head.to_lowercase().split_once("content-length: ").expect("a length").1.to_owned();
                    let length: usize = length.split("\r\n").next().expect("a length").parse().expect("a number");
                    if body.len() >= length {
                        break (head.to_owned(), body.to_owned());
                    }
                }
                if stream.read_buf(&mut read).await.expect("bytes") == 0 {
                    return;
                }
            };
            read.clear();
            if request == 3 {
                tell.notify_one();
                return std::future::pending().await;
            }
            let path = head.split(' ').nth(1).expect("a path");
            let sent = server
                .post(path)
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, format!("Bearer {TOKEN}"));
            let answer = sent.body(body).send().await.expect("an answer").text().await.expect("a text");
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            stream.write_all(answer.as_bytes()).await.expect("a client");
        }
    });
    (url, stuck)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_goes_on_where_it_was() {
    let server = Arc::new(TestServer::start().await);
    let conn = &mut server.db.connect().await;
    ordergate::accounts::create_touchpoint(conn, server.account_id, "store", "web").await.expect("a touchpoint");
    let files = Files::new();
    let baskets = read(Path::new(BASKETS));
    // One of the first batch fails.
    let file = files.write("orders.csv", baskets.replacen(",delivered,", ",lost,", 1));
    let (url, stuck) = broken_way(Arc::clone(&server)).await;
    let run = |url: &str, options: &str| {
        let program = ordergate(&server.db, &format!("--output json import --server {url} --batch 10 {options}"));
        program.env("ORDERGATE_TOKEN", TOKEN).arg(&file)
    };
    let program = run(&url, "").start("");
    stuck.notified().await;
    program.signal("KILL");
    assert_eq!(program.ended().code, None);
    assert_eq!(server.db.text("select count(*) from orders").await, "19");
    let direct = server.url("");
    let state = files.path("orders.csv.progress.json");
    std::fs::write(&state, read(&state).replace(&url, &direct)).expect("a file");
    let ended = run(&direct, "").run();
    assert!(ended.err.contains("goes on behind 20 orders that were acknowledged before"), "{}", ended.err);
    assert_eq!((ended.code, summary(&ended)), (Some(3), [40, 39, 0, 0, 1]), "{}", ended.err);
    assert_eq!(server.db.text("select count(*) from orders").await, "39");
    assert_eq!(read(&files.path("orders.csv.failed.ndjson")).lines().count(), 1);
    assert_eq!(summary(&run(&direct, "").run()), [40, 0, 0, 39, 1], "done: the next one begins anew");
    assert_eq!(read(&files.path("orders.csv.failed.ndjson.before")).lines().count(), 1, "what failed before is kept");
    // What was begun for another target, or a file that was changed meanwhile, is not gone on with.
    let (url, stuck) = broken_way(Arc::clone(&server)).await;
    let program = run(&url, "").start("");
    stuck.notified().await;
    program.signal("KILL");
    program.ended();
    let other = run(&direct, "").run();
    assert!(
        other.err.contains("expected the options with which the import began") && other.err.contains(&url),
        "{}",
        other.err
    );
    let another = run(&url, "").env("ORDERGATE_TOKEN", "another-token-0123456789").run();
    assert!(another.err.contains("expected the options with which the import began"), "{}", another.err);
    std::fs::write(&file, baskets).expect("a file");
    assert!(run(&url, "").run().err.contains("found it changed; --restart begins anew"));
    assert_eq!(summary(&run(&direct, "--restart").run())[0], 40);
    assert!(!state.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_orders_that_are_corrected_before_an_import_goes_on_are_kept() {
    let server = Arc::new(TestServer::start().await);
    let conn = &mut server.db.connect().await;
    ordergate::accounts::create_touchpoint(conn, server.account_id, "store", "web").await.expect("a touchpoint");
    let files = Files::new();
    let file = files.write("orders.csv", read(Path::new(BASKETS)).replacen(",delivered,", ",lost,", 1));
    let (url, stuck) = broken_way(Arc::clone(&server)).await;
    let run = |url: &str, file: &Path| {
        let program = ordergate(&server.db, &format!("--output json import --server {url} --batch 10"));
        program.env("ORDERGATE_TOKEN", TOKEN).arg(file)
    };
    let program = run(&url, &file).start("");
    stuck.notified().await;
    program.signal("KILL");
    program.ended();
    let failed = files.path("orders.csv.failed.ndjson");
    std::fs::write(&failed, read(&failed).replace("\"lost\"", "\"delivered\"")).expect("a file");
    let (state, direct) = (files.path("orders.csv.progress.json"), server.url(""));
    std::fs::write(&state, read(&state).replace(&url, &direct)).expect("a file");
    let ended = run(&direct, &file).run();
    assert!(ended.err.contains("was changed since; it is kept as"), "{}", ended.err);
    assert_eq!(summary(&ended), [40, 39, 0, 0, 1]);
    let kept = files.write("corrected.ndjson", read(&files.path("orders.csv.failed.ndjson.before")));
    assert_eq!(summary(&run(&direct, &kept).run()), [1, 1, 0, 0, 0]);
}
