//! `serve --demo`: what it prints works, and its public token is good in a demo only.

use std::process::Command;

use serde_json::Value as Json;

use super::program::{DataDir, Process, ordergate, serve};
use crate::support::db::{TestDb, run};
use crate::support::server::{IMPORT, TOKEN, answer};

const DEMO_TOKEN: &str = ordergate::auth::DEMO_TOKEN;
/// All that a demo would write.
const WRITTEN: &str = "select concat((select demo from installation), ' ', (select count(*) from accounts), ' ',
    (select count(*) from tokens), ' ', (select count(*) from channels), ' ', (select count(*) from currencies))";

/// The lines to paste, once both are there.
fn curl_lines(server: &Process) -> Vec<String> {
    server.out.wait_for("a line for XML", |line| line.contains("application/xml").then_some(()));
    let printed = server.out.now();
    printed.lines().map(str::trim).filter(|line| line.starts_with("curl ")).map(ToOwned::to_owned).collect()
}

/// Runs a line as a newcomer does, by pasting it into a shell.
fn paste(line: &str) -> String {
    let output = Command::new("bash").args(["-c", line]).output().expect("bash");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}\n{err}");
    out.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_prints_lines_that_work_and_imports_altcrafts_example() {
    let dir = DataDir::new();
    let server = ordergate(&dir, "serve --demo --listen 127.0.0.1:0").start("");
    let address = server.address();
    let lines = curl_lines(&server);
    let printed = server.out.now();
    assert!(printed.lines().any(|line| line.trim() == format!("address  http://{address}")), "{printed}");
    assert!(printed.lines().any(|line| line.trim() == format!("token    {DEMO_TOKEN}")), "{printed}");

    let [json, xml] = lines.as_slice() else { panic!("expected two lines, found {lines:?}") };
    let answer: Json = serde_json::from_str(&paste(json)).expect("an answer in JSON");
    assert_eq!((answer["error"].as_u64(), answer["result"][0]["outcome"].as_str()), (Some(0), Some("created")));
    let answer = paste(xml);
    assert!(answer.starts_with("<xml><error>0</error>"), "{answer}");
    assert!(
        answer.contains("<external_id>2</external_id>") && answer.contains("<outcome>created</outcome>"),
        "{answer}"
    );

    let examples = [include_str!("../cases/altcraft_example/1.json"), include_str!("../cases/altcraft_example/1.xml")];
    for (format, example) in ["json", "xml"].into_iter().zip(examples) {
        assert!(example.contains(TOKEN), "the example carries the token of the cases");
        let found = post(&server, format, example.replace(TOKEN, DEMO_TOKEN)).await;
        let expected = match format {
            "json" => include_str!("../cases/altcraft_example/1.answer.json"),
            _ => include_str!("../cases/altcraft_example/1.answer.xml"),
        };
        assert_eq!(found, expected);
    }
}

async fn post(server: &Process, format: &str, body: String) -> String {
    let request = crate::support::http().build().expect("a client").post(server.url(IMPORT)).body(body);
    answer(request.header("content-type", format!("application/{format}"))).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_listens_on_loopback_only() {
    let dir = DataDir::new();
    let sentence = ordergate(&dir, "serve --demo --listen 0.0.0.0:0").refused();
    assert!(sentence.contains("expected a loopback address to listen on, found 0.0.0.0:"), "{sentence}");
    assert!(!dir.path().exists(), "a demo that is refused makes no data directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_refuses_a_database_that_no_demo_made_and_leaves_it_alone() {
    let db = TestDb::new().await;
    let before = db.text(WRITTEN).await;
    for account in ["", "insert into accounts (name) values ('someone')"] {
        run(&mut db.connect().await, account).await;
        let sentence = ordergate(&db, "serve --demo --listen 127.0.0.1:0").refused();
        assert!(sentence.contains("expected a new database or one that a demo made, found another"), "{sentence}");
    }
    let after = db.text(WRITTEN).await;
    assert_eq!((before.as_str(), after.as_str()), ("f 0 0 0 0", "f 1 0 0 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_demo_refuses_the_demos_token_on_a_demos_database() {
    let db = TestDb::empty().await;
    let order = super::program::call(DEMO_TOKEN, "o", 1, 1);
    let demo = ordergate(&db, "serve --demo --listen 127.0.0.1:0").start("");
    assert_eq!(
        demo.import(order.clone()).await.body,
        r#"{"error":0,"error_text":"","result":[{"error":0,"external_id":"o0"}]}"#
    );
    assert_eq!(demo.stop().code, Some(0));

    let server = serve(&db, "");
    let answer = server.import(order).await;
    assert!(answer.body.starts_with(r#"{"error":401,"#), "{}", answer.body);
    assert_eq!(server.stop().code, Some(0));

    let again = ordergate(&db, "serve --demo --listen 127.0.0.1:0").start("");
    again.address();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demos_token_is_taken_over_by_no_other_database() {
    let db = TestDb::new().await;
    ordergate(&db, "account create test").done();
    let create = ordergate(&db, "token create --account test --value-stdin");
    let sentence = create.start(&format!("{DEMO_TOKEN}\n")).ended().refusal();
    assert!(sentence.contains("expected a secret one, found the demo's, which is public"), "{sentence}");
    assert_eq!(db.text("select count(*) from tokens").await, "0");
}
