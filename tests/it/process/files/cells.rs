//! Numbers, dates and ids in CSV as spreadsheets write them.

use super::{Files, import, read, shop, stored, summary};

const HEAD: &str =
    "external_id;email;endpoint;status;total_price;currency;create_time;line.external_id;line.product;line.count\n";

fn row(id: &str, price: &str, time: &str, count: &str) -> String {
    format!("{id};a@example.com;website;new;{price};USD;{time};{id};p;{count}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_a_spreadsheet_shortened_fail_their_orders() {
    let (db, files) = (shop().await, Files::new());
    let bad = row("4,55E+15", "1", "", "1");
    let file = files.write("a.csv", HEAD.to_owned() + &row("A", "1", "", "1") + &bad + &bad + &row("B", "1", "", "1"));
    let ended = import(&db, "", &file);
    assert_eq!((ended.code, stored(&db).await.as_str()), (Some(3), "A=A B=B"), "{}", ended.err);
    let failed = read(&files.path("a.csv.failed.ndjson"));
    let reason = "line 3: external_id: expected an id with all its digits, found \\\"4,55E+15\\\" as Excel shortens it; \
        format the column as text before ids are entered, or export them again from the shop";
    assert!(failed.contains(reason), "{failed}");
    for (column, at) in [("line.external_id", 7), ("line.product", 8)] {
        let text = row("C", "1", "", "1");
        let mut cells: Vec<&str> = text.split(';').collect();
        cells[at] = "4.55E+15";
        let ended = import(&db, "", &files.write("b.csv", HEAD.to_owned() + &cells.join(";")));
        let failed = read(&files.path("b.csv.failed.ndjson"));
        assert!(ended.code == Some(3) && failed.contains(&format!("line 2: {column}: expected an id")), "{failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decimal_commas_go_in_where_they_are_said() {
    let (db, files) = (shop().await, Files::new());
    let rows = [
        row("A", "1.234,50", "15.01.2024", "2,0"),
        row("B", "1\u{a0}234,5", "5.1.2024 9:30", "1.000"),
        row("C", "12.50", "15.01.2024 12:30:45", "1"),
    ];
    let file = files.write("a.csv", HEAD.to_owned() + &rows.concat());
    let told = "select string_agg(concat_ws(' ', o.external_id, trim_scale(o.total_price), l.count,
        to_char(o.create_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')), '; ' order by o.external_id)
        from orders o join order_lines l on l.order_id = o.id";
    let ended = import(&db, "", &file);
    assert_eq!((ended.code, summary(&ended)), (Some(3), [3, 1, 0, 0, 2]), "{}", ended.err);
    assert_eq!(db.text(told).await, "C 12.5 1 2024-01-15 12:30:45", "dates need no option");
    let failed = read(&files.path("a.csv.failed.ndjson"));
    let reason = "line 2: total_price: expected a number like 1234.50, found \\\"1.234,50\\\"; say --decimal-comma, which reads it as 1234.50";
    assert!(failed.contains(reason), "{failed}");
    let ended = import(&db, "--decimal-comma", &file);
    assert_eq!((ended.code, summary(&ended)), (Some(0), [3, 2, 0, 1, 0]), "{}", ended.err);
    let all = "A 1234.5 2 2024-01-15 00:00:00; B 1234.5 1000 2024-01-05 09:30:00; C 12.5 1 2024-01-15 12:30:45";
    assert_eq!(db.text(told).await, all);
    // A map may say it as well.
    let columns: Vec<String> = HEAD.trim().split(';').map(|name| format!("\"{name}\" = \"{name}\"")).collect();
    let map = files.write("map.toml", format!("decimal_comma = true\n[columns]\n{}\n", columns.join("\n")));
    let ended = import(&db, &format!("--map {}", map.display()), &file);
    assert_eq!((ended.code, summary(&ended)), (Some(0), [3, 0, 0, 3, 0]), "{}", ended.err);
    // What is none of these is refused as it stands.
    let bad = row("D", "1,2,3", "", "1") + &row("E", "1", "01.15.2024", "1");
    let ended = import(&db, "--decimal-comma", &files.write("b.csv", HEAD.to_owned() + &bad));
    assert_eq!((ended.code, summary(&ended)), (Some(3), [2, 0, 0, 0, 2]), "{}", ended.err);
    let failed = read(&files.path("b.csv.failed.ndjson"));
    assert!(failed.contains("found \\\"1,2,3\\\"") && failed.contains("found \\\"01.15.2024\\\""), "{failed}");
    let json = import(&db, "--decimal-comma", &files.write("c.json", "[]"));
    assert!(json.err.contains("c.json: expected CSV, to which --decimal-comma belongs"), "{}", json.err);
}
