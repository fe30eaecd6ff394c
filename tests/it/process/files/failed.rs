//! Orders that fail, and files that cannot be read.

use serde_json::json;

use super::{BASKETS, Files, import, read, shop, summary};
use crate::process::program::ordergate;

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
        let line = if name.ends_with("json") { 1 } else { 3 };
        assert!(text.contains(&format!("{reason}line {line}: total_price: expected a decimal like 12.50")), "{text}");
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
        ("a.json", "{\"data\":[{\"external_id\":1},", "line 1, column 28: expected the end of what begins here"),
        ("b.json", "{\"orders\":[]}", "expected a list, or an object with data, result or external_id, found orders"),
        ("d.json", "{\"data\":[]}}", "line 1, column 12: expected the end of the file, found '}'"),
        (
            "e.csv",
            "external_id,price\nA,1\n",
            "line 1: expected columns of the names that README lists, found \"price\"",
        ),
        (
            "e2.csv",
            "external_id|price\nA|1\n",
            "with a comma, a semicolon or a tab between, found \"external_id|price\"",
        ),
        ("f.csv", "status,email\nnew,a@example.com\n", "line 1: expected a column external_id"),
        ("g.csv", "\n", "expected the names of columns, found the end of the file"),
        ("h.xml", "<xml><data>", "line 1, column 6: expected the end of data, which begins here"),
        ("j.xml", "<orders><order/></orders>", "expected the root xml with elements data, found none"),
        ("k.xml", "<!DOCTYPE xml><xml><data></data></xml>", "expected no DOCTYPE"),
        ("l.json", "{\"dry_run\":true,\"data\":[]}", "dry_run: expected none in a file; say --dry-run"),
        ("m.xml", "<xml><on_error>abort</on_error><data></data></xml>", "on_error: expected none in a file"),
        ("n.xlsx", "", "save it from Excel by File > Save As > \"CSV UTF-8 (Comma delimited)\""),
        ("o.csv", "PK\u{3}\u{4}", "expected a text file, found a workbook"),
        (
            "p.xml",
            "<?xml version='1.0' encoding='klingon'?><xml/>",
            "expected a charset like windows-1251, found \"klingon\"",
        ),
        ("q.ndjson", "{\n\"external_id\":1}", "found a document of several lines; say --format json"),
        ("r.ndjson", "[{}]", "found a document of several lines; say --format json"),
        ("s.ndjson", "<xml/>", "found XML; say --format xml"),
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
async fn corrections_are_not_lost_when_the_file_is_imported_again() {
    let (db, files) = (shop().await, Files::new());
    let file = files.write("a.ndjson", "{\"external_id\":\"A\"}\n");
    let failed = files.path("a.ndjson.failed.ndjson");
    let kept = |number: &str| files.path(&format!("a.ndjson.failed.ndjson.before{number}"));
    import(&db, "", &file);
    import(&db, "", &file);
    let by_machine = read(&failed);
    assert_eq!(read(&kept("")), by_machine);
    std::fs::write(&failed, "corrected").expect("a file");
    // Nobody answers: it stays.
    let nobody =
        ordergate(&db, "import --server http://127.0.0.1:9").env("ORDERGATE_TOKEN", "no-token").arg(&file).run();
    assert_eq!((nobody.code, read(&failed).as_str()), (Some(1), "corrected"), "{}", nobody.err);
    for _ in 0..3 {
        import(&db, "", &file);
    }
    assert_eq!((read(&kept("")), read(&kept(".2")).as_str()), (by_machine.clone(), "corrected"));
    assert_eq!((read(&failed), kept(".3").exists()), (by_machine, false), "the same is kept once");
    let same = import(&db, &format!("--failed {}/./a.ndjson", files.path("").display()), &file);
    assert!(same.err.contains("failed: expected another file than the one that is imported"), "{}", same.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_read_is_corrected_where_it_came_from() {
    let (db, files) = (shop().await, Files::new());
    for (name, text) in [
        ("a.ndjson", "{\"external_id\":NaN}\n{\"external_id\":\"A\"}\n{}\n"),
        ("a.xml", "<xml><data>&</data><data><external_id>A</external_id></data><data/></xml>"),
    ] {
        let ended = import(&db, "", &files.write(name, text));
        assert_eq!(summary(&ended), [3, 0, 0, 0, 3], "{name}: {}", ended.err);
        let path = files.path(name);
        let said = format!("1 could not be read; correct {} itself at these lines", path.display());
        assert!(ended.err.contains("\n  line 1") && ended.err.contains(&said), "{name}: {}", ended.err);
        let extension = if name.ends_with("xml") { "failed.xml" } else { "failed.ndjson" };
        let failed = format!("{name}.{extension}");
        let text = read(&files.path(&failed));
        let ended = import(&db, "", &files.path(&failed));
        assert!(ended.err.contains("found the text of one that could not be read"), "{name}: {}", ended.err);
        let again = read(&files.path(&format!("{failed}.{extension}")));
        let first = |text: &str| text.lines().find(|line| line.contains("import_error")).map(str::to_owned);
        assert_eq!(first(&again), first(&text), "{name}: the first reason is kept");
        let reasons = |text: &str| text.matches("import_error").count();
        assert_eq!(reasons(&again), reasons(&text), "{name}: one reason for each");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_before_a_file_that_breaks_off_is_said() {
    let (db, files) = (shop().await, Files::new());
    let [good, bad, left] = ["good.ndjson", "bad.json", "left.ndjson"].map(|name| files.write(name, "{}"));
    let run = || ordergate(&db, "--output json import --account test").arg(&good).arg(&bad).arg(&left).run();
    let ended = run();
    assert_eq!((ended.code, summary(&ended)[0]), (Some(1), 1), "{}", ended.err);
    assert!(ended.err.contains(&format!("{}: not begun\n", left.display())), "{}", ended.err);
    std::fs::remove_file(&left).expect("a file");
    let ended = run();
    assert!(ended.err.contains("left.ndjson") && ended.out.is_empty(), "nothing is begun: {}", ended.err);
    std::fs::create_dir(&left).expect("a directory");
    assert!(run().err.contains("left.ndjson: expected a file, found a directory"));
    let url = ordergate(&db, "import --server localhost:80").env("ORDERGATE_TOKEN", "no-token").arg(&good).run();
    assert!(url.err.contains("expected a URL like http://localhost:8080, found \"localhost:80\""), "{}", url.err);
}
