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
        ("listen = \"127.0.0.1:0\"\ntrusted_proxies = [\"10.0.0.0/8\", \"proxy\"]\n", "line 2", "found \"proxy\""),
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
        ("keep-alive-ms", "0", "keep_alive_ms: expected at least 1, found 0"),
        ("drain-ms", "2147483648", "drain_ms: expected at most 2147483647, found 2147483648"),
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
    for arguments in [
        "serve --max-orders many",
        "serve --listen localhost",
        "serve --log-format yaml",
        "serve --http-status 4",
        "serve --trusted-proxies 10.0.0.0/8,proxy",
    ] {
        let flag = arguments.split(' ').nth(1).expect("a flag");
        let ended = ordergate(&dir, arguments).run();
        assert_eq!(ended.code, Some(2), "{arguments}: {}", ended.err);
        assert!(ended.err.contains(flag), "{arguments}: {}", ended.err);
    }
    let (name, _) = dir.variable();
    assert!(ordergate(&dir, "serve --help").done().contains(name), "the help names the environment's variables");
}

/// The paths of all commands, like `token create`.
fn commands(command: &clap::Command, path: &str) -> Vec<String> {
    let below = command.get_subcommands().flat_map(|below| commands(below, &format!("{path} {}", below.get_name())));
    std::iter::once(path.trim().to_owned()).chain(below).collect()
}

/// The flags that a part of a help tells of.
fn flags(help: &str) -> Vec<&str> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    lines.filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--"))).collect()
}

#[test]
fn every_help_tells_of_the_commands_own_options_before_the_general_ones() {
    let dir = DataDir::new();
    let general = ["--config", "--database-url", "--data-dir", "--log", "--log-format", "--output", "--help"];
    let all = commands(&ordergate::cli::command(), "");
    assert!(all.iter().any(|path| path == "subscription rotate"), "{all:?}");
    for path in all {
        for help in ["-h", "--help"] {
            let help = ordergate(&dir, &format!("{path} {help}")).done();
            let (own, rest) = help.split_once("\nGeneral options:\n").unwrap_or_else(|| panic!("{path}: {help}"));
            assert_eq!(flags(rest), general, "{path}: {help}");
            assert!(!flags(own).iter().any(|flag| general.contains(flag)), "{path}: {help}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliver_knows_only_settings_of_delivery_and_takes_the_settings_file_of_all() {
    let db = TestDb::new().await;
    let help = ordergate(&db, "deliver --help").done();
    let (own, _) = help.split_once("\nGeneral options:\n").expect("its own options first");
    let expected = [
        "--health-listen",
        "--metrics-listen",
        "--lock-timeout-ms",
        "--acquire-timeout-ms",
        "--shutdown-timeout-ms",
        "--allow-private-webhooks",
        "--webhook-timeout-ms",
        "--webhook-retry-ms",
        "--webhook-max-inflight",
        "--nats-url",
    ];
    assert_eq!(flags(own), expected);
    let ended = ordergate(&db, "deliver --max-orders 3").run();
    assert!(ended.code == Some(2) && ended.err.contains("unexpected argument '--max-orders'"), "{}", ended.err);
    let file = File::with("listen = \"localhost:0\"\nmax_orders = 3\nno_delivery = true\nwebhook_retry_ms = 1\n");
    let worker = ordergate(&db, "deliver --config").arg(file.path()).start("");
    worker.log.wait_for("a worker", |line| line.contains("ordergate delivers events").then_some(()));
    assert_eq!(worker.stop().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_listens_on_a_name() {
    let db = TestDb::new().await;
    let file = File::with("listen = \"localhost:0\"\nmetrics_listen = \"localhost:0\"\n");
    for program in [
        ordergate(&db, "serve --listen localhost:0 --metrics-listen localhost:0"),
        ordergate(&db, "serve").env("ORDERGATE_LISTEN", "localhost:0").env("ORDERGATE_METRICS_LISTEN", "localhost:0"),
        ordergate(&db, "serve --config").arg(file.path()),
    ] {
        let server = program.start("");
        assert_eq!(server.get("/health/live").await, 200);
        assert_eq!(server.stop().code, Some(0));
    }
}

#[test]
fn what_cannot_be_listened_on_is_refused_with_what_was_expected() {
    let dir = DataDir::new();
    let file = File::with("\nlisten = \"localhost\"\n");
    let sentence = ordergate(&dir, "serve --config").arg(file.path()).refused();
    assert!(
        sentence.contains("line 2") && sentence.contains("expected an address or a name with a port"),
        "{sentence}"
    );
    for (arguments, expected) in [
        ("serve --listen nowhere.invalid:80", "listen: expected a name with an address, found \"nowhere.invalid\""),
        ("serve --listen 192.0.2.1:80", "listen on 192.0.2.1:80 (--listen names another address): "),
        // Resolved by the system: all addresses of this machine.
        ("serve --demo --listen 0:0", "expected a loopback address to listen on, found 0.0.0.0:"),
    ] {
        let sentence = ordergate(&dir, arguments).refused();
        assert!(sentence.contains(expected), "{arguments}: {sentence}");
    }
    assert!(!dir.path().exists(), "a server that cannot listen makes no data directory");
}

#[test]
fn a_setting_that_is_set_but_empty_is_refused_wherever_it_is_set() {
    let dir = DataDir::new();
    for (name, command) in [
        ("DATABASE_URL", "account list"),
        ("ORDERGATE_CONFIG", "migrate"),
        ("ORDERGATE_DATA_DIR", "account list"),
        ("ORDERGATE_LOG", "account list"),
        ("ORDERGATE_LOG_FORMAT", "deliver"),
        ("ORDERGATE_LISTEN", "serve"),
        ("ORDERGATE_NO_DELIVERY", "serve"),
        ("ORDERGATE_NATS_URL", "deliver"),
    ] {
        let sentence = ordergate(&dir, command).env(name, "").refused();
        let cure = if name == "DATABASE_URL" { "name a database" } else { "give it a value" };
        assert_eq!(sentence, format!("{name}: expected a value, found an empty one; unset it, or {cure}"));
    }
    let empty = |argument: &str| ordergate(&dir, "migrate").arg(argument).arg("");
    let expected = "--database-url: expected a value, found an empty one; leave it out, or name a database";
    assert_eq!(empty("--database-url").refused(), expected);
    // The first one of them, in the order of the file.
    let others: String = ["log", "log_format", "listen", "nats_url"].map(|name| format!("{name} = \"\"\n")).concat();
    let file = File::with(&format!("max_lines = 3\ndatabase_url = \"\"\n{others}"));
    let sentence = ordergate(&dir, "account list --config").arg(file.path()).refused();
    let expected = "line 2: database_url: expected a value, found an empty one; leave it out, or name a database";
    assert!(sentence.ends_with(expected), "{sentence}");
    assert!(!dir.path().exists(), "no private PostgreSQL is started");
    // What goes before it makes it harmless, and the help helps whatever is set.
    let overruled =
        ordergate(&dir, "account list --database-url postgres://user@127.0.0.1:1/db").env("DATABASE_URL", "");
    assert!(overruled.refused().contains("the database cannot be reached"));
    ordergate(&dir, "serve --help").env("ORDERGATE_LISTEN", "").done();
}
