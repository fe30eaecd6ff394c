//! How much is on its way to one subscription, and how much is claimed ahead of that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// About as long is what is claimed ahead: shorter than a lease outlives a try, so that what waits for its place can
/// still be sent.
const AHEAD: Duration = Duration::from_secs(1);
/// Most that is claimed ahead: it waits in memory.
const MAX_AHEAD: usize = 4_000;

/// One subscription's deliveries, of one worker.
pub(super) struct Lane {
    /// For what is being sent.
    pub places: Arc<Semaphore>,
    /// What was not yet sent is not sent any more.
    pub closed: CancellationToken,
    max_inflight: usize,
    /// Claimed, and not over.
    claimed: usize,
    /// Sent since the last claim.
    sent: usize,
    since: Instant,
}

impl Lane {
    pub(super) fn new(max_inflight: usize, stop: &CancellationToken) -> Self {
        let (places, closed) = (Arc::new(Semaphore::new(max_inflight)), stop.child_token());
        Lane { places, closed, max_inflight, claimed: 0, sent: 0, since: Instant::now() }
    }

    /// How much to claim now: the faster it goes, the more, and the less often.
    pub(super) fn wanted(&self) -> usize {
        let in_time = u32::try_from(self.sent).unwrap_or(u32::MAX);
        let ratio = AHEAD.as_secs_f64() / self.since.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is cut to a few thousand")]
        let ahead = (f64::from(in_time) * ratio) as usize;
        let all = ahead.min(MAX_AHEAD).max(self.max_inflight);
        let free = all.saturating_sub(self.claimed);
        // A statement for each few of many would cost more than it gives.
        if free * 2 < all && self.claimed > self.max_inflight { 0 } else { free }
    }

    /// So many were claimed.
    pub(super) fn claim(&mut self, count: usize) {
        self.claimed += count;
        self.sent = 0;
        self.since = Instant::now();
    }

    /// One is over: it was sent, or given back.
    pub(super) fn leave(&mut self, sent: bool) {
        self.claimed -= 1;
        self.sent += usize::from(sent);
    }

    /// Nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.claimed == 0
    }
}
