//! Bodies in other charsets than UTF-8, and packed ones that do not say so.

use encoding_rs::Encoding;
use ordergate::config::Given;
use reqwest::header::CONTENT_TYPE;

use crate::support::server::{Answer, IMPORT, TOKEN, TestServer, answer};

const JSON: &str = r#"{"token":"TOKEN","data":[{"external_id":"Ж-1","email":"a@example.com","endpoint":"website","status":"new","total_price":1,"currency":"USD","lines":[{"external_id":"1","product":"Кружка"}]}]}"#;
const XML: &str = "<xml><token>TOKEN</token><data><external_id>Ж-1</external_id><email>a@example.com</email><endpoint>website</endpoint><status>new</status><total_price>1</total_price><currency>USD</currency><lines><external_id>1</external_id><product>Кружка</product></lines></data></xml>";

fn document(format: &str) -> String {
    let text = if format == "json" { JSON } else { XML };
    text.replace("TOKEN", TOKEN)
}

/// A text in a charset; UTF-16 with its byte order mark.
fn encoded(text: &str, label: &str) -> Vec<u8> {
    match label {
        "utf-16le" => [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect(),
        "utf-16be" => [0xfe, 0xff].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect(),
        label => Encoding::for_label(label.as_bytes()).expect("a charset").encode(text).0.into_owned(),
    }
}

async fn send(server: &TestServer, content_type: &str, body: Vec<u8>) -> Answer {
    answer(server.post(&format!("{IMPORT}?format=json")).header(CONTENT_TYPE, content_type).body(body)).await
}

const STORED: &str = r#"{"error":0,"error_text":"","result":[{"error":0,"external_id":"Ж-1"}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_in_the_charset_that_it_declares() {
    let server = TestServer::start().await;
    for format in ["json", "xml"] {
        for label in ["windows-1251", "koi8-r", "utf-16le", "utf-16be", "utf-8"] {
            let content_type = format!("application/{format}; charset={label}");
            let (id, product) = (format!("Ж {format} {label}"), format!("Кружка {format} {label}"));
            let text = document(format).replace("Ж-1", &id).replace("Кружка", &product);
            let found = send(&server, &content_type, encoded(&text, label)).await.body;
            assert_eq!(found, STORED.replace("Ж-1", &id), "{content_type}");
            let stored = format!(
                "select l.product from order_lines l join orders o on o.id = l.order_id where o.external_id = '{id}'"
            );
            assert_eq!(server.db.text(&stored).await, product, "{content_type}");
        }
        let text = document(format);
        // A byte order mark says so, too.
        for label in ["utf-16le", "utf-16be"] {
            let found = send(&server, &format!("application/{format}"), encoded(&text, label)).await;
            assert_eq!(found.body, STORED, "{format}, marked as {label}");
        }
    }
    for label in ["windows-1251", "koi8-r"] {
        let text = format!("<?xml version=\"1.0\" encoding=\"{label}\"?>{}", document("xml"));
        assert_eq!(send(&server, "text/xml", encoded(&text, label)).await.body, STORED, "declared as {label}");
    }
    // Another instruction is no declaration.
    let other = format!("<?xml-stylesheet encoding=\"koi8-r\"?>{}", document("xml"));
    assert_eq!(send(&server, "text/xml", other.into_bytes()).await.body, STORED);
    // What the header or a mark says makes the declaration void, and so does what the bytes plainly are.
    let utf16 = format!("<?xml version=\"1.0\" encoding=\"utf-16\"?>{}", document("xml"));
    for (content_type, body) in [
        ("text/xml; charset=utf-8", utf16.clone().into_bytes()),
        ("text/xml", format!("\u{feff}{utf16}").into_bytes()),
        ("text/xml", utf16.clone().into_bytes()),
        ("text/xml", encoded(&utf16, "utf-16le")),
        ("text/xml; charset=windows-1251", encoded(&utf16, "windows-1251")),
    ] {
        assert_eq!(send(&server, content_type, body).await.body, STORED, "{content_type}");
    }
    let latin1 = document("json").replace("Ж", "\u{e9}").replace("Кружка", "Tasse \u{e0} caf\u{e9}");
    let found = send(&server, "application/json; charset=iso-8859-1", encoded(&latin1, "iso-8859-1")).await;
    assert_eq!(found.body, STORED.replace('Ж', "\u{e9}"));
    let stored =
        "select l.product from order_lines l join orders o on o.id = l.order_id where o.external_id = '\u{e9}-1'";
    assert_eq!(server.db.text(stored).await, "Tasse \u{e0} caf\u{e9}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_fit_its_charset_is_refused_with_its_place() {
    let server = TestServer::start().await;
    for format in ["json", "xml"] {
        let text = document(format);
        let bad = encoded(&text, "windows-1251");
        let byte = text.find('Ж').expect("a letter") + 1;
        for (content_type, found) in [
            (format!("application/{format}"), "UTF-8, since no other charset is declared".to_owned()),
            (format!("application/{format}; charset=utf-8"), "UTF-8".to_owned()),
        ] {
            let answer = send(&server, &content_type, bad.clone()).await;
            let place = if format == "json" { "data[0].external_id" } else { "data[0]" };
            let text = format!(r#""error":400,"error_text":"byte {byte}, in {place}: expected {found}""#);
            assert!(answer.status == 200 && answer.body.contains(&text), "{content_type}: {}", answer.body);
        }
        for label in ["klingon", "hz-gb-2312"] {
            let answer = send(&server, &format!("application/{format}; charset={label}"), bad.clone()).await;
            let text = format!(r#"Content-Type: expected a charset like UTF-8, found \"{label}\""#);
            assert!(answer.status == 415 && answer.body.contains(&text), "{label}: {}", answer.body);
        }
        // One that may be a token is not repeated.
        let answer = send(&server, &format!("application/{format}; charset={TOKEN}"), bad.clone()).await;
        assert!(
            answer.status == 415 && answer.body.contains("found an unknown one of 21 characters"),
            "{}",
            answer.body
        );
        // Half a character at the end of UTF-16.
        let mut cut = encoded(&text, "utf-16le");
        cut.pop();
        let answer = send(&server, &format!("application/{format}"), cut.clone()).await;
        let text = format!("byte {}: expected UTF-16LE", cut.len() - 2);
        assert!(answer.body.contains(&text), "{}, expected {text}", answer.body);
        let answer =
            send(&server, &format!("application/{format}; charset=utf-16"), document(format).into_bytes()).await;
        assert!(answer.body.contains("byte 1: expected UTF-16, as Content-Type says"), "{}", answer.body);
        let answer = send(&server, &format!("application/{format}"), vec![0, 0, 0xfe, 0xff, 0, 0, 0, b'{']).await;
        assert!(answer.status == 415 && answer.body.contains("a byte order mark of UTF-32"), "{}", answer.body);
    }
    let declared = format!("<?xml version='1.0' encoding='klingon'?>{}", document("xml"));
    let answer = send(&server, "text/xml", declared.into_bytes()).await;
    let text = r#"XML declaration: expected a charset like UTF-8, found \"klingon\""#;
    assert!(answer.status == 415 && answer.body.contains(text), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_bounded_before_and_after_it_is_decoded() {
    // A letter is one byte in windows-1251 and two in UTF-8; what is ASCII is two in UTF-16.
    let text = document("json").replace("Кружка", &"Ж".repeat(255));
    let given = Given { max_body_bytes: Some(text.len()), ..Given::default() };
    let server = TestServer::with(given).await;
    for (label, status) in [("windows-1251", 200), ("utf-8", 200), ("utf-16le", 413)] {
        let found = send(&server, &format!("application/json; charset={label}"), encoded(&text, label)).await;
        assert_eq!(found.status, status, "{label}: {}", found.body);
    }
    let longer = text.replace("website", "website Ж");
    let body = encoded(&longer, "windows-1251");
    assert!(body.len() < text.len(), "it is short enough as it is sent");
    let found = send(&server, "application/json; charset=windows-1251", body).await;
    assert_eq!(found.status, 413, "{}", found.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_body_has_to_say_so() {
    let server = TestServer::start().await;
    let json = document("json");
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, json.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    let zstd = zstd::encode_all(json.as_bytes(), 3).expect("memory");
    for (name, body) in [("gzip", gzip), ("zstd", zstd)] {
        for content_type in ["application/json", "application/xml", ""] {
            let answer = send(&server, content_type, body.clone()).await;
            let text = format!("Content-Encoding: expected {name}, by which the body is packed, found none");
            assert!(answer.status == 200 && answer.body.contains(&text), "{content_type}: {}", answer.body);
        }
        let request = server.post(IMPORT).header(CONTENT_TYPE, "application/json").header("content-encoding", name);
        assert_eq!(answer(request.body(body)).await.body, STORED);
    }
}
