//! Several values of the same thing.

use std::time::Duration;

/// Values of one measure, at least one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one, or what lies between the middle two.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        f64::midpoint(low, high)
    }

    pub(crate) fn min(&self) -> f64 {
        self.sorted()[0]
    }

    pub(crate) fn max(&self) -> f64 {
        self.sorted()[self.0.len() - 1]
    }

    fn sorted(&self) -> Vec<f64> {
        assert!(!self.0.is_empty(), "a measure has a value");
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    }
}

impl From<f64> for Samples {
    fn from(value: f64) -> Self {
        Samples(vec![value])
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Samples(values.into_iter().collect())
    }
}

/// How many a second.
pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    float(count) / time.as_secs_f64()
}

/// Microseconds for each.
pub(crate) fn micros_each(count: usize, time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / float(count)
}

/// A count, as a float: exact for all that can be counted here.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn float(count: usize) -> f64 {
    count as f64
}
