//! A server that is killed at any moment leaves all of a request or nothing.

use std::time::{Duration, Instant};

use super::program::{DataDir, Process, call, ordergate, signal, text};

const TOKEN: &str = ordergate::auth::DEMO_TOKEN;
const ROUNDS: u32 = 20;
const ORDERS: usize = 10_000;
const LINES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_during_an_import_leaves_all_of_it_or_nothing() {
    let dir = DataDir::new();
    let mut server = start(&dir);
    let begun = Instant::now();
    assert!(import(&server, "whole-").await, "an import without a kill is answered");
    let whole = begun.elapsed();
    assert_all_or_nothing(&dir, "whole-", true).await;
    let (mut none, mut all) = (0, 0);
    for round in 0..ROUNDS {
        let prefix = format!("r{round}-");
        // From at once to past the end; the last ones when the answer is there.
        let delay = (round < ROUNDS - 2).then_some(whole * round / (ROUNDS - 3));
        let answered = killed_after(server, delay, &prefix).await;
        if round % 5 == 4 {
            // As when the machine dies: the private PostgreSQL goes, too.
            signal("KILL", dir.postmaster().expect("PostgreSQL outlives a killed server"));
        }
        server = start(&dir);
        let counted = if assert_all_or_nothing(&dir, &prefix, answered).await { &mut all } else { &mut none };
        *counted += 1;
    }
    assert!(none > 0 && all > 0, "the kills come before and after the commit: {none} times nothing, {all} times all");
    assert!(import(&server, "last-").await, "after all that, imports go on");
    assert_all_or_nothing(&dir, "last-", true).await;
    assert_eq!(server.stop().code, Some(0), "a server that took PostgreSQL up stops it");
    assert_eq!(dir.postmaster(), None, "PostgreSQL is gone with the server");
}

fn start(dir: &DataDir) -> Process {
    let server = ordergate(dir, "serve --demo --listen 127.0.0.1:0").start("");
    server.address();
    server
}

/// Sends the import and kills the server, after a while or after the answer; whether the answer was there before.
async fn killed_after(server: Process, delay: Option<Duration>, prefix: &str) -> bool {
    let answered = if let Some(delay) = delay {
        let kill = async {
            tokio::time::sleep(delay).await;
            server.signal("KILL");
        };
        tokio::join!(import(&server, prefix), kill).0
    } else {
        let answered = import(&server, prefix).await;
        server.signal("KILL");
        answered
    };
    assert_eq!(server.ended().code, None, "killed");
    answered
}

/// Sends the import; whether it was answered, which must be in full.
async fn import(server: &Process, prefix: &str) -> bool {
    let url = server.url(crate::support::server::IMPORT);
    let request =
        crate::support::http().build().expect("a client").post(url).header("content-type", "application/json");
    let Ok(response) = request.body(call(TOKEN, prefix, ORDERS, LINES)).send().await else { return false };
    let Ok(body) = response.text().await else { return false };
    assert_eq!(body.matches(r#"{"error":0,"external_id""#).count(), ORDERS, "{body:.300}");
    true
}

/// Whether all is there; else nothing is.
async fn assert_all_or_nothing(dir: &DataDir, prefix: &str, answered: bool) -> bool {
    let conn = &mut dir.connect().await;
    // One statement, so that all counts are of one moment.
    let found = text(
        conn,
        &format!(
            "with those as (select account_id, id from orders where external_id like '{prefix}%')
            select (select count(*) from those) || ' ' ||
                (select count(*) from those t join order_lines l on l.account_id = t.account_id and l.order_id = t.id)
                || ' ' || (select count(*) from order_lines l
                    where not exists (select from orders o where o.account_id = l.account_id and o.id = l.order_id))"
        ),
    )
    .await;
    let all = format!("{ORDERS} {} 0", ORDERS * LINES);
    let fits = found == all || (found == "0 0 0" && !answered);
    assert!(fits, "{prefix}: expected all or nothing (answered: {answered}), found orders, lines, orphans: {found}");
    found == all
}
