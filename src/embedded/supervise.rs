//! Keeps a private Postgres up: starts it again when it ended, and restarts it when its programs were replaced.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Embedded;
use super::error::Result;
use super::host::find_programs;
use super::log::last_lines;
use super::programs::Programs;

/// How often it is asked whether the postmaster lives, where asking is cheap.
const WATCH: Duration = Duration::from_millis(100);
/// How often its programs, its socket and its log are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The pause after a start that failed; each one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause before the first try to start one that was up, and how long that has to last for none at all.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
const STEADY: Duration = Duration::from_secs(5);

impl Embedded {
    /// Keeps the cluster up, for ever; it can be dropped at any moment, to stop the cluster.
    ///
    /// One that ended is started again, at the same place; where that fails, again after a pause that grows up to
    /// 30 seconds. When the programs on disk are no longer those that run, and a package manager is done with them,
    /// it is restarted by a fast shutdown.
    pub async fn keep_up(&mut self) -> Infallible {
        let mut pause = Duration::ZERO;
        loop {
            let ready = Instant::now();
            self.until_it_is_down().await;
            if ready.elapsed() > STEADY {
                pause = Duration::ZERO;
            }
            loop {
                sleep(pause).await;
                pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                match self.start_again().await {
                    Ok(()) => {
                        pause = pause.min(SHORT_PAUSE);
                        break;
                    }
                    Err(error) => {
                        let error = one_line(&error.to_string());
                        tracing::error!(error, again_in = ?pause, "PostgreSQL does not start");
                    }
                }
            }
        }
    }

    async fn start_again(&mut self) -> Result<()> {
        // A package manager may have put them elsewhere.
        self.bin = find_programs(&self.account, &self.cluster)?;
        self.bring_up().await
    }

    /// Returns when there is no postmaster: it ended by itself, or had to be stopped.
    async fn until_it_is_down(&mut self) {
        let mut looked = Instant::now();
        let mut replaced = None;
        while let Some(pid) = self.pid {
            if !self.alive(pid) {
                self.tell_end(pid);
                (self.child, self.pid) = (None, None);
                return;
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                if let Err(error) = self.log.shorten(&self.account) {
                    tracing::warn!(%error, "the log of PostgreSQL was not put aside");
                }
                let reason = if self.place.socket().exists() { self.look(&mut replaced) } else { Some(SOCKET_GONE) };
                if let Some(reason) = reason {
                    tracing::warn!(pid, reason, "restarting PostgreSQL");
                    match self.halt(pid).await {
                        Ok(()) => return,
                        Err(error) => tracing::error!(%error, "PostgreSQL is not restarted"),
                    }
                }
            }
            // Elsewhere, one that another server started is asked for by running `ps`.
            let is_cheap = self.child.is_some() || cfg!(target_os = "linux");
            sleep(if is_cheap { WATCH } else { LOOK }).await;
        }
    }

    /// Whether the programs were replaced, and were the same at two looks since: then nobody is at work on them.
    fn look(&self, replaced: &mut Option<Programs>) -> Option<&'static str> {
        let found = Programs::in_dir(&self.bin);
        if found == self.programs {
            *replaced = None;
            return None;
        }
        let settled = replaced.as_ref() == Some(&found);
        *replaced = Some(found);
        // While they are incomplete, the old ones go on.
        (settled && find_programs(&self.account, &self.cluster).is_ok()).then_some(REPLACED)
    }

    fn tell_end(&mut self, pid: u32) {
        let status = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        let status = status.map(|status| status.to_string());
        let lines = self.log.tail().map(|text| last_lines(&text)).unwrap_or_default();
        tracing::error!(pid, status, lines = one_line(&lines), "PostgreSQL ended; starting it again");
    }
}

const SOCKET_GONE: &str = "its socket was removed";
const REPLACED: &str = "its programs were replaced on disk";

/// A text for one line of the log.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" | ")
}
