//! What tests stand on: databases, servers, requests.

pub(crate) mod db;
pub(crate) mod receiver;
pub(crate) mod server;
pub(crate) mod stored;
pub(crate) mod tree;

/// The test cluster, as `script/test` starts it.
pub(crate) fn database_url() -> String {
    std::env::var("ORDERGATE_TEST_DATABASE_URL").expect("ORDERGATE_TEST_DATABASE_URL: run the tests by script/test")
}

/// A client to be built, for requests to what is tested.
pub(crate) fn http() -> reqwest::ClientBuilder {
    ordergate::delivery::install_tls();
    reqwest::Client::builder()
}
