//! When a delivery that failed is tried again.

use std::time::Duration;

/// Attempts at a delivery, the first one included: over about three days.
const MAX_ATTEMPTS: i32 = 11;
/// Each wait is so many times the one before …
const FACTOR: u32 = 4;
/// … but no longer than this.
const MAX_WAIT: Duration = Duration::from_hours(20);
/// Longest wait that a receiver may ask for by `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// How long to wait after another failure, with `attempts` before it; `None`: it is given up. `chance` of 0 to 1 spreads
/// what failed together by a fifth to both sides.
pub(super) fn wait(
    attempts: i32,
    first_wait: Duration,
    retry_after: Option<Duration>,
    chance: f64,
) -> Option<Duration> {
    if attempts + 1 >= MAX_ATTEMPTS {
        return None;
    }
    let factor = FACTOR.saturating_pow(attempts.unsigned_abs());
    let wait = first_wait.saturating_mul(factor).min(MAX_WAIT).mul_f64(0.8 + 0.4 * chance);
    Some(wait.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_ten_retries_over_about_three_days() {
        let waits: Vec<_> = (0..).map_while(|attempts| wait(attempts, Duration::from_secs(5), None, 0.5)).collect();
        assert_eq!(waits.len(), 10);
        assert!(waits.is_sorted());
        let days = waits.iter().sum::<Duration>().as_secs_f64() / 86_400.0;
        assert!((2.5..3.5).contains(&days), "{days} days: {waits:?}");
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_less() {
        let first = Duration::from_secs(5);
        let asked = |seconds| wait(0, first, Some(Duration::from_secs(seconds)), 0.5).map(|wait| wait.as_secs());
        assert_eq!(asked(120), Some(120));
        assert_eq!(asked(1), Some(5));
        assert_eq!(asked(u64::MAX), Some(86_400));
        assert_eq!((wait(0, first, None, 0.0), wait(0, first, None, 1.0)), (Some(first * 4 / 5), Some(first * 6 / 5)));
    }
}
