//! Definitions of custom fields and of line statuses: merged in the order sent, written only where they change.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::PgConnection;
use tokio::task::block_in_place;

use super::orders::{Stopped, confirmed_versions, refusal};
use super::setup::{Setup, Setups};
use crate::domain::batch::Head;
use crate::domain::custom_fields::{Definition, EntityType, SentDefinition};
use crate::domain::line_statuses::{LineStatus, SentLineStatus};
use crate::domain::place::Place;
use crate::domain::rejection::Rejection;
use crate::store;
use crate::store::references::Versions;

/// Why definitions were not written.
pub(super) enum Failure {
    /// One of them is wrong.
    Refused(Rejection),
    /// The database failed.
    Store(store::Error),
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Failure::Store(error)
    }
}

impl Failure {
    /// What ends the request.
    pub(super) fn stopped(self, secret: &str) -> Stopped {
        match self {
            Failure::Store(error) => Stopped::Store(error),
            Failure::Refused(rejection) => Stopped::Request(refusal(&rejection, secret)),
        }
    }
}

/// What the account has, as of those versions, after what the request defines was written.
pub(super) async fn apply(
    conn: &mut PgConnection,
    account_id: i64,
    head: &Head,
    secret: &str,
    setups: &Setups,
    versions: Versions,
) -> Result<Arc<Setup>, Stopped> {
    let setup = setups.of_versions(conn, account_id, versions).await?;
    if !write(conn, account_id, head, &setup).await.map_err(|failure| failure.stopped(secret))? {
        return Ok(setup);
    }
    // Not kept: this may be rolled back.
    let version = confirmed_versions(conn, account_id, versions.tokens).await?.setup;
    Ok(Arc::new(Setup::read(conn, account_id, version).await?))
}

/// True if what a request defines differs from what the account has.
///
/// # Errors
/// A definition is wrong.
pub(super) fn differ(head: &Head, setup: &Setup) -> Result<bool, Rejection> {
    let definitions = changed_definitions(&head.definitions, setup.definitions())?;
    Ok(!definitions.is_empty() || !changed_statuses(&head.line_statuses, setup.line_statuses.values()).is_empty())
}

/// Writes what a request defines, if it differs from what the account has; true if so. Requests that carry the
/// same definitions do not wait for each other: the lock is taken only when something changes, and what is
/// stored is then read again.
async fn write(conn: &mut PgConnection, account_id: i64, head: &Head, setup: &Setup) -> Result<bool, Failure> {
    if !block_in_place(|| differ(head, setup)).map_err(Failure::Refused)? {
        return Ok(false);
    }
    store::accounts::lock_definitions(conn, account_id).await?;
    let stored = store::definitions::read(conn, account_id).await?;
    let changed = block_in_place(|| changed_definitions(&head.definitions, stored.iter())).map_err(Failure::Refused)?;
    if !changed.is_empty() {
        store::definitions::write(conn, account_id, &changed.iter().collect::<Vec<_>>()).await?;
    }
    let stored = store::definitions::read_line_statuses(conn, account_id).await?;
    let changed = changed_statuses(&head.line_statuses, stored.iter());
    if !changed.is_empty() {
        store::definitions::write_line_statuses(conn, account_id, &changed.iter().collect::<Vec<_>>()).await?;
    }
    Ok(true)
}

/// The definitions that differ from the stored ones after all were merged, each once.
fn changed_definitions<'s>(
    sent: &[SentDefinition],
    stored: impl Iterator<Item = &'s Definition>,
) -> Result<Vec<Definition>, Rejection> {
    if sent.is_empty() {
        return Ok(Vec::new());
    }
    let stored: HashMap<_, _> =
        stored.map(|definition| ((definition.entity_type, definition.external_id.as_str()), definition)).collect();
    let mut merged: HashMap<(EntityType, &str), Definition> = HashMap::new();
    for (index, definition) in sent.iter().enumerate() {
        let key = (definition.entity_type, definition.external_id.as_str());
        let before = merged.get(&key).or_else(|| stored.get(&key).copied());
        let after = definition.merged(before).map_err(|(field, problem)| {
            Rejection::new(Place::root_item("custom_fields", index).field(field), problem)
        })?;
        merged.insert(key, after);
    }
    let differs = |(key, definition): &(_, Definition)| stored.get(key).copied() != Some(definition);
    Ok(merged.into_iter().filter(differs).map(|(_, definition)| definition).collect())
}

/// The line statuses that differ from the stored ones after all were merged, each once.
fn changed_statuses<'s>(sent: &[SentLineStatus], stored: impl Iterator<Item = &'s LineStatus>) -> Vec<LineStatus> {
    if sent.is_empty() {
        return Vec::new();
    }
    let stored: HashMap<&str, _> = stored.map(|status| (status.external_id.as_str(), status)).collect();
    let mut merged: HashMap<&str, LineStatus> = HashMap::new();
    for status in sent {
        let id = status.external_id.as_str();
        let before = merged.get(id).or_else(|| stored.get(id).copied());
        merged.insert(id, status.merged(before));
    }
    merged.into_values().filter(|status| stored.get(status.external_id.as_str()).copied() != Some(status)).collect()
}
