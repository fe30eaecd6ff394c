//! What tests stand on: databases, servers, requests.

pub(crate) mod db;
pub(crate) mod server;
pub(crate) mod stored;
pub(crate) mod tree;

/// `NAME` of the environment, or why it has to be there.
pub(crate) fn database_url() -> String {
    std::env::var("ORDERGATE_TEST_DATABASE_URL").expect("ORDERGATE_TEST_DATABASE_URL: run the tests by script/test")
}
