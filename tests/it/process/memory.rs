//! What large requests took comes back to the system.

use std::time::Instant;

use futures_util::future::join_all;

use super::program::{DEADLINE, call, serve, set_up};
use crate::support::db::TestDb;

const TOKEN: &str = "a-token-of-an-old-client";
const REQUESTS: usize = 8;
const ORDERS: usize = 10_000;
/// A server that has just started takes 30.
const MOST_MIB: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn after_large_imports_at_once_the_memory_comes_back() {
    let db = TestDb::new().await;
    set_up(&db, TOKEN);
    let server = serve(&db, "");
    let imports = (0..REQUESTS).map(|n| server.import(call(TOKEN, &format!("r{n}-"), ORDERS, 3)));
    for answer in join_all(imports).await {
        assert_eq!(answer.body.matches(r#"{"error":0,"external_id""#).count(), ORDERS, "{:.300}", answer.body);
    }
    let begun = Instant::now();
    while server.memory_mib() > MOST_MIB {
        assert!(begun.elapsed() < DEADLINE, "the server keeps {} MiB", server.memory_mib());
        tokio::task::yield_now().await;
    }
    assert_eq!(server.stop().code, Some(0));
}
