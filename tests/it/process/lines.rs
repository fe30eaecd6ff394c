//! What a child writes, line by line, as it comes.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::program::DEADLINE;

/// The lines of one pipe, read by a thread that ends with the pipe.
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    read: Mutex<SoFar>,
    changed: Condvar,
}

#[derive(Default)]
struct SoFar {
    lines: Vec<String>,
    at_end: bool,
}

impl Lines {
    pub(super) fn of(pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                shared.note(|so_far| so_far.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            shared.note(|so_far| so_far.at_end = true);
        });
        Lines(ours)
    }

    /// What is found in a line, as soon as that line is there.
    pub(super) fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut so_far = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = so_far.lines.iter().find_map(|line| find(line)) {
                return found;
            }
            let left = DEADLINE.saturating_sub(begun.elapsed());
            assert!(!so_far.at_end && !left.is_zero(), "expected {what}, found\n{}", so_far.lines.join("\n"));
            so_far = self.0.changed.wait_timeout(so_far, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What is there now.
    pub(super) fn now(&self) -> String {
        self.0.read.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }

    /// All of it; waits for the end.
    pub(super) fn all(&self) -> String {
        let so_far = self.0.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (so_far, timeout) = self
            .0
            .changed
            .wait_timeout_while(so_far, DEADLINE, |so_far| !so_far.at_end)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "another process holds the pipe");
        so_far.lines.join("\n")
    }
}

impl Shared {
    fn note(&self, note: impl FnOnce(&mut SoFar)) {
        note(&mut self.read.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}
