//! The command line: starts everything, and sets accounts up. Holds no query.

mod database;
mod demo;
mod events;
mod files;
mod given;
mod listen;
mod order;
mod output;
mod serve;
mod setup;
mod subscription;
mod transfer;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgAction, ArgGroup, Args, CommandFactory as _, Parser, Subcommand};

use crate::config::{Common, Delivery, GENERAL, Given, Listen, Settings};
use crate::delivery::ledger::State;
use crate::domain::scalars;
use output::Output;

/// A self-hosted server that speaks Altcraft's Market API, on PostgreSQL.
///
/// Start with `ordergate serve --demo`: it needs no setup and prints a line to try. For a server of your own,
/// set an account up (account, channel, touchpoint, currency, token) and run `ordergate serve`.
#[derive(Debug, Parser)]
#[command(name = "ordergate", version, max_term_width = 100, disable_help_flag = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// How lists and results are printed
    #[arg(long, global = true, value_enum, default_value_t, help_heading = GENERAL)]
    output: Output,
    /// Print help
    #[arg(short, long, global = true, action = ArgAction::Help, help_heading = GENERAL)]
    help: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    #[command(after_help = "Without --database-url, a private PostgreSQL runs in the data directory. \
        Stop with SIGTERM, SIGHUP or Ctrl-C: running requests may finish.")]
    Serve {
        /// Run a demo on loopback: its own data directory, an account, and Altcraft's public example token
        #[arg(long)]
        demo: bool,
        #[command(flatten)]
        given: Box<Given>,
    },
    /// Deliver events, and nothing else; `serve` does it, too, unless it is told not to
    #[command(
        after_help = "Any number of servers may deliver for the same database. Stop with SIGTERM, SIGHUP or Ctrl-C."
    )]
    Deliver {
        /// The address to serve /health/live and /health/ready on; of a name, the first address that this machine has [default: none]
        #[arg(long, env = "ORDERGATE_HEALTH_LISTEN", value_name = "ADDRESS")]
        health_listen: Option<Listen>,
        #[command(flatten)]
        delivery: Box<Delivery>,
    },
    /// Bring the database's schema up to this program's version (serve does it, too)
    Migrate,
    /// Accounts: everything else belongs to one
    #[command(subcommand)]
    Account(AccountCommand),
    /// Tokens that clients carry
    #[command(subcommand)]
    Token(TokenCommand),
    /// Sales channels, each with a profile database
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// Touchpoints of channels: what an order's `endpoint` names
    #[command(subcommand)]
    Touchpoint(TouchpointCommand),
    /// Currencies that orders may have
    #[command(subcommand)]
    Currency(CurrencyCommand),
    /// Regions that orders may have
    #[command(subcommand)]
    Region(RegionCommand),
    /// Order statuses beside the built-in ones
    #[command(subcommand)]
    OrderStatus(OrderStatusCommand),
    /// What an order does with a customer, product or SKU that is not known
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Subscriptions: where events are sent
    #[command(subcommand)]
    Subscription(SubscriptionCommand),
    /// Import a file of orders or products: JSON, NDJSON, XML or CSV, of any size
    #[command(after_help = "An import that was interrupted goes on where it was when the same command is run again. \
        Ends with 0 if every order is stored, with 3 if some failed, with 1 if it could not go on.")]
    Import(files::ImportArguments),
    /// Export orders or products into a file that can be imported again
    Export(files::ExportArguments),
    /// Orders: what is stored of one, or of some
    #[command(subcommand)]
    Order(OrderCommand),
    /// The ledger: what became of each event, and why an order made none
    #[command(subcommand)]
    Events(EventsCommand),
}

/// The account that a command works on.
#[derive(Debug, Clone, Args)]
struct OfAccount {
    /// The account's name
    #[arg(long, value_name = "NAME")]
    account: String,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Make an account
    Create {
        /// Its name
        name: String,
    },
    /// List all accounts
    List,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it: it is shown once and stored nowhere
    Create {
        #[command(flatten)]
        of: OfAccount,
        /// What it is for
        #[arg(long, default_value = "")]
        name: String,
        /// What it may do: market (the next four), orders:read, orders:write, catalog:read, catalog:write, admin
        #[arg(long = "role", value_name = "ROLE", default_values_t = [crate::auth::MARKET.to_owned()])]
        roles: Vec<String>,
        /// When it ends by itself, like 2030-01-31 or 2030-01-31T12:00:00Z
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
        /// Take over a token that clients already carry: one line on standard input, at least 16 characters
        #[arg(long)]
        value_stdin: bool,
    },
    /// List an account's tokens, without the tokens themselves
    List {
        #[command(flatten)]
        of: OfAccount,
    },
    /// End a token at once, on every server
    Revoke {
        #[command(flatten)]
        of: OfAccount,
        /// Its id, as `token list` shows it
        id: i64,
    },
}

#[derive(Debug, Subcommand)]
enum ChannelCommand {
    /// Make a sales channel
    Create {
        #[command(flatten)]
        of: OfAccount,
        /// Its external id
        external_id: String,
        /// The profile database whose customers buy there; made if it is new
        #[arg(long, default_value = crate::accounts::DEFAULT_DATABASE)]
        database: String,
    },
    /// List the channels
    List {
        #[command(flatten)]
        of: OfAccount,
    },
}

#[derive(Debug, Subcommand)]
enum TouchpointCommand {
    /// Make a touchpoint
    Create {
        #[command(flatten)]
        of: OfAccount,
        /// Its external id
        external_id: String,
        /// The external id of its channel
        #[arg(long)]
        channel: String,
    },
    /// List the touchpoints
    List {
        #[command(flatten)]
        of: OfAccount,
    },
}

#[derive(Debug, Subcommand)]
enum CurrencyCommand {
    /// Allow currencies
    Create {
        #[command(flatten)]
        of: OfAccount,
        /// Three letters each, like USD
        #[arg(required = true)]
        codes: Vec<String>,
    },
    /// List the currencies
    List {
        #[command(flatten)]
        of: OfAccount,
    },
}

#[derive(Debug, Subcommand)]
enum RegionCommand {
    /// Make a region
    Create {
        #[command(flatten)]
        of: OfAccount,
        /// Its external id
        external_id: String,
        /// What people call it [default: the id]
        #[arg(long)]
        name: Option<String>,
    },
    /// List the regions
    List {
        #[command(flatten)]
        of: OfAccount,
    },
}

#[derive(Debug, Subcommand)]
enum OrderStatusCommand {
    /// Make an order status
    Create {
        #[command(flatten)]
        of: OfAccount,
        /// Its external id
        external_id: String,
    },
    /// List the order statuses, the built-in ones too
    List {
        #[command(flatten)]
        of: OfAccount,
    },
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Set policies: create makes a stub, reject refuses the order
    Set {
        #[command(flatten)]
        of: OfAccount,
        /// A customer that is not known
        #[arg(long, value_enum)]
        unknown_profile: Option<setup::Policy>,
        /// A product that is not known
        #[arg(long, value_enum)]
        unknown_product: Option<setup::Policy>,
        /// A SKU that is not known
        #[arg(long, value_enum)]
        unknown_sku: Option<setup::Policy>,
    },
    /// List the policies
    List {
        #[command(flatten)]
        of: OfAccount,
    },
}

#[derive(Debug, Subcommand)]
enum SubscriptionCommand {
    /// Make a subscription and print the secret that signs its events: it is shown once
    Create {
        #[command(flatten)]
        of: OfAccount,
        /// Where events are sent, by http or https
        #[arg(long)]
        url: String,
        /// Types of events, or * for all
        #[arg(long, value_delimiter = ',', required = true, value_name = "TYPES")]
        events: Vec<String>,
        /// Only orders of these touchpoints [default: all]
        #[arg(long, value_delimiter = ',', value_name = "IDS")]
        touchpoints: Vec<String>,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
    },
    /// List the subscriptions, without their secrets
    List {
        #[command(flatten)]
        of: OfAccount,
    },
    /// Show one
    Show {
        #[command(flatten)]
        of: OfAccount,
        /// Its id, as `subscription list` shows it
        id: i64,
    },
    /// Enable one that was disabled: what waits for it is sent
    Enable {
        #[command(flatten)]
        of: OfAccount,
        /// Its id
        id: i64,
    },
    /// Disable one: it gets no new events, and what waits for it stays
    Disable {
        #[command(flatten)]
        of: OfAccount,
        /// Its id
        id: i64,
    },
    /// Make a new secret and print it; the one before stays good for a while
    Rotate {
        #[command(flatten)]
        of: OfAccount,
        /// Its id
        id: i64,
        /// For how many hours events are signed by both
        #[arg(long, default_value_t = 24, value_name = "HOURS")]
        keep_hours: u32,
    },
    /// Delete one with all that waits for it
    Delete {
        #[command(flatten)]
        of: OfAccount,
        /// Its id
        id: i64,
    },
}

#[derive(Debug, Subcommand)]
enum OrderCommand {
    /// Show an order, its customer's keys, and which request changed it last
    #[command(group(ArgGroup::new("from").args(["account", "server"]).required(true)))]
    Show(order::ShowArguments),
    /// List orders, the oldest first
    #[command(group(ArgGroup::new("from").args(["account", "server"]).required(true)))]
    List(Box<order::ListArguments>),
}

/// Which events are meant.
#[derive(Debug, Clone, Args)]
struct Selected {
    /// Those of the order of this external id
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// Those for this subscription
    #[arg(long, value_name = "ID")]
    subscription: Option<i64>,
    /// Those that happened at this time or later, like 2030-01-31 or 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Those that happened before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// List what became of events, and which orders made none, newest first
    List {
        #[command(flatten)]
        of: OfAccount,
        #[command(flatten)]
        selected: Selected,
        /// Only what is fired (for nobody), waiting, delivered, failed, skipped (by request) or unchanged
        #[arg(long = "state", value_delimiter = ',', value_name = "STATES", value_parser = state)]
        states: Vec<State>,
        /// At most so many lines
        #[arg(long, default_value_t = 100, value_name = "LINES")]
        limit: u32,
    },
    /// Show what became of one event, for each subscription
    Show {
        #[command(flatten)]
        of: OfAccount,
        /// Its id, as `webhook-id` says it
        event: String,
    },
    /// Send events again that were given up: one, or those of an order or a time
    #[command(group(ArgGroup::new("some").args(["event", "order", "from", "to"]).required(true).multiple(true)))]
    Replay {
        #[command(flatten)]
        of: OfAccount,
        /// The event's id
        event: Option<String>,
        #[command(flatten)]
        selected: Selected,
        /// Those that were delivered, too
        #[arg(long)]
        delivered: bool,
    },
}

/// A state by its name; blanks around it, as in `"fired, waiting"`, do not count.
fn state(name: &str) -> Result<State, String> {
    let known = State::ALL.iter().find(|(known, _)| *known == scalars::id(name));
    let names = || State::ALL.map(|(name, _)| name).join(", ");
    known.map(|(_, state)| *state).ok_or_else(|| format!("expected one of {}", names()))
}

/// Runs the program on its arguments.
///
/// # Errors
/// Whatever went wrong, as a sentence for the operator.
pub fn run() -> anyhow::Result<ExitCode> {
    let Cli { common, output, command, .. } = given::parse()?;
    let (log, demo, given) = match &command {
        Command::Serve { demo, given } => ("info", *demo, Given::clone(given)),
        Command::Deliver { delivery, .. } => {
            ("info", false, Given { delivery: Delivery::clone(delivery), ..Given::default() })
        }
        _ => ("warn", false, Given::default()),
    };
    let settings = Settings::resolve(common, &given)?;
    crate::telemetry::start(&settings, log).context("log")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads")?;
    let done = runtime.block_on(async {
        match command {
            Command::Serve { .. } => Box::pin(serve::serve(settings, demo)).await?,
            Command::Deliver { health_listen, .. } => {
                Box::pin(serve::deliver_alone(settings, health_listen)).await?;
            }
            Command::Import(arguments) => return Box::pin(transfer::import(settings, output, &arguments)).await,
            Command::Export(arguments) => Box::pin(transfer::export(settings, &arguments)).await?,
            Command::Order(OrderCommand::Show(arguments)) => {
                Box::pin(order::show(settings, output, &arguments)).await?;
            }
            Command::Order(OrderCommand::List(arguments)) => {
                Box::pin(order::list(settings, output, &arguments)).await?;
            }
            command => setup::run(&settings, output, command).await?,
        }
        Ok(ExitCode::SUCCESS)
    });
    // What was left at a deadline is not waited for.
    runtime.shutdown_background();
    done
}

/// The command line as clap knows it, for the test that compares it with the documentation.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}
