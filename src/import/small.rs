//! The quick way of a few orders: all that they need is looked for in one statement, and new ones whose neighbours are
//! known go in by one more, which is a transaction by itself.

use std::sync::Arc;

use sqlx::PgPool;

use super::careful::Catalogue;
use super::check::Checks;
use super::definitions;
use super::orders::{Import, Imports, Stopped, versions};
use super::quick::{Candidate, Complete, New, Quick, Wanted, ready};
use super::report::{Report, Spent};
use super::setup::Setup;
use crate::store;
use crate::store::looks::{self, AtOnce};
use crate::store::references::Versions;

/// More are decoded beside the database, set by set.
pub(super) const MAX_ORDERS: usize = 100;

/// Runs the whole, in one transaction if it writes anything.
pub(super) async fn try_once<'a>(
    imports: &Imports,
    request: &Import<'_, 'a>,
    spent: &mut Spent,
) -> Result<Report<'a>, Stopped> {
    let setup = setup(imports, request).await?;
    // One that is refused may be refused for what was kept too long.
    if !matches!(definitions::differ(request.head, &setup), Ok(false)) {
        return Err(Stopped::Careful("it changes definitions"));
    }
    let checks = Checks { setup: &setup, limits: &imports.limits, strict: request.head.strict };
    let orders = 0..request.orders.len();
    let decode = |index| Wanted { index, sent: checks.digest(&request.orders[index]) }.decode(request, checks);
    let mut candidates: Vec<Candidate<'a>> = spent.decode(|| orders.clone().map(decode).collect());
    let kinds = setup.neighbours.kinds();
    let mut quick = Quick::new(request, checks, kinds);
    let mut conn = store::connect::acquire(&imports.pool).await?;
    Catalogue::check_all(&mut conn, request.account_id, &setup, &mut candidates).await?;
    let sought = quick.customers.sought(ready(&candidates));
    let mut keys: Vec<&str> = ready(&candidates).map(|ready| &*ready.order.external_id).collect();
    keys.sort_unstable();
    keys.dedup();
    let count = ready(&candidates).count();
    let looked = looks::at_once(&mut conn, request.account_id, &keys, &sought, count).await?;
    let AtOnce { versions, stored, profiles, numbers } = looked;
    if versions.tokens != request.tokens_version {
        return Err(Stopped::TokensChanged);
    }
    if versions.setup != setup.version {
        return Err(Stopped::Careful("the account's setup was changed"));
    }
    quick.first_revision = versions.first_revision;
    setup.neighbours.keep_kinds(versions.kinds);
    if setup.neighbours.kinds() != kinds {
        return Err(Stopped::Careful("customers came to be known by another kind of key"));
    }
    quick.customers.learn(&sought, &profiles);
    let same = orders.map(|_| None).collect();
    let complete = Complete { first: 0, same, candidates, numbers };
    let new = spent.plan(|| quick.decide(complete, &stored))?;
    let one_statement = quick.customers.keys_to_make() == 0 && !new.needs_stubs() && !quick.is_silent();
    if quick.later.is_empty() && one_statement && !request.head.dry_run {
        let answers = quick.answers()?;
        quick.create(&mut conn, &new, versions).await?;
        return Ok(answers.report(false));
    }
    drop(conn);
    write(&imports.pool, quick, new, versions, spent).await
}

/// What the account has, as far as this server knows.
async fn setup(imports: &Imports, request: &Import<'_, '_>) -> Result<Arc<Setup>, Stopped> {
    if let Some(setup) = imports.setups.kept(request.account_id) {
        return Ok(setup);
    }
    let mut conn = store::connect::acquire(&imports.pool).await?;
    let versions = versions(&mut conn, request).await?;
    Ok(imports.setups.of_versions(&mut conn, request.account_id, versions).await?)
}

/// Writes what takes more than one statement.
async fn write<'a>(
    pool: &PgPool,
    mut quick: Quick<'_, 'a>,
    new: New<'a>,
    versions: Versions,
    spent: &mut Spent,
) -> Result<Report<'a>, Stopped> {
    let request = quick.request;
    let mut transaction = store::connect::begin_impatient(pool).await?;
    let conn = &mut *transaction;
    if super::orders::versions(conn, request).await? != versions {
        return Err(Stopped::Careful("the account's setup was changed"));
    }
    quick.make_customers(conn, 0).await?;
    quick.make_stubs(conn, &new).await?;
    quick.create(conn, &new, versions).await?;
    quick.finish(transaction, spent).await
}
