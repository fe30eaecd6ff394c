//! A private PostgreSQL that ends, cannot start, or loses its programs to an upgrade, under a running server.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use super::deliver;
use super::program::{DEADLINE, DataDir, Process, call, ordergate, serve, set_up, signal, text};
use crate::support::receiver::{Receiver, status};

const TOKEN: &str = "a-token-of-an-old-client";
const KILLS: usize = 10;
const GOOD: &str = r#"{"error":0,"#;
const AWAY: &str = r#"{"error":503,"error_text":"the database cannot be reached"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_killed_ten_times_beside_imports_comes_back_and_loses_nothing_acknowledged() {
    let dir = DataDir::new();
    let server = serve(&dir, "");
    set_up(&dir, TOKEN);
    let over = AtomicBool::new(false);
    let killing = async {
        for _ in 0..KILLS {
            import_until_done(&server, "between").await;
            kill_postgresql(&dir);
            until_ready(&server).await;
        }
        over.store(true, Ordering::Relaxed);
    };
    let (first, second, ()) =
        tokio::join!(import_for_long(&server, "a", &over), import_for_long(&server, "b", &over), killing);
    let conn = &mut dir.connect().await;
    for (prefix, acknowledged) in [("a", first), ("b", second)] {
        assert!(!acknowledged.is_empty(), "{prefix}: imports went on");
        let ids = acknowledged.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
        let found = text(conn, &format!("select count(*) from orders where external_id in ({ids})")).await;
        assert_eq!(found, acknowledged.len().to_string(), "{prefix}: what was acknowledged is stored");
    }
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("PostgreSQL ended; starting it again"), "{}", ended.err);
    assert!(!ended.err.contains("error=500"), "{}", ended.err);
    assert_eq!(dir.postmaster(), None, "PostgreSQL is gone with the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_sent_as_postgresql_was_killed_waits_for_it() {
    let dir = DataDir::new();
    let server = serve(&dir, "--acquire-timeout-ms 60000");
    set_up(&dir, TOKEN);
    import_until_done(&server, "before").await;
    let backends = "select string_agg(pid::text, ' ') from pg_stat_activity where pid <> pg_backend_pid()";
    let backends = text(&mut dir.connect().await, backends).await;
    kill_postgresql(&dir);
    // They end a moment later, and until then they could take an import to break.
    let begun = Instant::now();
    while backends.split(' ').any(|pid| Path::new("/proc").join(pid).exists()) {
        assert!(begun.elapsed() < DEADLINE, "backends outlive their postmaster");
    }
    let answer = server.import(call(TOKEN, "after", 1, 1)).await;
    assert!(answer.body.starts_with(GOOD), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_a_killed_server_left_is_kept_up_by_the_next_one() {
    let dir = DataDir::new();
    let first = serve(&dir, "");
    set_up(&dir, TOKEN);
    let left = dir.postmaster();
    first.signal("KILL");
    assert_eq!(first.ended().code, None, "killed");
    let server = serve(&dir, "");
    assert_eq!(dir.postmaster(), left, "it was taken over");
    kill_postgresql(&dir);
    until_ready(&server).await;
    import_until_done(&server, "after").await;
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(dir.postmaster(), None, "PostgreSQL is gone with the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_does_not_start_is_tried_again_and_a_stop_does_not_wait_for_it() {
    let dir = DataDir::new();
    let server = serve(&dir, "--acquire-timeout-ms 300");
    set_up(&dir, TOKEN);
    import_until_done(&server, "before").await;
    let control = dir.path().join("pg/global/pg_control");
    let aside = control.with_extension("aside");
    fs::rename(&control, &aside).expect("a cluster");
    kill_postgresql(&dir);
    let told = |line: &str| line.contains("PostgreSQL does not start").then(|| line.to_owned());
    let line = server.log.wait_for("why PostgreSQL does not start", told);
    assert!(line.contains("could not open file") && line.contains("global/pg_control"), "{line}");
    assert_eq!(server.get("/health/ready").await, 503);
    assert_eq!(server.get("/health/live").await, 200);
    let begun = Instant::now();
    // The first may meet a connection that broke.
    while server.import(call(TOKEN, "away", 1, 1)).await.body != AWAY {
        assert!(begun.elapsed() < DEADLINE, "imports do not tell that there is no PostgreSQL");
    }

    fs::rename(&aside, &control).expect("what was put aside");
    until_ready(&server).await;
    import_until_done(&server, "after").await;

    fs::rename(&control, &aside).expect("a cluster");
    kill_postgresql(&dir);
    // The pauses have grown.
    server.log.wait_for("a pause", |line| (line.contains("does not start") && line.contains("=4s")).then_some(()));
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    fs::rename(&aside, &control).expect("what was put aside");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_go_on_when_postgresql_was_started_again() {
    let dir = DataDir::new();
    let server = serve(&dir, "--allow-private-webhooks");
    let token = deliver::set_up(&dir);
    let receiver = Receiver::start(|_, _| status("200 OK")).await;
    ordergate(&dir, "subscription create --account shop --events * --url").arg(receiver.url()).done();
    server.import(call(&token, "first", 1, 1)).await;
    receiver.wait_for(1).await;
    kill_postgresql(&dir);
    until_ready(&server).await;
    let answer = server.import(call(&token, "second", 1, 1)).await;
    assert!(answer.body.starts_with(GOOD), "{}", answer.body);
    let came = receiver.wait_for(2).await;
    assert!(came.iter().any(|hook| hook.order().starts_with("second")), "{came:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_postgresql_under_a_running_server_is_noticed_and_ends_in_a_restart() {
    let programs = Programs::copied();
    let dir = DataDir::new();
    let start = ordergate(&dir, "serve --listen 127.0.0.1:0 --acquire-timeout-ms 500");
    let server = start.env("PATH", programs.path()).start("");
    server.address();
    set_up(&dir, TOKEN);
    import_until_done(&server, "before").await;
    assert_eq!(server.get("/health/ready").await, 200);

    // A new mode is no new program: at three looks, which cut a long log, nothing happens.
    let running = dir.postmaster();
    programs.allow("bin/postgres", 0o555);
    for _ in 0..3 {
        let log = dir.path().join("postgres.log");
        lengthen(&log, b"long");
        until_cut(&log).await;
    }
    assert_eq!(dir.postmaster(), running, "{}", server.log.now());

    // Half an upgrade: the library that new backends load is no longer the running server's.
    programs.replace("lib/plpgsql.so", b"of another build");
    assert_eq!(server.get("/health/ready").await, 503);
    let all = futures_util::future::join_all((0..20).map(|n| server.import(call(TOKEN, &format!("half{n}-"), 1, 1))));
    for answer in all.await {
        let good = answer.body.starts_with(GOOD) || answer.status == 503;
        assert!(good, "an import succeeds or passes: {} {}", answer.status, answer.body);
    }

    // The other half.
    for file in ["lib/plpgsql.so", "bin/postgres"] {
        programs.replace(file, &fs::read(programs.original.join(file)).expect("a program"));
    }
    let told = |line: &str| line.contains("its programs were replaced on disk").then_some(());
    server.log.wait_for("a restart", told);
    until_ready(&server).await;
    let begun = Instant::now();
    while dir.postmaster().is_none() || dir.postmaster() == running {
        assert!(begun.elapsed() < DEADLINE, "the old program still runs");
        tokio::task::yield_now().await;
    }
    until_ready(&server).await;
    import_until_done(&server, "after").await;
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(!ended.err.contains("after_connect"), "each failure is told once: {}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_was_left_and_upgraded_is_restarted_by_the_next_server() {
    let programs = Programs::copied();
    let dir = DataDir::new();
    let start = || ordergate(&dir, "serve --listen 127.0.0.1:0").env("PATH", programs.path()).start("");
    let first = start();
    first.address();
    first.signal("KILL");
    assert_eq!(first.ended().code, None, "killed");
    let left = dir.postmaster().expect("PostgreSQL outlives a killed server");
    let noted = fs::read_to_string(dir.path().join("pg/postmaster.pid")).expect("a postmaster's file");
    let started_s: i64 = noted.lines().nth(2).expect("a time").trim().parse().expect("seconds");
    let binary = fs::read(programs.original.join("bin/postgres")).expect("a program");
    // Times of files are compared by seconds.
    while fs::metadata(programs.dir.path().join("bin/postgres")).expect("a program").ctime() <= started_s {
        programs.replace("bin/postgres", &binary);
    }
    let second = start();
    second.address();
    let running = dir.postmaster().expect("PostgreSQL runs");
    assert_ne!(running, left);
    assert_eq!(second.stop().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_a_cleaner_removed_comes_back() {
    let dir = DataDir::new();
    let server = serve(&dir, "--acquire-timeout-ms 300");
    set_up(&dir, TOKEN);
    let socket_dir = fs::read_to_string(dir.path().join("socket")).expect("the place of the socket");
    fs::remove_dir_all(&socket_dir).expect("a socket directory");
    assert_eq!(server.get("/health/ready").await, 503);
    until_ready(&server).await;
    import_until_done(&server, "after").await;
    assert_eq!(fs::read_to_string(dir.path().join("socket")).expect("a place"), socket_dir, "at the same place");
    assert_eq!(server.stop().code, Some(0));
    assert!(!Path::new(&socket_dir).exists(), "it is removed in the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_postgresql_is_put_aside_while_the_server_runs() {
    let dir = DataDir::new();
    let server = serve(&dir, "");
    let log = dir.path().join("postgres.log");
    fs::write(log.with_extension("log.old"), "of another time").expect("an old log");
    lengthen(&log, b"first");
    until_cut(&log).await;
    let old = fs::read(log.with_extension("log.old")).expect("an old log");
    assert_eq!((old.len(), old.last()), (16 << 20, Some(&b'x')), "its end");
    // PostgreSQL goes on writing to the same file.
    dir.refuse("select no_such_column").await;
    assert!(fs::read_to_string(&log).expect("a log").contains("no_such_column"));
    assert_eq!(server.stop().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_that_cannot_be_put_aside_keeps_no_server_from_starting_and_is_cut() {
    let dir = DataDir::new();
    ordergate(&dir, "account list").done();
    let log = dir.path().join("postgres.log");
    lengthen(&log, b"");
    // A file cannot take the name of a directory.
    fs::create_dir(log.with_extension("log.old")).expect("a directory");
    let server = serve(&dir, "");
    until_cut(&log).await;
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("the log of PostgreSQL stays long"), "{}", ended.err);
    assert!(ended.err.contains("the log of PostgreSQL was not put aside"), "{}", ended.err);
}

/// Makes a log longer than it may be.
fn lengthen(log: &Path, first: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(log).expect("a log");
    file.write_all(first).and_then(|()| file.write_all(&vec![b'x'; 16 << 20])).expect("a long log");
}

/// Waits until the server has looked at a long log.
async fn until_cut(log: &Path) {
    let begun = Instant::now();
    while fs::metadata(log).expect("a log").len() >= 16 << 20 {
        assert!(begun.elapsed() < DEADLINE, "the log stays long");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_leaves_no_files_of_another_user_in_a_data_directory() {
    let dir = DataDir::new();
    fs::create_dir(dir.path()).expect("a directory");
    // As root: the directory of the user that PostgreSQL runs as.
    let owner = postgresql_user();
    chown(dir.path(), Some(owner), None).expect("a directory");
    ordergate(&dir, "account list").done();
    for name in ["lock", "postgres.log", "pg"] {
        let found = fs::metadata(dir.path().join(name)).expect("what a command leaves");
        assert_eq!(found.uid(), owner, "{name}");
    }
}

/// The user that PostgreSQL can run as: ourselves, or as root another one.
fn postgresql_user() -> u32 {
    let output = Command::new("sh").args(["-c", "id -u | grep -vx 0 || id -u postgres"]).output().expect("id");
    String::from_utf8(output.stdout).expect("text").trim().parse().expect("a number")
}

/// Kills the postmaster, and returns when it is gone.
fn kill_postgresql(dir: &DataDir) {
    let pid = dir.postmaster().expect("PostgreSQL runs");
    signal("KILL", pid);
    let begun = Instant::now();
    while dir.postmaster() == Some(pid) {
        assert!(begun.elapsed() < DEADLINE, "it outlives a kill");
    }
}

async fn until_ready(server: &Process) {
    let begun = Instant::now();
    while server.get("/health/ready").await != 200 {
        assert!(begun.elapsed() < DEADLINE, "the server does not recover: {}", server.log.now());
    }
}

/// Imports the same order until it is stored.
async fn import_until_done(server: &Process, external_id: &str) {
    let begun = Instant::now();
    loop {
        let answer = server.import(call(TOKEN, external_id, 1, 1)).await;
        if answer.body.starts_with(GOOD) {
            return;
        }
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(begun.elapsed() < DEADLINE, "imports do not recover: {}", answer.body);
    }
}

/// Imports one order after the other; the ids of those that were acknowledged.
async fn import_for_long(server: &Process, prefix: &str, over: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        count += 1;
        let answer = server.import(call(TOKEN, &format!("{prefix}{count}-"), 1, 1)).await;
        if answer.body.starts_with(GOOD) {
            acknowledged.push(format!("{prefix}{count}-0"));
        } else {
            assert_eq!(answer.status, 503, "{}", answer.body);
        }
    }
    acknowledged
}

/// PostgreSQL's programs in a directory of one test's own, of which some can be replaced.
struct Programs {
    dir: TempDir,
    original: PathBuf,
}

impl Programs {
    fn copied() -> Self {
        let find = "readlink -f \"$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
            2>/dev/null | sort -V | tail -n 1)\"";
        let found = Command::new("sh").args(["-c", find]).output().expect("a shell");
        let initdb = PathBuf::from(String::from_utf8(found.stdout).expect("text").trim());
        let original = initdb.ancestors().nth(2).expect("PostgreSQL's own directory").to_owned();
        let dir = tempfile::Builder::new().prefix("ordergate-it-").tempdir_in("/tmp").expect("a directory");
        // As root, PostgreSQL runs as another user, who has to get in.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a directory of ours");
        for part in ["bin", "lib"] {
            fs::create_dir(dir.path().join(part)).expect("a directory");
            for entry in fs::read_dir(original.join(part)).expect("PostgreSQL's files") {
                let (from, name) = entry.map(|entry| (entry.path(), entry.file_name())).expect("a file");
                let to = dir.path().join(part).join(&name);
                if name == "postgres" || name == "plpgsql.so" {
                    fs::copy(from, to).expect("a copy");
                } else {
                    symlink(from, to).expect("a link");
                }
            }
        }
        Programs { dir, original }
    }

    /// What finds these programs first.
    fn path(&self) -> String {
        format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap_or_default())
    }

    fn allow(&self, file: &str, mode: u32) {
        fs::set_permissions(self.dir.path().join(file), Permissions::from_mode(mode)).expect("a file of ours");
    }

    /// Puts another file in the place of one, as a package manager does.
    fn replace(&self, file: &str, bytes: &[u8]) {
        let path: &Path = &self.dir.path().join(file);
        let new = path.with_extension("new");
        fs::write(&new, bytes).expect("a file");
        fs::set_permissions(&new, Permissions::from_mode(0o755)).expect("a file of ours");
        fs::rename(&new, path).expect("a file of ours");
    }
}
