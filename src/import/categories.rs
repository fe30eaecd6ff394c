//! Categories of a request: merged in the order sent, written only where they change. They form trees.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::definitions::Failure;
use crate::domain::Patch;
use crate::domain::catalogue::{Category, SentCategory};
use crate::domain::place::Place;
use crate::domain::rejection::{Problem, Rejection};
use crate::store;

/// Writes the categories that a request sends, if they differ from what the account has. The lock is taken only when
/// something changes, and what is stored is then read again.
pub(super) async fn write(conn: &mut PgConnection, account_id: i64, sent: &[SentCategory]) -> Result<(), Failure> {
    if sent.is_empty() || changed(sent, store::categories::read(conn, account_id).await?)?.is_empty() {
        return Ok(());
    }
    store::accounts::lock_definitions(conn, account_id).await?;
    let changed = changed(sent, store::categories::read(conn, account_id).await?)?;
    store::categories::write(conn, account_id, &changed.iter().collect::<Vec<_>>()).await?;
    Ok(())
}

/// The categories that differ from the stored ones after all were merged, each once.
fn changed(sent: &[SentCategory], stored: Vec<Category>) -> Result<Vec<Category>, Failure> {
    let stored: HashMap<String, Category> =
        stored.into_iter().map(|category| (category.external_id.clone(), category)).collect();
    let mut merged = stored.clone();
    for SentCategory { external_id, name, parent } in sent {
        let category = merged.entry(external_id.clone()).or_insert_with(|| Category {
            external_id: external_id.clone(),
            name: external_id.clone(),
            parent: None,
        });
        if let Some(name) = name {
            category.name.clone_from(name);
        }
        parent.apply(&mut category.parent);
    }
    for (index, category) in sent.iter().enumerate() {
        check_parent(&merged, category).map_err(|problem| {
            let place = Place::root_item("categories", index).field("parent_external_id");
            Failure::Refused(Rejection::new(place, problem))
        })?;
    }
    Ok(merged.into_values().filter(|category| stored.get(&category.external_id) != Some(category)).collect())
}

/// A category's parent has to be there, and not to be below it.
fn check_parent(merged: &HashMap<String, Category>, sent: &SentCategory) -> Result<(), Problem> {
    let Patch::Set(parent) = &sent.parent else { return Ok(()) };
    let mut above = Some(parent);
    // No way up is longer than there are categories, unless it is a circle.
    for _ in 0..=merged.len() {
        let Some(id) = above else { return Ok(()) };
        if *id == sent.external_id {
            break;
        }
        let Some(category) = merged.get(id) else { return Err(Problem::unknown("category", id)) };
        above = category.parent.as_ref();
    }
    Err(Problem::expected("a category that is not below this one", parent))
}
