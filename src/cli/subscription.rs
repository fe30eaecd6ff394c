//! The commands for subscriptions to events.

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;

use super::SubscriptionCommand;
use super::output::Output;
use super::setup::find;
use crate::delivery::subscriptions::{self, COLUMNS, Secret, Wanted, row};
use crate::domain::scalars;
use crate::store;

pub(super) async fn run(conn: &mut PgConnection, output: Output, command: SubscriptionCommand) -> anyhow::Result<()> {
    match command {
        SubscriptionCommand::Create { of, url, events, touchpoints, description } => {
            let account = find(conn, &of).await?;
            let [events, touchpoints] = [&events, &touchpoints].map(|items| trimmed(items));
            let wanted = Wanted { url: &url, events: &events, touchpoints: &touchpoints, description: &description };
            let made = subscriptions::create(conn, account.id, wanted).await?;
            if let Some(warning) = subscriptions::warning(&url) {
                eprintln!("warning: {warning}");
            }
            shown(output, &made)
        }
        SubscriptionCommand::List { of } => {
            let account = find(conn, &of).await?;
            let rows: Vec<_> = store::subscriptions::list(conn, account.id).await?.iter().map(row).collect();
            output.rows(&COLUMNS, &rows)
        }
        SubscriptionCommand::Show { of, id } => {
            let account = find(conn, &of).await?;
            output.one(&COLUMNS, row(&subscriptions::show(conn, account.id, id).await?))
        }
        SubscriptionCommand::Enable { of, id } => {
            let account = find(conn, &of).await?;
            subscriptions::enable(conn, account.id, id, true).await?;
            done(output, id, "enabled")
        }
        SubscriptionCommand::Disable { of, id } => {
            let account = find(conn, &of).await?;
            subscriptions::enable(conn, account.id, id, false).await?;
            done(output, id, "disabled")
        }
        SubscriptionCommand::Rotate { of, id, keep_hours } => {
            let account = find(conn, &of).await?;
            let keep = Duration::from_hours(keep_hours.into());
            shown(output, &subscriptions::rotate(conn, account.id, id, keep).await?)
        }
        SubscriptionCommand::Delete { of, id } => {
            let account = find(conn, &of).await?;
            subscriptions::delete(conn, account.id, id).await?;
            done(output, id, "deleted")
        }
    }
}

/// The items of a list that was written with commas, and maybe blanks.
fn trimmed(items: &[String]) -> Vec<String> {
    items.iter().map(|item| scalars::id(item)).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn done(output: Output, id: i64, what: &str) -> anyhow::Result<()> {
    output.done(&format!("subscription {id} is {what}"), &json!({"id": id}))
}

/// Shows a new secret, this once.
fn shown(output: Output, Secret { id, secret }: &Secret) -> anyhow::Result<()> {
    output.done(secret, &json!({"id": id, "secret": secret}))
}
