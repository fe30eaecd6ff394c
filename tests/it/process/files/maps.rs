//! Maps of what shops export, and what `--explain` shows.

use std::path::{Path, PathBuf};

use super::{Files, import, read, shop, stored, summary};
use crate::process::program::{Ended, ordergate};
use crate::support::db::TestDb;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/maps").join(name)
}

/// Imports an example by its map.
fn import_example(db: &TestDb, files: &Files, name: &str) -> Ended {
    let csv = files.write(&format!("{name}.csv"), std::fs::read(example(&format!("{name}.csv"))).expect("an example"));
    let options = format!("--map {}", example(&format!("{name}.toml")).display());
    let mut ended = import(db, &options, &csv);
    if ended.code == Some(3) {
        ended.err.push_str(&read(&files.path(&format!("{name}.csv.failed.ndjson"))));
    }
    ended
}

/// Two lines with their words, money and times.
async fn told(db: &TestDb) -> String {
    let sql = "select string_agg(concat_ws(' ', o.external_id, trim_scale(o.total_price), l.external_id, l.count,
        trim_scale(l.final_price_per_item)), '; ' order by o.external_id, l.position)
        from orders o join order_lines l on l.order_id = o.id";
    db.text(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_woocommerce_goes_in() {
    let (db, files) = (shop().await, Files::new());
    let ended = import_example(&db, &files, "woocommerce");
    assert_eq!((ended.code, summary(&ended)), (Some(0), [3, 3, 0, 0, 0]), "{}", ended.err);
    assert_eq!(told(&db).await, "10421 64.9 1 2 12.5; 10421 64.9 2 1 40; 10422 19.99 1 1 19.99; 10423 17.4 1 1 12.5");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_shopify_goes_in() {
    let (db, files) = (shop().await, Files::new());
    let ended = import_example(&db, &files, "shopify");
    assert_eq!((ended.code, summary(&ended)), (Some(0), [3, 3, 0, 0, 0]), "{}", ended.err);
    assert_eq!(told(&db).await, "#1001 64.9 1 2 12.5; #1001 64.9 2 1 40; #1002 39.98 1 2 19.99; #1003 17.4 1 1 12.5");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_magento_goes_in() {
    let (db, files) = (shop().await, Files::new());
    ordergate(&db, "currency create --account test EUR RUB").done();
    let ended = import_example(&db, &files, "magento");
    assert_eq!((ended.code, summary(&ended)), (Some(0), [3, 3, 0, 0, 0]), "{}", ended.err);
    assert_eq!(
        told(&db).await,
        "000000121 64.9 301 2 12.5; 000000121 64.9 302 1 40; 000000122 19.99 303 1 19.99; 000000123 1740 304 1 1250"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_says_what_is_wrong_with_it() {
    let (db, files) = (shop().await, Files::new());
    let csv = files.write("a.csv", "No,Mail,State,Item\nA,a@example.com, ВЫДАН ,p\n");
    let columns = "[columns]\nNo = \"external_id\"\n";
    for (map, expected) in [
        ("columns = 1", "map.toml: TOML parse error"),
        ("[columns]\n[other]", "unknown field `other`"),
        (
            "[columns]\nNo = \"external_ids\"",
            "map.toml: columns.\"No\": expected a field like status or line.count, found \"external_ids\"",
        ),
        (
            "[columns]\nNo = \"external_id\"\nMail = [\"email\", \"external_id\"]",
            "expected each field once, found external_id in",
        ),
        ("[columns]\nMail = \"email\"", "expected a column that goes to external_id in columns of"),
        ("[columns]\nNo = \"external_id\"\nNone = \"email\"", "line 1: expected a column \"None\", as columns of"),
    ] {
        let file = files.write("map.toml", map);
        let ended = import(&db, &format!("--map {}", file.display()), &csv);
        assert_eq!(ended.code, Some(1), "{map}: {}", ended.err);
        assert!(ended.err.contains(expected) && ended.err.contains("map.toml"), "{map}: {}", ended.err);
    }
    for (more, expected) in [
        ("[constants]\nexternal_id = \"1\"", "constants.\"external_id\": expected each field once"),
        (
            "[constants]\nstatus = \"{number}\"",
            "constants.\"status\": expected {number} in a field of a line only, found {number}",
        ),
        (
            "[constants]\n\"line.external_id\" = \"L{number}-{nr}\"",
            "map.toml: constants.\"line.external_id\": expected {number}, found {nr}",
        ),
        (
            "[constants]\n\"line.external_id\" = \"{ number }\"",
            "constants.\"line.external_id\": expected {number}, found { number }",
        ),
        (
            "[constants]\ncustom_fields = '{\"a\":\"{number}\"}'",
            "constants.\"custom_fields\": expected {number} in a field of a line only, found {number}",
        ),
        (
            "[constants]\nendpoint = \"{line}\"",
            "constants.\"endpoint\": expected {number} in a field of a line only, found {line}",
        ),
        ("[words.stat]\na = \"b\"", "words.\"stat\": expected a field like status"),
        ("[words.status]\na = \"b\"", "words.\"status\": expected a field that a column goes to"),
        (
            "State = \"status\"\n[words.status]\n\"Выдан\" = \"a\"\n\"выдан \" = \"b\"",
            "words.\"status\": expected each word once, in whatever case, found \"Выдан\" and \"выдан \"",
        ),
    ] {
        let file = files.write("map.toml", format!("{columns}{more}"));
        let ended = import(&db, &format!("--map {}", file.display()), &csv);
        assert!(ended.code == Some(1) && ended.err.contains(expected), "{more}: {}", ended.err);
    }
    let map = "[columns]\nNo = \"external_id\"\nMail = \"email\"\nState = \"status\"\nItem = [\"line.product\", \"line.external_id\"]\n\
        [constants]\nendpoint = \"website\"\ncurrency = \"USD\"\ntotal_price = \"0\"\ncustom_fields = \"{}\"\n[words.status]\n\" Выдан\" = \"delivered\"\n";
    let ended = import(&db, &format!("--map {}", files.write("map.toml", map).display()), &csv);
    assert_eq!((ended.code, stored(&db).await.as_str()), (Some(0), "A=p"), "{}", ended.err);
    assert_eq!(db.text("select status from orders").await, "delivered");
    let json = import(&db, &format!("--map {}", files.path("map.toml").display()), &files.write("b.json", "[]"));
    assert!(json.err.contains("b.json: expected CSV, to which --map belongs"), "{}", json.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_what_would_be_sent_and_sends_nothing() {
    let (db, files) = (shop().await, Files::new());
    let map = files.write(
        "map.toml",
        "[columns]\nNo = \"external_id\"\nState = \"status\"\nItem = \"line.product\"\n\
        [constants]\n\"line.external_id\" = \"{number}\"\n[words.status]\ndone = \"delivered\"\n",
    );
    let csv = files.write("a.csv", "No;State;Item;Note\nA;done;p;x\nA;;q;\nB;new\nC;new;p;\nD;new;p;\n");
    let ended = ordergate(&db, "import --explain --map").arg(&map).arg(&csv).run();
    let expected = [
        &format!("{}: CSV, not packed, UTF-8, separated by semicolons", csv.display()),
        "  No          external_id",
        "  State       status",
        "  Item        line.product",
        "  Note        left out",
        "  \"{number}\"  line.external_id",
        "line 2: {\"external_id\":\"A\",\"lines\":[{\"external_id\":\"1\",\"product\":\"p\"},{\"external_id\":\"2\",\"product\":\"q\"}],\"status\":\"delivered\"}",
        "not sent: line 4: expected 4 cells, found 2; where Excel left out empty cells at the end of a row, \
            put a column last that is never empty",
        "line 5: {\"external_id\":\"C\",\"lines\":[{\"external_id\":\"1\",\"product\":\"p\"}],\"status\":\"new\"}",
    ];
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), expected.join("\n").as_str()), "{}", ended.err);
    let json = files.write("b.json", "{\"custom_fields\":[],\"data\":[{\"a\":1}]}");
    let ended = ordergate(&db, "import --explain").arg(&json).run();
    let expected =
        format!("{}: JSON, not packed, UTF-8\ncustom_fields: []\nline 1: {{\"a\":1}}\nnot read: a", json.display());
    assert_eq!((ended.code, ended.out), (Some(0), expected), "{}", ended.err);
    assert_eq!(stored(&db).await, "");
    let left: Vec<_> = std::fs::read_dir(files.0.path()).expect("a directory").collect();
    assert_eq!(left.len(), 3, "nothing is written: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_the_fields_that_are_not_read() {
    let (db, files) = (shop().await, Files::new());
    let order = r#"{"external_id":"A","delivery_costs":"4.90","tag":{"x":1},"custom_fields":{"size":1},"profile":{"id":1},
        "lines":[{"external_id":"1"},{"quantity":5,"custom_fields":{"q":{"r":1}}}]}"#;
    let xml = "<xml xmlns:x=\"u\"><data><external_id>A</external_id><delivery_costs/><tag><x>1</x></tag><x:other/>\
        <custom_fields><size>1</size></custom_fields><profile><id>1</id></profile>\
        <lines><external_id>1</external_id></lines><lines><quantity>5</quantity></lines></data></xml>";
    let product = r#"{"data":[{"external_id":"A","name":"a","weight":1,"regional_data":[{"external_id":"r","tax":1}],
        "sku":{"0":{"external_id":"S","barcode":[1],"colour":"red"}}}]}"#;
    let of_order = "\nnot read: delivery_costs, lines.quantity, profile.id, tag";
    for (name, text, options, expected) in [
        ("a.json", order, "", of_order),
        ("a.ndjson", &order.replace('\n', " "), "", of_order),
        ("a.xml", xml, "", of_order),
        ("b.json", product, "--what products", "\nnot read: regional_data.tax, sku.colour, weight"),
    ] {
        let ended = ordergate(&db, &format!("import --explain {options}")).arg(files.write(name, text)).run();
        assert!(ended.code == Some(0) && ended.out.ends_with(expected), "{name}: {}{}", ended.out, ended.err);
    }
    // What only lists show counts as known, as it does in a call; all that is in CSV is read.
    super::import(&db, "", Path::new(super::BASKETS));
    super::export(&db, "orders", &files.path("c.json"));
    let ended = ordergate(&db, "import --explain").arg(files.path("c.json")).run();
    assert!(ended.code == Some(0) && !ended.out.contains("not read"), "{}", ended.out);
    let ended = ordergate(&db, "import --explain").arg(super::BASKETS).run();
    assert!(!ended.out.contains("not read"), "{}", ended.out);
}
