//! The walls between the rooms, and the tables of the documentation, read by a machine.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms that it may know.
const ROOMS: [(&str, &[&str]); 16] = [
    ("domain", &[]),
    ("error", &[]),
    ("clock", &[]),
    ("config", &[]),
    ("wire", &["domain", "error", "clock", "config"]),
    ("store", &["domain", "error", "clock", "config"]),
    ("auth", &["domain"]),
    ("import", &["domain", "store", "error", "clock", "config"]),
    ("accounts", &["domain", "store", "auth"]),
    ("delivery", &["domain", "store", "accounts", "error", "config"]),
    ("http", &["domain", "wire", "store", "import", "delivery", "accounts", "auth", "error", "clock", "config"]),
    ("embedded", &[]),
    ("telemetry", &["config"]),
    ("shutdown", &["config"]),
    (
        "cli",
        &[
            "domain",
            "store",
            "http",
            "delivery",
            "accounts",
            "auth",
            "embedded",
            "error",
            "clock",
            "config",
            "telemetry",
            "shutdown",
            "wire",
            "import",
        ],
    ),
    ("main", &["cli"]),
];

/// Crates that only some rooms may know.
const CRATES: [(&str, &[&str]); 12] = [
    ("reqwest", &["delivery", "cli"]),
    ("async_nats", &["delivery"]),
    ("hmac", &["delivery"]),
    ("rustls", &["delivery"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("quick_xml", &["wire", "cli"]),
    ("clap", &["cli", "config"]),
    ("anyhow", &["cli", "main"]),
    ("serde", &["config", "cli", "store"]),
    ("sqlx", &["store", "import", "accounts", "delivery", "http", "cli"]),
];

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn sources() -> Vec<(String, PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    files(&folder)
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&folder).expect("inside src");
            let first = inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
            let room = first.trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).expect("a source file");
            (room, path, text)
        })
        .collect()
}

#[test]
fn rooms_know_only_whom_they_may() {
    let mut wrong = Vec::new();
    for (room, path, text) in sources().into_iter().filter(|(room, ..)| room != "lib") {
        let (_, may) = ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("src/{room} is no room"));
        for (number, line) in text.lines().enumerate() {
            let at = || format!("{}:{}", path.display(), number + 1);
            assert!(!line.contains("crate::{"), "{}: name one room in a use line, so that it can be read here", at());
            for (_, rest) in line.match_indices("crate::").map(|(start, found)| line.split_at(start + found.len())) {
                let other: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if other != room && ROOMS.iter().any(|(name, _)| *name == other) && !may.contains(&other.as_str()) {
                    wrong.push(format!("{}: {room} must not know {other}", at()));
                }
            }
            for (name, rooms) in CRATES {
                let code = line.trim_start();
                let knows = code.starts_with(&format!("use {name}::"))
                    || (code.contains(&format!("{name}::")) && !code.starts_with("//"));
                if knows && !line.contains(&format!("_{name}::")) && !rooms.contains(&room.as_str()) {
                    wrong.push(format!("{}: {room} must not know the crate {name}", at()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Statements that name no account: those on what is never spread, and the janitor's.
const EXEMPT: [&str; 11] = [
    "connection.",
    "installation.",
    "tokens.",
    "accounts.",
    "outbox.prune",
    "orders.reserve_numbers",
    "products.reserve_numbers",
    "deliveries.accounts_to_spread",
    "deliveries.due",
    "deliveries.next_in",
    "deliveries.prune",
];

#[test]
fn queries_stand_in_the_store_have_names_and_name_an_account() {
    for (room, path, text) in sources() {
        for (at, _) in text.match_indices("sqlx::query") {
            assert_eq!(room, "store", "{}: queries stand in the store", path.display());
            let statement = &text[at..];
            let first = statement.find('"').map(|quote| &statement[quote + 1..]).unwrap_or_default();
            assert!(first.starts_with("-- "), "{}: a query begins with a comment that names it", path.display());
            let first = first.replace("\\\"", "'");
            let statement = first.split("\",\n").next().unwrap_or_default();
            let name = statement.trim_start_matches("-- ").split_whitespace().next().unwrap_or_default();
            let name = name.split("\\n").next().unwrap_or_default();
            let exempt = EXEMPT.iter().any(|exempt| name.starts_with(exempt));
            assert!(exempt || statement.contains("account_id"), "{}: {name} names no account", path.display());
        }
    }
}

/// The rows of the first table of the README whose head is this, cell by cell.
fn table(head: &str) -> Vec<Vec<String>> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    let start = readme.find(head).unwrap_or_else(|| panic!("README.md has a table with the head {head}"));
    let rows = readme[start..].lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_table_of_numbers_is_the_code() {
    let rows = table("| `error` | meaning | retry helps |");
    let expected: Vec<Vec<String>> = ordergate::error::Code::ALL
        .iter()
        .map(|code| {
            let row = code.row();
            let retry = if row.retryable { "yes" } else { "no" };
            vec![row.number.to_string(), row.meaning.to_owned(), retry.to_owned()]
        })
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn the_table_of_settings_is_the_command_line() {
    let command = ordergate::cli::command();
    let serve = command.find_subcommand("serve").expect("serve");
    let settings = command.get_arguments().chain(serve.get_arguments()).filter(|argument| argument.get_env().is_some());
    let expected: Vec<[String; 4]> = settings
        .map(|argument| {
            let env = argument.get_env().expect("an environment variable").to_string_lossy();
            let help = argument.get_help().expect("a help text").to_string();
            let (meaning, default) = help.split_once(" [default: ").unwrap_or((&help, "none]"));
            let flag = argument.get_long().expect("a flag");
            [format!("--{flag}"), env.into_owned(), default.trim_end_matches(']').to_owned(), meaning.to_owned()]
        })
        .collect();
    // The help marks no code.
    let plain = |cell: &str| cell.replace('`', "");
    let rows: Vec<[String; 4]> = table("| flag |")
        .into_iter()
        .map(|row| [plain(&row[0]), plain(&row[1]), plain(&row[2]), row[3].clone()])
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn the_table_of_log_fields_is_the_code() {
    let code = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/log.rs")).expect("log.rs");
    let (_, fields) = code.split_once("tracing::$level!(").expect("the line's macro");
    let (fields, _) = fields.split_once("\"request\",").expect("its message");
    let expected: Vec<&str> = fields
        .lines()
        .filter_map(|line| line.trim().split([' ', ',']).next())
        .filter(|name| !name.is_empty())
        .collect();
    let rows = table("| field | meaning |\n|---|---|\n| `request_id` |");
    let named: Vec<&str> = rows.iter().flat_map(|row| row[0].split(", ")).map(|name| name.trim_matches('`')).collect();
    assert_eq!(named, expected);
}
