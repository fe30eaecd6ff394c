//! One line for each request.

use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::Level;

use super::layers::new_request_id;
use crate::auth;
use crate::wire::format::Format;

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
    /// The token that it was called by.
    pub token_id: Option<i64>,
    /// The format of the request.
    pub format: Option<Format>,
    /// It asked whether the server is ready, which is about to stop.
    pub draining: bool,
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

/// What is known of a request when it comes.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub request_id: String,
    pub method: &'static str,
    /// Without its query, which may hold a token.
    pub path: String,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    /// The client for whom a trusted proxy asks.
    pub forwarded_for: Option<IpAddr>,
}

/// The line of one request; it is written also if the client went away.
#[derive(Debug)]
pub(super) struct Line {
    head: RequestHead,
    /// In the place of a client's id that is a token.
    own_id: OnceLock<String>,
    /// How long the phases took is told, too.
    with_phases: bool,
    start: Instant,
    facts: Mutex<Facts>,
}

impl Line {
    /// The request's id, as its answer names it.
    pub(super) fn request_id(&self) -> &str {
        self.own_id.get().unwrap_or(&self.head.request_id)
    }

    /// Gives the request another id, if its own holds this token.
    pub(super) fn hide(&self, token: &str) {
        if token.len() >= auth::MIN_TOKEN_CHARS && self.head.request_id.contains(token) {
            self.own_id.get_or_init(new_request_id);
        }
    }

    /// The line of a request; for a machine, or a person who looks closely, with its phases.
    pub(super) fn new(head: RequestHead, for_a_machine: bool) -> Self {
        let with_phases = for_a_machine || tracing::enabled!(Level::DEBUG);
        Line { head, own_id: OnceLock::new(), with_phases, start: Instant::now(), facts: Mutex::default() }
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

/// What an operator should look at: a failure of ours, then what a client has to mend. A token that is not known is everyday.
fn level(facts: &Facts, path: &str) -> Level {
    match facts.error {
        _ if facts.draining => Level::DEBUG,
        500.. => Level::ERROR,
        // A probe every second would drown the rest.
        0 if path.starts_with("/health/") => Level::DEBUG,
        0 if facts.counts.is_some_and(|counts| counts.failed > 0) => Level::WARN,
        0 | 401 => Level::INFO,
        _ => Level::WARN,
    }
}

impl Line {
    /// Measures the request, and writes its line.
    pub(super) fn finish(&self, status: u16) {
        let facts = std::mem::take(&mut *self.facts.lock().unwrap_or_else(PoisonError::into_inner));
        metrics::counter!("ordergate_requests_total", "error" => facts.error.to_string()).increment(1);
        metrics::histogram!("ordergate_request_duration_seconds").record(self.start.elapsed());
        if let Some(counts) = facts.counts.filter(|counts| !counts.dry_run) {
            counts.measure();
        }
        self.write(status, facts);
    }

    fn write(&self, status: u16, facts: Facts) {
        let request_id = self.request_id();
        let RequestHead { request_id: _, method, path, peer, forwarded_for } = &self.head;
        // A program that calls itself tells what was refused in its own words.
        let level = match level(&facts, path) {
            Level::WARN if peer.is_none() => Level::INFO,
            level => level,
        };
        let Facts { error, error_text, cause, account_id, token_id, format, phases, counts, first_failure, .. } = facts;
        let (error_text, path) = (plain(&error_text), plain(path));
        // A path that does not exist may hold anything, a token too.
        let path = if status == 404 { without_long_parts(&path) } else { path };
        let error_text = (!error_text.is_empty()).then_some(error_text);
        let cause = cause.map(|cause| plain(&cause));
        let first_failure = first_failure.map(|text| plain(&text));
        let with_phases = self.with_phases && !phases.read.is_zero();
        let phase = |duration| with_phases.then(|| ms(duration));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id,
                    method,
                    path,
                    peer = peer.map(tracing::field::display),
                    forwarded_for = forwarded_for.map(tracing::field::display),
                    format = format.map(Format::as_str),
                    status,
                    error,
                    error_text,
                    cause,
                    account_id,
                    token_id,
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
        match level {
            Level::ERROR => line!(error),
            Level::WARN => line!(warn),
            Level::INFO => line!(info),
            _ => line!(debug),
        }
    }
}
