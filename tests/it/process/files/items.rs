//! Items of JSON and XML that cannot be read, among good ones.

use std::io::Write as _;

use super::{Files, empty, import, kept, read, shop, stored, summary};
use crate::process::program::ordergate;

fn order(id: &str) -> String {
    format!(
        "{{\"external_id\":\"{id}\",\"email\":\"a@example.com\",\"endpoint\":\"website\",\"status\":\"new\",\"total_price\":\"1\",\
        \"currency\":\"USD\",\"lines\":[{{\"external_id\":\"1\",\"product\":\"p\"}}]}}"
    )
}

fn element(id: &str) -> String {
    format!(
        "<data><external_id>{id}</external_id><email>a@example.com</email><endpoint>website</endpoint><status>new</status>\
        <total_price>1</total_price><currency>USD</currency><lines><external_id>1</external_id><product>p</product></lines></data>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_item_of_a_list_fails_alone() {
    let (db, files) = (shop().await, Files::new());
    let (a, c) = (order("A"), order("C"));
    for (what, bad) in [
        ("NaN", "{\"external_id\":\"B\",\"total_price\":NaN}"),
        ("None", "{\"external_id\":\"B\",\"region\":None}"),
        ("single quotes", "{'external_id': 'B', 'note': 'a }], \" b'}"),
        ("a value alone", "NaN"),
        ("a bracket too many", "{\"external_id\":\"B\",\"lines\":[]]}"),
        ("a bracket that lacks", "{\"external_id\":\"B\",\"lines\":[{\"product\":\"p\"]}"),
        ("a comma at the end", "{\"external_id\":\"B\",}"),
        ("no UTF-8", "{\"external_id\":\"\u{1}\"}"),
        ("a brace that lacks", "{\"external_id\":\"B\""),
        ("a quote that lacks", "{\"external_id\":\"B,\"status\":\"new\"}"),
        ("a quote that lacks, and a brace", "{\"external_id\":\"B"),
        ("a quote too many", "{\"external_id\":\"5\" pipe\", \"b\":1}"),
        ("an apostrophe without quotes", "{\"external_id\":O'Neil}"),
    ] {
        for (list, end) in
            [("{\"data\":[\n", "\n]}"), ("{\"error\":0,\"result\":[\n", "\n],\"next_from_id\":\"\"}"), ("[\n", "]\n")]
        {
            let text = format!("{list}{a},\n{bad},\n{c}{end}");
            let bytes = text.bytes().map(|byte| if byte == 1 { 0xff } else { byte }).collect::<Vec<u8>>();
            let ended = import(&db, "", &files.write("a.json", bytes));
            assert_eq!((ended.code, summary(&ended)[0], summary(&ended)[4]), (Some(3), 3, 1), "{what}: {}", ended.err);
            let failed: serde_json::Value =
                serde_json::from_str(&read(&files.path("a.json.failed.ndjson"))).expect("one line of JSON");
            assert!(
                failed["import_error"].as_str().expect("a reason").starts_with("line 3, column "),
                "{what}: {failed}"
            );
            assert_eq!(failed["line"], 3, "{what}: {failed}");
            assert_eq!(failed["text"], bad.replace('\u{1}', "\u{fffd}"), "{what}");
        }
    }
    assert_eq!(stored(&db).await, "A=1 C=1");
    // Several in a line.
    let [d, e] = ["D", "E"].map(order);
    let cut = order("B").replace("}]}", "}]");
    let torn = order("B").replacen(',', "},", 1);
    for (what, text, failures) in [
        ("a brace that lacks", format!("[{a},{cut},{c},{d},{e}]"), 1),
        ("a brace too many", format!("{{\"data\":[{a},{torn},{c},{d},{e}]}}"), 1),
        ("a comma that lacks", format!("[{a} {c},{d}{e}]"), 0),
        ("a bracket too many", format!("{{\"data\":[{a},{c}],{d},{e}]}}"), 0),
        ("the list under another name", format!("{{\"data\":[{a},{c},{d},{e}],\"orders\":[{a}]}}"), 1),
        ("a lone order beside a list", format!("{{\"external_id\":\"B\",\"data\":[{a},{c},{d},{e}]}}"), 1),
        ("a list with holes", format!("{{\"data\":{{\"0\":{a},\"2\":{c},\"3\":{d},\"10\":{e}}}}}"), 0),
        ("a list with holes alone", format!("{{\"0\":{a},\"2\":{c},\"3\":{d},\"10\":{e}}}"), 0),
    ] {
        let ended = import(&db, "", &files.write("c.json", text));
        let code = if failures > 0 { 3 } else { 0 };
        assert_eq!((ended.code, summary(&ended)[4]), (Some(code), failures), "{what}: {}", ended.err);
        assert_eq!(stored(&db).await, "A=1 C=1 D=1 E=1", "{what}");
    }
    // Fields without indentation, one of them behind a brace too many.
    let flat =
        order("B").replace("\"total_price\"", "\n\"total_price\"").replace("\"status\":\"new\"", "\"status\":\"new\"}");
    let ended = import(&db, "", &files.write("e.json", format!("[\n{flat},\n{a}\n]")));
    assert_eq!((ended.code, summary(&ended)[0], summary(&ended)[4]), (Some(3), 2, 1), "{}", ended.err);
    // What follows the list is no fault of its last order.
    let ended = import(&db, "", &files.write("d.json", format!("[{a},{}]\n[{c}]", order("F"))));
    assert!(ended.err.contains("line 2, column 1: expected the end of the file, found '['; a second"), "{}", ended.err);
    assert_eq!((ended.code, stored(&db).await.as_str()), (Some(1), "A=1 C=1 D=1 E=1 F=1"));
    // The same in lines.
    let ended = import(&db, "", &files.write("b.ndjson", kept("bad_line.ndjson")));
    assert_eq!((ended.code, summary(&ended)), (Some(3), [3, 2, 0, 0, 1]), "{}", ended.err);
    let failed = read(&files.path("b.ndjson.failed.ndjson"));
    assert!(
        failed.starts_with("{\"import_error\":\"line 2, column 113: expected a value, found \\\"NaN\\\"\",\"line\":2,"),
        "{failed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_element_fails_alone() {
    let (db, files) = (shop().await, Files::new());
    let (a, c) = (element("A"), element("C"));
    for (what, bad) in [
        ("a bare ampersand", "<data><external_id>B</external_id><region>a & b</region></data>"),
        ("a wrong end tag", "<data><external_id>B</external_id><region>a</regoin></data>"),
        ("an end tag that lacks", "<data><external_id>B<region>a</region></data>"),
        ("its own end tag lacks", "<data><external_id>B</external_id>"),
        ("a wrong start tag", "<dta><external_id>B</external_id></data>"),
        ("an end tag too many", "<data><external_id>B</external_id></data></lines></data>"),
        ("a bare less-than sign", "<data><external_id>a < b</external_id></data>"),
        ("a quote that lacks", "<data><external_id a=\"b>B</external_id></data>"),
        ("an unknown reference", "<data><external_id>a&nbsp;b</external_id></data>"),
        ("a start tag that lacks", "<external_id>B</external_id><region>a</region><lines/></data>"),
        ("an end tag too early", "<data><external_id>B</external_id></data><region>a</region></data>"),
        (
            "an end tag before custom fields",
            "<data><external_id>B</external_id></data><custom_fields><size>1</size></custom_fields></data>",
        ),
        ("an element of another name", "<order><external_id>B</external_id></order>"),
        ("text between", "text"),
        ("a comment without an end", "<data><external_id>B</external_id><!-- a</data>"),
        ("no UTF-8", "<data><external_id>\u{1}</external_id></data>"),
    ] {
        let text = format!("<?xml version=\"1.0\"?>\n<xml>\n{a}\n{bad}\n{c}\n</xml>\n");
        let bytes = text.bytes().map(|byte| if byte == 1 { 0xff } else { byte }).collect::<Vec<u8>>();
        let ended = import(&db, "", &files.write("a.xml", bytes));
        assert_eq!((ended.code, summary(&ended)[0], summary(&ended)[4]), (Some(3), 3, 1), "{what}: {}", ended.err);
        let failed = read(&files.path("a.xml.failed.xml"));
        assert!(failed.starts_with("<xml>\n<data><import_error>line 4, column "), "{what}: {failed}");
        let first = if bad.starts_with('<') { "&lt;" } else { "t" };
        assert!(failed.contains(&format!("</import_error><text>{first}")), "{what}: {failed}");
    }
    assert_eq!(stored(&db).await, "A=1 C=1");
    // An end tag that follows a whole order does it no harm.
    let text = format!("<xml>{}</data>{}</xml>", element("D"), element("E"));
    let ended = import(&db, "", &files.write("c.xml", text));
    assert_eq!((ended.code, summary(&ended)[0], summary(&ended)[4]), (Some(3), 3, 1), "{}", ended.err);
    assert!(read(&files.path("c.xml.failed.xml")).contains("<text>&lt;/data&gt;</text>"));
    assert_eq!(stored(&db).await, "A=1 C=1 D=1 E=1");
    let ended = import(&db, "", &files.write("b.xml", kept("bare_ampersand.xml")));
    assert_eq!((ended.code, summary(&ended)), (Some(3), [3, 2, 0, 0, 1]), "{}", ended.err);
    // What was kept as text can be read.
    let again = import(&db, "", &files.path("b.xml.failed.xml"));
    assert_eq!((again.code, summary(&again)), (Some(3), [1, 0, 0, 0, 1]), "{}", again.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_good_before_a_file_breaks_off_goes_in() {
    let (db, files) = (shop().await, Files::new());
    let whole = [order("A"), order("B")];
    for (name, text, expected) in [
        ("a.json", format!("{{\"data\":[\n{},\n{}", whole[0], whole[1]), "A=1 B=1"),
        ("b.json", format!("[{},{}", whole[0], &whole[1][..40]), "A=1"),
        ("a.xml", format!("<xml>{}{}", element("A"), element("B")), "A=1 B=1"),
        ("c.xml", format!("<xml>{}{}", element("A"), &element("B")[..40]), "A=1"),
    ] {
        let ended = import(&db, "", &files.write(name, text));
        assert_eq!((ended.code, stored(&db).await.as_str()), (Some(1), expected), "{name}: {}", ended.err);
        assert!(ended.err.contains("stopped behind ") && ended.err.contains(" orders: line "), "{name}: {}", ended.err);
        empty(&db).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_too_large_fails_alone() {
    let (db, files) = (shop().await, Files::new());
    // What a request has around its items is left out of this.
    let config = files.write("config.toml", "max_body_bytes = 8192\n");
    let long = "x, }]<&>".repeat(1_000);
    let large = order("B").replace("\"p\"", &format!("\"{long}\""));
    let large_element = element("B").replace("<product>p<", &format!("<product><![CDATA[{long}]]><"));
    let row = |id: &str, product: &str| format!("{id},a@example.com,website,new,1,USD,1,\"{product}\"\n");
    let rows =
        (0..200).map(|line| format!("B,a@example.com,website,new,1,USD,{line},p\n")).collect::<Vec<_>>().concat();
    let head = "external_id,email,endpoint,status,total_price,currency,line.external_id,line.product\n";
    for (name, text) in [
        ("a.json", format!("{{\"data\":[{},{large},{}]}}", order("A"), order("C"))),
        ("a.ndjson", format!("{}\n{large}\n{}\n", order("A"), order("C"))),
        ("a.xml", format!("<xml>{}{large_element}{}</xml>", element("A"), element("C"))),
        ("a.csv", format!("{head}{}{}{}", row("A", "p"), row("B", &long), row("C", "p"))),
        ("b.csv", format!("{head}{}{rows}{}", row("A", "p"), row("C", "p"))),
    ] {
        let program = ordergate(&db, "--output json import --account test --config").arg(&config);
        let ended = program.arg(files.write(name, text)).run();
        assert_eq!((ended.code, summary(&ended)[0], summary(&ended)[4]), (Some(3), 3, 1), "{name}: {}", ended.err);
        let extension = if name.ends_with("xml") { "xml" } else { "ndjson" };
        let failed = read(&files.path(&format!("{name}.failed.{extension}")));
        assert!(failed.contains("of at most 4096 bytes") && failed.len() < 10_000, "{name}: {failed:.300}");
    }
    assert_eq!(stored(&db).await, "A=1 C=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_stored_with_warnings_are_told() {
    let (db, files) = (shop().await, Files::new());
    let unfilled =
        |id: &str| order(id).replacen('{', "{\"matching\":\"email_phone\",\"phone\":\"+7 (___) ___-__-__\",", 1);
    let text = format!("{}\n{}\n{}\n", order("A"), unfilled("B"), unfilled("C"));
    let ended = import(&db, "--batch 1", &files.write("a.ndjson", text));
    assert_eq!((ended.code, summary(&ended)), (Some(0), [3, 3, 0, 0, 0]), "{}", ended.err);
    let said = "a.ndjson: 2 orders were stored with warnings; the first, line 2: phone: ";
    assert!(ended.err.contains(said), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_lone_orders_and_lines_are_read_from_json() {
    let (db, files) = (shop().await, Files::new());
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&order("P")).expect("JSON"));
    let pretty = pretty.expect("JSON");
    for (name, text, expected) in [
        ("answer.json", kept("answer_of_list.json"), "fc28=l1"),
        (
            "answer.xml",
            format!(
                "<xml><error>0</error><next_from_id></next_from_id>{}</xml>",
                element("X").replace("data>", "result>")
            )
            .into(),
            "X=1",
        ),
        ("lone.json", order("A").into(), "A=1"),
        ("lone pretty.json", pretty.clone().into(), "P=1"),
        ("one in data.json", format!("{{\"data\":{}}}", order("A")).into(), "A=1"),
        ("lines.json", format!("{}\n{}\n\n{}", order("A"), order("B"), order("C")).into(), "A=1 B=1 C=1"),
        ("pretty lines.json", format!("{pretty}\n{pretty}\n{}", order("C")).into(), "C=1 P=1"),
        ("comma at the end.json", format!("[{},]", order("A")).into(), "A=1"),
    ] {
        let ended = import(&db, "", &files.write(name, text));
        assert_eq!((ended.code, stored(&db).await.as_str()), (Some(0), expected), "{name}: {}", ended.err);
        empty(&db).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn charsets_and_packing_go_by_what_the_file_says() {
    let (db, files) = (shop().await, Files::new());
    let xml =
        |charset: &str, id: &str| format!("<?xml version=\"1.0\" encoding=\"{charset}\"?><xml>{}</xml>", element(id));
    let utf16 = |text: &str| format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(format!("[{}]", order("G")).as_bytes()).expect("memory");
    for (name, bytes, options) in [
        ("declared.xml", kept("windows_1251.xml"), ""),
        ("marked.xml", utf16(&xml("UTF-16", "M")), ""),
        ("not UTF-16 at all.xml", xml("UTF-16", "N").into(), ""),
        (
            "said.json",
            format!("[{}]", order("\u{1}")).bytes().map(|byte| if byte == 1 { 0xe9 } else { byte }).collect(),
            "--encoding latin1",
        ),
        ("marked.ndjson", utf16(&order("O")), ""),
        ("packed.json", packed.finish().expect("memory"), ""),
    ] {
        let ended = import(&db, options, &files.write(name, bytes));
        assert_eq!((ended.code, summary(&ended)), (Some(0), [1, 1, 0, 0, 0]), "{name}: {}", ended.err);
    }
    assert_eq!(stored(&db).await, "G=1 M=1 N=1 O=1 fc07=l1 é=1");
    assert_eq!(db.text("select count(*) from products where external_id = 'кружка'").await, "1");
    let input = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><xml>{}</xml>", element("S"));
    let ended = ordergate(&db, "--output json import --account test --format xml -").start(&input).ended();
    assert_eq!(summary(&ended), [1, 1, 0, 0, 0], "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_the_root_binds_counts_in_every_batch_and_in_what_failed() {
    let (db, files) = (shop().await, Files::new());
    let root = "<xml xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" version='1'>";
    let cost = |cost: &str, status: &str| {
        let order = |id: &str| element(id).replace("</data>", &format!("{cost}</data>"));
        format!("{root}{}{}</xml>", order("A"), order("B").replace(">new<", status))
    };
    let first = files.write("a.xml", cost("<delivery_cost>5</delivery_cost>", ">new<"));
    assert_eq!(summary(&import(&db, "", &first)), [2, 2, 0, 0, 0]);
    let second = files.write("b.xml", cost("<delivery_cost i:nil=\"true\"/>", ">lost<"));
    let ended = import(&db, "--batch 1", &second);
    assert_eq!(summary(&ended), [2, 0, 0, 1, 1], "{}", ended.err);
    let failed = read(&files.path("b.xml.failed.xml"));
    assert!(failed.starts_with("<xml xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">\n<data>"), "{failed}");
    let corrected = files.write("c.xml", failed.replace(">lost<", ">new<"));
    assert_eq!(summary(&import(&db, "", &corrected)), [1, 0, 0, 1, 0]);
    assert_eq!(db.text("select string_agg(trim_scale(delivery_cost)::text, ' ') from orders").await, "5 5");
}
