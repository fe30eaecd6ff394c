//! Workers that are killed in the middle of deliveries lose nothing, and keep the order.

use std::collections::HashMap;

use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::cluster::Cluster;
use super::program::{DEADLINE, Home, ordergate, serve, text};
use crate::support::db::{TestDb, admin_options, run};
use crate::support::receiver::{Hook, Receiver, status};
use crate::support::server::answer;

const KILLS: usize = 50;
pub(super) const ORDERS: usize = 1_500;
/// The worker that is killed.
const DELIVER: &str = "deliver --allow-private-webhooks --webhook-max-inflight 4";
/// Hooks between two kills.
const BETWEEN: usize = 5;

pub(super) fn printed(db: &impl Home, arguments: &str) -> serde_json::Value {
    serde_json::from_str(&ordergate(db, arguments).arg("--output").arg("json").done()).expect("JSON")
}

pub(super) fn set_up(db: &impl Home) -> String {
    printed(db, "migrate");
    printed(db, "account create shop");
    printed(db, "channel create --account shop web");
    printed(db, "touchpoint create --account shop website --channel web");
    printed(db, "currency create --account shop USD");
    let token = printed(db, "token create --account shop --name shop");
    token["token"].as_str().expect("a token").to_owned()
}

pub(super) fn orders(token: &str, version: usize) -> String {
    let order = |number: usize| {
        json!({"external_id": format!("o{number}"), "email": "a@example.com", "endpoint": "website", "status": "new",
            "total_price": version, "currency": "USD", "lines": [{"external_id": "1", "product": "p"}]})
    };
    json!({"token": token, "data": (0..ORDERS).map(order).collect::<Vec<_>>()}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_killed_in_the_middle_lose_nothing_and_keep_the_order() {
    let db = TestDb::new().await;
    let token = set_up(&db);
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    let made = ordergate(&db, "subscription create --account shop --events * --url").arg(receiver.url()).done();
    assert!(made.starts_with("whsec_"), "{made}");
    let server = serve(&db, "--no-delivery");
    let mut versions = 0;
    let enough = format!("select count(*) >= {} from deliveries", ORDERS / 2);
    let enough = enough.as_str();
    // Whoever died loses its lease in the end: here at once.
    let lease_ends = "update deliveries set next_at = now() where next_at > now()";
    for round in 0..KILLS {
        // However fast workers are, each finds something to do.
        if round % 10 == 0 || db.text(enough).await != "true" {
            versions += 1;
            let answer = server.import(orders(&token, versions)).await;
            assert!(answer.body.starts_with(r#"{"error":0,"#), "{}", answer.body);
            assert!(round > 0 || receiver.came().is_empty(), "a server with --no-delivery delivers nothing");
        }
        let worker = ordergate(&db, DELIVER).start("");
        receiver.wait_for(receiver.came().len() + BETWEEN).await;
        worker.signal("KILL");
        assert_eq!(worker.ended().code, None, "killed");
        run(&mut db.connect().await, lease_ends).await;
    }
    let worker = ordergate(&db, "deliver --allow-private-webhooks").start("");
    until_all_is_delivered(&mut db.connect().await, versions).await;
    assert_eq!(worker.stop().code, Some(0));
    let came = receiver.came();
    assert_all_came_in_order(&came, versions);
    assert!(came.len() > versions * ORDERS, "workers were killed in the middle of deliveries");
}

async fn until_all_is_delivered(conn: &mut PgConnection, versions: usize) {
    let all = format!("0 {}", versions * ORDERS);
    let question = "(select count(*) from deliveries) || ' ' ||
        (select count(*) from deliveries_done where outcome = 'delivered')";
    let finished = async { while text(conn, question).await != all {} };
    let in_time = tokio::time::timeout(DEADLINE, finished).await;
    assert!(in_time.is_ok(), "expected {all}, found {}", text(conn, question).await);
}

/// Every event of all orders at least once, the same under the same id; those of an order in order.
fn assert_all_came_in_order(came: &[Hook], versions: usize) {
    let mut first_seen: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut bodies: HashMap<&str, &str> = HashMap::new();
    for hook in came {
        let seen = first_seen.entry(hook.order()).or_default();
        let revision = hook.body["data"]["revision"].to_string().parse().expect("a revision");
        if !seen.contains(&revision) {
            seen.push(revision);
        }
        let body = bodies.entry(&hook.id).or_insert(&hook.raw);
        assert_eq!(body, &hook.raw, "what has the same id is the same");
    }
    assert_eq!((first_seen.len(), bodies.len()), (ORDERS, versions * ORDERS), "every event came");
    for (order, seen) in first_seen {
        assert!(seen.into_iter().eq(1..=versions), "{order}");
    }
}

const RESTARTS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_and_comes_back_loses_nothing_and_keeps_the_order() {
    let mut cluster = Cluster::start();
    let token = set_up(&cluster);
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    printed(&cluster, &format!("subscription create --account shop --events * --url {}", receiver.url()));
    let server = serve(&cluster, "--allow-private-webhooks --webhook-timeout-ms 1000 --webhook-max-inflight 4");
    for version in 1..=RESTARTS {
        // As a client does: what is answered 503 is sent again.
        let accepted =
            async { while !server.import(orders(&token, version)).await.body.starts_with(r#"{"error":0,"#) {} };
        assert!(tokio::time::timeout(DEADLINE, accepted).await.is_ok(), "imports go on");
        receiver.wait_for(receiver.came().len() + BETWEEN).await;
        cluster.restart();
    }
    // What was being sent when the database went was not noted: its lease has to end first.
    let conn = &mut cluster.connect().await;
    // A worker that notes results locks subscriptions first, too.
    let lease_ends =
        "select id from subscriptions for update; update deliveries set next_at = now() where next_at > now()";
    run(conn, lease_ends).await;
    until_all_is_delivered(conn, RESTARTS).await;
    assert_eq!(server.stop().code, Some(0));
    assert_all_came_in_order(&receiver.came(), RESTARTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_set_up_by_commands() {
    let db = TestDb::new().await;
    set_up(&db);
    let create =
        "subscription create --account shop --url https://example.com/hook --events order.created,order.updated
        --touchpoints website --description shop";
    let made = printed(&db, create);
    let (id, secret) = (&made["id"], made["secret"].as_str().expect("a secret"));
    let show = format!("subscription show --account shop {id}");
    let shown = printed(&db, &show);
    assert_eq!(printed(&db, "subscription list --account shop"), json!([shown]));
    assert_eq!(shown["events"], json!(["order.created", "order.updated"]));
    assert_eq!((&shown["touchpoints"], &shown["enabled"]), (&json!(["website"]), &json!(true)));
    printed(&db, &format!("subscription disable --account shop {id}"));
    assert_eq!(printed(&db, &show)["enabled"], json!(false));
    printed(&db, &format!("subscription enable --account shop {id}"));
    assert_eq!(printed(&db, &show)["enabled"], json!(true));
    let rotated = printed(&db, &format!("subscription rotate --account shop {id}"));
    let rotated = rotated["secret"].as_str().expect("a secret");
    assert!(rotated != secret && !printed(&db, &show).to_string().contains("whsec_"), "secrets are shown once");
    assert_eq!(
        db.text("select count(*) filter (where expires_at is null) || '/' || count(*) from subscription_secrets").await,
        "1/2"
    );
    printed(&db, &format!("subscription delete --account shop {id}"));
    assert_eq!(printed(&db, "subscription list --account shop"), json!([]));
    for (command, why) in [
        ("show --account shop 99", "expected a subscription of the account's, found 99"),
        ("rotate --account shop 99", "expected a subscription of the account's, found 99"),
        ("create --account shop --events * --url ftp://example.com", "url: expected http or https"),
        ("create --account shop --events * --url https://a:b@example.com", "expected no user and no password"),
        ("create --account shop --events order.lost --url https://example.com", "found \"order.lost\""),
        (
            "create --account shop --events * --touchpoints moon --url https://example.com",
            "unknown touchpoint \"moon\"",
        ),
    ] {
        let sentence = ordergate(&db, &format!("subscription {command}")).refused();
        assert!(sentence.contains(why), "{command}: {sentence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_to_a_private_address_says_what_the_server_has_to_allow() {
    let db = TestDb::new().await;
    set_up(&db);
    let create = "subscription create --account shop --events * --url";
    for (url, host) in
        [("http://127.0.0.1:9000/", "127.0.0.1"), ("http://localhost/", "localhost"), ("http://[::1]/", "[::1]")]
    {
        let ended = ordergate(&db, create).arg(url).run();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.out.starts_with("whsec_") && !ended.out.contains("warning"), "{}", ended.out);
        let warning = format!("warning: url: {host} is a private address: only a server with --allow-private-webhooks");
        assert!(ended.err.starts_with(&warning), "{}", ended.err);
    }
    assert_eq!(ordergate(&db, create).arg("https://example.com/").run().err, "", "names are looked up when it is sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_logs_as_a_server_does_and_tells_its_health() {
    let db = TestDb::new().await;
    set_up(&db);
    let worker =
        ordergate(&db, "deliver --health-listen 127.0.0.1:0 --log-format json --acquire-timeout-ms 1000").start("");
    let address = worker.log.wait_for("the line of a worker that has started", |line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let started = line["message"] == "ordergate delivers events" && line["level"] == "INFO";
        started.then(|| line["health_address"].as_str().map(ToOwned::to_owned))?
    });
    let client = crate::support::http().build().expect("a client");
    let get = async |path: &str| answer(client.get(format!("http://{address}{path}"))).await.status;
    assert_eq!((get("/health/live").await, get("/health/ready").await), (200, 200));
    assert_eq!(get("/api/v1.1/market/orders/import").await, 404, "it tells its health, and nothing else");
    let name = db.name();
    let admin = &mut PgConnection::connect_with(&admin_options()).await.expect("the test cluster");
    run(admin, format!("alter database {name} allow_connections false")).await;
    run(admin, format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")).await;
    assert_eq!((get("/health/ready").await, get("/health/live").await), (503, 200));
    run(admin, format!("alter database {name} allow_connections true")).await;
    let again = async { while get("/health/ready").await != 200 {} };
    assert!(tokio::time::timeout(DEADLINE, again).await.is_ok(), "the database is back");
    let ended = worker.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for message in
        [r#""message":"stopping: what runs may finish","signal":"SIGTERM""#, r#""message":"ordergate has stopped""#]
    {
        assert!(ended.err.contains(message), "expected {message}, found {}", ended.err);
    }
    let taken = ordergate(&db, "deliver --health-listen 192.0.2.1:1").refused();
    assert!(taken.contains("listen on 192.0.2.1:1 (--health-listen names another address)"), "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_looked_up_and_sent_again_by_commands() {
    let db = TestDb::new().await;
    let token = set_up(&db);
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    let url = receiver.url();
    printed(&db, &format!("subscription create --account shop --events order.updated --url {url}"));
    let server = serve(&db, "--allow-private-webhooks");
    for version in [1, 1, 2] {
        server.import(orders(&token, version)).await;
    }
    receiver.wait_for(ORDERS).await;
    // What waits to be written is written when the server stops.
    assert_eq!(server.stop().code, Some(0));
    let list = printed(&db, "events list --account shop --order o7");
    let states: Vec<_> = list.as_array().expect("lines").iter().map(|line| (&line["state"], &line["type"])).collect();
    let (delivered, unchanged, fired) = (json!("delivered"), json!("unchanged"), json!("fired"));
    let (updated, created) = (json!("order.updated"), json!("order.created"));
    assert_eq!(states, [(&delivered, &updated), (&unchanged, &json!(null)), (&fired, &created)]);
    let event = list[0]["event"].as_str().expect("an id");
    assert_eq!(printed(&db, &format!("events show --account shop {event}")), json!([list[0]]));
    let fired = printed(&db, "events list --account shop --state fired,waiting --limit 3");
    assert_eq!(fired.as_array().map(Vec::len), Some(3));
    let table = ordergate(&db, "events list --account shop --state delivered --limit 1").done();
    assert!(table.starts_with("TIME ") && table.contains(" order.updated "), "{table}");
    let again = format!("events replay --account shop {event}");
    let reason = format!("{event} was delivered; say --delivered to send it again");
    assert_eq!(printed(&db, &again), json!({"deliveries": 0, "reason": reason}));
    assert_eq!(ordergate(&db, &again).done().trim(), format!("0 deliveries will be sent again: {reason}"));
    assert_eq!(ordergate(&db, &format!("{again} --delivered")).done().trim(), "1 delivery will be sent again");
    let waits = ordergate(&db, &again).done();
    assert!(waits.contains(&format!("{event} is waiting: it is due now")), "{waits}");
    let waiting = printed(&db, "events list --account shop --state waiting");
    assert_eq!(waiting[0]["event"], list[0]["event"]);
    for (command, why) in [
        ("list --account shop --order moon", "order: expected one that is stored, found \"moon\""),
        ("list --account shop --from never", "from: expected a time like"),
        ("show --account shop evt_99_0", "event: expected one that is kept"),
    ] {
        let sentence = ordergate(&db, &format!("events {command}")).refused();
        assert!(sentence.contains(why), "{command}: {sentence}");
    }
    for (command, why) in [
        ("replay --account shop", "required arguments"),
        ("list --account shop --state lost", "fired, waiting, delivered, failed, skipped, unchanged"),
    ] {
        let ended = ordergate(&db, &format!("events {command}")).run();
        assert!(ended.code == Some(2) && ended.err.contains(why), "{command}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_and_a_server_stop_at_their_deadline_though_a_receiver_does_not_answer() {
    let db = TestDb::new().await;
    let token = set_up(&db);
    // It takes connections, and is silent.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    printed(&db, &format!("subscription create --account shop --events * --url {url}"));
    let server = serve(&db, "--no-delivery");
    server.import(orders(&token, 1)).await;
    assert_eq!(server.stop().code, Some(0));
    for command in ["deliver", "serve --listen 127.0.0.1:0"] {
        let options = "--allow-private-webhooks --webhook-max-inflight 1 --webhook-timeout-ms 86400000
            --shutdown-timeout-ms 100";
        let process = ordergate(&db, &format!("{command} {options}")).start("");
        let asked = tokio::time::timeout(DEADLINE, silent.accept()).await;
        let _connection = asked.expect("a try").expect("a connection");
        let ended = process.stop();
        assert_eq!(ended.code, Some(0), "{command}: {}", ended.err);
        let late = "events were still on their way at the deadline; they are sent again";
        assert!(ended.err.contains(late), "{command}: {}", ended.err);
        // What was on its way is leased until long after the test.
        run(&mut db.connect().await, "update deliveries set next_at = now() where next_at > now()").await;
    }
}
