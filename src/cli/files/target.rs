//! Where calls go: to a server, or to the application in this process, straight on the database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;

use crate::http::{App, local};

/// Tries of one call, and the wait before the second, which doubles.
const TRIES: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait that a server can ask for.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// Longest wait for a connection, and for an answer.
const TIMEOUTS: [Duration; 2] = [Duration::from_secs(10), Duration::from_mins(10)];

/// Where calls go.
pub(in crate::cli) enum Target {
    /// To a server.
    Server {
        client: reqwest::Client,
        url: String,
        token: String,
        /// It has answered before.
        answered: AtomicBool,
    },
    /// To the application in this process, for an account of a database.
    Local { app: Box<App>, pool: sqlx::PgPool, account_id: i64, name: String },
}

impl Target {
    /// A server by its address.
    pub(in crate::cli) fn server(url: &str) -> anyhow::Result<Self> {
        let token = std::env::var("ORDERGATE_TOKEN").unwrap_or_default();
        if token.is_empty() {
            bail!("ORDERGATE_TOKEN: expected the server's token, found nothing");
        }
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            bail!("server: expected a URL like http://localhost:8080, found {url:?}");
        }
        crate::delivery::install_tls();
        let [connect, answer] = TIMEOUTS;
        let client = reqwest::Client::builder().connect_timeout(connect).timeout(answer).build();
        let client = client.context("an HTTP client")?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Target::Server { client, url, token, answered: AtomicBool::new(false) })
    }

    /// By what it is known: another database or another token is another target.
    pub(super) fn name(&self) -> String {
        match self {
            Target::Server { url, token, .. } => {
                let [a, b, c, d, ..] = crate::auth::hash(token);
                format!("--server {url} with the token {:08x}", u32::from_be_bytes([a, b, c, d]))
            }
            Target::Local { name, .. } => name.clone(),
        }
    }

    /// Makes a call of the market, and makes it again where that may help; returns the HTTP status and the body of the answer.
    pub(in crate::cli) async fn post(
        &self,
        call: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let body = Bytes::from(body);
        let mut wait = FIRST_WAIT;
        for number in 1.. {
            let (status, answer, retry_after) = match self.try_once(call, content_type, body.clone()).await {
                Ok(answered) => answered,
                Err(error) if number < TRIES && self.has_answered() => {
                    tracing::warn!(error = format!("{error:#}"), "no answer; the call is made again");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !matches!(status, 408 | 429 | 500 | 502..=504) || number >= TRIES {
                return Ok((status, answer));
            }
            tracing::warn!(status, "the server is busy; the call is made again");
            tokio::time::sleep(retry_after.unwrap_or(wait).min(MAX_WAIT)).await;
            wait *= 2;
        }
        bail!("no try is left")
    }

    /// False for a server that may be no server at all.
    fn has_answered(&self) -> bool {
        match self {
            Target::Server { answered, .. } => answered.load(Ordering::Relaxed),
            Target::Local { .. } => true,
        }
    }

    async fn try_once(
        &self,
        call: &str,
        content_type: &str,
        body: Bytes,
    ) -> anyhow::Result<(u16, Vec<u8>, Option<Duration>)> {
        let path = format!("/api/v1.1/market/{call}");
        match self {
            Target::Server { client, url, token, answered } => {
                let request = client.post(format!("{url}{path}")).bearer_auth(token);
                let response = request.header("content-type", content_type).body(body).send().await?;
                answered.store(true, Ordering::Relaxed);
                let status = response.status().as_u16();
                let retry_after =
                    response.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.parse().ok());
                Ok((status, response.bytes().await?.into(), retry_after.map(Duration::from_secs)))
            }
            Target::Local { app, account_id, .. } => {
                let answered = local::call(app, *account_id, &path, content_type, body).await?;
                Ok((answered.0, answered.1, None))
            }
        }
    }

    /// Leaves nothing behind that is only in memory.
    pub(in crate::cli) async fn finish(&self) -> anyhow::Result<()> {
        if let Target::Local { app, pool, .. } = self {
            app.records().write(pool).await?;
        }
        Ok(())
    }
}
