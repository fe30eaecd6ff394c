//! Logs, on standard error: text for people or one JSON object a line; and metrics, for Prometheus.

use std::io::IsTerminal as _;
use std::net::SocketAddr;

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{LogFormat, Settings};

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A word that is no level.
    #[error("expected error, warn, info, debug or trace, found {0:?}")]
    Level(String),
    /// The filter is not one.
    #[error("expected a filter like ordergate=debug")]
    Filter(#[from] ParseError),
}

/// What goes before a filter that does not speak of sqlx: the database's notices say what the schema's own log line
/// says, and the pool repeats, at each of its tries to connect, why a request failed.
const QUIET: &str = "sqlx=warn,sqlx_core::pool=off,";

/// Starts logging; `default` is the filter if none was said.
///
/// # Errors
/// The filter is not one.
pub fn start(settings: &Settings, default: &str) -> Result<(), LogError> {
    // A bare word that is no level would be the name of a module, and silence everything.
    let said = settings.log.as_deref().unwrap_or(default);
    for directive in said.split(',').filter(|directive| !directive.contains('=')) {
        directive.trim().parse::<LevelFilter>().map_err(|_| LogError::Level(directive.to_owned()))?;
    }
    let filter = EnvFilter::builder().parse(format!("{}{said}", if said.contains("sqlx") { "" } else { QUIET }))?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    match settings.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    Ok(())
}

/// Bounds of the buckets of times, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0, 86_400.0];

/// Serves what is measured, at any path of that address, until the future is dropped.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve_metrics(listen: SocketAddr) -> Result<impl Future<Output = ()>, BuildError> {
    let (recorder, exporter) = PrometheusBuilder::new()
        .with_http_listener(listen)
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .build()?;
    // Only the first call of a process installs one.
    let _ = metrics::set_global_recorder(recorder);
    describe();
    Ok(async move {
        if exporter.await.is_err() {
            tracing::warn!("metrics are no longer served");
        }
    })
}

/// What each metric says; README.md has the same table.
fn describe() {
    describe_counter!("ordergate_requests_total", "Requests, by the number in `error`");
    describe_histogram!("ordergate_request_duration_seconds", "How long requests took");
    describe_counter!("ordergate_orders_total", "Orders of imports, by outcome");
    describe_counter!("ordergate_items_total", "Products and SKUs of imports, by outcome");
    describe_counter!(
        "ordergate_delivery_attempts_total",
        "Tries to deliver an event, by outcome and number of the try"
    );
    describe_histogram!("ordergate_delivery_attempt_duration_seconds", "How long tries took, by outcome");
    describe_histogram!("ordergate_delivery_delay_seconds", "From the import to the delivery");
    describe_gauge!("ordergate_deliveries_waiting", "Deliveries that wait, by account");
    describe_gauge!("ordergate_deliveries_oldest_waiting_seconds", "Since when the oldest of them waits, by account");
    describe_gauge!("ordergate_packs_waiting", "Packs of events that wait to be spread to subscriptions, by account");
}
