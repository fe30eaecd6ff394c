//! What orders may refer to: policies, touchpoints, regions, currencies and statuses of an account.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

use super::Result;
use crate::domain::matching::{IdentityKind, IdentityKinds};

/// What an account has that orders refer to, the built-in statuses and its line statuses aside.
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
}

/// How often what servers keep of an account was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// Of policies, references and definitions, and of products and SKUs that went.
    pub setup: i64,
    /// Of tokens that were good before.
    pub tokens: i64,
    /// By what its customers are known; none of them ever goes.
    pub kinds: IdentityKinds,
    /// From here new orders count their changes.
    pub first_revision: i64,
}

impl Versions {
    pub(super) fn of(setup: i64, tokens: i64, kinds: &[String], first_revision: i64) -> Self {
        let kinds = kinds.iter().filter_map(|kind| IdentityKind::of(kind)).collect();
        Versions { setup, tokens, kinds, first_revision }
    }
}

/// The versions as this transaction sees them: what was kept under another one counts no longer.
///
/// # Errors
/// The database failed; so for all functions here.
pub async fn versions(conn: &mut PgConnection, account_id: i64) -> Result<Versions> {
    let row = sqlx::query!(
        "-- accounts.versions
        select setup_version, tokens_version, identity_kinds, first_revision from accounts where id = $1",
        account_id,
    )
    .fetch_one(conn)
    .await?;
    Ok(Versions::of(row.setup_version, row.tokens_version, &row.identity_kinds, row.first_revision))
}

/// All that the orders of an account may refer to.
///
/// # Errors
/// See [`versions`].
pub async fn read(conn: &mut PgConnection, account_id: i64) -> Result<References> {
    let policies = sqlx::query!(
        "-- accounts.policies
        select unknown_profile = 'reject' as \"profiles!\", unknown_product = 'reject' as \"products!\",
            unknown_sku = 'reject' as \"skus!\"
        from accounts where id = $1",
        account_id,
    )
    .fetch_one(&mut *conn)
    .await?;
    let endpoints = sqlx::query!(
        "-- references.endpoints
        select t.external_id, c.profile_database_id from touchpoints t
        join channels c on c.account_id = t.account_id and c.external_id = t.channel
        where t.account_id = $1",
        account_id,
    )
    .fetch_all(&mut *conn)
    .await?;
    let named = sqlx::query!(
        "-- references.named
        select 'region' as \"kind!\", external_id as \"id!\" from regions where account_id = $1
        union all select 'currency', code from currencies where account_id = $1
        union all select 'order_status', external_id from order_statuses where account_id = $1",
        account_id,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut references = References {
        reject_profiles: policies.profiles,
        reject_products: policies.products,
        reject_skus: policies.skus,
        endpoints: endpoints.into_iter().map(|row| (row.external_id, row.profile_database_id)).collect(),
        ..References::default()
    };
    for row in named {
        match row.kind.as_str() {
            "region" => references.regions.insert(row.id),
            "currency" => references.currencies.insert(row.id),
            _ => references.order_statuses.insert(row.id),
        };
    }
    Ok(references)
}
