//! The calls of the admin API that set an account up: what Altcraft has in its user interface only.

use serde_json::{Value as Json, json};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::admin::{object, required};
use crate::accounts::{self, NewToken, Policies, Refused, Table};
use crate::wire::admin::Said;

/// A call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    Create(Subject),
    List(Subject),
    SetPolicies,
    RevokeToken,
}

/// What it is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject {
    Channels,
    Touchpoints,
    Regions,
    Currencies,
    OrderStatuses,
    Policies,
    Tokens,
}

impl Call {
    pub(super) fn named(subject: &str, verb: &str) -> Option<Self> {
        let subject = match subject {
            "channels" => Subject::Channels,
            "touchpoints" => Subject::Touchpoints,
            "regions" => Subject::Regions,
            "currencies" => Subject::Currencies,
            "order_statuses" => Subject::OrderStatuses,
            "policies" => Subject::Policies,
            "tokens" => Subject::Tokens,
            _ => return None,
        };
        Some(match (subject, verb) {
            (Subject::Policies, "set") => Call::SetPolicies,
            (Subject::Policies, "create") => return None,
            (Subject::Tokens, "revoke") => Call::RevokeToken,
            (subject, "create") => Call::Create(subject),
            (subject, "list") => Call::List(subject),
            _ => return None,
        })
    }
}

pub(super) async fn carry_out(
    conn: &mut PgConnection,
    account_id: i64,
    call: Call,
    said: &Said,
    now: OffsetDateTime,
) -> Result<Json, Refused> {
    match call {
        Call::Create(subject) => create(conn, account_id, subject, said, now).await,
        Call::List(subject) => list(conn, account_id, subject).await,
        Call::SetPolicies => {
            let policies = Policies {
                unknown_profile: said.unknown_profile.as_deref(),
                unknown_product: said.unknown_product.as_deref(),
                unknown_sku: said.unknown_sku.as_deref(),
            };
            accounts::set_policies(conn, account_id, policies).await?;
            list(conn, account_id, Subject::Policies).await
        }
        Call::RevokeToken => {
            let id = required("id", said.id)?;
            accounts::revoke_token(conn, account_id, id, now).await?;
            Ok(json!({"id": id}))
        }
    }
}

async fn create(
    conn: &mut PgConnection,
    account_id: i64,
    subject: Subject,
    said: &Said,
    now: OffsetDateTime,
) -> Result<Json, Refused> {
    let text = |name: &str, text: &'_ Option<String>| required(name, text.clone());
    let external_id = || text("external_id", &said.external_id);
    match subject {
        Subject::Channels => {
            let database = said.database.as_deref().unwrap_or(accounts::DEFAULT_DATABASE);
            accounts::create_channel(conn, account_id, &external_id()?, database).await?;
        }
        Subject::Touchpoints => {
            let channel = text("channel", &said.channel)?;
            accounts::create_touchpoint(conn, account_id, &external_id()?, &channel).await?;
        }
        Subject::Regions => {
            accounts::create_region(conn, account_id, &external_id()?, said.name.as_deref()).await?;
        }
        Subject::OrderStatuses => accounts::create_order_status(conn, account_id, &external_id()?).await?,
        Subject::Currencies => {
            let codes = required("codes", Some(&said.codes).filter(|codes| !codes.is_empty()))?;
            return Ok(json!({"codes": accounts::create_currencies(conn, account_id, codes).await?}));
        }
        Subject::Tokens => {
            let name = said.name.as_deref().unwrap_or_default();
            let new = NewToken { name, roles: &said.roles, expires_at: said.expires_at, value: None };
            let (id, token) = accounts::create_token(conn, account_id, new, now).await?;
            return Ok(json!({"id": id, "token": token}));
        }
        Subject::Policies => return list(conn, account_id, subject).await,
    }
    Ok(json!({"external_id": external_id()?}))
}

async fn list(conn: &mut PgConnection, account_id: i64, subject: Subject) -> Result<Json, Refused> {
    let Table { columns, rows } = match subject {
        Subject::Channels => accounts::channels(conn, account_id).await?,
        Subject::Touchpoints => accounts::touchpoints(conn, account_id).await?,
        Subject::Regions => accounts::regions(conn, account_id).await?,
        Subject::Currencies => accounts::currencies(conn, account_id).await?,
        Subject::OrderStatuses => accounts::order_statuses(conn, account_id).await?,
        Subject::Policies => accounts::policies(conn, account_id).await?,
        Subject::Tokens => accounts::tokens(conn, account_id).await?,
    };
    Ok(rows.into_iter().map(|row| object(columns, row)).collect())
}
