//! Shows how far an import is: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// At least so long between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How far a file is.
pub(super) struct Progress {
    /// On a terminal.
    bar: Option<ProgressBar>,
    name: String,
    /// Orders or products.
    what: &'static str,
    begun: Instant,
    last_line: Instant,
    bytes: Option<u64>,
}

impl Progress {
    /// The progress of a file of so many bytes, if that is known.
    pub(super) fn new(name: &str, what: &'static str, bytes: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let (bar, style) = match bytes {
                Some(bytes) => (ProgressBar::new(bytes), "{prefix} {bar:30} {percent}% {msg}, {eta} left"),
                None => (ProgressBar::new_spinner(), "{prefix} {spinner} {msg}"),
            };
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.with_prefix(name.to_owned())
        });
        let now = Instant::now();
        Progress { bar, name: name.to_owned(), what, begun: now, last_line: now, bytes }
    }

    /// So many items are acknowledged, `here` of them by this run, and so many bytes were read for them.
    pub(super) fn at(&mut self, bytes: u64, items: u64, here: u64, failed: u64) {
        let rate = rate(here, self.begun.elapsed());
        let message = format!("{items} {what}, {failed} failed, {rate} {what}/s", what = self.what);
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(message);
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            let part = self.bytes.filter(|all| *all > 0).map(|all| format!(", {} %", bytes.min(all) * 100 / all));
            eprintln!("{}: {message}{}", self.name, part.unwrap_or_default());
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Items a second.
pub(super) fn rate(items: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    items.saturating_mul(1000) / millis
}
