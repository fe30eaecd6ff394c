//! The program as a child process, a data directory of its own, and the guards that end both.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use super::lines::Lines;
use crate::support::db::TestDb;
use crate::support::server::{Answer, IMPORT, answer};

/// How long anything may take that has to come in the end.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);
pub(super) const POLL: Duration = Duration::from_millis(10);

/// Where a program finds its database: a variable of its environment.
pub(super) trait Home {
    fn variable(&self) -> (&'static str, String);
}

impl Home for TestDb {
    fn variable(&self) -> (&'static str, String) {
        ("DATABASE_URL", self.url())
    }
}

impl Home for DataDir {
    fn variable(&self) -> (&'static str, String) {
        ("ORDERGATE_DATA_DIR", self.path().display().to_string())
    }
}

/// The program and its arguments, parted by blanks, in an environment without anything of ours.
pub(super) struct Program(Command);

pub(super) fn ordergate(home: &impl Home, arguments: &str) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ordergate"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let (name, value) = home.variable();
    command.env_clear().env("PATH", path).env(name, value).args(arguments.split_whitespace());
    Program(command)
}

/// A server on a free port.
pub(super) fn serve(home: &impl Home, arguments: &str) -> Process {
    let process = ordergate(home, &format!("serve --listen 127.0.0.1:0 {arguments}")).start("");
    process.address();
    process
}

impl Program {
    pub(super) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    pub(super) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// By `nohup`, which lets it live on when its terminal closes.
    pub(super) fn by_nohup(self) -> Self {
        self.by("nohup", &[])
    }

    /// As from a terminal: with SIGHUP as it is by default, though whoever runs the tests may ignore it.
    pub(super) fn by_terminal(self) -> Self {
        if cfg!(target_os = "linux") { self.by("env", &["--default-signal=HUP"]) } else { self }
    }

    fn by(self, program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.env_clear().args(arguments).arg(self.0.get_program()).args(self.0.get_args());
        command.envs(self.0.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Program(command)
    }

    /// Starts it, with its standard input.
    pub(super) fn start(mut self, input: &(impl AsRef<[u8]> + ?Sized)) -> Process {
        self.0.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.0.spawn().expect("the program");
        let mut pipe = child.stdin.take().expect("a pipe");
        // A program that does not read its input may have ended before.
        let _ = pipe.write_all(input.as_ref());
        let out = Lines::of(child.stdout.take().expect("a pipe"));
        let log = Lines::of(child.stderr.take().expect("a pipe"));
        Process { child, out, log }
    }

    /// Runs it to its end.
    pub(super) fn run(self) -> Ended {
        self.start("").ended()
    }

    /// Runs it to its end, which has to be a good one, and returns what it printed.
    pub(super) fn done(self) -> String {
        let ended = self.run();
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.out
    }

    /// Runs it to its end, which has to be a refusal, and returns the sentence for the operator.
    pub(super) fn refused(self) -> String {
        self.start("").ended().refusal()
    }
}

/// What a program left.
pub(super) struct Ended {
    /// `None`: by a signal.
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ended {
    pub(super) fn refusal(self) -> String {
        assert!(
            self.code.is_some_and(|code| code != 0),
            "expected a refusal, found {:?}: {}{}",
            self.code,
            self.out,
            self.err
        );
        assert_eq!(self.out, "", "a refusal stands on standard error");
        let sentence = self.err.split_once("ordergate: ").map(|(_, sentence)| sentence.trim().to_owned());
        let sentence = sentence.unwrap_or_else(|| panic!("expected a sentence, found {:?}", self.err));
        for (at, _) in sentence.match_indices(": ") {
            let (before, behind) = (sentence[..at].trim(), sentence[at + 2..].trim());
            assert!(!before.ends_with(behind), "it says everything twice: {sentence}");
        }
        sentence
    }
}

/// A running program; it is killed when the test is done with it.
pub(super) struct Process {
    child: Child,
    pub(super) out: Lines,
    pub(super) log: Lines,
}

impl Process {
    /// Where it listens, as soon as it is ready.
    pub(super) fn address(&self) -> SocketAddr {
        self.log.wait_for("ordergate is ready", |line| {
            if !line.contains("ordergate is ready") {
                return None;
            }
            let start = line.find("127.0.0.1:").expect("an address in the line of a ready server");
            let length = line[start..].find(['"', ' ']).unwrap_or(line.len() - start);
            line[start..start + length].parse().ok()
        })
    }

    pub(super) fn url(&self, path_and_query: &str) -> String {
        format!("http://{}{path_and_query}", self.address())
    }

    /// Sends an import as JSON.
    pub(super) async fn import(&self, body: impl Into<reqwest::Body>) -> Answer {
        answer(
            crate::support::http()
                .build()
                .expect("a client")
                .post(self.url(IMPORT))
                .header("content-type", "application/json")
                .body(body),
        )
        .await
    }

    /// Asks for a path; the status alone.
    pub(super) async fn get(&self, path: &str) -> u16 {
        answer(crate::support::http().build().expect("a client").get(self.url(path))).await.status
    }

    pub(super) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// The memory that it has, as the system tells.
    #[cfg(target_os = "linux")]
    pub(super) fn memory_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running program");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
    }

    /// Waits for its end.
    pub(super) fn ended(mut self) -> Ended {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(begun.elapsed() < DEADLINE, "the program still runs: {}", self.log.now());
            std::thread::sleep(POLL);
        };
        Ended { code: status.code(), out: self.out.all(), err: self.log.all() }
    }

    /// Tells it to stop, and waits for its end.
    pub(super) fn stop(self) -> Ended {
        self.signal("TERM");
        self.ended()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by the shell's own `kill`, which every machine has.
pub(super) fn signal(name: &str, pid: u32) {
    let _ = Command::new("sh").args(["-c", &format!("kill -s {name} {pid}")]).status();
}

/// A directory of one test's own, whose private cluster ends with it.
pub(super) struct DataDir(TempDir);

impl DataDir {
    pub(super) fn new() -> Self {
        // Not in a TMPDIR, which PostgreSQL's user may be kept out of.
        let dir = tempfile::Builder::new().prefix("ordergate-it-").tempdir_in("/tmp").expect("a directory");
        // As root, PostgreSQL runs as another user, who has to get in.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a directory of ours");
        DataDir(dir)
    }

    /// The data directory; the program makes it.
    pub(super) fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// The postmaster of the private cluster, if it lives.
    pub(super) fn postmaster(&self) -> Option<u32> {
        let cluster = self.path().join("pg");
        let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        // The number of one that has ended may be another program's by now.
        command_of(pid).contains(&cluster.display().to_string()).then_some(pid)
    }

    /// How to connect to the private cluster.
    pub(super) fn options(&self) -> PgConnectOptions {
        let place = ordergate::embedded::running(&self.path()).expect("a data directory").expect("a running cluster");
        let options = PgConnectOptions::new_without_pgpass().socket(place.socket_dir).port(place.port);
        options.username(ordergate::embedded::USER).database(ordergate::embedded::DATABASE)
    }

    pub(super) async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.options()).await.expect("the private database")
    }

    /// Runs a statement that has to fail.
    pub(super) async fn refuse(&self, sql: &str) {
        let mut conn = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.expect_err("a bad statement");
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        let begun = Instant::now();
        while let Some(pid) = self.postmaster().filter(|_| begun.elapsed() < DEADLINE) {
            signal("QUIT", pid);
            std::thread::sleep(POLL);
        }
        // A postmaster that was killed leaves the directory of its socket.
        if let Ok(socket_dir) = fs::read_to_string(self.path().join("socket")) {
            let _ = fs::remove_dir_all(Path::new(&socket_dir));
        }
    }
}

/// The command line of a process; empty if there is no process.
fn command_of(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_else(|_| {
        // Where there is no /proc.
        let output = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
        output.map(|output| output.stdout).unwrap_or_default()
    });
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first column of the first row, as text.
pub(super) async fn text(conn: &mut PgConnection, sql: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "a test's own question")]
    sqlx::query_scalar(AssertSqlSafe(format!("select coalesce(({sql})::text, 'null')")))
        .fetch_one(conn)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Sets up an account by the command line: what [`order`] needs, and a token that its clients carry.
pub(super) fn set_up(home: &impl Home, token: &str) {
    for command in [
        "account create test",
        "channel create --account test web",
        "touchpoint create --account test website --channel web",
        "currency create --account test USD",
    ] {
        ordergate(home, command).done();
    }
    let ended = ordergate(home, "token create --account test --value-stdin").start(&format!("{token}\n")).ended();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

/// An order as JSON.
pub(super) fn order(external_id: &str, lines: usize) -> String {
    let lines: Vec<_> =
        (0..lines).map(|line| format!(r#"{{"external_id":"l{line}","product":"p{line}","count":1}}"#)).collect();
    format!(
        r#"{{"external_id":"{external_id}","matching":"email","email":"{external_id}@example.com","endpoint":"website",
        "status":"new","total_price":"10.5","currency":"USD","lines":[{}]}}"#,
        lines.join(",")
    )
}

/// A call with so many orders of so many lines, as JSON; the external ids begin with `prefix`.
pub(super) fn call(token: &str, prefix: &str, orders: usize, lines: usize) -> String {
    let orders: Vec<_> = (0..orders).map(|n| order(&format!("{prefix}{n}"), lines)).collect();
    format!(r#"{{"token":"{token}","data":[{}]}}"#, orders.join(","))
}
