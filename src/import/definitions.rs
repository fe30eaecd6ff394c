//! Definitions of custom fields and of line statuses: merged in the order sent, written only where they change.

use std::collections::HashMap;

use sqlx::PgConnection;
use tokio::task::block_in_place;

use crate::domain::batch::Head;
use crate::domain::custom_fields::{Definition, EntityType, SentDefinition};
use crate::domain::line_statuses::{LineStatus, SentLineStatus};
use crate::domain::place::Place;
use crate::domain::rejection::Rejection;
use crate::store;

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

/// Writes what a request defines. Requests that carry the same definitions do not wait for each other: the
/// lock is taken only when something changes, and what is stored is then read again.
pub(super) async fn write(conn: &mut PgConnection, account_id: i64, head: &Head) -> Result<(), Failure> {
    if !head.definitions.is_empty() {
        let stored = store::definitions::read(conn, account_id, &EntityType::ALL).await?;
        if !block_in_place(|| changed_definitions(&head.definitions, stored)).map_err(Failure::Refused)?.is_empty() {
            store::accounts::lock_definitions(conn, account_id).await?;
            let stored = store::definitions::read(conn, account_id, &EntityType::ALL).await?;
            let changed =
                block_in_place(|| changed_definitions(&head.definitions, stored)).map_err(Failure::Refused)?;
            store::definitions::write(conn, account_id, &changed.iter().collect::<Vec<_>>()).await?;
        }
    }
    if !head.line_statuses.is_empty() {
        let stored = store::definitions::read_line_statuses(conn, account_id).await?;
        if !changed_statuses(&head.line_statuses, stored).is_empty() {
            store::accounts::lock_definitions(conn, account_id).await?;
            let stored = store::definitions::read_line_statuses(conn, account_id).await?;
            let changed = changed_statuses(&head.line_statuses, stored);
            store::definitions::write_line_statuses(conn, account_id, &changed.iter().collect::<Vec<_>>()).await?;
        }
    }
    Ok(())
}

/// The definitions that differ from the stored ones after all were merged, each once.
fn changed_definitions(sent: &[SentDefinition], stored: Vec<Definition>) -> Result<Vec<Definition>, Rejection> {
    let key = |definition: &Definition| (definition.entity_type, definition.external_id.clone());
    let stored: HashMap<_, _> = stored.into_iter().map(|definition| (key(&definition), definition)).collect();
    let mut merged: HashMap<(EntityType, String), Definition> = HashMap::new();
    for (index, definition) in sent.iter().enumerate() {
        let key = (definition.entity_type, definition.external_id.clone());
        let before = merged.get(&key).or_else(|| stored.get(&key));
        let after = definition.merged(before).map_err(|(field, problem)| {
            Rejection::new(Place::root_item("custom_fields", index).field(field), problem)
        })?;
        merged.insert(key, after);
    }
    Ok(merged
        .into_iter()
        .filter(|(key, definition)| stored.get(key) != Some(definition))
        .map(|(_, definition)| definition)
        .collect())
}

/// The line statuses that differ from the stored ones after all were merged, each once.
fn changed_statuses(sent: &[SentLineStatus], stored: Vec<LineStatus>) -> Vec<LineStatus> {
    let stored: HashMap<_, _> = stored.into_iter().map(|status| (status.external_id.clone(), status)).collect();
    let mut merged: HashMap<&str, LineStatus> = HashMap::new();
    for status in sent {
        let before = merged.get(status.external_id.as_str()).or_else(|| stored.get(&status.external_id));
        merged.insert(&status.external_id, status.merged(before));
    }
    merged.into_values().filter(|status| stored.get(&status.external_id) != Some(status)).collect()
}
