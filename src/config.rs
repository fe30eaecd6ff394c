//! Typed settings: defaults < file < environment < flags, checked at start.

mod listen;
mod network;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as _;
use serde::Deserialize;
use toml::Spanned;

pub use listen::Listen;
pub use network::Network;

/// Headings of the help.
pub const GENERAL: &str = "General options";
const LIMITS: &str = "Limits";
const TIMEOUTS: &str = "Timeouts";
const WEBHOOKS: &str = "Webhooks";

/// Settings of every command, as they are given: each may be absent. The doc comments are the help texts.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[command(next_help_heading = GENERAL)]
#[serde(default)]
pub struct Common {
    /// A TOML file with settings, named as the flags but with underscores
    #[arg(long, env = "ORDERGATE_CONFIG", value_name = "FILE", global = true)]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// The PostgreSQL server to use; without it, a private one runs in the data directory
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,
    /// Where the private PostgreSQL lives [default: /var/lib/ordergate as root, else ~/.local/share/ordergate]
    #[arg(long, env = "ORDERGATE_DATA_DIR", value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, or a filter like ordergate=debug [default: info for serve and deliver, warn for other commands]
    #[arg(long, env = "ORDERGATE_LOG", value_name = "FILTER", global = true)]
    pub log: Option<String>,
    /// How the log is written: text or json [default: text]
    #[arg(long, env = "ORDERGATE_LOG_FORMAT", value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

/// Settings of the server, as they are given: each may be absent. The doc comments are the help texts.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(default)]
pub struct Given {
    /// The address to listen on; of a name, the first address that this machine has, IPv4 before IPv6 [default: 127.0.0.1:8080]
    #[arg(long, env = "ORDERGATE_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<Listen>,
    /// Proxies whose X-Forwarded-For is believed in the log: addresses or networks, with commas between them [default: none]
    #[arg(long, env = "ORDERGATE_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',')]
    pub trusted_proxies: Option<Vec<Network>>,
    /// The HTTP status of a request that was understood and refused: ok (always 200) or rest (as in `error`) [default: ok]
    #[arg(long, env = "ORDERGATE_HTTP_STATUS", value_name = "STYLE")]
    pub http_status: Option<HttpStatus>,
    /// How lists show amounts: decimal (12.5) or minor (1250; not for import) [default: decimal]
    #[arg(long, env = "ORDERGATE_LIST_MONEY", value_name = "STYLE")]
    pub list_money: Option<ListMoney>,
    /// Longest body, before and after decompression, in bytes [default: 33554432]
    #[arg(long, help_heading = LIMITS, env = "ORDERGATE_MAX_BODY_BYTES", value_name = "BYTES")]
    pub max_body_bytes: Option<usize>,
    /// Most bytes of all bodies at once in memory [default: 268435456]
    #[arg(long, help_heading = LIMITS, env = "ORDERGATE_MAX_INFLIGHT_BYTES", value_name = "BYTES")]
    pub max_inflight_bytes: Option<usize>,
    /// Most orders in a request [default: 10000]
    #[arg(long, help_heading = LIMITS, env = "ORDERGATE_MAX_ORDERS", value_name = "N")]
    pub max_orders: Option<usize>,
    /// Most lines in an order [default: 1000]
    #[arg(long, help_heading = LIMITS, env = "ORDERGATE_MAX_LINES", value_name = "N")]
    pub max_lines: Option<usize>,
    /// Most custom-field definitions in a request [default: 1000]
    #[arg(long, help_heading = LIMITS, env = "ORDERGATE_MAX_DEFINITIONS", value_name = "N")]
    pub max_definitions: Option<usize>,
    /// Most custom line statuses in a request [default: 1000]
    #[arg(long, help_heading = LIMITS, env = "ORDERGATE_MAX_LINE_STATUSES", value_name = "N")]
    pub max_line_statuses: Option<usize>,
    /// Most tags of an order [default: 100]
    #[arg(long, help_heading = LIMITS, env = "ORDERGATE_MAX_TAGS", value_name = "N")]
    pub max_tags: Option<usize>,
    /// Most custom values of an order or a line [default: 200]
    #[arg(long, help_heading = LIMITS, env = "ORDERGATE_MAX_CUSTOM_VALUES", value_name = "N")]
    pub max_custom_values: Option<usize>,
    /// Deepest nesting of a document, at most 200 [default: 64]
    #[arg(long, help_heading = LIMITS, env = "ORDERGATE_MAX_DEPTH", value_name = "N")]
    pub max_depth: Option<usize>,
    /// Most database connections at once [default: 16]
    #[arg(long, help_heading = LIMITS, env = "ORDERGATE_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<u32>,
    /// Longest wait for the next bytes of a body, in milliseconds [default: 20000]
    #[arg(long, help_heading = TIMEOUTS, env = "ORDERGATE_BODY_IDLE_TIMEOUT_MS", value_name = "MS")]
    pub body_idle_timeout_ms: Option<u64>,
    /// Longest time for a whole body, in milliseconds [default: 300000]
    #[arg(long, help_heading = TIMEOUTS, env = "ORDERGATE_BODY_TIMEOUT_MS", value_name = "MS")]
    pub body_timeout_ms: Option<u64>,
    /// How long a connection is kept without a request, in milliseconds [default: 75000]
    #[arg(long, help_heading = TIMEOUTS, env = "ORDERGATE_KEEP_ALIVE_MS", value_name = "MS")]
    pub keep_alive_ms: Option<u64>,
    /// How long requests are still taken after a signal to stop, while /health/ready answers 503, in milliseconds [default: 0]
    #[arg(long, help_heading = TIMEOUTS, env = "ORDERGATE_DRAIN_MS", value_name = "MS")]
    pub drain_ms: Option<u64>,
    /// What `deliver` has, too.
    #[command(flatten)]
    #[serde(skip)]
    pub delivery: Delivery,
    /// Whether this server leaves the delivery of events to others (`ordergate deliver`) [default: false]
    #[arg(long, help_heading = WEBHOOKS, env = "ORDERGATE_NO_DELIVERY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub no_delivery: Option<bool>,
    /// How long events and what became of their deliveries is kept, in hours [default: 720]
    #[arg(long, env = "ORDERGATE_OUTBOX_MAX_AGE_HOURS", value_name = "HOURS")]
    pub outbox_max_age_hours: Option<u32>,
    /// Whether an import may skip what did not change and copy in what is new; without, it answers and stores the same, slower [default: true]
    #[arg(long, env = "ORDERGATE_QUICK_IMPORTS", value_name = "BOOL")]
    pub quick_imports: Option<bool>,
    /// Whether every answer tells in Server-Timing how long its phases took; without, only when asked to [default: false]
    #[arg(long, env = "ORDERGATE_SERVER_TIMING", value_name = "BOOL")]
    pub server_timing: Option<bool>,
}

/// Settings of `deliver`, which `serve` has, too, as they are given: each may be absent. The doc comments are the help texts.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// Longest wait for another request's lock, in milliseconds [default: 10000]
    #[arg(long, help_heading = TIMEOUTS, env = "ORDERGATE_LOCK_TIMEOUT_MS", value_name = "MS")]
    pub lock_timeout_ms: Option<u64>,
    /// Longest wait for a free database connection, in milliseconds [default: 10000]
    #[arg(long, help_heading = TIMEOUTS, env = "ORDERGATE_ACQUIRE_TIMEOUT_MS", value_name = "MS")]
    pub acquire_timeout_ms: Option<u64>,
    /// How long running requests may go on after the signal and the drain, in milliseconds [default: 30000]
    #[arg(long, help_heading = TIMEOUTS, env = "ORDERGATE_SHUTDOWN_TIMEOUT_MS", value_name = "MS")]
    pub shutdown_timeout_ms: Option<u64>,
    /// The address to serve metrics on, for Prometheus; of a name, the first address that this machine has [default: none]
    #[arg(long, env = "ORDERGATE_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<Listen>,
    /// Whether events may be sent to private addresses: loopback, private and link-local networks [default: false]
    #[arg(long, help_heading = WEBHOOKS, env = "ORDERGATE_ALLOW_PRIVATE_WEBHOOKS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub allow_private_webhooks: Option<bool>,
    /// Longest time for one try to deliver an event, in milliseconds [default: 15000]
    #[arg(long, help_heading = WEBHOOKS, env = "ORDERGATE_WEBHOOK_TIMEOUT_MS", value_name = "MS")]
    pub webhook_timeout_ms: Option<u64>,
    /// How long to wait after the first try that failed, in milliseconds; later waits are longer [default: 5000]
    #[arg(long, help_heading = WEBHOOKS, env = "ORDERGATE_WEBHOOK_RETRY_MS", value_name = "MS")]
    pub webhook_retry_ms: Option<u64>,
    /// Most events on their way to one subscription at once, of one server [default: 16]
    #[arg(long, help_heading = WEBHOOKS, env = "ORDERGATE_WEBHOOK_MAX_INFLIGHT", value_name = "N")]
    pub webhook_max_inflight: Option<usize>,
    /// The NATS server whose streams get the events of subscriptions to `nats:` [default: none]
    #[arg(long, help_heading = WEBHOOKS, env = "ORDERGATE_NATS_URL", value_name = "URL", hide_env_values = true)]
    pub nats_url: Option<String>,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// The HTTP status of a request that was understood and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HttpStatus {
    /// 200, and the truth in `error`.
    #[default]
    Ok,
    /// The number in `error`.
    Rest,
}

/// How lists show amounts of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ListMoney {
    /// As they were imported.
    #[default]
    Decimal,
    /// A hundred times that, as Altcraft's own examples look; what is listed so cannot be imported.
    Minor,
}

/// How much of something a request may hold (contract, section 1).
#[derive(Debug, Clone, Hash)]
pub struct Limits {
    /// Bytes, before and after decompression.
    pub max_body_bytes: usize,
    /// Orders in a request.
    pub max_orders: usize,
    /// Lines in an order.
    pub max_lines: usize,
    /// Custom-field definitions in a request.
    pub max_definitions: usize,
    /// Custom line statuses in a request.
    pub max_line_statuses: usize,
    /// Tags of an order.
    pub max_tags: usize,
    /// Custom values of an order or a line.
    pub max_custom_values: usize,
    /// Levels of nesting.
    pub max_depth: usize,
}

impl Limits {
    /// More values than an order within all the other limits can hold, unknown fields included: a bound
    /// on the memory that one order takes while it is read.
    #[must_use]
    pub fn max_values(&self) -> usize {
        let per_line = self.max_custom_values.saturating_add(50);
        let lines = self.max_lines.saturating_mul(per_line);
        lines.saturating_add(self.max_tags).saturating_add(self.max_custom_values).saturating_add(1000)
    }
}

/// How events are delivered.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Private addresses may be reached.
    pub allow_private: bool,
    /// Longest time for one try.
    pub timeout: Duration,
    /// How long to wait after the first try that failed.
    pub first_wait: Duration,
    /// Most events on their way to one subscription at once.
    pub max_inflight: usize,
    /// The broker for subscriptions to `nats:`; it may hold a password.
    pub nats_url: Option<String>,
}

/// The settings that the server runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The PostgreSQL server to use, if it is not the private one.
    pub database_url: Option<String>,
    /// Where the private PostgreSQL lives, if it was said.
    pub data_dir: Option<PathBuf>,
    /// What is logged, if it was said.
    pub log: Option<String>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// The address to listen on.
    pub listen: Listen,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// The HTTP status of refusals.
    pub http_status: HttpStatus,
    /// How lists show amounts.
    pub list_money: ListMoney,
    /// Bytes of all bodies at once.
    pub max_inflight_bytes: usize,
    /// What a request may hold.
    pub limits: Limits,
    /// Longest wait for the next bytes of a body.
    pub body_idle_timeout: Duration,
    /// Longest time for a whole body.
    pub body_timeout: Duration,
    /// How long a connection is kept without a request.
    pub keep_alive: Duration,
    /// Longest wait for a lock.
    pub lock_timeout: Duration,
    /// Longest wait for a connection.
    pub acquire_timeout: Duration,
    /// Database connections at once.
    pub max_connections: u32,
    /// How long requests are still taken after a signal.
    pub drain: Duration,
    /// How long running requests may go on after that.
    pub shutdown_timeout: Duration,
    /// The address to serve metrics on.
    pub metrics_listen: Option<Listen>,
    /// How long events and what became of their deliveries is kept.
    pub outbox_max_age: Duration,
    /// Others deliver events.
    pub no_delivery: bool,
    /// How events are delivered.
    pub webhooks: Webhooks,
    /// Imports may go the quick way.
    pub quick_imports: bool,
    /// Every answer tells how long its phases took.
    pub server_timing: bool,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("settings file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("settings file {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// The file has a setting that there is not.
    #[error("settings file {path}, line {line}: unknown setting {name:?}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The setting.
        name: String,
    },
    /// A value is there, but empty.
    #[error("{place}: expected a value, found an empty one; {cure}")]
    Empty {
        /// Where it was given.
        place: String,
        /// What to do.
        cure: String,
    },
    /// A value is out of its range.
    #[error("{name}: expected {expected}, found {found}")]
    Range {
        /// The setting.
        name: &'static str,
        /// What it takes.
        expected: String,
        /// What was given.
        found: String,
    },
}

impl ConfigError {
    /// A setting is there but empty, which is a slip, as of `DATABASE_URL=$URL`, and no wish for the default;
    /// `leave`: how it is not given.
    #[must_use]
    pub fn empty(place: String, leave: &str, setting: &str) -> Self {
        let give = if setting == "database_url" { "name a database" } else { "give it a value" };
        ConfigError::Empty { place, cure: format!("{leave}, or {give}") }
    }
}

/// Deepest nesting that a reader's stack is sure to bear.
const MAX_MAX_DEPTH: u64 = 200;
/// Longest timeout that PostgreSQL takes, too: 24 days.
const MAX_TIMEOUT_MS: u64 = i32::MAX as u64;

impl Settings {
    /// The settings out of flags, environment and file.
    ///
    /// # Errors
    /// The file cannot be read, or a value is out of its range.
    pub fn resolve(common: Common, given: &Given) -> Result<Self, ConfigError> {
        let (file_common, file_given) = match &common.config {
            Some(path) => read(path)?,
            None => (Common::default(), Given::default()),
        };
        let (given, delivery) = (given.clone(), given.delivery.clone());
        let file_delivery = file_given.delivery.clone();
        macro_rules! pick {
            ($name:ident, $default:expr) => {
                pick!(given or file_given, $name, $default)
            };
            ($one:ident or $other:ident, $name:ident, $default:expr) => {
                $one.$name.or($other.$name).unwrap_or($default)
            };
        }
        let limits = Limits {
            max_body_bytes: positive("max_body_bytes", pick!(max_body_bytes, 32 << 20))?,
            max_orders: positive("max_orders", pick!(max_orders, 10_000))?,
            max_lines: positive("max_lines", pick!(max_lines, 1_000))?,
            max_definitions: pick!(max_definitions, 1_000),
            max_line_statuses: pick!(max_line_statuses, 1_000),
            max_tags: pick!(max_tags, 100),
            max_custom_values: pick!(max_custom_values, 200),
            max_depth: positive("max_depth", pick!(max_depth, 64))?,
        };
        within("max_depth", limits.max_depth as u64, 1, MAX_MAX_DEPTH)?;
        let max_connections = pick!(max_connections, 16);
        within("max_connections", max_connections.into(), 2, 10_000)?;
        let outbox_max_age_hours = pick!(outbox_max_age_hours, 720);
        within("outbox_max_age_hours", outbox_max_age_hours.into(), 1, 1_000_000)?;
        macro_rules! timeout {
            ($one:ident or $other:ident, $name:ident, $default:expr) => {
                timeout(stringify!($name), pick!($one or $other, $name, $default))?
            };
        }
        Ok(Settings {
            database_url: common.database_url.or(file_common.database_url),
            data_dir: common.data_dir.or(file_common.data_dir),
            log: common.log.or(file_common.log),
            log_format: common.log_format.or(file_common.log_format).unwrap_or_default(),
            listen: pick!(listen, Listen::Address((Ipv4Addr::LOCALHOST, 8080).into())),
            trusted_proxies: given.trusted_proxies.clone().or(file_given.trusted_proxies).unwrap_or_default(),
            http_status: pick!(http_status, HttpStatus::default()),
            list_money: pick!(list_money, ListMoney::default()),
            max_inflight_bytes: positive("max_inflight_bytes", pick!(max_inflight_bytes, 256 << 20))?,
            limits,
            body_idle_timeout: timeout!(given or file_given, body_idle_timeout_ms, 20_000),
            body_timeout: timeout!(given or file_given, body_timeout_ms, 300_000),
            keep_alive: timeout!(given or file_given, keep_alive_ms, 75_000),
            drain: Duration::from_millis(within("drain_ms", pick!(drain_ms, 0), 0, MAX_TIMEOUT_MS)?),
            lock_timeout: timeout!(delivery or file_delivery, lock_timeout_ms, 10_000),
            acquire_timeout: timeout!(delivery or file_delivery, acquire_timeout_ms, 10_000),
            max_connections,
            shutdown_timeout: timeout!(delivery or file_delivery, shutdown_timeout_ms, 30_000),
            metrics_listen: delivery.metrics_listen.or(file_delivery.metrics_listen),
            outbox_max_age: Duration::from_hours(outbox_max_age_hours.into()),
            no_delivery: pick!(no_delivery, false),
            webhooks: Webhooks {
                allow_private: pick!(delivery or file_delivery, allow_private_webhooks, false),
                timeout: timeout!(delivery or file_delivery, webhook_timeout_ms, 15_000),
                first_wait: timeout!(delivery or file_delivery, webhook_retry_ms, 5_000),
                max_inflight: positive(
                    "webhook_max_inflight",
                    pick!(delivery or file_delivery, webhook_max_inflight, 16),
                )?,
                nats_url: delivery.nats_url.or(file_delivery.nats_url),
            },
            quick_imports: pick!(quick_imports, true),
            server_timing: pick!(server_timing, false),
        })
    }
}

fn positive(name: &'static str, value: usize) -> Result<usize, ConfigError> {
    within(name, value as u64, 1, u64::MAX).map(|_| value)
}

fn timeout(name: &'static str, value_ms: u64) -> Result<Duration, ConfigError> {
    within(name, value_ms, 1, MAX_TIMEOUT_MS).map(Duration::from_millis)
}

fn within(name: &'static str, value: u64, least: u64, most: u64) -> Result<u64, ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let expected = if value < least { format!("at least {least}") } else { format!("at most {most}") };
    Err(ConfigError::Range { name, expected, found: value.to_string() })
}

/// The settings of a file; its keys are the names of the flags, with underscores.
fn read(path: &Path) -> Result<(Common, Given), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let parse = |source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) };
    let keys: HashMap<Spanned<String>, toml::Value> = toml::from_str(&text).map_err(parse)?;
    let line = |key: &Spanned<String>| text[..key.span().start].matches('\n').count() + 1;
    let known = Given::augment_args(Common::augment_args(clap::Command::new("settings")));
    let is_known = |key: &str| key != "config" && known.get_arguments().any(|argument| argument.get_id() == key);
    if let Some(key) = keys.keys().filter(|key| !is_known(key.get_ref())).min_by_key(|key| key.span().start) {
        return Err(ConfigError::Unknown { path: path.to_owned(), line: line(key), name: key.get_ref().clone() });
    }
    let empty = keys.iter().filter(|(_, value)| value.as_str() == Some("")).map(|(key, _)| key);
    if let Some(key) = empty.min_by_key(|key| key.span().start) {
        let place = format!("settings file {}, line {}: {}", path.display(), line(key), key.get_ref());
        return Err(ConfigError::empty(place, "leave it out", key.get_ref()));
    }
    let common: Common = toml::from_str(&text).map_err(parse)?;
    let given: Given = toml::from_str(&text).map_err(parse)?;
    Ok((common, Given { delivery: toml::from_str(&text).map_err(parse)?, ..given }))
}
