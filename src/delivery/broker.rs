//! The other way out: NATS `JetStream`, at the broker that the operator names. A subscription to `nats:` chooses no address,
//! so no request is forged through it.

use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, HeaderMap, ServerAddr};
use percent_encoding::percent_decode_str;

use super::send::Message;
use crate::error::chain;

/// What a subscription names in the place of a URL.
pub(super) const URL: &str = "nats:";
/// The header by which a stream knows what it has already.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// The operator's broker.
pub(super) struct Broker {
    context: Context,
    timeout: Duration,
}

/// The URL is none that a broker may have.
#[derive(Debug)]
pub(super) struct NoUrl;

impl Broker {
    /// One that is connected to as soon as it can be had, and again whenever it comes back.
    pub(super) async fn connect(url: &str, timeout: Duration) -> Result<Self, NoUrl> {
        let address: ServerAddr = url.parse().map_err(|_| NoUrl)?;
        let mut options = ConnectOptions::new().name("ordergate").retry_on_initial_connect();
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        options = match (address.username(), address.password()) {
            (None, _) => options,
            (Some(token), None) => options.token(plain(token)),
            (Some(user), Some(password)) => options.user_and_password(plain(user), plain(password)),
        };
        // Nothing but the URL could be wrong now.
        let client = options.connect(address).await.map_err(|_| NoUrl)?;
        Ok(Broker { context: jetstream::new(client), timeout })
    }

    /// Publishes a message of an account; done when a stream has it.
    pub(super) async fn publish(&self, account_id: i64, message: Message) -> Result<(), String> {
        let subject = format!("ordergate.{account_id}.{}", message.kind);
        let mut headers = HeaderMap::new();
        headers.insert(MESSAGE_ID, &*message.id);
        for (name, value) in message.headers() {
            headers.insert(name, value);
        }
        let publishing = async {
            let taken = self.context.publish_with_headers(subject, headers, message.body.into()).await;
            taken.map_err(|error| chain(&error))?.await.map_err(|error| chain(&error))
        };
        match tokio::time::timeout(self.timeout, publishing).await {
            Ok(published) => published.map(drop),
            Err(_) => Err("expected an answer of the broker in time, found none".to_owned()),
        }
    }
}
