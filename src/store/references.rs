//! What orders refer to: policies, touchpoints, regions, currencies and statuses, as far as one batch needs.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

use super::Result;

/// What a batch refers to, each id once.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// Touchpoints.
    pub endpoints: Vec<&'a str>,
    /// Regions.
    pub regions: Vec<&'a str>,
    /// Currencies.
    pub currencies: Vec<&'a str>,
    /// Order statuses, the built-in ones too.
    pub order_statuses: Vec<&'a str>,
    /// Line statuses, the built-in ones too.
    pub line_statuses: Vec<&'a str>,
}

/// What there is of it.
#[derive(Debug, Default)]
pub struct References {
    /// An unknown customer is refused.
    pub reject_profiles: bool,
    /// An unknown product is refused.
    pub reject_products: bool,
    /// An unknown SKU is refused.
    pub reject_skus: bool,
    /// Touchpoint to its channel's profile database.
    pub endpoints: HashMap<String, i64>,
    /// Regions.
    pub regions: HashSet<String>,
    /// Currencies.
    pub currencies: HashSet<String>,
    /// Order statuses beside the built-in ones.
    pub order_statuses: HashSet<String>,
    /// Line statuses beside the built-in ones.
    pub line_statuses: HashSet<String>,
}

/// Reads what there is of what a batch refers to.
///
/// # Errors
/// The database failed.
pub async fn read(conn: &mut PgConnection, account_id: i64, wanted: &Wanted<'_>) -> Result<References> {
    let policies = sqlx::query!(
        "-- references.policies
        select unknown_profile = 'reject' as \"profiles!\", unknown_product = 'reject' as \"products!\",
            unknown_sku = 'reject' as \"skus!\"
        from accounts where id = $1",
        account_id,
    )
    .fetch_one(&mut *conn)
    .await?;
    let mut references = References {
        reject_profiles: policies.profiles,
        reject_products: policies.products,
        reject_skus: policies.skus,
        ..References::default()
    };
    let endpoints = sqlx::query!(
        "-- references.endpoints
        select t.external_id, c.profile_database_id from touchpoints t
        join channels c on c.account_id = t.account_id and c.external_id = t.channel
        where t.account_id = $1 and t.external_id = any($2)",
        account_id,
        &wanted.endpoints as &[&str],
    )
    .fetch_all(&mut *conn)
    .await?;
    references.endpoints = endpoints.into_iter().map(|row| (row.external_id, row.profile_database_id)).collect();
    let named = sqlx::query!(
        "-- references.named
        select 'region' as \"kind!\", external_id as \"id!\" from regions where account_id = $1 and external_id = any($2)
        union all select 'currency', code from currencies where account_id = $1 and code = any($3)
        union all select 'order_status', external_id from order_statuses where account_id = $1 and external_id = any($4)
        union all select 'line_status', external_id from line_statuses where account_id = $1 and external_id = any($5)",
        account_id,
        &wanted.regions as &[&str],
        &wanted.currencies as &[&str],
        &wanted.order_statuses as &[&str],
        &wanted.line_statuses as &[&str],
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in named {
        match row.kind.as_str() {
            "region" => references.regions.insert(row.id),
            "currency" => references.currencies.insert(row.id),
            "order_status" => references.order_statuses.insert(row.id),
            _ => references.line_statuses.insert(row.id),
        };
    }
    Ok(references)
}
