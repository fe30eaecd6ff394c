//! A server on a database of its own, with one account, and requests to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ordergate::auth;
use ordergate::clock::Clock;
use ordergate::config::{Common, Given, Settings};
use ordergate::http::App;
use ordergate::store::{accounts, connect, tokens};
use reqwest::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::db::TestDb;

/// The test's token: it stands in the calls of the cases.
pub(crate) const TOKEN: &str = "test-token-0123456789";
/// 2026-01-02T03:04:05.678901Z: the time that stands still in tests.
pub(crate) const NOW_MICROS: i64 = 1_767_323_045_678_901;
/// The path of the call.
pub(crate) const IMPORT: &str = "/api/v1.1/market/orders/import";

/// A server on a database of its own.
pub(crate) struct TestServer {
    pub(crate) db: TestDb,
    pub(crate) account_id: i64,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) app: App,
    clock: Arc<AtomicI64>,
    client: reqwest::Client,
    pub(crate) stop: CancellationToken,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

fn settings(given: &Given) -> Settings {
    Settings::resolve(Common::default(), given).expect("settings")
}

impl TestServer {
    /// A server with default settings.
    pub(crate) async fn start() -> Self {
        Self::with(Given::default()).await
    }

    /// A server with some settings.
    pub(crate) async fn with(given: Given) -> Self {
        Self::on(TestDb::new().await, given).await
    }

    /// A server on a database; the account is set up if it is not there.
    pub(crate) async fn on(db: TestDb, given: Given) -> Self {
        let settings = settings(&given);
        let pool = connect::pool(db.options.clone(), &settings);
        let account_id = set_up(&db).await;
        let clock = Arc::new(AtomicI64::new(NOW_MICROS));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let app = App::new(settings, pool, Clock::Held(Arc::clone(&clock)), false);
        #[expect(clippy::disallowed_methods, reason = "the server of a test")]
        tokio::spawn(ordergate::http::serve::serve(app.clone(), listener, stop.clone()));
        let client = crate::support::http().timeout(Duration::from_mins(2)).build().expect("a client");
        TestServer { db, account_id, address, app, clock, client, stop }
    }

    /// Turns the server's clock on, or back.
    pub(crate) fn turn_clock(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }

    pub(crate) fn url(&self, path_and_query: &str) -> String {
        format!("http://{}{path_and_query}", self.address)
    }

    /// A request to `orders/import`, to be completed.
    pub(crate) fn post(&self, path_and_query: &str) -> reqwest::RequestBuilder {
        self.client.post(self.url(path_and_query))
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends a call of the market, `orders/list` or another, in a format, `json` or `xml`.
    pub(crate) async fn market(&self, call: &str, format: &str, body: impl Into<reqwest::Body>) -> Answer {
        let path = format!("/api/v1.1/market/{call}");
        answer(self.post(&path).header(CONTENT_TYPE, format!("application/{format}")).body(body)).await
    }

    /// Sends an import in a format, `json` or `xml`.
    pub(crate) async fn import(&self, format: &str, body: impl Into<reqwest::Body>) -> Answer {
        answer(self.post(IMPORT).header(CONTENT_TYPE, format!("application/{format}")).body(body)).await
    }
}

/// Sends a request.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    Answer { status, body: response.text().await.expect("a whole answer") }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An account like the demo's.
async fn set_up(db: &TestDb) -> i64 {
    let conn = &mut db.connect().await;
    if let Some(account) = accounts::find(conn, "test").await.expect("accounts") {
        return account.id;
    }
    let account = accounts::create(conn, "test").await.expect("accounts").expect("a new account");
    for (channel, database) in [("web", "main"), ("shop", "main"), ("other", "other")] {
        accounts::create_channel(conn, account, channel, database).await.expect("channels");
        let touchpoint = if channel == "web" { "website" } else { channel };
        accounts::create_touchpoint(conn, account, touchpoint, channel).await.expect("touchpoints");
    }
    for currency in ["USD", "EUR", "RUB"] {
        accounts::create_currency(conn, account, currency).await.expect("currencies");
    }
    accounts::create_region(conn, account, "region_YnCrJj8Y1", "region").await.expect("regions");
    accounts::create_order_status(conn, account, "packed").await.expect("order statuses");
    let market = [auth::MARKET.to_owned()];
    tokens::create(conn, account, &auth::hash(TOKEN), "test", &market, None).await.expect("tokens");
    account
}
