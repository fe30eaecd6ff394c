//! Transport and negotiation: contract, section 1.

use std::io::Write as _;
use std::time::Duration;

use ordergate::auth;
use ordergate::config::Given;
use ordergate::store::tokens;
use reqwest::header::{ACCEPT, ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::db::run;
use crate::support::server::{Answer, IMPORT, TOKEN, TestServer, answer};

/// A small good order without a token.
const JSON: &str = r#"{"data":[{"external_id":"1","email":"a@b","endpoint":"website","status":"new","total_price":1,"currency":"USD","lines":[{"external_id":"l","product":"p"}]}]}"#;
const DONE: &str = r#"{"error":0,"error_text":"","result":[{"error":0,"external_id":"1"}]}"#;
const DONE_XML: &str =
    "<xml><error>0</error><error_text></error_text><result><error>0</error><external_id>1</external_id></result></xml>";

fn with_token() -> String {
    format!("{IMPORT}?token={TOKEN}")
}

/// A body with the test's token in it.
fn body(rest: &str) -> String {
    format!(r#"{{"token":"{TOKEN}",{}"#, &rest[1..])
}

fn error(answer: &Answer, status: u16, number: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    let start = format!("{{\"error\":{number},\"error_text\":\"");
    assert!(answer.body.starts_with(&start), "expected {start}, found {}", answer.body);
    assert!(answer.body.contains(text), "expected {text}, found {}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn slashes_are_forgiven_and_other_paths_and_methods_are_named() {
    let server = TestServer::start().await;
    for path in
        ["/api/v1.1/market/orders/import/", "//api/v1.1//market/orders/import", "/api/v1.1/market/orders/import//"]
    {
        let sent = server.post(&format!("{path}?token={TOKEN}")).header(CONTENT_TYPE, "application/json").body(JSON);
        assert_eq!(answer(sent).await, Answer { status: 200, body: DONE.to_owned() }, "{path}");
    }
    error(&answer(server.post("/api/v1.1/market/orders/imports")).await, 404, 404, "path: ");
    let response = server.client().get(server.url(IMPORT)).send().await.expect("an answer");
    assert_eq!(response.headers().get(ALLOW).expect("Allow"), "POST");
    assert_eq!(response.status(), 405);
    assert!(response.text().await.expect("a body").starts_with("{\"error\":405,"));
    let xml = answer(server.client().get(server.url(&format!("{IMPORT}?format=xml")))).await;
    assert!(xml.body.starts_with("<xml><error>405</error>"), "{}", xml.body);
    let xml = answer(server.post("/nowhere").header(ACCEPT, "text/xml")).await;
    assert!(xml.body.starts_with("<xml><error>404</error>"), "{}", xml.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_format_of_the_request_is_told_by_header_or_first_byte() {
    let server = TestServer::start().await;
    let send = async |content_type: Option<&str>, body: Vec<u8>| {
        let mut request = server.post(&with_token()).body(body);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        answer(request).await
    };
    for good in ["application/json", "Application/JSON; charset=\"UTF-8\"", "application/json;charset=utf8"] {
        assert_eq!(send(Some(good), JSON.into()).await.body, DONE, "{good}");
    }
    assert_eq!(send(None, JSON.into()).await.body, DONE);
    assert_eq!(send(None, format!("\u{feff} \n{JSON}").into()).await.body, DONE);
    let xml = b"<xml><data/></xml>".to_vec();
    for good in [Some("application/xml"), Some("text/xml; charset=utf-8"), None] {
        let found = send(good, xml.clone()).await.body;
        assert!(found.starts_with("<xml><error>0</error>"), "{good:?}: {found}");
    }
    for bad in ["application/x-www-form-urlencoded", "text/plain", "json"] {
        error(&send(Some(bad), JSON.into()).await, 415, 415, "Content-Type: ");
    }
    error(&send(None, b"token=1".to_vec()).await, 415, 415, "Content-Type: application/json");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_format_of_the_answer_is_negotiated() {
    let server = TestServer::start().await;
    let send = async |query: &str, accept: Option<&str>, format: Option<&str>| {
        let field = format.map(|format| format!("\"format\":\"{format}\",")).unwrap_or_default();
        let body = format!("{{{field}{}", &JSON[1..]);
        let mut request =
            server.post(&format!("{}{query}", with_token())).header(CONTENT_TYPE, "application/json").body(body);
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        answer(request).await.body
    };
    assert_eq!(send("&format=xml", Some("application/json"), Some("json")).await, DONE_XML);
    assert_eq!(send("", Some("application/json"), Some("xml")).await, DONE_XML);
    assert_eq!(send("&format=", Some("application/xml"), None).await, DONE_XML);
    assert_eq!(send("", Some("application/json;q=0.3, text/xml;q=0.4"), None).await, DONE_XML);
    for accept in [None, Some("*/*"), Some("application/json, application/xml"), Some("text/html"), Some("nonsense;;;")]
    {
        assert_eq!(send("", accept, None).await, DONE, "{accept:?}");
    }
    assert_eq!(
        send("&format=yaml", None, None).await,
        r#"{"error":400,"error_text":"format: expected json or xml, found \"yaml\""}"#
    );
    assert_eq!(
        send("", None, Some("yaml")).await,
        r#"{"error":400,"error_text":"format: expected json or xml, found \"yaml\""}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_stand_in_three_places_which_have_to_agree() {
    let server = TestServer::start().await;
    let send = async |query: &str, header: Option<&str>, in_body: Option<&str>| {
        let field = in_body.map(|token| format!("\"token\":{token},")).unwrap_or_default();
        let mut request = server.post(&format!("{IMPORT}{query}")).header(CONTENT_TYPE, "application/json");
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        answer(request.body(format!("{{{field}{}", &JSON[1..]))).await
    };
    let (query, bearer, quoted) = (format!("?token={TOKEN}"), format!("bEARER  {TOKEN}"), format!("\"{TOKEN}\""));
    for good in [
        send(&query, None, None).await,
        send("", Some(&bearer), None).await,
        send("", None, Some(&quoted)).await,
        send(&query, Some(&bearer), Some(&quoted)).await,
        send("?token=", Some("Bearer "), Some(&quoted)).await,
        send("", Some("Basic abc"), Some(&quoted)).await,
        send(&query, None, Some("null")).await,
        send(&query, None, Some("\"\"")).await,
    ] {
        assert_eq!(good.body, DONE);
    }
    error(&send("", None, None).await, 200, 401, "token: ");
    error(&send("?token=other-token-0123456789", None, None).await, 200, 401, "token: ");
    for (found, places) in [
        (send(&query, Some("Bearer other"), None).await, "in the header Authorization and in the query"),
        (send(&format!("{query}&token=b"), None, None).await, "both in the query"),
        (send(&query, None, Some("\"other\"")).await, "in the query and in the body"),
        (send("", Some(&bearer), Some("\"other\"")).await, "in the header Authorization and in the body"),
        (send(&query, Some(&bearer), Some("\"other\"")).await, "in the header Authorization and in the body"),
    ] {
        let text = format!("token: expected one, found two that differ, {places}\"}}");
        error(&found, 200, 401, &text);
    }
    let xml = server.post(&format!("{IMPORT}{query}")).header(CONTENT_TYPE, "text/xml");
    let xml = answer(xml.body("<xml><token>other</token></xml>")).await;
    let text = "<error_text>token: expected one, found two that differ, in the query and in the body</error_text>";
    assert!(xml.body.contains(text), "{}", xml.body);
    let mut twice = HeaderMap::new();
    for token in [TOKEN, "other"] {
        twice.append(AUTHORIZATION, format!("Bearer {token}").parse().expect("a header"));
    }
    let twice = answer(server.post(IMPORT).header(CONTENT_TYPE, "application/json").headers(twice).body(JSON)).await;
    error(&twice, 200, 401, "found two that differ, both in the header Authorization");
    error(&send(&query, None, Some("[]")).await, 200, 400, "token: expected a text, found a list");
    error(&send(&query, None, Some("{\"a\":1}")).await, 200, 400, "token: expected a text, found an object");
    error(&send("", None, Some("12345")).await, 200, 401, "token: ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_header_is_checked_before_the_body() {
    let server = TestServer::start().await;
    let send = async |token: &str| {
        answer(
            server
                .post(IMPORT)
                .header(AUTHORIZATION, format!("Bearer {token}"))
                .header(CONTENT_TYPE, "application/json")
                .body("not json"),
        )
        .await
    };
    error(&send("unknown-token-0123456789").await, 200, 401, "token: ");
    error(&send(TOKEN).await, 200, 400, "line 1, column 1: ");
    let conn = &mut server.db.connect().await;
    let reader = "reader-token-0123456789";
    let roles = ["orders:read".to_owned(), "catalog:write".to_owned()];
    tokens::create(conn, server.account_id, &auth::hash(reader), "", &roles, None).await.expect("a token");
    error(&send(reader).await, 200, 403, "token: expected the role orders:write, found orders:read, catalog:write");
    let expired = "expired-token-0123456789";
    let long_ago = time::OffsetDateTime::UNIX_EPOCH;
    tokens::create(conn, server.account_id, &auth::hash(expired), "", &[auth::MARKET.to_owned()], Some(long_ago))
        .await
        .expect("a token");
    error(&send(expired).await, 200, 401, "token: ");
    error(&send(auth::DEMO_TOKEN).await, 200, 401, "token: ");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_text_repeats_the_token() {
    let server = TestServer::start().await;
    let long = "x".repeat(200);
    let conn = &mut server.db.connect().await;
    tokens::create(conn, server.account_id, &auth::hash(&long), "", &[auth::MARKET.to_owned()], None)
        .await
        .expect("a token");
    for token in [TOKEN, long.as_str()] {
        let order = format!(
            r#"{{"external_id":"1","email":"{token}","endpoint":"{token}","status":"{token}","total_price":"{token}","currency":"{token}","tags":[],"custom_fields":{{"{token}":"{token}"}},"lines":[{{"external_id":"l","product":"p","status":"{token}"}}]}}"#
        );
        let good = |field: &str, value: &str| {
            order.replacen(&format!("\"{field}\":\"{token}\""), &format!("\"{field}\":{value}"), 1)
        };
        let fixed = good("email", "\"a@b\"");
        let endpoint = fixed.replacen(&format!("\"endpoint\":\"{token}\""), "\"endpoint\":\"website\"", 1);
        for order in [order.clone(), fixed, endpoint] {
            let call = format!(r#"{{"token":"{token}","detail":true,"skip_triggers":"{token}","data":[{order}]}}"#);
            let without_flag = call.replacen(&format!("\"skip_triggers\":\"{token}\","), "", 1);
            for call in [call, without_flag] {
                let found = server.import("json", call).await.body;
                assert!(!found.contains(&token[..20]), "{found}");
                assert!(found.contains("[token]"), "{found}");
            }
        }
    }
    let odd = "Tok/en~With/Slash~1234@x.y";
    tokens::create(conn, server.account_id, &auth::hash(odd), "", &[auth::MARKET.to_owned()], None)
        .await
        .expect("a token");
    run(conn, "update accounts set unknown_profile = 'reject'").await;
    for (field, value) in
        [("custom_fields", format!("{{\"{}{odd}\":\"1\"}}", "x".repeat(41))), ("email", format!("\"{odd}\""))]
    {
        let order = format!("{},\"{field}\":{value}}}]}}", &JSON[1..JSON.len() - 3]);
        let found = server.import("json", format!("{{\"token\":\"{odd}\",\"detail\":true,{order}")).await.body;
        assert!(found.contains("[token]") && found.contains("failed"), "{found}");
        for piece in ["Tok", "tok/", "Slash", "slash"] {
            assert!(!found.replace("[token]", "").contains(piece), "{found}");
        }
    }
    let query = answer(
        server
            .post(&format!("{IMPORT}?token={TOKEN}&format={TOKEN}"))
            .header(CONTENT_TYPE, "application/json")
            .body(JSON),
    )
    .await;
    error(&query, 200, 400, "found \\\"[token]\\\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_bodies_are_unpacked_within_the_limit() {
    let server = TestServer::with(Given { max_body_bytes: Some(100_000), ..Given::default() }).await;
    let pack = |encoding: &str, data: &[u8]| match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(data).expect("memory");
            encoder.finish().expect("memory")
        }
        "br" => {
            let mut packed = Vec::new();
            brotli::CompressorWriter::new(&mut packed, 4096, 5, 18).write_all(data).expect("memory");
            packed
        }
        "zstd" => zstd::encode_all(data, 3).expect("memory"),
        _ => data.to_vec(),
    };
    let send = async |encoding: &str, data: Vec<u8>| {
        let request =
            server.post(&with_token()).header(CONTENT_TYPE, "application/json").header(CONTENT_ENCODING, encoding);
        answer(request.body(data)).await
    };
    for encoding in ["identity", "gzip", "br", "zstd"] {
        assert_eq!(send(encoding, pack(encoding, JSON.as_bytes())).await.body, DONE, "{encoding}");
        // The bomb is small where it is packed.
        error(&send(encoding, pack(encoding, &vec![b' '; 100_001])).await, 413, 413, "max_body_bytes");
    }
    for encoding in ["gzip", "br", "zstd"] {
        let packed = pack(encoding, JSON.as_bytes());
        error(&send(encoding, packed[..packed.len() / 2].to_vec()).await, 200, 400, "body: ");
        error(&send(encoding, JSON.into()).await, 200, 400, "body: ");
    }
    error(&send("br", vec![0x11, 0x1e, 0, 0, 0]).await, 413, 413, "window");
    error(&send("zstd", vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 0, 0, 0]).await, 413, 413, "window");
    error(&send("deflate", JSON.into()).await, 415, 415, "Content-Encoding: ");
    error(&send("gzip, br", JSON.into()).await, 415, 415, "Content-Encoding: ");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_slow_bodies_are_refused_in_time() {
    let given = Given { max_body_bytes: Some(10_000), body_idle_timeout_ms: Some(200), ..Given::default() };
    let server = TestServer::with(given).await;
    error(
        &server.import("json", " ".repeat(10_001)).await,
        413,
        413,
        "at most 10000 bytes (max_body_bytes), found 10001",
    );
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n", with_token());
    // A body that stops coming.
    let slow = raw(&server, &format!("{head}Content-Length: 100\r\n\r\n{{")).await;
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    assert!(slow.contains("{\"error\":408,"), "{slow}");
    // One that grows without a declared length.
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let endless = raw(&server, &format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(3))).await;
    assert!(endless.starts_with("HTTP/1.1 413 "), "{endless}");
}

/// Sends bytes and reads until the server closes, or has said all of an answer.
async fn raw(server: &TestServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut found = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !found.ends_with(b"}") {
            match stream.read(&mut buffer).await {
                Ok(n @ 1..) => found.extend_from_slice(&buffer[..n]),
                _ => break,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("an answer within the deadline");
    String::from_utf8(found).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_memory_are_bounded_and_half_is_kept_for_known_tokens() {
    let given = Given { max_inflight_bytes: Some(2_000), ..Given::default() };
    let server = TestServer::with(given).await;
    let small = body(JSON);
    let large = format!("{JSON}{}", " ".repeat(1_200));
    assert_eq!(server.import("json", small).await.body, DONE);
    let anonymous = server
        .post(IMPORT)
        .header(CONTENT_TYPE, "application/json")
        .body(large.clone())
        .send()
        .await
        .expect("an answer");
    assert_eq!(anonymous.status(), 503);
    assert_eq!(anonymous.headers().get(RETRY_AFTER).expect("Retry-After"), "1");
    let known = answer(server.post(&with_token()).header(CONTENT_TYPE, "application/json").body(large)).await;
    assert_eq!(known.body, DONE);
    // Bodies that are on their way hold their bytes until they end: of two that fit only alone, one is refused.
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3000\r\n\r\n",
        with_token()
    );
    let half = format!("{head}{}", " ".repeat(1_900));
    let mut first = TcpStream::connect(server.address).await.expect("a connection");
    let mut second = TcpStream::connect(server.address).await.expect("a connection");
    first.write_all(half.as_bytes()).await.expect("half a body");
    second.write_all(half.as_bytes()).await.expect("half a body");
    let (mut of_first, mut of_second) = ([0; 12], [0; 12]);
    let refused = tokio::select! {
        read = first.read_exact(&mut of_first) => read.map(|_| of_first),
        read = second.read_exact(&mut of_second) => read.map(|_| of_second),
    };
    assert_eq!(&refused.expect("an answer"), b"HTTP/1.1 503");
    error(&server.import("json", body(JSON)).await, 503, 503, "too many bodies");
    drop((first, second));
    let taken = async { while server.import("json", body(JSON)).await.body != DONE {} };
    tokio::time::timeout(Duration::from_secs(30), taken).await.expect("the bytes are free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_may_follow_the_error() {
    let given = Given { http_status: Some(ordergate::config::HttpStatus::Rest), ..Given::default() };
    let server = TestServer::with(given).await;
    assert_eq!(server.import("json", body(JSON)).await, Answer { status: 200, body: DONE.to_owned() });
    error(&server.import("json", JSON).await, 401, 401, "token: ");
    error(&server.import("json", "{").await, 400, 400, "line 1, column 2: ");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_things_are_limited_by_name() {
    let given = Given {
        max_orders: Some(2),
        max_definitions: Some(1),
        max_line_statuses: Some(1),
        max_depth: Some(8),
        ..Given::default()
    };
    let server = TestServer::with(given).await;
    let send = async |fields: &str| server.import("json", format!("{{\"token\":\"{TOKEN}\",{fields}}}")).await;
    error(&send("\"data\":[{},{},{}]").await, 413, 413, "data: expected at most 2 orders, found 3");
    error(
        &send("\"custom_fields\":[{},{}],\"data\":[{}]").await,
        413,
        413,
        "custom_fields: expected at most 1 definitions, found 2",
    );
    error(&send("\"custom_line_statuses\":[{},{}],\"data\":[{}]").await, 413, 413, "line statuses, found 2");
    let deep = format!("\"a\":{}1{}", "[".repeat(7), "]".repeat(7));
    error(&send(&deep).await, 200, 400, "data: required");
    let deeper = format!("\"a\":{}1{}", "[".repeat(8), "]".repeat(8));
    error(&send(&deeper).await, 200, 400, "at most 8 levels");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_and_health_is_told() {
    let server = TestServer::start().await;
    let client = crate::support::http().http2_prior_knowledge().build().expect("a client");
    let response = client
        .post(server.url(&with_token()))
        .header(CONTENT_TYPE, "application/json")
        .body(JSON)
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.text().await.expect("a body"), DONE);
    for path in ["/health/live", "/health/ready"] {
        let found = answer(server.client().get(server.url(path))).await;
        assert_eq!(found, Answer { status: 200, body: r#"{"error":0,"error_text":""}"#.to_owned() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_answered_if_they_are_harmless() {
    let server = TestServer::start().await;
    let send = async |id: &str| -> HeaderMap {
        server
            .client()
            .get(server.url("/health/live"))
            .header("x-request-id", id)
            .send()
            .await
            .expect("an answer")
            .headers()
            .clone()
    };
    assert_eq!(send("aZ0._-").await["x-request-id"], "aZ0._-");
    for bad in ["", "a b", "a/b", &"a".repeat(65)] {
        let found = send(bad).await["x-request-id"].to_str().expect("text").to_owned();
        assert_eq!(found.len(), 16, "{bad:?} became {found}");
    }
    let call = server.post(IMPORT).header("x-request-id", TOKEN).header(CONTENT_TYPE, "application/json");
    let answered = call.body(format!(r#"{{"token":"{TOKEN}","data":[]}}"#)).send().await.expect("an answer");
    assert_eq!(answered.headers()["x-request-id"].len(), 16, "a token of the body is none, either");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_document_are_refused_in_both_formats() {
    let server = TestServer::start().await;
    for (format, open) in [("json", "{\"error\":400,\"error_text\":\""), ("xml", "<xml><error>400</error><error_text>")]
    {
        for (body, text) in [
            (&b""[..], "body: expected a document, found nothing"),
            (b" \r\n\t", "body: expected a document, found nothing"),
            (b"<xml>\xff</xml>", "byte 6: expected UTF-8, since no other charset is declared"),
            (b"\xef\xbb\xbf\n\xc3(", "byte 2: expected UTF-8"),
        ] {
            let found = server.import(format, body.to_vec()).await;
            assert_eq!(found.status, 200, "{}", found.body);
            assert!(found.body.starts_with(&format!("{open}{text}")), "{format}: {}", found.body);
        }
        // The client sends half of what it declared, and no more.
        let mut stream = TcpStream::connect(server.address).await.expect("a connection");
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/{format}\r\nContent-Length: 100\r\n\r\n",
            with_token()
        );
        stream.write_all(format!("{head}{{\"data\":").as_bytes()).await.expect("half a body");
        stream.shutdown().await.expect("the sending side is closed");
        let mut found = String::new();
        stream.read_to_string(&mut found).await.expect("an answer");
        assert!(found.contains(&format!("{open}body: it stopped half-way")), "{format}: {found}");
    }
    assert_eq!(server.db.text("select count(*) from orders").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_tells_how_long_its_phases_took_if_it_is_asked_to() {
    let always = ordergate::config::Given { server_timing: Some(true), ..Default::default() };
    let (server, telling) = (TestServer::start().await, TestServer::with(always).await);
    let timing = async |server: &TestServer, prefer: &str| {
        let body = crate::support::tree::call(vec![crate::support::tree::order(1, 1, 1)]).render("json");
        let request =
            server.post(IMPORT).header("content-type", "application/json").header("prefer", prefer).body(body);
        let response = request.send().await.expect("an answer");
        response.headers().get("server-timing").map(|value| value.to_str().expect("text").to_owned())
    };
    assert_eq!(timing(&server, "respond-async").await, None);
    for told in [timing(&server, "wait=10, Server-Timing").await, timing(&telling, "").await] {
        let told = told.expect("a header");
        let names: Vec<_> = told.split(", ").filter_map(|entry| Some(entry.split_once(";dur=")?.0)).collect();
        assert_eq!(names, ["read", "decode", "plan", "database", "render", "total"], "{told}");
    }
}
