//! Imports products and SKUs, as orders are imported: all of a request is written, or nothing, before the report is there.
//!
//! What was sent like this before is known by its text. The rest is decided from an unlocked read; what would change is
//! locked in the order of the keys, products before SKUs, and decided again from what is stored then.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::PgConnection;

use super::catalogue_check::Checked;
use super::catalogue_plan::{Plan, Stored, plan};
use super::catalogue_texts::Looked;
use super::definitions;
use super::orders::{Imports, MAX_TRIES, Stopped, confirmed_versions};
use super::report::{Answers, Outcome, Report, Spent};
use super::setup::Setup;
use super::{catalogue_check as check, catalogue_quick, categories};
use crate::config::Limits;
use crate::domain::batch::{Head, OnError, Sent};
use crate::domain::catalogue::{DecodedItem, ItemType, SentCategory};
use crate::error::Error;
use crate::store;
use crate::store::items::NewItem;

/// A request to import products or SKUs.
pub struct CatalogueImport<'r, 'a> {
    /// Whose they are.
    pub account_id: i64,
    /// The version of the account's tokens by which the caller may import.
    pub tokens_version: i64,
    /// Definitions and options.
    pub head: &'r Head,
    /// Categories to create or update.
    pub categories: &'r [SentCategory],
    /// Products, or SKUs.
    pub kind: ItemType,
    /// The items, not yet decoded.
    pub items: &'r [Sent<'a>],
    /// Decodes an item, of that place.
    pub decode: &'r (dyn Fn(usize, &Sent<'a>, &Limits) -> DecodedItem<'a> + Send + Sync),
    /// The request's token, which no text repeats.
    pub secret: &'r str,
}

/// Imports products or SKUs. `None` if tokens of the account changed since the caller was looked up.
///
/// # Errors
/// A definition or a category is wrong (400, 409); the database is away, or others were in the way too often (503).
pub async fn import<'a>(imports: &Imports, request: &CatalogueImport<'_, 'a>) -> Result<Option<Report<'a>>, Error> {
    let mut spent = Spent::default();
    let (mut retries, mut quick) = (0, imports.quick);
    loop {
        match Box::pin(try_once(imports, request, quick, &mut spent)).await {
            Ok(report) => return Ok(Some(Report { spent, retries, ..report })),
            Err(Stopped::TokensChanged) => return Ok(None),
            Err(Stopped::Careful(reason)) => tracing::debug!(reason, "the import goes on by the careful way"),
            Err(Stopped::Store(store::Error::TryAgain(_) | store::Error::LockTimeout(_))) if quick => {
                tracing::debug!("the import goes on by the careful way: another one was in the way");
            }
            Err(Stopped::Store(store::Error::TryAgain(reason))) if retries + 1 < MAX_TRIES => {
                tracing::debug!(reason, "the import is run again");
                retries += 1;
            }
            Err(Stopped::Store(error)) => return Err(error.into()),
            Err(Stopped::Request(error)) => return Err(error),
        }
        quick = false;
    }
}

/// Deletes products, with their SKUs, or SKUs, by their ids; returns how many of the kind went.
///
/// # Errors
/// The database is away, or others were in the way too often (503).
pub async fn delete(
    imports: &Imports,
    account_id: i64,
    kind: ItemType,
    ids: &[i64],
    external_ids: &[String],
) -> Result<u64, Error> {
    let once = async || {
        let mut transaction = store::connect::begin(&imports.pool).await?;
        // Before the items' rows: their trigger changes the account's row, which imports that bring definitions lock first.
        store::accounts::lock_definitions(&mut transaction, account_id).await?;
        let count = store::items::delete(&mut transaction, account_id, kind, ids, external_ids).await?;
        transaction.commit().await?;
        Ok::<_, store::Error>(count)
    };
    let mut retries = 0;
    loop {
        match once().await {
            Err(store::Error::TryAgain(_)) if retries + 1 < MAX_TRIES => retries += 1,
            done => return Ok(done?),
        }
    }
}

/// Runs the whole in one transaction.
async fn try_once<'a>(
    imports: &Imports,
    request: &CatalogueImport<'_, 'a>,
    quick: bool,
    spent: &mut Spent,
) -> Result<Report<'a>, Stopped> {
    let pool = &imports.pool;
    let mut transaction =
        if quick { store::connect::begin_impatient(pool).await? } else { store::connect::begin(pool).await? };
    let conn = &mut *transaction;
    let CatalogueImport { account_id, head, secret, .. } = *request;
    let versions = confirmed_versions(conn, account_id, request.tokens_version).await?;
    let setup = definitions::apply(conn, account_id, head, secret, &imports.setups, versions).await?;
    let written = categories::write(conn, account_id, request.categories).await;
    written.map_err(|failure| failure.stopped(secret))?;
    let looked = Looked::at(conn, request, setup.version, &imports.limits, quick, spent).await?;
    let (answers, aborted) = if imports.is_local && catalogue_quick::may(request, &looked) {
        (catalogue_quick::write(conn, request, &setup, &imports.limits, &looked, spent).await?, false)
    } else {
        carefully(conn, imports, request, &setup, &looked, spent).await?
    };
    let end = if aborted || head.dry_run { transaction.rollback().await } else { transaction.commit().await };
    end.map_err(store::Error::from)?;
    Ok(answers.report(aborted))
}

/// Decides and writes all at once; true if one that is wrong stopped it.
async fn carefully<'a>(
    conn: &mut PgConnection,
    imports: &Imports,
    request: &CatalogueImport<'_, 'a>,
    setup: &Setup,
    looked: &Looked<'a>,
    spent: &mut Spent,
) -> Result<(Answers<'a>, bool), Stopped> {
    let mut answers = Answers::of(request.items.len());
    let checked = decode(conn, imports, request, setup, looked, &mut answers, spent).await?;
    let account_id = request.account_id;
    let mut stored = Stored::read(conn, account_id, &checked).await?;
    let mut planned = spent.plan(|| plan(&checked, &stored, setup, &imports.limits));
    if stored.count_skus(conn, account_id, &planned, imports.limits.max_lines).await? {
        planned = spent.plan(|| plan(&checked, &stored, setup, &imports.limits));
    }
    if request.head.on_error == OnError::Abort && (answers.any_failed() || planned.any_failed()) {
        answers.note(planned.outcomes);
        return Ok((answers, true));
    }
    if planned.changes_anything() {
        let suspects = planned.products_to_forget(&stored, request.kind);
        if looked.knows_any(&suspects, request.items) {
            return Err(Stopped::Careful("a SKU leaves a product that was known by its text"));
        }
        let any_failed = planned.any_failed();
        let mut held = stored.lock_products(conn, account_id, &planned, &suspects).await?;
        if stored.any_moved() {
            // Whoever changes a SKU of theirs waits from now on.
            stored.read_skus(conn, account_id, &checked).await?;
            planned = spent.plan(|| plan(&checked, &stored, setup, &imports.limits));
        }
        held.extend(stored.lock_skus(conn, account_id, &planned).await?);
        // All that is new is as it was planned.
        if !held.is_empty() {
            planned = spent.plan(|| plan(&checked, &stored, setup, &imports.limits));
            let covered = planned.is_covered_by(&held, &stored)
                && planned.products_to_forget(&stored, request.kind).is_subset(&suspects)
                && planned.any_failed() == any_failed;
            if !covered {
                return Err(store::Error::TryAgain("another request changed the same products or SKUs").into());
            }
        }
        let forget: Vec<&str> = suspects.iter().map(String::as_str).collect();
        store::items::clear_digests(conn, account_id, &forget).await?;
        write(conn, imports.is_local, request, &mut planned, &stored, looked, &suspects).await?;
        stored.confirm_skus(conn, account_id, &planned, imports.limits.max_lines).await?;
    }
    renew(conn, request, &planned, &stored, &checked, looked).await?;
    planned.answer(&mut answers, request.head.dry_run);
    Ok((answers, false))
}

/// Answers to the items that were sent like this before, from the next one to the one before `end`.
pub(super) fn answer_known<'a>(
    answers: &mut Answers<'a>,
    request: &CatalogueImport<'_, 'a>,
    looked: &Looked<'a>,
    end: usize,
) {
    for slot in answers.len()..end {
        let external_id = request.items[slot].external_id.unwrap_or_default();
        answers.push(Cow::Borrowed(external_id), Outcome::Unchanged, looked.known(slot));
    }
}

/// The items that pass every check that needs no stored item; the others are answered.
async fn decode<'a>(
    conn: &mut PgConnection,
    imports: &Imports,
    request: &CatalogueImport<'_, 'a>,
    setup: &Setup,
    looked: &Looked<'a>,
    answers: &mut Answers<'a>,
    spent: &mut Spent,
) -> store::Result<Vec<Checked<'a>>> {
    let decode_one = |slot| (slot, (request.decode)(slot, &request.items[slot], &imports.limits));
    let decoded: Vec<_> = spent.decode(|| looked.others().map(decode_one).collect());
    let items = || decoded.iter().filter_map(|(_, decoded)| decoded.item.as_ref().ok());
    let categories: BTreeSet<&str> = items().flat_map(check::categories).collect();
    let categories = if categories.is_empty() {
        HashSet::new()
    } else {
        let ids: Vec<&str> = categories.into_iter().collect();
        store::categories::known(conn, request.account_id, &ids).await?
    };
    let products: Option<HashSet<String>> = if setup.references.reject_products && request.kind == ItemType::Sku {
        let ids: BTreeSet<&str> = items().filter_map(|item| item.product.as_deref()).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        Some(store::catalogue::known_products(conn, request.account_id, &ids, ids.len()).await?)
    } else {
        None
    };
    let mut checked = Vec::new();
    spent.plan(|| {
        for (slot, DecodedItem { external_id, item }) in decoded {
            answer_known(answers, request, looked, slot);
            let item = item.and_then(|item| check::check(slot, item, setup, Some(&categories), products.as_ref()));
            let outcome = match item {
                Ok(item) => {
                    checked.push(item);
                    Outcome::Unchanged
                }
                Err(rejection) => Outcome::Failed(Box::new(rejection)),
            };
            answers.push(external_id, outcome, None);
        }
        answer_known(answers, request, looked, request.items.len());
    });
    Ok(checked)
}

/// Writes what changed.
async fn write(
    conn: &mut PgConnection,
    is_local: bool,
    request: &CatalogueImport<'_, '_>,
    planned: &mut Plan,
    stored: &Stored,
    looked: &Looked<'_>,
    forget: &BTreeSet<String>,
) -> store::Result<()> {
    let account_id = request.account_id;
    for kind in [ItemType::Product, ItemType::Sku] {
        let known = |id: &str| kind == request.kind && stored.is_known_by_text(kind, id, forget);
        let digest = |id: &str| looked.digest(id).filter(|_| known(id));
        if kind == ItemType::Product {
            let stubs: Vec<&str> = planned.stubs.iter().map(String::as_str).collect();
            let created = store::catalogue::create_product_stubs(conn, account_id, &stubs, stubs.len()).await?;
            if created < stubs.len() {
                // It may bring SKUs, too: both count against the same bound.
                return Err(store::Error::TryAgain("another request made the same product first"));
            }
        }
        let as_new = |(id, state)| NewItem { external_id: id, state, sent_digest: digest(id) };
        let (updates, inserts): (Vec<_>, Vec<_>) = planned
            .after(kind)
            .iter()
            .map(|(id, state)| (id.as_str(), state))
            .partition(|(id, _)| stored.of(kind).contains_key(*id));
        let [updates, inserts] = [updates, inserts].map(|items| items.into_iter().map(as_new).collect::<Vec<_>>());
        let inserted = store::items::insert(conn, account_id, kind, &inserts, is_local).await?;
        store::items::update(conn, account_id, kind, &updates).await?;
        drop((inserts, updates));
        if kind == request.kind {
            planned.number(&inserted);
        }
    }
    Ok(())
}

/// Renews by what those items are known that read as before.
async fn renew(
    conn: &mut PgConnection,
    request: &CatalogueImport<'_, '_>,
    planned: &Plan,
    stored: &Stored,
    checked: &[Checked<'_>],
    looked: &Looked<'_>,
) -> store::Result<()> {
    let forget = planned.products_to_forget(stored, request.kind);
    let changed: &BTreeMap<_, _> = planned.after(request.kind);
    let failed: HashSet<usize> = planned.failed().collect();
    let same = checked.iter().filter(|item| !failed.contains(&item.slot)).filter_map(|item| {
        let id = &*item.item.external_id;
        let known = !changed.contains_key(id) && stored.is_known_by_text(request.kind, id, &forget);
        let digest = looked.digest(id).filter(|_| known)?;
        Some((id, stored.of(request.kind).get(id)?.revision, *digest))
    });
    let mut same: Vec<_> = same.collect();
    same.sort_unstable_by_key(|(id, ..)| *id);
    store::items::renew_digests(conn, request.account_id, request.kind, &same).await
}
