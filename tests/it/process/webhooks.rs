//! What is signed here is verified by the published library of the specification, and by the README's receiver.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value as Json, json};

use super::deliver::{orders, printed, set_up};
use super::program::serve;
use crate::support::db::TestDb;
use crate::support::receiver::{Hook, Receiver, status};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Python with the library, as `script/setup` makes it.
fn python() -> Command {
    let python = root().join("target/python/bin/python");
    assert!(python.exists(), "{} is missing: run script/setup", python.display());
    Command::new(python)
}

/// Ends a program with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sent(secret: &str, hook: &Hook) -> Json {
    let headers =
        json!({"webhook-id": hook.id, "webhook-timestamp": hook.timestamp, "webhook-signature": hook.signature});
    json!({"secret": secret, "headers": headers, "body": hook.raw})
}

/// What the library says of each.
fn verdicts(sent: &[Json]) -> Vec<String> {
    let mut verify = python();
    verify.arg(root().join("tests/verify.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = verify.spawn().expect("Python");
    let mut input = child.stdin.take().expect("its input");
    for sent in sent {
        writeln!(input, "{sent}").expect("it reads");
    }
    drop(input);
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").lines().map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_library_takes_what_is_sent_and_nothing_else() {
    let db = TestDb::new().await;
    let token = set_up(&db);
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    let made = printed(&db, &format!("subscription create --account shop --events * --url {}", receiver.url()));
    let old = made["secret"].as_str().expect("a secret").to_owned();
    let rotated = printed(&db, &format!("subscription rotate --account shop {}", made["id"]));
    let new = rotated["secret"].as_str().expect("a secret");
    let server = serve(&db, "--allow-private-webhooks");
    server.import(orders(&token, 1)).await;
    let came = receiver.wait_for(3).await;
    let mut all = Vec::new();
    let mut expected = Vec::new();
    for hook in &came[..3] {
        for secret in [&old, new] {
            all.push(sent(secret, hook));
            expected.push("good");
        }
        let mut tampered = vec![sent(&format!("{}AAAA", &old[..old.len() - 4]), hook)];
        for (field, text) in [("body", hook.raw.replacen("\"1\"", "\"2\"", 1)), ("body", format!("{} ", hook.raw))] {
            let mut other = sent(&old, hook);
            other[field] = json!(text);
            assert_ne!(other["body"], hook.raw.as_str());
            tampered.push(other);
        }
        let earlier = hook.timestamp.parse::<i64>().expect("seconds") - 1;
        for (header, text) in [
            ("webhook-id", format!("{}0", hook.id)),
            ("webhook-timestamp", earlier.to_string()),
            ("webhook-signature", "v1,".to_owned() + &"A".repeat(43) + "="),
        ] {
            let mut other = sent(&old, hook);
            other["headers"][header] = json!(text);
            tampered.push(other);
        }
        expected.extend(tampered.iter().map(|_| "bad"));
        all.extend(tampered);
    }
    assert_eq!(verdicts(&all), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_of_the_readme_prints_what_is_sent() {
    let db = TestDb::new().await;
    let token = set_up(&db);
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let receiver = readme.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a receiver");
    // On a free port, which it says first.
    let start = "HTTPServer((\"127.0.0.1\", 9000), Receiver).serve_forever()";
    let free = "server = HTTPServer((\"127.0.0.1\", 0), Receiver)\nprint(server.server_port)\nserver.serve_forever()";
    assert!(receiver.contains(start), "{receiver}");
    let receiver = receiver.replace(start, free);
    // Its secret stands in a file, which is written when the subscription is made.
    let file = tempfile::NamedTempFile::new().expect("a file");
    let receiver = receiver.replace("sys.argv[1]", "open(sys.argv[1]).read()");
    let mut program = python();
    program.args(["-u", "-c", &receiver]).arg(file.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running(program.spawn().expect("Python"));
    let mut lines = BufReader::new(running.0.stdout.take().expect("its output")).lines();
    let port = lines.next().expect("a line").expect("the port");
    let made = printed(&db, &format!("subscription create --account shop --events * --url http://127.0.0.1:{port}/"));
    std::fs::write(file.path(), made["secret"].as_str().expect("a secret")).expect("the file");
    let server = serve(&db, "--allow-private-webhooks");
    server.import(orders(&token, 1)).await;
    let line = lines.next().expect("a line").expect("the event");
    assert!(line.contains("'type': 'order.created'") && line.contains("'external_id': 'o"), "{line}");
}
