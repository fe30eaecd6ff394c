//! The commands that set accounts up.

use std::io::BufRead as _;

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};
use sqlx::{Connection as _, PgConnection};

use super::database::Database;
use super::output::{Output, print};
use super::{
    AccountCommand, ChannelCommand, Command, CurrencyCommand, OfAccount, OrderStatusCommand, PolicyCommand,
    RegionCommand, TokenCommand, TouchpointCommand,
};
use crate::auth;
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::line_statuses::BUILT_IN_ORDER_STATUSES;
use crate::domain::{MAX_KEY_CHARS, scalars};
use crate::store::accounts::{self, Account, NewTouchpoint};
use crate::store::{connect, tokens};

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
        Command::Serve { .. } | Command::Deliver { .. } | Command::Migrate => Ok(()),
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
    let found = accounts::find(conn, &of.account).await?;
    found.with_context(|| {
        format!("account: expected one that exists, found {:?}; see `ordergate account list`", of.account)
    })
}

/// An id or a name that can be stored and looked up.
pub(super) fn key<'k>(what: &str, text: &'k str) -> anyhow::Result<&'k str> {
    let chars = text.chars().count();
    if !(1..=MAX_KEY_CHARS).contains(&chars) {
        bail!("{what}: expected 1 to {MAX_KEY_CHARS} characters, found {chars}");
    }
    if text.chars().any(char::is_control) {
        bail!("{what}: expected no control characters, found {text:?}");
    }
    Ok(text)
}

/// Reports something that was made, or fails since it was there.
fn made(output: Output, what: &str, id: &str, is_new: bool) -> anyhow::Result<()> {
    if !is_new {
        bail!("{what}: {id:?} is there already");
    }
    output.done(&format!("{what} {id} is there now"), &json!({"external_id": id}))?;
    Ok(())
}

async fn account(conn: &mut PgConnection, output: Output, command: AccountCommand) -> anyhow::Result<()> {
    match command {
        AccountCommand::Create { name } => {
            let id = accounts::create(conn, key("account", &name)?).await?;
            let Some(id) = id else { bail!("account: {name:?} is there already") };
            output.done(&format!("account {name} is there now"), &json!({"name": name, "id": id}))?;
        }
        AccountCommand::List => {
            let rows: Vec<_> = accounts::list(conn)
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
            if let Some(role) = roles.iter().find(|role| !auth::is_role(role)) {
                bail!(
                    "role: expected market, orders:read, orders:write, catalog:read, catalog:write or admin, found {role:?}"
                );
            }
            if !name.is_empty() {
                key("name", &name)?;
            }
            let expires_at = match &expires_at {
                Some(text) => Some(
                    scalars::time(text)
                        .with_context(|| format!("expires-at: expected a time like 2030-01-31, found {text:?}"))?,
                ),
                None => None,
            };
            if let Some(at) = expires_at.filter(|at| *at <= Clock::System.now()) {
                bail!("expires-at: expected a time to come, found {}", scalars::time_text(at));
            }
            let value = if value_stdin { taken_over(conn).await? } else { auth::generate().context("random bytes")? };
            let id = tokens::create(conn, account.id, &auth::hash(&value), &name, &roles, expires_at).await?;
            let Some(id) = id else { bail!("token: it is there already; one that was revoked stays so") };
            let shown = match (output, value_stdin) {
                (_, true) => output.done(&format!("token {id} was taken over"), &json!({"id": id})),
                (Output::Text, false) => print(&value),
                (Output::Json, false) => print(&json!({"id": id, "token": value}).to_string()),
            };
            if shown.is_err() && !value_stdin {
                // Nobody has seen it, and nobody will.
                tokens::revoke(conn, account.id, id, Clock::System.now()).await?;
            }
            shown?;
        }
        TokenCommand::List { of } => {
            let account = find(conn, &of).await?;
            let time =
                |time: Option<time::OffsetDateTime>| time.map_or(Json::Null, |time| json!(scalars::time_text(time)));
            let row = |t: tokens::ListedToken| {
                vec![
                    json!(t.id),
                    json!(t.name),
                    json!(t.roles),
                    time(Some(t.created_at)),
                    time(t.expires_at),
                    time(t.revoked_at),
                    time(t.last_used_at),
                ]
            };
            let rows: Vec<_> = tokens::list(conn, account.id).await?.into_iter().map(row).collect();
            output.rows(&["id", "name", "roles", "created_at", "expires_at", "revoked_at", "last_used_at"], &rows)?;
        }
        TokenCommand::Revoke { of, id } => {
            let account = find(conn, &of).await?;
            if !tokens::revoke(conn, account.id, id, Clock::System.now()).await? {
                bail!(
                    "token: expected one of the account's that is not revoked, found {id}; see `ordergate token list`"
                );
            }
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
            let is_new =
                accounts::create_channel(conn, account.id, key("channel", &external_id)?, key("database", &database)?)
                    .await?;
            made(output, "channel", &external_id, is_new)?;
        }
        ChannelCommand::List { of } => {
            let account = find(conn, &of).await?;
            pairs(output, ["external_id", "database"], accounts::list_channels(conn, account.id).await?)?;
        }
    }
    Ok(())
}

fn pairs(output: Output, columns: [&str; 2], rows: Vec<(String, String)>) -> anyhow::Result<()> {
    let rows: Vec<_> = rows.into_iter().map(|(a, b)| vec![json!(a), json!(b)]).collect();
    output.rows(&columns, &rows)
}

async fn touchpoint(conn: &mut PgConnection, output: Output, command: TouchpointCommand) -> anyhow::Result<()> {
    match command {
        TouchpointCommand::Create { of, external_id, channel } => {
            let account = find(conn, &of).await?;
            match accounts::create_touchpoint(conn, account.id, key("touchpoint", &external_id)?, &channel).await? {
                NewTouchpoint::NoChannel => {
                    bail!("channel: expected one that exists, found {channel:?}; see `ordergate channel list`")
                }
                new => made(output, "touchpoint", &external_id, new == NewTouchpoint::Created)?,
            }
        }
        TouchpointCommand::List { of } => {
            let account = find(conn, &of).await?;
            pairs(output, ["external_id", "channel"], accounts::list_touchpoints(conn, account.id).await?)?;
        }
    }
    Ok(())
}

async fn currency(conn: &mut PgConnection, output: Output, command: CurrencyCommand) -> anyhow::Result<()> {
    match command {
        CurrencyCommand::Create { of, codes } => {
            let account = find(conn, &of).await?;
            if let Some(code) = codes.iter().find(|code| !scalars::is_currency(code)) {
                bail!("currency: expected three letters, found {code:?}");
            }
            let codes: Vec<_> = codes.iter().map(|code| code.to_ascii_uppercase()).collect();
            // All of them, or none.
            let mut transaction = conn.begin().await?;
            for code in &codes {
                if !accounts::create_currency(&mut transaction, account.id, code).await? {
                    bail!("currency: {code:?} is there already");
                }
            }
            transaction.commit().await?;
            output.done(&format!("there now: {}", codes.join(", ")), &json!({"codes": codes}))?;
        }
        CurrencyCommand::List { of } => {
            let account = find(conn, &of).await?;
            let rows: Vec<_> =
                accounts::list_currencies(conn, account.id).await?.into_iter().map(|code| vec![json!(code)]).collect();
            output.rows(&["code"], &rows)?;
        }
    }
    Ok(())
}

async fn region(conn: &mut PgConnection, output: Output, command: RegionCommand) -> anyhow::Result<()> {
    match command {
        RegionCommand::Create { of, external_id, name } => {
            let account = find(conn, &of).await?;
            let name = name.as_deref().unwrap_or(&external_id);
            let is_new =
                accounts::create_region(conn, account.id, key("region", &external_id)?, key("name", name)?).await?;
            made(output, "region", &external_id, is_new)?;
        }
        RegionCommand::List { of } => {
            let account = find(conn, &of).await?;
            pairs(output, ["external_id", "name"], accounts::list_regions(conn, account.id).await?)?;
        }
    }
    Ok(())
}

async fn order_status(conn: &mut PgConnection, output: Output, command: OrderStatusCommand) -> anyhow::Result<()> {
    match command {
        OrderStatusCommand::Create { of, external_id } => {
            let account = find(conn, &of).await?;
            let built_in = BUILT_IN_ORDER_STATUSES.contains(&external_id.as_str());
            let is_new = !built_in
                && accounts::create_order_status(conn, account.id, key("order status", &external_id)?).await?;
            made(output, "order status", &external_id, is_new)?;
        }
        OrderStatusCommand::List { of } => {
            let account = find(conn, &of).await?;
            let own = accounts::list_order_statuses(conn, account.id).await?;
            let built_in = BUILT_IN_ORDER_STATUSES.iter().map(|status| vec![json!(status), json!(true)]);
            let rows: Vec<_> = built_in.chain(own.iter().map(|status| vec![json!(status), json!(false)])).collect();
            output.rows(&["external_id", "built_in"], &rows)?;
        }
    }
    Ok(())
}

async fn policy(conn: &mut PgConnection, output: Output, command: PolicyCommand) -> anyhow::Result<()> {
    let of = match &command {
        PolicyCommand::Set { of, .. } | PolicyCommand::List { of } => of,
    };
    let account = find(conn, of).await?;
    if let PolicyCommand::Set { unknown_profile, unknown_product, unknown_sku, .. } = &command {
        let [profile, product, sku] =
            [unknown_profile, unknown_product, unknown_sku].map(|policy| policy.map(Policy::as_str));
        if profile.or(product).or(sku).is_none() {
            bail!("policy set: expected at least one of --unknown-profile, --unknown-product, --unknown-sku");
        }
        accounts::set_policies(conn, account.id, profile, product, sku).await?;
    }
    let account = find(conn, of).await?;
    let policies = [
        ("unknown_profile", account.unknown_profile),
        ("unknown_product", account.unknown_product),
        ("unknown_sku", account.unknown_sku),
    ];
    pairs(output, ["policy", "value"], policies.map(|(name, value)| (name.to_owned(), value)).to_vec())
}
