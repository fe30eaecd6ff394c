//! CSV as spreadsheets and shops write it.

use std::io::Write as _;

use super::{Files, empty, import, kept, read, shop, stored, summary};
use crate::process::program::ordergate;

#[tokio::test(flavor = "multi_thread")]
async fn what_spreadsheets_write_goes_in() {
    let (db, files) = (shop().await, Files::new());
    for (name, options, expected) in [
        ("rows_apart.csv", "", "fc03a=l1+l2 fc03b=l1+l2"),
        ("merged_cells.csv", "", "fc09a=l1+l2 fc09b=l1"),
        ("semicolons.csv", "", "fc18=l1"),
        ("sep_line.csv", "", "fc18s=l1"),
        ("trailing_commas.csv", "", "fc21a=l1 fc21b=l1"),
        ("plain_tags.csv", "", "fc23a=l1 fc23b=l1 fc23c=l1"),
        ("own_column.csv", "--ignore-columns note", "fc43=l1"),
        ("windows_1251.csv", "--encoding windows-1251", "fc19a=l1 fc19b=l1 fc19c=l1"),
    ] {
        let ended = import(&db, options, &files.write(name, kept(name)));
        assert_eq!((ended.code, stored(&db).await.as_str()), (Some(0), expected), "{name}: {}", ended.err);
        match name {
            "plain_tags.csv" => {
                let tags = db.text("select string_agg(tags::text, ' ') from orders where external_id = 'fc23b'").await;
                assert!(tags.contains("sale") && tags.contains("summer") && !tags.contains("sale,summer\""), "{tags}");
            }
            "windows_1251.csv" => {
                let product = "select count(*) from products where external_id = 'кружка'";
                assert_eq!(db.text(product).await, "1");
            }
            _ => {}
        }
        empty(&db).await;
    }
    let refused = import(&db, "", &files.path("own_column.csv"));
    assert!(
        refused.err.contains("line 1: expected columns of the names that README lists, found \"note\""),
        "{}",
        refused.err
    );
    assert_eq!(import(&db, "--encoding klingon", &files.path("plain_tags.csv")).code, Some(1));
}

const HEAD: &str = "external_id,email,endpoint,status,total_price,currency,tags,line.external_id,line.product\n";

/// A row of an order.
fn row(id: &str, line: &str) -> String {
    format!("{id},a@example.com,website,new,1,USD,,{line},p\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn any_separator_line_end_and_charset_is_told() {
    let (db, files) = (shop().await, Files::new());
    let text = HEAD.to_owned()
        + &row("=\"0012\"", "1")
        + "\n,,,,,,,,\n"
        + &row("\"0012\"", "2")
        + &row("B", "\"=\"\"03\"\"\"");
    let utf16 = |text: &str| {
        let text = format!("\u{feff}{text}");
        text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
    };
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).expect("memory");
    let packed = packed.finish().expect("memory");
    for (what, bytes, options) in [
        ("commas", text.clone().into_bytes(), ""),
        ("tabs", text.replace(',', "\t").into_bytes(), ""),
        ("bars", text.replace(',', "|").into_bytes(), "--delimiter |"),
        ("tabs that are said", text.replace(',', "\t").into_bytes(), "--delimiter tab"),
        ("old Mac line ends", text.replace('\n', "\r").into_bytes(), ""),
        ("DOS line ends", text.replace('\n', "\r\n").into_bytes(), ""),
        ("a mark", format!("\u{feff}{text}").into_bytes(), ""),
        ("UTF-16 with tabs", utf16(&text.replace(',', "\t")), ""),
        ("a mark before what is said", utf16(&text), "--encoding windows-1251"),
        ("gzip without the name", packed.clone(), ""),
    ] {
        let ended = import(&db, options, &files.write("a.csv", bytes));
        assert_eq!(summary(&ended)[0], 2, "{what}: {}", ended.err);
        assert_eq!((ended.code, stored(&db).await.as_str()), (Some(0), "0012=1+2 B=03"), "{what}: {}", ended.err);
        empty(&db).await;
    }
    // Standard input cannot be read twice.
    for input in [text.as_bytes(), &packed] {
        let ended = ordergate(&db, "--output json import --account test --format csv -").start(input).ended();
        assert_eq!((ended.code, stored(&db).await.as_str()), (Some(0), "0012=1+2 B=03"), "{}", ended.err);
        empty(&db).await;
    }
    let not_packed = files.write("b.csv.gz", HEAD.to_owned() + &row("C", "1"));
    assert_eq!(summary(&import(&db, "", &not_packed))[1], 1, "a name says nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_fails_its_order_alone() {
    let (db, files) = (shop().await, Files::new());
    let (a, c) = (row("A", "1"), row("C", "1"));
    for (what, bad, reason, expected) in [
        (
            "cells lack",
            "B,a@example.com,website\n".to_owned(),
            "line 3: expected 9 cells, found 3; where Excel left out empty cells at the end of a row, put a column last",
            "A=1 C=1",
        ),
        ("cells too many", row("B", "1,x"), "line 3: expected 9 cells, found 10", "A=1 C=1"),
        (
            "cells that may be shifted",
            row("B", "1").replace(",p\n", ",p,\n"),
            "line 3: expected 9 cells, found 10",
            "A=1 C=1",
        ),
        ("tags", row("B", "1").replace("USD,,", "USD,\"[one\","), "line 3: tags: expected JSON like [", "A=1 C=1"),
        (
            "rows that differ",
            row("B", "1") + &row("B", "2").replace(",new,", ",paid,"),
            "line 4: status: expected \"new\" as in line 3, found \"paid\"",
            "A=1 C=1",
        ),
        (
            "a row of an order apart",
            row("B", "1") + &row("D", "1") + "B,x\n",
            "line 5: expected 9 cells, found 2",
            "A=1 C=1 D=1",
        ),
        (
            "a quote over all that follows",
            row("\"B", "1") + &row("B", "2"),
            "line 3, column 1: expected the end of the cell that a quote begins here",
            "A=1 C=1",
        ),
        (
            "a quote in the midst",
            row("B", "\"1") + &row("D", "\"1\""),
            "line 3, column 36: expected the end of the cell",
            "A=1 C=1 D=1",
        ),
        ("text behind a quote", row("B", "\"1\"x"), "line 3, column 36: expected the end of the cell", "A=1 C=1"),
        ("no order above", String::new(), "line 2: external_id: expected the order's id, found nothing", "A=1 C=1"),
        ("a row that may be of the next order", "\n".to_owned(), "", "A=1 C=1"),
        (
            "a row without a line",
            row("B", "1") + "B,a@example.com,website,new,1,USD,,,\n",
            "line 4: expected a cell of the order's line",
            "A=1 C=1",
        ),
        ("what the server refuses", row("B", "1") + &row("B", "1"), "line 4: ", "A=1 C=1"),
    ] {
        let above = if what == "no order above" { row("", "1") } else { String::new() };
        let file = files.write("a.csv", HEAD.to_owned() + &above + &a + &bad + &c);
        let ended = import(&db, "", &file);
        assert_eq!(stored(&db).await, expected, "{what}: {}", ended.err);
        let failed = files.path("a.csv.failed.ndjson");
        if reason.is_empty() {
            assert_eq!(ended.code, Some(0), "{what}: {}", ended.err);
        } else {
            assert_eq!((ended.code, summary(&ended)[4]), (Some(3), 1), "{what}: {}", ended.err);
            let failed: serde_json::Value = serde_json::from_str(&read(&failed)).expect("one line of JSON");
            assert!(failed["import_error"].as_str().expect("a reason").starts_with(reason), "{what}: {failed}");
        }
        empty(&db).await;
    }
    // A separator behind the last cell of each row, which the head lacks: a cell there is still one too many.
    let ends = |text: &str| text.replace('\n', ",,\n");
    let rows = ends(&(a.clone() + &row("A", "2"))) + &row("B", "1") + &row("D", "1,x,");
    let ended = import(&db, "", &files.write("a.csv", format!("{HEAD},,,,,,,,,,\n{rows}{}", ends(&c))));
    assert_eq!((ended.code, stored(&db).await.as_str()), (Some(3), "A=1+2 B=1 C=1"), "{}", ended.err);
    assert!(read(&files.path("a.csv.failed.ndjson")).contains("line 6, column 11: expected a name above the cell"));
    empty(&db).await;
    // A cell that does not fit the charset; the rows of its order are kept as they stand.
    let ended = import(&db, "", &files.write("b.csv", kept("windows_1251.csv")));
    assert_eq!((ended.code, stored(&db).await.as_str()), (Some(3), "fc19a=l1 fc19c=l1"), "{}", ended.err);
    let failed = read(&files.path("b.csv.failed.ndjson"));
    assert!(
        failed.contains("line 3, line.product: expected UTF-8, found the byte 0xea")
            && failed.contains("\"text\":\"fc19b,"),
        "{failed}"
    );
    let ended = import(&db, "", &files.write("c.csv", kept("bad_row.csv")));
    assert_eq!((ended.code, summary(&ended)), (Some(3), [5, 4, 0, 0, 1]), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_goes_in_with_a_part_of_its_rows() {
    let (db, files) = (shop().await, Files::new());
    // The column of the id comes last, and a row is too short to have it: whose it is cannot be told.
    let head = "line.external_id,line.product,email,endpoint,status,total_price,currency,external_id\n";
    let row = |id: &str, line: &str| format!("{line},p,a@example.com,website,new,1,USD,{id}\n");
    let text =
        head.to_owned() + &row("A", "1") + &row("B", "1") + "2,p\n" + &row("C", "2") + &row("D", "1") + &row("A", "2");
    let ended = import(&db, "", &files.write("a.csv", text));
    assert_eq!((ended.code, stored(&db).await.as_str()), (Some(3), "A=1+2 D=1"), "{}", ended.err);
    let failed = read(&files.path("a.csv.failed.ndjson"));
    assert!(failed.contains("line 4: expected 8 cells, found 2"), "{failed}");
    assert!(failed.contains("line 4: expected a row that tells its order; it may belong to this one"), "{failed}");
    // A row with a comma too many: each order that one of its cells names may have lost it, wherever its rows stand.
    let bad = "2,p,q,a@example.com,website,new,1,USD,F\n";
    let text = head.to_owned() + &row("E", "1") + &row("F", "1") + &row("G", "1") + bad + &row("H", "1");
    let ended = import(&db, "", &files.write("b.csv", text));
    assert_eq!((ended.code, stored(&db).await.as_str()), (Some(3), "A=1+2 D=1 E=1 G=1 H=1"), "{}", ended.err);
    assert_eq!(summary(&ended), [5, 3, 0, 0, 2]);
    // Where ids are empty, the order above, too.
    let bad = "2,p,q,a@example.com,website,new,1,USD,\n";
    let text = head.to_owned() + &row("I", "1") + bad + &row("", "3") + &row("J", "1");
    let ended = import(&db, "", &files.write("b.csv", text));
    assert_eq!((ended.code, stored(&db).await.as_str()), (Some(3), "A=1+2 D=1 E=1 G=1 H=1 J=1"), "{}", ended.err);
    empty(&db).await;
    // A row of the order alone may stand above those of its lines. Values stand in any row of an order; an unnamed column with a cell is named.
    let text = "external_id,email,,endpoint,status,total_price,currency,line.external_id,line.product\n\
        E,,,website,,1,USD,,\n,,,,,,,1,p\nE,a@example.com,,,new,,,2,p\nF,a@example.com,x,website,new,1,USD,1,p\n";
    let ended = import(&db, "", &files.write("b.csv", text));
    assert_eq!((ended.code, stored(&db).await.as_str()), (Some(3), "E=1+2"), "{}", ended.err);
    let failed = read(&files.path("b.csv.failed.ndjson"));
    assert!(failed.contains("line 5, column 3: expected a name above the cell"), "{failed}");
}
