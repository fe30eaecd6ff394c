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

/// The signals that end a process; a terminal that closes sends SIGHUP.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
