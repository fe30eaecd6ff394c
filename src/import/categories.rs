//! Categories of a request: merged in the order sent, written only where they change. They form trees.

use std::collections::{HashMap, HashSet};

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
    // Those from which the way up is known to end: each is walked once, however long a way is.
    let mut rooted = HashSet::new();
    for (index, category) in sent.iter().enumerate() {
        check_parent(&merged, category, &mut rooted).map_err(|problem| {
            let place = Place::root_item("categories", index).field("parent_external_id");
            Failure::Refused(Rejection::new(place, problem))
        })?;
    }
    Ok(merged.into_values().filter(|category| stored.get(&category.external_id) != Some(category)).collect())
}

/// A category's parent has to be there, and not to be below it.
fn check_parent<'m>(
    merged: &'m HashMap<String, Category>,
    sent: &'m SentCategory,
    rooted: &mut HashSet<&'m str>,
) -> Result<(), Problem> {
    let Patch::Set(parent) = &sent.parent else { return Ok(()) };
    let mut way = Vec::new();
    let mut above = Some(parent.as_str());
    while let Some(id) = above.filter(|id| !rooted.contains(id)) {
        // No way up is longer than there are categories, unless it is a circle.
        if id == sent.external_id || way.len() > merged.len() {
            return Err(Problem::expected("a category that is not below this one", parent));
        }
        let Some(category) = merged.get(id) else { return Err(Problem::unknown("category", id)) };
        way.push(id);
        above = category.parent.as_deref();
    }
    rooted.extend(way);
    Ok(())
}
