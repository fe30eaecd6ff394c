//! Logs: one line for each request, without tokens and queries, and no text of a client breaks a line.

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value as Json, json};

use super::program::{Process, call, order, ordergate, serve, set_up};
use crate::support::db::TestDb;
use crate::support::server::IMPORT;

const TOKEN: &str = "a-token-of-an-old-client";
/// One that nobody knows.
const OTHER: &str = "a-token-of-nobody-at-all";
/// What stands in queries alone.
const QUERY: &str = "in-the-query-alone";
/// What would begin a line of its own.
const BREAK: &str = r"cut\n2026-01-01T00:00:00Z  INFO forged\r\u001b[31m\u0085";

async fn send(request: RequestBuilder) -> Response {
    request.header("content-type", "application/json").send().await.expect("an answer")
}

/// Requests with tokens in all places, good and bad, and with texts that would break a line.
async fn send_everything(server: &Process, client: &Client) {
    let post = |path: &str| client.post(server.url(path));
    let good = call(TOKEN, "o", 1, 1);
    for token in [TOKEN, OTHER] {
        let without = good.replace(&format!(r#""token":"{TOKEN}","#), "");
        let query = format!("{IMPORT}?token={token}&other={QUERY}");
        let expected = if token == TOKEN { r#"{"error":0,"# } else { r#"{"error":401,"# };
        for request in [
            post(&query).body(without.clone()),
            post(IMPORT).bearer_auth(token).body(without.clone()),
            post(IMPORT).body(good.replace(TOKEN, token)),
        ] {
            let body = send(request).await.text().await.expect("a whole answer");
            assert!(body.starts_with(expected), "{body}");
        }
        // The token where it does not belong: in other fields, and in a document that is broken behind it.
        let refused =
            good.replace(TOKEN, token).replace("USD", token).replace(r#""data""#, r#""on_error":"abort","data""#);
        for body in [refused, format!(r#"{{"token":"{token}","{token}":{token}"#)] {
            send(post(IMPORT).body(body)).await;
        }
    }
    send(client.get(server.url(&format!("/no/such/path?token={TOKEN}&other={QUERY}")))).await;
}

/// Requests whose texts would break a line, or forge one.
async fn send_breaks(server: &Process, client: &Client) {
    send(client.get(server.url("/cut%0a2026-01-01T00:00:00Z%20%20INFO%20forged%0d%1b"))).await;
    for field in ["external_id", "status", "currency", "endpoint", "email"] {
        let good: Json = serde_json::from_str(&order("o", 1)).expect("JSON");
        let value = good[field].as_str().expect("a text").to_owned();
        let bad = good.to_string().replacen(&format!(r#""{field}":"{value}""#), &format!(r#""{field}":"{BREAK}""#), 1);
        assert!(bad.contains("forged"), "the field is replaced: {bad}");
        let body = format!(r#"{{"token":"{TOKEN}","on_error":"abort","data":[{bad}]}}"#);
        let answer = send(client.post(server.url(IMPORT)).body(body)).await.text().await.expect("a whole answer");
        assert!(answer.starts_with(r#"{"error":400,"#), "{field}: {answer}");
    }
    send(client.post(server.url(IMPORT)).body(format!(r#"{{"token":"{TOKEN}","format":"{BREAK}"}}"#))).await;
    send(client.post(server.url(IMPORT)).body(format!(r#"{{"token":"{BREAK}{BREAK}"}}"#))).await;
}

/// The whole log of a server that gets all those requests.
async fn log_of(arguments: &str, client: &Client) -> String {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let server = serve(&db, arguments);
    send_everything(&server, client).await;
    send_breaks(&server, client).await;
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended.err
}

fn assert_no_secret(log: &str) {
    for secret in [TOKEN, OTHER, QUERY, &TOKEN[..12], "token="] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} stands in the log");
    }
    assert!(!log.chars().any(|c| c.is_control() && c != '\n'), "control characters are escaped");
}

/// 11 requests with tokens, 8 with texts that would break a line.
const REQUESTS: usize = 11 + 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_text_has_one_line_for_each_request_and_no_secret() {
    let log = log_of("", &crate::support::http().build().expect("a client")).await;
    assert_no_secret(&log);
    let is_line = |line: &str| line.starts_with("20") && line.as_bytes().get(10) == Some(&b'T');
    assert!(log.lines().all(is_line), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains(" request ")).count(), REQUESTS, "{log}");
    assert!(log.contains("forged"), "the client's text is there: {log}");
    assert!(log.contains(" total_ms=") && !log.contains(" read_ms="), "phases are for who looks closely: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_json_has_one_object_for_each_request_and_no_secret() {
    let log = log_of("--log-format json", &crate::support::http().build().expect("a client")).await;
    assert_no_secret(&log);
    let lines: Vec<Json> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let requests: Vec<_> = lines.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(requests.len(), REQUESTS, "{log}");
    let texts = lines.iter().flat_map(|line| line.as_object().expect("an object").values()).filter_map(Json::as_str);
    for text in texts {
        assert!(!text.chars().any(char::is_control), "escaped also for who reads the JSON: {text:?}");
    }
    let import = requests.iter().find(|line| line["orders"] == 1).expect("the line of an import");
    for phase in ["read_ms", "decode_ms", "plan_ms", "database_ms", "render_ms", "total_ms"] {
        assert!(import[phase].as_f64().is_some(), "{phase}: {import}");
    }
    assert_eq!((&import["created"], &import["updated"], &import["failed"]), (&1.into(), &0.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_everything_has_no_secret_either() {
    let http2 = crate::support::http().http2_prior_knowledge().build().expect("a client");
    let mut log = log_of("--log debug", &crate::support::http().build().expect("a client")).await;
    assert!(log.contains(" read_ms=") && log.contains(" render_ms="), "{log}");
    log.push_str(&log_of("--log trace", &crate::support::http().build().expect("a client")).await);
    log.push_str(&log_of("--log trace", &http2).await);
    for secret in [TOKEN, OTHER, QUERY] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} stands in the log");
    }
}

/// What a server logs of requests, one after the other, as JSON.
async fn lines_of(arguments: &str, requests: impl Fn(&Process) -> Vec<RequestBuilder>) -> Vec<Json> {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let server = serve(&db, &format!("--log-format json {arguments}"));
    for request in requests(&server) {
        request.send().await.expect("an answer");
    }
    let log = server.stop().err;
    let lines = log.lines().map(|line| serde_json::from_str::<Json>(line).expect("JSON"));
    lines.filter(|line| line["message"] == "request").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_as_loud_as_what_it_tells_and_names_the_token_and_the_format() {
    let client = crate::support::http().build().expect("a client");
    let bad = call(TOKEN, "bad", 2, 1).replacen("USD", "JPY", 1);
    let dry = bad.replacen(r#""data""#, r#""dry_run":true,"data""#, 1);
    let lines = lines_of("", |server| {
        let import = |body: &str| client.post(server.url(IMPORT)).body(body.to_owned());
        let json = |body: &str| import(body).header("content-type", "application/json");
        let xml = |body: &str| import(body).header("content-type", "text/xml");
        vec![
            json(&call(TOKEN, "o", 1, 1)),
            json(&bad),
            json(&dry),
            import(&format!("<xml><token>{TOKEN}</token><data/></xml>")),
            xml(&format!("<xml><token>{TOKEN}</token></xml>")),
            json(&call(OTHER, "o", 1, 1)),
            import("token=1"),
            client.get(server.url("/nowhere")),
            client.get(server.url("/health/ready")),
        ]
    })
    .await;
    let found: Vec<_> =
        lines.iter().map(|line| json!([line["level"], line["error"], line["format"], line["token_id"]])).collect();
    let expected = [
        json!(["INFO", 0, "json", 1]),
        json!(["WARN", 0, "json", 1]),
        json!(["WARN", 0, "json", 1]),
        json!(["WARN", 0, "xml", 1]),
        json!(["WARN", 400, "xml", 1]),
        json!(["INFO", 401, "json", null]),
        json!(["WARN", 415, null, null]),
        json!(["WARN", 404, null, null]),
    ];
    assert_eq!(found, expected, "a health check that went well is told to nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_into_the_database_logs_no_requests_unless_it_is_asked_to() {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("a.ndjson");
    std::fs::write(&file, order("bad", 1).replace("USD", "JPY").replace('\n', " ")).expect("a file");
    for (arguments, logs) in [("", false), ("--log info", true)] {
        let import = format!("import --account test --restart {arguments} {}", file.display());
        let ended = ordergate(&db, &import).run();
        assert_eq!(ended.code, Some(3), "an order failed: {}", ended.err);
        assert_eq!(ended.err.contains(" request "), logs, "{}", ended.err);
        assert!(!ended.err.contains(" WARN ") && !ended.err.contains(" peer="), "{}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_names_the_peer_and_the_client_of_a_trusted_proxy() {
    let client = crate::support::http().build().expect("a client");
    for (arguments, client_address) in [
        ("", json!(null)),
        ("--trusted-proxies 192.0.2.1", json!(null)),
        ("--trusted-proxies 127.0.0.1,10.0.0.0/8", json!("203.0.113.9")),
    ] {
        let lines = lines_of(arguments, |server| {
            let forwarded = "198.51.100.1, 203.0.113.9, 10.1.2.3";
            vec![client.get(server.url("/nowhere")).header("x-forwarded-for", forwarded)]
        })
        .await;
        assert_eq!((&lines[0]["peer"], &lines[0]["forwarded_for"]), (&json!("127.0.0.1"), &client_address));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_taken_if_it_is_harmless_and_is_answered_and_logged() {
    let db = TestDb::new().await;
    let server = serve(&db, "");
    let longest = "x".repeat(64);
    let too_long = "x".repeat(65);
    for (sent, taken) in [
        ("abc-1", true),
        ("A.b_c-9", true),
        (longest.as_str(), true),
        (too_long.as_str(), false),
        ("bad id", false),
        ("", false),
        ("a\"b", false),
        ("a/b", false),
    ] {
        let request =
            crate::support::http().build().expect("a client").get(server.url("/nowhere")).header("x-request-id", sent);
        let response = request.send().await.expect("an answer");
        let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
        assert_eq!(id == sent, taken, "sent {sent:?}, answered {id:?}");
        let harmless = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!((1..=64).contains(&id.len()) && id.chars().all(harmless), "sent {sent:?}, answered {id:?}");
        server.log.wait_for(&id, |line| line.contains(&format!("request_id=\"{id}\"")).then_some(()));
    }
    assert!(!server.stop().err.contains("bad id"), "a bad id is nowhere");
}
