//! A PostgreSQL of one test's own, which can crash.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use super::program::Home;

/// Says where the cluster is, and crashes it for each line that it is told.
const SCRIPT: &str = r#"
    set -euo pipefail
    echo "$ORDERGATE_TEST_DATABASE_URL"
    data=${ORDERGATE_TEST_DATABASE_URL##*host=}/data
    as_postgres=()
    [ "$(id -u)" != 0 ] || as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups)
    cd /
    while read -r _; do
        bin=$(dirname "$(readlink "/proc/$(head -n 1 "$data/postmaster.pid")/exe")")
        "${as_postgres[@]}" "$bin/pg_ctl" -D "$data" -l "$data/../log" -m immediate -w restart >/dev/null
        echo restarted
    done
"#;

pub(super) struct Cluster {
    script: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    url: String,
}

impl Cluster {
    pub(super) fn start() -> Self {
        let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("script/with-postgres"));
        script.args(["bash", "-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().expect("script/with-postgres");
        let input = script.stdin.take();
        let mut lines = BufReader::new(script.stdout.take().expect("its output")).lines();
        let url = lines.next().expect("a line").expect("the URL");
        Cluster { script, input, lines, url }
    }

    /// Crashes it, and starts it again.
    pub(super) fn restart(&mut self) {
        writeln!(self.input.as_mut().expect("its input"), "again").expect("it reads");
        assert_eq!(self.lines.next().expect("a line").expect("a word"), "restarted");
    }

    pub(super) async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::from_str(&self.url).expect("a URL");
        PgConnection::connect_with(&options).await.expect("the cluster")
    }
}

impl Home for Cluster {
    fn variable(&self) -> (&'static str, String) {
        ("DATABASE_URL", self.url.clone())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // At the end of its input the script ends, and the cluster with it.
        drop(self.input.take());
        let _ = self.script.wait();
    }
}
