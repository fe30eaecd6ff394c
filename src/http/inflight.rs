//! Bounds the bytes of all bodies that are in memory at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that are held now.
#[derive(Debug, Clone)]
pub(super) struct Inflight {
    max: usize,
    held: Arc<[AtomicUsize; 2]>,
}

/// The place of the bytes of all bodies in `held`.
const ALL: usize = 0;
/// The place of those that came without a token in header or query.
const ANONYMOUS: usize = 1;

/// The bytes of one body; they are free again when it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    inflight: Inflight,
    anonymous: bool,
    bytes: usize,
}

impl Inflight {
    pub(super) fn new(max: usize) -> Self {
        Inflight { max, held: Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]) }
    }

    /// The hold of one body, empty at first. Anonymous ones hold at most half of all.
    pub(super) fn hold(&self, anonymous: bool) -> Hold {
        Hold { inflight: self.clone(), anonymous, bytes: 0 }
    }

    fn take(&self, place: usize, bytes: usize, max: usize) -> bool {
        let add = |held: usize| held.checked_add(bytes).filter(|held| *held <= max);
        self.held[place].fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn give_back(&self, place: usize, bytes: usize) {
        self.held[place].fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Hold {
    /// Takes more bytes; false if there are none left.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        if self.anonymous && !self.inflight.take(ANONYMOUS, bytes, self.inflight.max / 2) {
            return false;
        }
        if !self.inflight.take(ALL, bytes, self.inflight.max) {
            if self.anonymous {
                self.inflight.give_back(ANONYMOUS, bytes);
            }
            return false;
        }
        self.bytes += bytes;
        true
    }

    /// Gives some bytes back.
    pub(super) fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.inflight.give_back(ALL, bytes);
        if self.anonymous {
            self.inflight.give_back(ANONYMOUS, bytes);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_bodies_hold_at_most_half() {
        let inflight = Inflight::new(100);
        let (mut anonymous, mut known) = (inflight.hold(true), inflight.hold(false));
        assert!(anonymous.grow(50));
        assert!(!anonymous.grow(1));
        assert!(known.grow(50));
        assert!(!known.grow(1));
        drop(anonymous);
        assert!(known.grow(50));
        drop(known);
        assert_eq!(inflight.held[ALL].load(Ordering::Relaxed), 0);
        assert_eq!(inflight.held[ANONYMOUS].load(Ordering::Relaxed), 0);
    }
}
