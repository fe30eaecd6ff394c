//! Sends one event as the Standard Webhooks specification says (standardwebhooks.com, version 1).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Response, Url, header, redirect};
use serde_json::{Map, Value as Json, json};
use sha2::Sha256;
use time::OffsetDateTime;

use super::address::{PRIVATE, PublicOnly, is_public, literal};
use super::broker::{self, Broker, NoUrl};
use crate::config::Webhooks;
use crate::domain::scalars::{is_invisible, time_text};
use crate::error::chain;
use crate::store::deliveries::{Claimed, Target};

/// What every secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a new secret: the specification asks for 24 to 64.
const SECRET_BYTES: usize = 32;
/// Longer answers are not read, and their connection is not used again, in bytes.
const MAX_ANSWER_BYTES: u64 = 16 << 10;

/// A new secret.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{SECRET_PREFIX}{}", BASE64.encode(bytes)))
}

/// Why a URL cannot be a subscription's.
pub(super) fn url_problem(text: &str) -> Option<&'static str> {
    if text == broker::URL {
        return None;
    }
    if text.contains(|c: char| c.is_control() || is_invisible(c)) {
        return Some("expected no blanks and no control characters in it");
    }
    let Ok(url) = Url::parse(text) else { return Some("expected a URL like https://example.com/hook") };
    match url.scheme() {
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            Some("expected no user and no password in it")
        }
        "http" | "https" => None,
        _ => Some("expected http or https, or nats: alone for the operator's broker"),
    }
}

/// What became of a try.
pub(super) struct Sent {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why it was not delivered.
    pub error: Option<String>,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// Says by which library TLS is done, for every client of this process.
pub fn install_tls() {
    // Only the first call installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There are no certificates to check receivers by, or the like.
    #[error("the HTTP client")]
    Client(#[from] reqwest::Error),
    /// The broker's URL is none.
    #[error("nats-url: expected a URL like nats://127.0.0.1:4222")]
    Broker,
}

/// Sends events.
pub(super) struct Sender {
    client: reqwest::Client,
    allow_private: bool,
    broker: Option<Broker>,
}

impl Sender {
    /// One that sends as the settings say.
    pub(super) async fn new(webhooks: &Webhooks) -> Result<Self, StartError> {
        install_tls();
        let Webhooks { allow_private, timeout, ref nats_url, .. } = *webhooks;
        let client = reqwest::Client::builder()
            .user_agent(concat!("ordergate/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(std::sync::Arc::new(PublicOnly { allow_private }))
            .timeout(timeout)
            .build()?;
        let broker = match nats_url {
            Some(url) => Some(Broker::connect(url, timeout).await.map_err(|NoUrl| StartError::Broker)?),
            None => None,
        };
        Ok(Sender { client, allow_private, broker })
    }

    /// Sends an event of an account once, now.
    pub(super) async fn send(&self, account_id: i64, target: &Target, claimed: &Claimed, now: OffsetDateTime) -> Sent {
        let message = Message::new(target, claimed, now);
        if target.url != broker::URL {
            return self.post(&target.url, message, now).await;
        }
        let published = match &self.broker {
            Some(broker) => broker.publish(account_id, message).await,
            None => Err("expected a server that runs with --nats-url".to_owned()),
        };
        Sent { status: None, error: published.err(), retry_after: None }
    }

    async fn post(&self, url: &str, message: Message, now: OffsetDateTime) -> Sent {
        let failed = |error: String| Sent { status: None, error: Some(error), retry_after: None };
        let url = match Url::parse(url) {
            Ok(parsed) if url_problem(url).is_none() => parsed,
            _ => return failed("the URL is not one that a webhook may have".to_owned()),
        };
        if literal(&url).is_some_and(|address| !self.allow_private && !is_public(address)) {
            return failed(PRIVATE.to_owned());
        }
        let mut request = self.client.post(url).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in message.headers() {
            request = request.header(name, value);
        }
        match request.body(message.body).send().await {
            Ok(response) => answered(response, now).await,
            // The URL may hold a secret of the receiver's.
            Err(error) => failed(chain(&error.without_url())),
        }
    }
}

/// An event's id: the same for all tries.
pub(super) fn event_id(pack_id: i64, place: i32) -> String {
    format!("evt_{pack_id}_{place}")
}

/// An event, signed.
pub(super) struct Message {
    /// The event's id.
    pub id: String,
    /// The event's type.
    pub kind: String,
    timestamp: String,
    signature: String,
    /// What is sent (contract, section 3, Events): small, and the same for all tries.
    pub body: String,
}

impl Message {
    fn new(target: &Target, claimed: &Claimed, now: OffsetDateTime) -> Self {
        let mut event: Map<String, Json> = serde_json::from_str(&claimed.event).unwrap_or_default();
        let kind = event.remove("type").and_then(|kind| kind.as_str().map(ToOwned::to_owned)).unwrap_or_default();
        for (stored, shown) in [("order_id", "id"), ("order", "external_id"), ("line", "line_external_id")] {
            if let Some(value) = event.remove(stored) {
                event.insert(shown.to_owned(), value);
            }
        }
        let id = event_id(claimed.pack_id, claimed.place);
        let timestamp = now.unix_timestamp().to_string();
        let body = json!({"type": kind, "timestamp": time_text(claimed.created_at), "data": event}).to_string();
        let signed = format!("{id}.{timestamp}.{body}");
        let signatures: Vec<String> = target.secrets.iter().filter_map(|secret| sign(secret, &signed)).collect();
        Message { id, kind, timestamp, signature: signatures.join(" "), body }
    }

    /// What the specification asks to be sent beside the body.
    pub(super) fn headers(&self) -> [(&'static str, &str); 3] {
        [("webhook-id", &self.id), ("webhook-timestamp", &self.timestamp), ("webhook-signature", &self.signature)]
    }
}

fn sign(secret: &str, signed: &str) -> Option<String> {
    let key = BASE64.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(signed.as_bytes());
    Some(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
}

async fn answered(response: Response, now: OffsetDateTime) -> Sent {
    let status = response.status();
    let retry_after =
        response.headers().get(header::RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now));
    if response.content_length().is_some_and(|length| length <= MAX_ANSWER_BYTES) {
        // Read to its end, so that the connection can be used again.
        let _ = response.bytes().await;
    }
    let error = (!status.is_success()).then(|| format!("expected a status of 200 to 299, found {}", status.as_u16()));
    Sent { status: Some(status.as_u16()), error, retry_after }
}

/// Seconds, or a date.
fn retry_after(text: &str, now: OffsetDateTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::from(httpdate::parse_http_date(text.trim()).ok()?);
    Some((date - now).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_specifications_example() {
        let signed = r#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
        let signature = sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", signed);
        assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = OffsetDateTime::from_unix_timestamp(1_614_265_330).expect("a time");
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("Thu, 25 Feb 2021 15:02:15 GMT", now), Some(Duration::from_secs(5)));
        assert_eq!(retry_after("Thu, 25 Feb 2021 15:02:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn a_webhook_goes_by_http_and_names_no_user() {
        assert_eq!(url_problem("https://example.com/hook?x=1"), None);
        assert_eq!(url_problem("http://127.0.0.1:9000/"), None);
        assert_eq!(url_problem("nats:"), None);
        for wrong in [
            "example.com",
            "nats://127.0.0.1:4222",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://user@example.com",
            "https://:pw@example.com",
        ] {
            assert!(url_problem(wrong).is_some(), "{wrong}");
        }
    }
}
