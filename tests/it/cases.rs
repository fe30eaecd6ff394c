//! Cases: each folder below `cases/` is one, run in both formats on two fresh databases.
//!
//! `1.json` and `1.xml` are the first call, `1.answer.json` and `1.answer.xml` what it answers, byte for
//! byte; `2.…` the next, and so on. `calls.txt` names, by number, those that are not `orders/import`. A call without a file in one format is skipped in it. `stored.json` is what is
//! stored in the end, the same for both formats unless there is a `stored-xml.json`. `setup.sql`, if there
//! is one, runs first. `ORDERGATE_REWRITE_CASES=1` writes the expectations anew; read the difference.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use ordergate::config::Given;

use crate::support::db::run;
use crate::support::server::TestServer;
use crate::support::stored::stored;

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases");
    let mut cases: Vec<_> = fs::read_dir(dir).expect("cases").map(|entry| entry.expect("a case").path()).collect();
    cases.sort();
    cases
}

/// Runs every second case, so that two tests share them.
async fn every_second_case(from: usize) {
    let rewrite = std::env::var_os("ORDERGATE_REWRITE_CASES").is_some();
    assert!(!rewrite || std::env::var_os("CI").is_none(), "CI compares, it does not rewrite");
    let cases: Vec<_> = cases().into_iter().skip(from).step_by(2).collect();
    assert!(!cases.is_empty(), "there are cases");
    let mut wrong = Vec::new();
    for case in &cases {
        for format in ["json", "xml"] {
            wrong.extend(run_case(case, format, rewrite, true).await);
        }
        if !rewrite {
            wrong.extend(run_case(case, "json", rewrite, false).await);
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn even_cases_answer_and_store_what_they_say_in_both_formats() {
    every_second_case(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_cases_answer_and_store_what_they_say_in_both_formats() {
    every_second_case(1).await;
}

/// The calls of a case that are not `orders/import`, by their numbers.
fn calls(case: &Path) -> HashMap<u32, String> {
    let text = fs::read_to_string(case.join("calls.txt")).unwrap_or_default();
    let call = |line: &str| {
        let (number, call) = line.split_once(' ').expect("a number and a call");
        (number.parse().expect("a number"), call.to_owned())
    };
    text.lines().map(call).collect()
}

/// Runs a case the quick way or, but for the internal ids of new orders, the careful way.
async fn run_case(case: &Path, format: &str, rewrite: bool, quick: bool) -> Vec<String> {
    let server = TestServer::with(Given { quick_imports: Some(quick), ..Given::default() }).await;
    if let Ok(sql) = fs::read_to_string(case.join("setup.sql")) {
        run(&mut server.db.connect().await, sql).await;
    }
    let named = calls(case);
    let mut wrong = Vec::new();
    for number in 1_u32.. {
        let call = |format: &str| case.join(format!("{number}.{format}"));
        let Ok(body) = fs::read(call(format)) else {
            if call("json").exists() || call("xml").exists() {
                continue;
            }
            break;
        };
        let call = named.get(&number).map_or("orders/import", String::as_str);
        let answer = server.market(call, format, body).await;
        let answer = masked(match answer.status {
            200 => answer.body,
            status => format!("HTTP {status}\n{}", answer.body),
        });
        compare(&case.join(format!("{number}.answer.{format}")), &answer, rewrite, !quick, &mut wrong);
    }
    let own = case.join("stored-xml.json");
    let expected = if format == "xml" && own.exists() { own } else { case.join("stored.json") };
    // The XML run never rewrites what both formats share.
    compare(
        &expected,
        &stored(&server.db).await,
        rewrite && (format == "json" || expected.ends_with("stored-xml.json")),
        false,
        &mut wrong,
    );
    wrong
}

/// An answer without the public ids of profiles and of requests, which are random.
fn masked(mut answer: String) -> String {
    for (start, len, mask) in [
        ("\"profile_id\":\"", 24, "(a random profile id)..."),
        ("<profile_id>", 24, "(a random profile id)..."),
        ("\"request_id\":\"", 16, "(a random id)..."),
        ("<request_id>", 16, "(a random id)..."),
    ] {
        let places: Vec<usize> = answer.match_indices(start).map(|(at, found)| at + found.len()).collect();
        for at in places {
            answer.replace_range(at..at + len, mask);
        }
    }
    answer
}

fn compare(file: &Path, found: &str, rewrite: bool, without_ids: bool, wrong: &mut Vec<String>) {
    if rewrite {
        fs::write(file, found).expect("a writable case");
        return;
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    let differ = if without_ids {
        // An id that comes first in its object has no comma before it.
        let [expected, found] = [&*expected, found].map(|answer| answer.replace("{\"id\":", "{,\"id\":"));
        crate::differential::without_ids(&expected) != crate::differential::without_ids(&found)
    } else {
        expected != found
    };
    if differ {
        wrong.push(format!("{}\n  expected {expected}\n  found    {found}", file.display()));
    }
}
