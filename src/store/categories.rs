//! Categories of products: a tree in each account.

use std::collections::HashSet;

use sqlx::PgConnection;

use super::Result;
use crate::domain::catalogue::Category;

/// The categories of an account.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn read(conn: &mut PgConnection, account_id: i64) -> Result<Vec<Category>> {
    let categories = sqlx::query_as!(
        Category,
        "-- categories.read
        select external_id, name, parent from categories where account_id = $1",
        account_id,
    )
    .fetch_all(conn)
    .await?;
    Ok(categories)
}

/// Which of these categories the account has.
///
/// # Errors
/// See [`read`].
pub async fn known(conn: &mut PgConnection, account_id: i64, ids: &[&str]) -> Result<HashSet<String>> {
    let known = sqlx::query_scalar!(
        "-- categories.known
        select external_id from categories where account_id = $1 and external_id = any($2)",
        account_id,
        ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(known.into_iter().collect())
}

/// Creates or replaces categories.
///
/// # Errors
/// See [`read`].
pub async fn write(conn: &mut PgConnection, account_id: i64, categories: &[&Category]) -> Result<()> {
    let ids: Vec<&str> = categories.iter().map(|category| &*category.external_id).collect();
    let names: Vec<&str> = categories.iter().map(|category| &*category.name).collect();
    let parents: Vec<Option<&str>> = categories.iter().map(|category| category.parent.as_deref()).collect();
    sqlx::query!(
        "-- categories.write
        insert into categories (account_id, external_id, name, parent)
        select $1, * from unnest($2::text[], $3::text[], $4::text[])
        on conflict (account_id, external_id) do update set name = excluded.name, parent = excluded.parent",
        account_id,
        &ids as &[&str],
        &names as &[&str],
        &parents as &[Option<&str>],
    )
    .execute(conn)
    .await?;
    Ok(())
}
