//! Signals to stop.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What signals ask for.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// A signal came: nobody new should come.
    pub asked: CancellationToken,
    /// The drain is over: what runs finishes, and nothing new begins.
    pub now: CancellationToken,
}

/// What SIGTERM, SIGINT and SIGHUP ask for; between the first one and the stop is the drain, which a second one ends.
///
/// # Errors
/// The signals cannot be listened to.
pub fn on_signal(drain: Duration) -> io::Result<Stop> {
    let mut signals = Signals::new()?;
    let stop = Stop::default();
    let cancel = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "it lives as long as the process and holds nothing")]
    tokio::spawn(async move {
        let mut name = signals.next().await;
        if !drain.is_zero() {
            let drain_ms = drain.as_millis();
            tracing::info!(
                signal = name,
                drain_ms,
                "draining: /health/ready answers 503, requests are taken; a second signal ends it"
            );
            cancel.asked.cancel();
            tokio::select! {
                () = tokio::time::sleep(drain) => {}
                second = signals.next() => name = second,
            }
        }
        tracing::info!(signal = name, "stopping: what runs may finish");
        cancel.asked.cancel();
        cancel.now.cancel();
    });
    Ok(stop)
}

/// The signals that end a process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// That of a terminal that closes; `None` if it is to be ignored, as `nohup` asks for.
    hang_up: Option<Signal>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: if hang_up_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        let Signals { terminate, interrupt, hang_up } = self;
        let hang_up = async {
            match hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hang_up => "SIGHUP",
        }
    }
}

/// True if whoever started the process ignores SIGHUP for it; where there is no `/proc`, nobody does.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    // Signals are counted from 1, which is SIGHUP.
    ignored & 1 == 1
}
