//! How long a connection may rest: between two requests, and with a head that has begun.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Version;

/// Longest wait for a request's head: from the start of the connection, or from the head's first byte.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What one connection does.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

/// What it does now.
#[derive(Debug, Clone, Copy)]
struct State {
    /// Requests that are read, worked on or answered.
    running: usize,
    /// When the last of them was over, or the last bytes of its answer went.
    since: Instant,
    /// When a head began that is not there as a whole.
    head: Option<Instant>,
    /// Its bytes may be of pings: they tell nothing.
    http2: bool,
}

impl State {
    /// When the connection is over, if nothing comes before; without `rest` it may rest for ever.
    fn deadline(self, rest: Option<Duration>, head_timeout: Duration) -> Option<Instant> {
        let State { running, since, head, .. } = self;
        let deadline = head.map(|head| head + head_timeout).or(rest.map(|rest| since + rest));
        deadline.filter(|_| running == 0)
    }

    fn read(&mut self, now: Instant) {
        if self.running == 0 && !self.http2 {
            self.head.get_or_insert(now);
        }
    }

    fn write(&mut self, now: Instant) {
        if !self.http2 {
            self.since = now;
        }
    }

    fn begin(&mut self, http2: bool) {
        self.running += 1;
        self.head = None;
        self.http2 = http2;
    }

    fn end(&mut self, now: Instant) {
        self.running -= 1;
        self.since = now;
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Nothing was asked for so long: what is still being written may finish.
    Idle,
    /// A head took too long.
    Head,
}

impl Activity {
    /// That of a connection that has begun: a head is due.
    pub(super) fn new() -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Activity(Mutex::new(State { running: 0, since: now, head: Some(now), http2: false })))
    }

    fn note(&self, note: impl FnOnce(&mut State)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Its rest, and that of a head, counts from now.
    pub(super) fn begin_to_rest(&self) {
        let now = Instant::now();
        self.note(|state| (state.since, state.head) = (now, state.head.map(|_| now)));
    }

    /// Bytes came.
    pub(super) fn read(&self) {
        self.note(|state| state.read(Instant::now()));
    }

    /// Bytes went.
    pub(super) fn write(&self) {
        self.note(|state| state.write(Instant::now()));
    }

    /// A request's head is there.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> RequestGuard {
        self.note(|state| state.begin(version == Version::HTTP_2));
        RequestGuard(Arc::clone(self))
    }

    /// Waits until the connection is to end, and says why; without `rest` it may rest for ever.
    pub(super) async fn over(&self, rest: Option<Duration>, head_timeout: Duration) -> Over {
        // A head that begins meanwhile is not due before that.
        let longest = rest.unwrap_or(head_timeout).min(head_timeout);
        loop {
            let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (now, deadline) = (Instant::now(), state.deadline(rest, head_timeout));
            if deadline.is_some_and(|deadline| deadline <= now) {
                return if state.head.is_some() { Over::Head } else { Over::Idle };
            }
            let look = now + longest;
            tokio::time::sleep_until(deadline.map_or(look, |deadline| deadline.min(look)).into()).await;
        }
    }
}

/// A request is at work as long as this lives.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<Activity>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.note(|state| state.end(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_has_begun_is_due_before_the_connection_has_rested() {
        let keep_alive = Some(Duration::from_secs(75));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut state = State { running: 0, since: start, head: Some(start), http2: false };
        assert_eq!(state.deadline(keep_alive, HEAD_TIMEOUT), Some(at(30)), "the first head");
        state.begin(false);
        state.read(at(2));
        assert_eq!(state.deadline(keep_alive, HEAD_TIMEOUT), None, "a request may take what it takes");
        state.end(at(100));
        state.write(at(110));
        assert_eq!(state.deadline(keep_alive, HEAD_TIMEOUT), Some(at(185)), "from the last bytes of the answer");
        assert_eq!(state.deadline(None, HEAD_TIMEOUT), None, "it may rest for ever");
        state.read(at(180));
        state.read(at(190));
        assert_eq!(state.deadline(keep_alive, HEAD_TIMEOUT), Some(at(210)), "from the first byte of the next head");
        state.begin(true);
        state.begin(true);
        state.end(at(300));
        assert_eq!(state.deadline(keep_alive, HEAD_TIMEOUT), None, "one still runs");
        state.end(at(310));
        state.read(at(320));
        state.write(at(320));
        assert_eq!(state.deadline(keep_alive, HEAD_TIMEOUT), Some(at(385)), "a ping is no head and no answer");
    }
}
