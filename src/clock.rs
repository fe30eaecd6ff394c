//! The only place that reads the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::OffsetDateTime;

/// Tells the time: the system's, or one that a test holds.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's.
    System,
    /// Microseconds since 1970, as a test sets them.
    Held(Arc<AtomicI64>),
}

impl Clock {
    /// Now, cut to microseconds, as the database stores it.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        match self {
            Clock::System => {
                #[expect(clippy::disallowed_methods, reason = "this is the clock")]
                let now = OffsetDateTime::now_utc();
                now.replace_nanosecond(now.microsecond() * 1000).unwrap_or(now)
            }
            Clock::Held(micros) => {
                let micros = i128::from(micros.load(Ordering::Relaxed));
                OffsetDateTime::from_unix_timestamp_nanos(micros * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
            }
        }
    }
}
