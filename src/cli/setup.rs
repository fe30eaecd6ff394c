//! The commands that set accounts up.

use std::io::BufRead as _;

use anyhow::{Context as _, bail};
use serde_json::json;
use sqlx::PgConnection;

use super::database::Database;
use super::output::{Output, print};
use super::{
    AccountCommand, ChannelCommand, Command, CurrencyCommand, OfAccount, OrderStatusCommand, PolicyCommand,
    RegionCommand, TokenCommand, TouchpointCommand,
};
use crate::accounts::{self, NewToken, Policies, Table, key};
use crate::auth;
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::scalars;
use crate::store;
use crate::store::accounts::Account;
use crate::store::connect;

/// What an order does with a neighbour that is not known.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Policy {
    /// A stub is made
    Create,
    /// The order is refused
    Reject,
}

impl Policy {
    fn as_str(self) -> &'static str {
        match self {
            Policy::Create => "create",
            Policy::Reject => "reject",
        }
    }
}

/// Runs a command on its database.
pub(super) async fn run(settings: &Settings, output: Output, command: Command) -> anyhow::Result<()> {
    let database = Database::for_command(settings).await?;
    let done = on_database(&database, output, command).await;
    let stopped = database.stop().await;
    done.and(stopped)
}

async fn on_database(database: &Database, output: Output, command: Command) -> anyhow::Result<()> {
    // A new private database has no schema yet; an operator's own is migrated by `migrate` and `serve`.
    if matches!(command, Command::Migrate) || database.is_private() {
        let migrated = connect::migrate(&database.options).await?;
        if matches!(command, Command::Migrate) {
            let sentence = format!("the schema is at version {}, it was at {}", migrated.after, migrated.before);
            output.done(&sentence, &json!({"before": migrated.before, "after": migrated.after}))?;
            return Ok(());
        }
    }
    let mut conn = database.connect().await?;
    let conn = &mut conn;
    match command {
        Command::Serve { .. }
        | Command::Deliver { .. }
        | Command::Import(_)
        | Command::Export(_)
        | Command::Order(_)
        | Command::Migrate => Ok(()),
        Command::Subscription(command) => super::subscription::run(conn, output, command).await,
        Command::Events(command) => super::events::run(conn, output, command).await,
        Command::Account(command) => account(conn, output, command).await,
        Command::Token(command) => token(conn, output, command).await,
        Command::Channel(command) => channel(conn, output, command).await,
        Command::Touchpoint(command) => touchpoint(conn, output, command).await,
        Command::Currency(command) => currency(conn, output, command).await,
        Command::Region(command) => region(conn, output, command).await,
        Command::OrderStatus(command) => order_status(conn, output, command).await,
        Command::Policy(command) => policy(conn, output, command).await,
    }
}

pub(super) async fn find(conn: &mut PgConnection, of: &OfAccount) -> anyhow::Result<Account> {
    find_named(conn, &of.account).await
}

/// The account of a name.
pub(super) async fn find_named(conn: &mut PgConnection, name: &str) -> anyhow::Result<Account> {
    let found = store::accounts::find(conn, scalars::id(name)).await?;
    found.with_context(|| format!("account: expected one that exists, found {name:?}; see `ordergate account list`"))
}

/// Reports something that was made.
fn made(output: Output, what: &str, id: &str) -> anyhow::Result<()> {
    let id = scalars::id(id);
    output.done(&format!("{what} {id} is there now"), &json!({"external_id": id}))
}

/// Lists something.
fn listed(output: Output, table: &Table) -> anyhow::Result<()> {
    output.rows(table.columns, &table.rows)
}

async fn account(conn: &mut PgConnection, output: Output, command: AccountCommand) -> anyhow::Result<()> {
    match command {
        AccountCommand::Create { name } => {
            let name = key("name", &name)?;
            let id = store::accounts::create(conn, name).await?;
            let Some(id) = id else { bail!("name: account {name:?} is there already") };
            output.done(&format!("account {name} is there now"), &json!({"name": name, "id": id}))?;
        }
        AccountCommand::List => {
            let rows: Vec<_> = store::accounts::list(conn)
                .await?
                .into_iter()
                .map(|account| vec![json!(account.name), json!(account.id)])
                .collect();
            output.rows(&["name", "id"], &rows)?;
        }
    }
    Ok(())
}

async fn token(conn: &mut PgConnection, output: Output, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create { of, name, roles, expires_at, value_stdin } => {
            let account = find(conn, &of).await?;
            let expires_at = match &expires_at {
                Some(text) => Some(
                    scalars::time(text)
                        .with_context(|| format!("expires-at: expected a time like 2030-01-31, found {text:?}"))?,
                ),
                None => None,
            };
            let taken_over = if value_stdin { Some(taken_over(conn).await?) } else { None };
            let new = NewToken { name: &name, roles: &roles, expires_at, value: taken_over.as_deref() };
            let (id, value) = accounts::create_token(conn, account.id, new, Clock::System.now()).await?;
            let shown = match (output, value_stdin) {
                (_, true) => output.done(&format!("token {id} was taken over"), &json!({"id": id})),
                (Output::Text, false) => print(&value),
                (Output::Json, false) => print(&json!({"id": id, "token": value}).to_string()),
            };
            if shown.is_err() && !value_stdin {
                // Nobody has seen it, and nobody will.
                accounts::revoke_token(conn, account.id, id, Clock::System.now()).await?;
            }
            shown?;
        }
        TokenCommand::List { of } => {
            let account = find(conn, &of).await?;
            listed(output, &accounts::tokens(conn, account.id).await?)?;
        }
        TokenCommand::Revoke { of, id } => {
            let account = find(conn, &of).await?;
            accounts::revoke_token(conn, account.id, id, Clock::System.now()).await?;
            output.done(&format!("token {id} is revoked"), &json!({"id": id}))?;
        }
    }
    Ok(())
}

/// A token that clients already carry, from standard input.
async fn taken_over(conn: &mut PgConnection) -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("standard input")?;
    let value = line.trim_end_matches(['\r', '\n']).to_owned();
    if let Some(unfit) = auth::unfit(&value) {
        bail!("token: {unfit}");
    }
    if value == auth::DEMO_TOKEN && !connect::is_demo(conn).await? {
        bail!("token: expected a secret one, found the demo's, which is public");
    }
    Ok(value)
}

async fn channel(conn: &mut PgConnection, output: Output, command: ChannelCommand) -> anyhow::Result<()> {
    match command {
        ChannelCommand::Create { of, external_id, database } => {
            let account = find(conn, &of).await?;
            accounts::create_channel(conn, account.id, &external_id, &database).await?;
            made(output, "channel", &external_id)
        }
        ChannelCommand::List { of } => {
            let account = find(conn, &of).await?;
            listed(output, &accounts::channels(conn, account.id).await?)
        }
    }
}

async fn touchpoint(conn: &mut PgConnection, output: Output, command: TouchpointCommand) -> anyhow::Result<()> {
    match command {
        TouchpointCommand::Create { of, external_id, channel } => {
            let account = find(conn, &of).await?;
            accounts::create_touchpoint(conn, account.id, &external_id, &channel).await?;
            made(output, "touchpoint", &external_id)
        }
        TouchpointCommand::List { of } => {
            let account = find(conn, &of).await?;
            listed(output, &accounts::touchpoints(conn, account.id).await?)
        }
    }
}

async fn currency(conn: &mut PgConnection, output: Output, command: CurrencyCommand) -> anyhow::Result<()> {
    match command {
        CurrencyCommand::Create { of, codes } => {
            let account = find(conn, &of).await?;
            let codes = accounts::create_currencies(conn, account.id, &codes).await?;
            output.done(&format!("there now: {}", codes.join(", ")), &json!({"codes": codes}))
        }
        CurrencyCommand::List { of } => {
            let account = find(conn, &of).await?;
            listed(output, &accounts::currencies(conn, account.id).await?)
        }
    }
}

async fn region(conn: &mut PgConnection, output: Output, command: RegionCommand) -> anyhow::Result<()> {
    match command {
        RegionCommand::Create { of, external_id, name } => {
            let account = find(conn, &of).await?;
            accounts::create_region(conn, account.id, &external_id, name.as_deref()).await?;
            made(output, "region", &external_id)
        }
        RegionCommand::List { of } => {
            let account = find(conn, &of).await?;
            listed(output, &accounts::regions(conn, account.id).await?)
        }
    }
}

async fn order_status(conn: &mut PgConnection, output: Output, command: OrderStatusCommand) -> anyhow::Result<()> {
    match command {
        OrderStatusCommand::Create { of, external_id } => {
            let account = find(conn, &of).await?;
            accounts::create_order_status(conn, account.id, &external_id).await?;
            made(output, "order status", &external_id)
        }
        OrderStatusCommand::List { of } => {
            let account = find(conn, &of).await?;
            listed(output, &accounts::order_statuses(conn, account.id).await?)
        }
    }
}

async fn policy(conn: &mut PgConnection, output: Output, command: PolicyCommand) -> anyhow::Result<()> {
    let of = match &command {
        PolicyCommand::Set { of, .. } | PolicyCommand::List { of } => of,
    };
    let account = find(conn, of).await?;
    if let PolicyCommand::Set { unknown_profile, unknown_product, unknown_sku, .. } = &command {
        let [unknown_profile, unknown_product, unknown_sku] =
            [unknown_profile, unknown_product, unknown_sku].map(|policy| policy.map(Policy::as_str));
        accounts::set_policies(conn, account.id, Policies { unknown_profile, unknown_product, unknown_sku }).await?;
    }
    listed(output, &accounts::policies(conn, account.id).await?)
}
