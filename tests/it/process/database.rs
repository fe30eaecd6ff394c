//! Databases that cannot be used, and one that goes away and comes back.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value as Json;
use sqlx::{Connection as _, PgConnection};

use super::cluster::Cluster;
use super::program::{DEADLINE, Home, Process, call, ordergate, serve, set_up, text};
use crate::support::database_url;
use crate::support::db::{TestDb, admin_options, run};
use crate::support::server::{Answer, IMPORT, answer};

const TOKEN: &str = "a-token-of-an-old-client";
const FULL: &str = r#"{"error":503,"error_text":"the database's disk is full"}"#;

/// A database by its address.
struct Url(String);

impl Home for Url {
    fn variable(&self) -> (&'static str, String) {
        ("DATABASE_URL", self.0.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_newer_than_the_program_is_refused_by_every_command() {
    let db = TestDb::new().await;
    let known = db.text("select max(version) from _sqlx_migrations").await;
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (9999, 'of a newer program', true, '', 0)";
    run(&mut db.connect().await, newer).await;
    for command in ["serve --listen 127.0.0.1:0", "serve --demo --listen 127.0.0.1:0", "migrate", "account list"] {
        let sentence = ordergate(&db, command).refused();
        let expected = format!("the database's schema is at version 9999, this program knows versions up to {known}");
        assert!(sentence.contains(&expected), "{command}: {sentence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_a_schema_is_migrated_by_migrate_and_by_serve_alone() {
    let db = TestDb::empty().await;
    let sentence = ordergate(&db, "account list").refused();
    assert!(sentence.contains("run `ordergate migrate` or start the server"), "{sentence}");
    let printed: Json = serde_json::from_str(&ordergate(&db, "migrate --output json").done()).expect("JSON");
    assert_eq!(printed["before"].as_i64(), Some(0));
    assert_eq!(ordergate(&db, "account list --output json").done(), "[]");
    let again: Json = serde_json::from_str(&ordergate(&db, "migrate --output json").done()).expect("JSON");
    assert_eq!((&again["before"], &again["after"]), (&printed["after"], &printed["after"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_encoding_is_refused() {
    let name = format!("latin1_{}", std::process::id());
    let mut admin = PgConnection::connect_with(&admin_options()).await.expect("the test cluster");
    run(&mut admin, format!("create database {name} encoding 'LATIN1' locale 'C' template template0")).await;
    let url = Url(database_url().replacen("/postgres?", &format!("/{name}?"), 1));
    for command in ["serve --listen 127.0.0.1:0", "migrate"] {
        let sentence = ordergate(&url, command).refused();
        assert!(sentence.contains("expected UTF8, found LATIN1"), "{command}: {sentence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_reached_is_named_by_its_place_and_without_its_password() {
    let db = TestDb::new().await;
    let socket = socket_of(&db);
    let nowhere = db.url().replacen(db.name(), "no_such_database", 1);
    for (url, place, why) in [
        ("postgres://user:secret-word@127.0.0.1:1/db", "127.0.0.1:1", "Connection refused"),
        ("postgres://user:secret-word@no-such-host.invalid/db", "no-such-host.invalid:5432", "lookup"),
        ("postgres://user:secret-word@localhost/db?host=/no/such/dir", "/no/such/dir/.s.PGSQL.5432", "No such file"),
        (&*nowhere, &*socket.display().to_string(), "database \"no_such_database\" does not exist (SQLSTATE 3D000)"),
    ] {
        for command in ["account list", "migrate", "serve --listen 127.0.0.1:0"] {
            let sentence = ordergate(&Url(url.to_owned()), command).refused();
            let expected = format!("the database cannot be reached ({place}): ");
            assert!(sentence.starts_with(&expected) && sentence.contains(why), "{command}: {sentence}");
            assert!(!sentence.contains("secret-word") && !sentence.contains("at line"), "{command}: {sentence}");
        }
    }
    let sentence = ordergate(&Url("postgres://user:secret-word@".to_owned()), "account list").refused();
    assert!(sentence.contains("database-url: expected a URL like postgres://"), "{sentence}");
    assert!(!sentence.contains("secret-word"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_shown() {
    let cluster = Cluster::start();
    let mut admin = cluster.connect().await;
    run(&mut admin, "create role guest login password 'right'").await;
    let rules = text(&mut admin, "select current_setting('hba_file')").await;
    std::fs::write(rules, "local all guest scram-sha-256\nlocal all all trust\n").expect("the rules");
    run(&mut admin, "select pg_reload_conf()").await;
    let url = cluster.variable().1.replacen("ordergate@", "guest:wrong-word@", 1);
    let begun = Instant::now();
    // The rules are read in a moment.
    let sentence = loop {
        let sentence = ordergate(&Url(url.clone()), "account list").refused();
        if sentence.contains("password") {
            break sentence;
        }
        assert!(begun.elapsed() < DEADLINE, "{sentence}");
    };
    assert!(sentence.starts_with("the database cannot be reached (/"), "{sentence}");
    let why = ".s.PGSQL.5432): password authentication failed for user \"guest\" (SQLSTATE 28P01)";
    assert!(sentence.ends_with(why), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_until_there_is_room_again() {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let server = serve(&db, "");
    let mut conn = db.connect().await;
    // Whatever takes room fails as on a full disk.
    run(
        &mut conn,
        "create function refuse() returns trigger language plpgsql as
            $$ begin raise 'could not extend file' using errcode = 'disk_full'; end $$;
        create trigger refuse before insert on orders execute function refuse();
        create function refuse_tables() returns event_trigger language plpgsql as
            $$ begin raise 'could not extend file' using errcode = 'disk_full'; end $$;
        create event trigger refuse on ddl_command_start execute function refuse_tables();",
    )
    .await;
    assert_eq!(server.get("/health/ready").await, 200, "nobody met a full disk yet");
    let answer = server.import(call(TOKEN, "full", 1, 1)).await;
    assert_eq!((answer.status, &*answer.body), (503, FULL));
    let ready = answered(&server).await;
    assert_eq!((ready.status, &*ready.body), (503, FULL));
    let cause = |line: &str| line.contains("could not extend file (SQLSTATE 53100)").then_some(());
    server.log.wait_for("the cause", cause);

    run(&mut conn, "drop event trigger refuse; drop trigger refuse on orders").await;
    assert_eq!(answered(&server).await.status, 200);
    assert_serves(&server, "room").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_under_an_import_is_told() {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let server = serve(&db, "--no-delivery");
    let mut holder = db.connect().await;
    run(&mut holder, "begin; lock table orders in exclusive mode").await;
    let end = async {
        let begun = Instant::now();
        let ended = "select count(*) filter (where pg_terminate_backend(pid, 10000)) from pg_stat_activity
            where wait_event_type = 'Lock' and datname = current_database()";
        while db.text(ended).await == "0" {
            assert!(begun.elapsed() < DEADLINE, "the import never came to the orders");
        }
    };
    let (answer, ()) = tokio::join!(server.import(call(TOKEN, "ended", 1_000, 1)), end);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, r#"{"error":503,"error_text":"the database ended or is starting"}"#);
    run(&mut holder, "commit").await;
    assert_serves(&server, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_import_fails_by_connections_that_all_ended_before_it() {
    const CONNECTIONS: usize = 6;
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let server = serve(&db, "--no-delivery");
    let mut holder = db.connect().await;
    let mut admin = PgConnection::connect_with(&admin_options()).await.expect("the test cluster");
    for round in ["first", "second", "third"] {
        // Each of them waits on a connection of its own.
        run(&mut holder, "begin; lock table accounts in access exclusive mode").await;
        let release = async {
            db.until_waiting(CONNECTIONS).await;
            run(&mut holder, "commit").await;
        };
        let (warm, ()) = tokio::join!(import_at_once(&server, round, "warm", CONNECTIONS), release);
        assert_all_good(&warm);
        end_connections(&mut admin, &db).await;
        holder = db.connect().await;
        assert_all_good(&import_at_once(&server, round, "cold", CONNECTIONS).await);
    }
}

async fn import_at_once(server: &Process, round: &str, name: &str, count: usize) -> Vec<Answer> {
    // Two orders each: one alone would wait for others, and take no connection of its own.
    let imports = (0..count).map(|n| server.import(call(TOKEN, &format!("{round}-{name}{n}-"), 2, 1)));
    futures_util::future::join_all(imports).await
}

fn assert_all_good(answers: &[Answer]) {
    for answer in answers {
        assert!(answer.body.starts_with(r#"{"error":0,"#), "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_connections_are_all_in_use_is_not_ready_and_says_so_in_time() {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let server = serve(&db, "--no-delivery --max-connections 2 --acquire-timeout-ms 60000 --lock-timeout-ms 60000");
    let mut holder = db.connect().await;
    run(&mut holder, "begin; lock table accounts in access exclusive mode").await;
    let ask = async {
        db.until_waiting(2).await;
        let ready = answered(&server).await;
        assert_eq!(ready.body, r#"{"error":503,"error_text":"no database connection is free"}"#);
        assert_eq!(db.waiting().await, 2, "the imports wait still");
        run(&mut holder, "commit").await;
    };
    let (imports, ()) = tokio::join!(import_at_once(&server, "", "busy", 2), ask);
    assert_all_good(&imports);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_database_is_closed_to_it_says_so_and_recovers() {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let server = serve(&db, "--acquire-timeout-ms 500");
    let mut admin = PgConnection::connect_with(&admin_options()).await.expect("the test cluster");
    assert_serves(&server, "before").await;

    run(&mut admin, format!("alter database {} allow_connections false", db.name())).await;
    end_connections(&mut admin, &db).await;
    assert_away(&server).await;

    run(&mut admin, format!("alter database {} allow_connections true", db.name())).await;
    assert_recovers(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_database_server_is_gone_says_so_and_recovers() {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    // The way to the socket is taken away: as if PostgreSQL had ended.
    let dir = tempfile::tempdir().expect("a directory");
    let socket = socket_of(&db);
    let link = dir.path().join(socket.file_name().expect("a socket"));
    symlink(&socket, &link).expect("a link");
    let parent = socket.parent().expect("a directory").display().to_string();
    let url = Url(db.url().replacen(&parent, &dir.path().display().to_string(), 1));
    let server = serve(&url, "--acquire-timeout-ms 500");
    assert_serves(&server, "before").await;

    std::fs::remove_file(&link).expect("the link");
    end_connections(&mut PgConnection::connect_with(&admin_options()).await.expect("the test cluster"), &db).await;
    assert_away(&server).await;

    symlink(&socket, &link).expect("a link");
    assert_recovers(&server).await;
}

/// The socket of the test cluster.
fn socket_of(db: &TestDb) -> PathBuf {
    let dir = db.options.get_socket().expect("a socket").clone();
    dir.join(format!(".s.PGSQL.{}", db.options.get_port()))
}

async fn end_connections(admin: &mut PgConnection, db: &TestDb) {
    let end = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname =";
    run(admin, format!("{end} '{}'", db.name())).await;
}

/// What `/health/ready` answers.
async fn answered(server: &Process) -> Answer {
    answer(crate::support::http().build().expect("a client").get(server.url("/health/ready"))).await
}

async fn assert_serves(server: &Process, external_id: &str) {
    let answer = server.import(call(TOKEN, external_id, 1, 1)).await;
    assert!(answer.body.starts_with(r#"{"error":0,"#), "{}", answer.body);
}

/// While the database is away, every answer says that it passes.
async fn assert_away(server: &Process) {
    // The first may meet a connection that was lost, the next ones find none.
    for first in [true, false, false] {
        let request = crate::support::http()
            .build()
            .expect("a client")
            .post(server.url(IMPORT))
            .header("content-type", "application/json");
        let response = request.body(call(TOKEN, "away", 1, 1)).send().await.expect("an answer");
        let retry_after = response.headers().get("retry-after").map(|after| after.to_str().expect("text").to_owned());
        let status = response.status();
        let body = response.text().await.expect("a whole answer");
        assert_eq!(status, 503, "{body}");
        let texts = ["the database cannot be reached", "the database ended or is starting"];
        let expected = texts.map(|text| format!(r#"{{"error":503,"error_text":"{text}"}}"#));
        assert!(body == expected[0] || first && body == expected[1], "{body}");
        let seconds = retry_after.expect("Retry-After").parse::<u64>().expect("seconds");
        assert!(seconds >= 1, "Retry-After: {seconds}");
        assert_eq!(server.get("/health/ready").await, 503);
        assert_eq!(server.get("/health/live").await, 200);
    }
}

async fn assert_recovers(server: &Process) {
    let begun = Instant::now();
    while server.get("/health/ready").await != 200 {
        assert!(begun.elapsed() < DEADLINE, "the server does not recover");
    }
    assert_serves(server, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_is_not_ready() {
    let db = TestDb::new().await;
    let server = serve(&db, "");
    assert_eq!(server.get("/health/ready").await, 200);
    let read_only = format!("alter database {} set default_transaction_read_only = on", db.name());
    run(&mut db.connect().await, read_only).await;
    let found = answer(crate::support::http().build().expect("a client").get(server.url("/health/ready"))).await;
    assert_eq!((found.status, found.body.contains("the database takes no writes")), (503, true), "{}", found.body);
}
