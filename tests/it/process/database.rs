//! Databases that cannot be used, and one that goes away and comes back.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value as Json;
use sqlx::{Connection as _, PgConnection};

use super::program::{DEADLINE, Home, Process, call, ordergate, serve, set_up};
use crate::support::database_url;
use crate::support::db::{TestDb, admin_options, run};
use crate::support::server::IMPORT;

const TOKEN: &str = "a-token-of-an-old-client";

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
async fn a_database_that_does_not_answer_is_refused_without_its_password() {
    let sentences = ["postgres://user:secret-word@127.0.0.1:1/db", "postgres://user:secret-word@"]
        .map(|url| ordergate(&Url(url.to_owned()), "serve --listen 127.0.0.1:0").refused());
    assert!(sentences[0].contains("the database: "), "{}", sentences[0]);
    assert!(sentences[1].contains("database-url: expected a URL like postgres://"), "{}", sentences[1]);
    assert!(sentences.iter().all(|sentence| !sentence.contains("secret-word")), "{sentences:?}");
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

async fn assert_serves(server: &Process, external_id: &str) {
    let answer = server.import(call(TOKEN, external_id, 1, 1)).await;
    assert!(answer.body.starts_with(r#"{"error":0,"#), "{}", answer.body);
}

/// While the database is away, every answer says that it passes.
async fn assert_away(server: &Process) {
    // The first may meet a connection that was lost, the next ones find none.
    for _ in 0..3 {
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
        assert_eq!(body, r#"{"error":503,"error_text":"the database is away"}"#);
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
