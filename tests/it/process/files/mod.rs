//! Files that are imported and exported by the command line.

mod cells;
mod csv;
mod failed;
mod items;
mod maps;
mod resume;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::program::{DEADLINE, Ended, ordergate, set_up};
use crate::support::db::{TestDb, run};
use crate::support::server::TOKEN;

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

/// A file of the tests.
fn kept(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/files").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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

/// The orders and the ids of their lines, like `A=1+2 B=1`.
async fn stored(db: &TestDb) -> String {
    let sql = "select coalesce(string_agg(e, ' ' order by e), '') from (select o.external_id || '=' ||
        string_agg(l.external_id, '+' order by l.position) as e from orders o join order_lines l on l.order_id = o.id
        group by o.external_id) as orders";
    db.text(sql).await
}

/// Takes all orders out of the database.
async fn empty(db: &TestDb) {
    run(&mut db.connect().await, "delete from orders").await;
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
    let file = files.write("given.json", products.to_string());
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
    assert_eq!(left.len(), 8, "nothing is left beside the files: {left:?}");
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
    // Behind the items it holds if they are sent together; else nothing more is sent.
    let behind = json!({"data": [order("H"), order("I")], "skip_triggers": true}).to_string();
    let xml = "<xml><data><external_id>J</external_id></data><skip_triggers>1</skip_triggers></xml>";
    for (name, text, read) in [("e.json", behind.as_str(), 2), ("e.xml", xml, 1)] {
        assert_eq!(summary(&import(&db, "", &files.write(name, text)))[0], read, "{name}");
        assert_eq!(db.text("select count(*) from outbox").await, "0", "{name}");
    }
    let ended = import(&db, "--batch 1 --dry-run", &files.path("e.json"));
    assert!(ended.err.contains("stopped behind 1 orders: expected skip_triggers before the items"), "{}", ended.err);
    assert_eq!((ended.code, summary(&ended)[0]), (Some(1), 1));
    let deep = format!("{{\"external_id\":{}1{}}}", "[".repeat(70), "]".repeat(70));
    let ended = import(&db, "", &files.write("c.ndjson", format!("{}\n{deep}\n{}\n", order("D"), order("E"))));
    assert_eq!((ended.code, summary(&ended)), (Some(3), [3, 2, 0, 0, 1]), "one order too deep: {}", ended.err);
    assert!(read(&files.path("c.ndjson.failed.ndjson")).contains("expected at most 64 levels of nesting"));
    let huge = format!("{{\"external_id\":\"{}\"}}\n", "x".repeat(33 << 20));
    let ended = import(&db, "", &files.write("d.ndjson", format!("{}\n{huge}{}\n", order("F"), order("G"))));
    assert_eq!((ended.code, summary(&ended)), (Some(3), [3, 2, 0, 0, 1]), "one order too large: {}", ended.err);
    let failed = read(&files.path("d.ndjson.failed.ndjson"));
    assert!(failed.contains("line 2, column 1: expected an order of at most") && failed.len() < 2_000, "{failed:.300}");
    assert_eq!(db.text("select count(*) from orders where external_id in ('D', 'E', 'F', 'G')").await, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_replaces_a_file_only_by_force_and_only_when_it_is_whole() {
    let (db, files) = (shop().await, Files::new());
    assert_eq!(import(&db, "", Path::new(BASKETS)).code, Some(0));
    let file = files.write("orders.ndjson", "what somebody kept\n");
    let link = files.path("link.ndjson");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let export = |options: &str, file: &Path| ordergate(&db, &format!("export orders {options} --file")).arg(file);
    let expected = "expected a file that is not there yet; say --force to replace it";
    for place in [&file, &link] {
        let sentence = export("--account test", place).refused();
        assert_eq!(sentence, format!("{}: {expected}", place.display()));
    }
    // A server that answers nothing useful: the export fails half way.
    let fails = export("--force --server http://127.0.0.1:1", &file).env("ORDERGATE_TOKEN", "a-token-of-nobody");
    fails.refused();
    assert_eq!(read(&file), "what somebody kept\n");
    // More than a umask leaves to a new file.
    std::fs::set_permissions(&file, Permissions::from_mode(0o666)).expect("a file of ours");
    export("--force --account test", &link).done();
    let mode = std::fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o666, "who may read and write it stays");
    assert_eq!(read(&file).lines().count(), 40);
    assert!(link.is_symlink(), "what a link names is written");
    let dir = files.path("dir.ndjson");
    std::fs::create_dir(&dir).expect("a directory");
    for sentence in [
        export("--force --account test", &dir).refused(),
        import(&db, &format!("--failed {}", dir.display()), Path::new(BASKETS)).refusal(),
    ] {
        assert!(
            sentence.contains("dir.ndjson: expected a file") && sentence.contains("found something else"),
            "{sentence}"
        );
    }
    let mut left: Vec<_> =
        std::fs::read_dir(files.0.path()).expect("a directory").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["dir.ndjson", "link.ndjson", "orders.ndjson"], "nothing is left beside the files");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_export_says_what_is_written() {
    let (db, files) = (TestDb::new().await, Files::new());
    // It takes connections, and is silent.
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", server.local_addr().expect("an address"));
    let file = files.path("orders.ndjson");
    for (place, expected) in [
        (file.display().to_string(), "the export was interrupted, and nothing was written"),
        ("-".to_owned(), "the export was interrupted: what was written is not all of it"),
    ] {
        let export = ordergate(&db, &format!("export orders --server {url} --file {place}"));
        let export = export.env("ORDERGATE_TOKEN", TOKEN).start("");
        let asked = tokio::time::timeout(DEADLINE, server.accept()).await;
        let _connection = asked.expect("a call").expect("a connection");
        let ended = export.stop();
        assert!(ended.code == Some(1) && ended.err.contains(expected), "{place}: {:?} {}", ended.code, ended.err);
    }
    assert!(!file.exists());
}
