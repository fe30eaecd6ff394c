//! Settings: flag before environment before file, and refusals that name what is wrong.

use std::fs;
use std::path::PathBuf;

use super::program::{DataDir, Home, Process, call, ordergate, set_up};
use crate::support::db::TestDb;

const TOKEN: &str = "a-token-of-an-old-client";

/// A settings file.
struct File {
    dir: tempfile::TempDir,
}

impl File {
    fn with(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("ordergate.toml"), text).expect("a file");
        File { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ordergate.toml")
    }
}

/// The text that refuses more orders than the server takes.
async fn refusal_of_ten_orders(server: Process) -> String {
    let answer = server.import(call(TOKEN, "o", 10, 1)).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
    answer.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let file = File::with("listen = \"127.0.0.1:0\"\nmax_orders = 3\n");
    let config = || ordergate(&db, "serve").env("ORDERGATE_CONFIG", file.path());
    let environment = || config().env("ORDERGATE_MAX_ORDERS", "4");
    let flag = || environment().arg("--max-orders").arg("5");
    for (limit, program) in [(3, config()), (4, environment()), (5, flag())] {
        let text = refusal_of_ten_orders(program.start("")).await;
        assert!(text.contains(&format!("data: expected at most {limit} orders, found 10")), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_names_the_settings_file_too() {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let file = File::with("max_orders = 3\nhttp_status = \"rest\"\n");
    let program = ordergate(&db, "serve --listen 127.0.0.1:0 --config").arg(file.path());
    let server = program.start("");
    let answer = server.import(call("a-token-of-nobody-here", "o", 1, 1)).await;
    assert_eq!(answer.status, 401, "the file's http_status holds: {}", answer.body);
    refusal_of_ten_orders(server).await;
}

#[test]
fn a_wrong_settings_file_is_refused_with_its_place() {
    let dir = DataDir::new();
    for (text, line, what) in [
        ("max_orders = 3\nmax_order = 4\n", "line 2", "max_order"),
        ("\n\nmax_orders = \"many\"\n", "line 3", "max_orders"),
        ("max_orders = \n", "line 1", "max_orders"),
    ] {
        let file = File::with(text);
        let sentence = ordergate(&dir, "serve --config").arg(file.path()).refused();
        for part in [&file.path().display().to_string(), line, what] {
            assert!(sentence.contains(part), "{text:?}: expected {part}, found {sentence}");
        }
    }
    let sentence = ordergate(&dir, "serve --config /nowhere/ordergate.toml").refused();
    assert!(sentence.contains("settings file /nowhere/ordergate.toml: No such file"), "{sentence}");
    assert!(!dir.path().exists(), "a server with wrong settings makes no data directory");
}

#[test]
fn a_value_out_of_its_range_is_refused_by_its_name() {
    let dir = DataDir::new();
    for (flag, value, expected) in [
        ("max-body-bytes", "0", "max_body_bytes: expected at least 1, found 0"),
        ("max-inflight-bytes", "0", "max_inflight_bytes: expected at least 1, found 0"),
        ("max-orders", "0", "max_orders: expected at least 1, found 0"),
        ("max-lines", "0", "max_lines: expected at least 1, found 0"),
        ("max-depth", "201", "max_depth: expected at most 200, found 201"),
        ("max-connections", "1", "max_connections: expected at least 2, found 1"),
    ] {
        let sentence = ordergate(&dir, &format!("serve --{flag} {value}")).refused();
        assert!(sentence.contains(expected), "{flag}: {sentence}");
        let name = format!("ORDERGATE_{}", flag.to_uppercase().replace('-', "_"));
        let sentence = ordergate(&dir, "serve").env(&name, value).refused();
        assert!(sentence.contains(expected), "{name}: {sentence}");
    }
    assert!(!dir.path().exists(), "a server with wrong settings makes no data directory");
}

#[test]
fn a_flag_that_is_no_value_of_its_kind_is_refused_by_its_name() {
    let dir = DataDir::new();
    for arguments in
        ["serve --max-orders many", "serve --listen localhost", "serve --log-format yaml", "serve --http-status 4"]
    {
        let flag = arguments.split(' ').nth(1).expect("a flag");
        let ended = ordergate(&dir, arguments).run();
        assert_eq!(ended.code, Some(2), "{arguments}: {}", ended.err);
        assert!(ended.err.contains(flag), "{arguments}: {}", ended.err);
    }
    let (name, _) = dir.variable();
    assert!(ordergate(&dir, "serve --help").done().contains(name), "the help names the environment's variables");
}
