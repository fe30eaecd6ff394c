//! Logs, on standard error: text for people or one JSON object a line.

use std::io::IsTerminal as _;

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
    // The database's notices say what the schema's own log line says.
    let filter = EnvFilter::builder().parse(format!("sqlx=warn,{said}"))?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    match settings.log_format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    Ok(())
}
