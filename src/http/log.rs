//! One line for each request.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::auth;

/// What is known of a request when it ends.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The number in `error`.
    pub error: u16,
    /// The text in `error_text`.
    pub error_text: String,
    /// What went wrong inside.
    pub cause: Option<String>,
    /// The account that was called for.
    pub account_id: Option<i64>,
    /// How long the phases took.
    pub phases: Phases,
    /// What an import did.
    pub counts: Option<Counts>,
    /// Why the first order that failed did.
    pub first_failure: Option<String>,
}

/// How long the phases of a call took.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Phases {
    /// Reading the body.
    pub read: Duration,
    /// Splitting and decoding it.
    pub decode: Duration,
    /// Deciding what to write.
    pub plan: Duration,
    /// Waiting for the database; the orders of a large request are decoded meanwhile.
    pub database: Duration,
    /// Writing the answer.
    pub render: Duration,
}

/// What an import did.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    /// Orders that were sent ….
    pub orders: Option<usize>,
    /// …, or products, or SKUs.
    pub items: Option<usize>,
    pub created: usize,
    pub updated: usize,
    pub unchanged: usize,
    pub failed: usize,
    pub warned: usize,
    pub retries: u32,
    pub dry_run: bool,
}

impl Counts {
    fn measure(self) {
        let Counts { created, updated, unchanged, failed, .. } = self;
        let outcomes = [("created", created), ("updated", updated), ("unchanged", unchanged), ("failed", failed)];
        for (outcome, count) in outcomes {
            if self.orders.is_some() {
                metrics::counter!("ordergate_orders_total", "outcome" => outcome).increment(count as u64);
            } else {
                metrics::counter!("ordergate_items_total", "outcome" => outcome).increment(count as u64);
            }
        }
    }
}

/// The line of one request; it is written also if the client went away.
#[derive(Debug)]
pub(super) struct Line {
    request_id: String,
    method: String,
    path: String,
    start: Instant,
    facts: Mutex<Facts>,
}

impl Line {
    /// The request's id, as its answer names it.
    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The line of a request; `path` without its query, which may hold a token.
    pub(super) fn new(request_id: String, method: String, path: String) -> Self {
        Line { request_id, method, path, start: Instant::now(), facts: Mutex::default() }
    }

    /// Notes what is known now.
    pub(super) fn note(&self, note: impl FnOnce(&mut Facts)) {
        note(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Line {
    /// How long the phases took so far, as `Server-Timing` writes it; `None` for a call that read no body.
    pub(super) fn server_timing(&self) -> Option<String> {
        let Phases { read, decode, plan, database, render } =
            self.facts.lock().unwrap_or_else(PoisonError::into_inner).phases;
        let total = self.start.elapsed();
        let phases = [
            ("read", read),
            ("decode", decode),
            ("plan", plan),
            ("database", database),
            ("render", render),
            ("total", total),
        ];
        let entries = phases.map(|(name, time)| format!("{name};dur={}", ms(time)));
        (!read.is_zero()).then(|| entries.join(", "))
    }
}

/// Milliseconds with three digits.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// A client's text for the log: control characters are written as escapes.
fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// A path with `…` in the place of parts that are as long as a token.
fn without_long_parts(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.len() < auth::MIN_TOKEN_CHARS { part } else { "…" });
    parts.collect::<Vec<_>>().join("/")
}

impl Line {
    /// Writes the line.
    pub(super) fn finish(&self, status: u16) {
        let facts = std::mem::take(&mut *self.facts.lock().unwrap_or_else(PoisonError::into_inner));
        let Facts { error, error_text, cause, account_id, phases, counts, first_failure } = facts;
        metrics::counter!("ordergate_requests_total", "error" => error.to_string()).increment(1);
        metrics::histogram!("ordergate_request_duration_seconds").record(self.start.elapsed());
        if let Some(counts) = counts.filter(|counts| !counts.dry_run) {
            counts.measure();
        }
        let (error_text, path) = (plain(&error_text), plain(&self.path));
        // A path that does not exist may hold anything, a token too.
        let path = if status == 404 { without_long_parts(&path) } else { path };
        let error_text = (!error_text.is_empty()).then_some(error_text);
        let cause = cause.map(|cause| plain(&cause));
        let first_failure = first_failure.map(|text| plain(&text));
        let worked = !phases.read.is_zero();
        let phase = |duration| worked.then(|| ms(duration));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = self.request_id,
                    method = self.method,
                    path,
                    status,
                    error,
                    error_text,
                    cause,
                    account_id,
                    orders = counts.and_then(|c| c.orders),
                    items = counts.and_then(|c| c.items),
                    created = counts.map(|c| c.created),
                    updated = counts.map(|c| c.updated),
                    unchanged = counts.map(|c| c.unchanged),
                    failed = counts.map(|c| c.failed),
                    warned = counts.map(|c| c.warned).filter(|warned| *warned > 0),
                    first_failure,
                    dry_run = counts.filter(|c| c.dry_run).map(|c| c.dry_run),
                    retries = counts.map(|c| c.retries),
                    read_ms = phase(phases.read),
                    decode_ms = phase(phases.decode),
                    plan_ms = phase(phases.plan),
                    database_ms = phase(phases.database),
                    render_ms = phase(phases.render),
                    total_ms = ms(self.start.elapsed()),
                    "request",
                )
            };
        }
        match error {
            500.. => line!(error),
            // A probe every second would drown the rest.
            0 if path.starts_with("/health/") => line!(debug),
            _ => line!(info),
        }
    }
}
