//! The commands for subscriptions to events.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};
use sqlx::PgConnection;

use super::SubscriptionCommand;
use super::output::Output;
use super::setup::{find, key};
use crate::delivery;
use crate::domain::events;
use crate::domain::scalars::time_text;
use crate::store::accounts;
use crate::store::subscriptions::{self, NewSubscription, Subscription};

/// Columns of `list` and `show`.
const COLUMNS: [&str; 9] =
    ["id", "url", "events", "touchpoints", "description", "enabled", "disabled_reason", "failing_since", "created_at"];

pub(super) async fn run(conn: &mut PgConnection, output: Output, command: SubscriptionCommand) -> anyhow::Result<()> {
    match command {
        SubscriptionCommand::Create { of, url, events, touchpoints, description } => {
            let account = find(conn, &of).await?;
            check(conn, account.id, &url, &events, &touchpoints).await?;
            if !description.is_empty() {
                key("description", &description)?;
            }
            let secret = delivery::secret().context("random bytes")?;
            let new = NewSubscription {
                url: &url,
                events: &events,
                touchpoints: &touchpoints,
                description: &description,
                secret: &secret,
            };
            let id = subscriptions::create(conn, account.id, new).await?;
            shown(output, id, &secret)
        }
        SubscriptionCommand::List { of } => {
            let account = find(conn, &of).await?;
            let rows: Vec<_> = subscriptions::list(conn, account.id).await?.iter().map(row).collect();
            output.rows(&COLUMNS, &rows)
        }
        SubscriptionCommand::Show { of, id } => {
            let account = find(conn, &of).await?;
            let all = subscriptions::list(conn, account.id).await?;
            let one = all.iter().find(|subscription| subscription.id == id);
            output.one(&COLUMNS, row(one.with_context(|| none(id))?))
        }
        SubscriptionCommand::Enable { of, id } => {
            let account = find(conn, &of).await?;
            done(output, id, "enabled", subscriptions::enable(conn, account.id, id, true).await?)
        }
        SubscriptionCommand::Disable { of, id } => {
            let account = find(conn, &of).await?;
            done(output, id, "disabled", subscriptions::enable(conn, account.id, id, false).await?)
        }
        SubscriptionCommand::Rotate { of, id, keep_hours } => {
            let account = find(conn, &of).await?;
            let secret = delivery::secret().context("random bytes")?;
            let keep = Duration::from_hours(keep_hours.into());
            if !subscriptions::rotate(conn, account.id, id, &secret, keep).await? {
                bail!(none(id));
            }
            shown(output, id, &secret)
        }
        SubscriptionCommand::Delete { of, id } => {
            let account = find(conn, &of).await?;
            done(output, id, "deleted", subscriptions::delete(conn, account.id, id).await?)
        }
    }
}

fn none(id: i64) -> String {
    format!("subscription: expected one of the account's, found {id}; see `ordergate subscription list`")
}

fn done(output: Output, id: i64, what: &str, found: bool) -> anyhow::Result<()> {
    if !found {
        bail!(none(id));
    }
    output.done(&format!("subscription {id} is {what}"), &json!({"id": id}))
}

/// Shows a new secret, this once.
fn shown(output: Output, id: i64, secret: &str) -> anyhow::Result<()> {
    output.done(secret, &json!({"id": id, "secret": secret}))
}

/// What is wrong with a new subscription, as far as it can be told now.
async fn check(
    conn: &mut PgConnection,
    account_id: i64,
    url: &str,
    kinds: &[String],
    touchpoints: &[String],
) -> anyhow::Result<()> {
    if let Some(problem) = delivery::url_problem(url) {
        bail!("url: {problem}");
    }
    if let Some(kind) = kinds.iter().find(|kind| !events::is_subscribable(kind)) {
        bail!("events: expected * or some of {}, found {kind:?}", events::ALL.join(", "));
    }
    let known = accounts::list_touchpoints(conn, account_id).await?;
    if let Some(touchpoint) = touchpoints.iter().find(|id| known.iter().all(|(known, _)| known != *id)) {
        bail!("touchpoints: expected some that exist, found {touchpoint:?}; see `ordergate touchpoint list`");
    }
    Ok(())
}

fn row(subscription: &Subscription) -> Vec<Json> {
    let Subscription { id, url, events, touchpoints, description, enabled, disabled_reason, .. } = subscription;
    vec![
        json!(id),
        json!(url),
        json!(events),
        json!(touchpoints),
        json!(description),
        json!(enabled),
        json!(disabled_reason),
        json!(subscription.failing_since.map(time_text)),
        json!(time_text(subscription.created_at)),
    ]
}
