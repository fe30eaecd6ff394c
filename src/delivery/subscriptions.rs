//! An account's subscriptions, as the command line and the API manage them.

use std::time::Duration;

use serde_json::{Value as Json, json};
use sqlx::PgConnection;

use super::address::private_host;
use super::send::{secret, url_problem};
use crate::accounts::Refused;
use crate::domain::place::Place;
use crate::domain::rejection::{Problem, Rejection, known};
use crate::domain::scalars::time_text;
use crate::domain::{MAX_KEY_CHARS, events};
use crate::store::accounts;
use crate::store::subscriptions::{self, NewSubscription, Subscription};

/// The columns of a subscription.
pub const COLUMNS: [&str; 9] =
    ["id", "url", "events", "touchpoints", "description", "enabled", "disabled_reason", "failing_since", "created_at"];

/// The cells of a subscription.
#[must_use]
pub fn row(subscription: &Subscription) -> Vec<Json> {
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

/// A subscription to be made.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// Where events are sent.
    pub url: &'w str,
    /// Types of events, or `*`.
    pub events: &'w [String],
    /// Only orders of these touchpoints; all if there are none.
    pub touchpoints: &'w [String],
    /// What it is for.
    pub description: &'w str,
}

/// A secret, and the subscription that it signs for: shown once.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The subscription.
    pub id: i64,
    /// The secret.
    pub secret: String,
}

/// Makes a subscription.
///
/// # Errors
/// It is not one that can be made; or the database failed. So do the functions below.
pub async fn create(conn: &mut PgConnection, account_id: i64, wanted: Wanted<'_>) -> Result<Secret, Refused> {
    check(conn, account_id, wanted).await?;
    let Wanted { url, events, touchpoints, description } = wanted;
    let secret = secret()?;
    let new = NewSubscription { url, events, touchpoints, description, secret: &secret };
    let id = subscriptions::create(conn, account_id, new).await?;
    Ok(Secret { id, secret })
}

/// What has to be allowed before events arrive at a URL; not that of a name, which is looked up when it is sent to.
#[must_use]
pub fn warning(url: &str) -> Option<String> {
    let host = private_host(url)?;
    Some(format!("url: {host} is a private address: only a server with --allow-private-webhooks sends events there"))
}

/// What is wrong with a new subscription, as far as it can be told now: an address is checked when it is sent to.
async fn check(conn: &mut PgConnection, account_id: i64, wanted: Wanted<'_>) -> Result<(), Refused> {
    let wrong = |text: String| Err(Refused::Wrong(text));
    if let Some(problem) = url_problem(wanted.url) {
        return wrong(format!("url: {problem}"));
    }
    if wanted.events.is_empty() {
        return wrong(format!("events: expected * or some of {}, found none", events::ALL.join(", ")));
    }
    let mut kinds = wanted.events.iter().enumerate();
    if let Some((place, kind)) = kinds.find(|(_, kind)| !events::is_subscribable(kind)) {
        return wrong(format!("events[{place}]: expected * or one of {}, found {kind:?}", events::ALL.join(", ")));
    }
    let touchpoints = accounts::list_touchpoints(conn, account_id).await?;
    let is_unknown = |id: &str| touchpoints.iter().all(|(known, _)| known != id);
    if let Some((place, id)) = wanted.touchpoints.iter().enumerate().find(|(_, id)| is_unknown(id)) {
        let problem = Problem::unknown_of("touchpoint", id, &known(touchpoints.iter().map(|(id, _)| id.as_str())));
        return Err(Refused::Unknown(Rejection::new(Place::root_item("touchpoints", place), problem)));
    }
    let chars = wanted.description.chars().count();
    if chars > MAX_KEY_CHARS || wanted.description.chars().any(char::is_control) {
        return wrong(format!(
            "description: expected at most {MAX_KEY_CHARS} characters, none of them a control character"
        ));
    }
    Ok(())
}

fn missing(id: i64) -> Refused {
    Refused::Missing(format!("id: expected a subscription of the account's, found {id}"))
}

fn found(id: i64, found: bool) -> Result<(), Refused> {
    if found { Ok(()) } else { Err(missing(id)) }
}

/// A subscription.
///
/// # Errors
/// There is none of that id; or the database failed. So do the functions below.
pub async fn show(conn: &mut PgConnection, account_id: i64, id: i64) -> Result<Subscription, Refused> {
    let all = subscriptions::list(conn, account_id).await?;
    all.into_iter().find(|subscription| subscription.id == id).ok_or_else(|| missing(id))
}

/// Enables a subscription, or disables it.
///
/// # Errors
/// See [`show`].
pub async fn enable(conn: &mut PgConnection, account_id: i64, id: i64, enabled: bool) -> Result<(), Refused> {
    found(id, subscriptions::enable(conn, account_id, id, enabled).await?)
}

/// Makes a new secret; those before stay good for a while.
///
/// # Errors
/// See [`show`].
pub async fn rotate(conn: &mut PgConnection, account_id: i64, id: i64, keep: Duration) -> Result<Secret, Refused> {
    let secret = secret()?;
    found(id, subscriptions::rotate(conn, account_id, id, &secret, keep).await?)?;
    Ok(Secret { id, secret })
}

/// Deletes a subscription with all that waits for it.
///
/// # Errors
/// See [`show`].
pub async fn delete(conn: &mut PgConnection, account_id: i64, id: i64) -> Result<(), Refused> {
    found(id, subscriptions::delete(conn, account_id, id).await?)
}
