//! Imports products and SKUs, as orders are imported: all of a request is written, or nothing, before the report is there.
//!
//! What was sent like this before is known by its text. The rest is decided from an unlocked read; what would change is
//! locked in the order of the keys, products before SKUs, and decided again from what is stored then.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::PgConnection;

use super::catalogue_check::Checked;
use super::catalogue_plan::{Plan, Stored, plan};
use super::definitions;
use super::digest;
use super::orders::{Imports, MAX_TRIES, Stopped, confirmed_versions};
use super::report::{Answers, Outcome, Report, Spent};
use super::setup::Setup;
use super::{catalogue_check as check, categories, halves};
use crate::config::Limits;
use crate::domain::batch::{Head, OnError, Sent};
use crate::domain::catalogue::{DecodedItem, ItemType, SentCategory};
use crate::error::Error;
use crate::store;
use crate::store::items::NewItem;
use crate::store::orders::Digest;

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
    pub decode: &'r (dyn Fn(usize, &'a str, &Limits) -> DecodedItem<'a> + Send + Sync),
    /// The request's token, which no text repeats.
    pub secret: &'r str,
}

/// Imports products or SKUs. `None` if tokens of the account changed since the caller was looked up.
///
/// # Errors
/// A definition or a category is wrong (400, 409); the database is away, or others were in the way too often (503).
pub async fn import<'a>(imports: &Imports, request: &CatalogueImport<'_, 'a>) -> Result<Option<Report<'a>>, Error> {
    let mut spent = Spent::default();
    let (mut retries, mut by_text) = (0, imports.quick);
    loop {
        match Box::pin(try_once(imports, request, by_text, &mut spent)).await {
            Ok(report) => return Ok(Some(Report { spent, retries, ..report })),
            Err(Stopped::TokensChanged) => return Ok(None),
            Err(Stopped::Careful(reason)) => {
                tracing::debug!(reason, "the import is run again without a look at texts");
                by_text = false;
            }
            Err(Stopped::Store(store::Error::TryAgain(reason))) if retries + 1 < MAX_TRIES => {
                tracing::debug!(reason, "the import is run again");
                retries += 1;
            }
            Err(Stopped::Store(error)) => return Err(error.into()),
            Err(Stopped::Request(error)) => return Err(error),
        }
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
    by_text: bool,
    spent: &mut Spent,
) -> Result<Report<'a>, Stopped> {
    let mut transaction = store::connect::begin(&imports.pool).await?;
    let conn = &mut *transaction;
    let CatalogueImport { account_id, head, secret, .. } = *request;
    let versions = confirmed_versions(conn, account_id, request.tokens_version).await?;
    let setup = definitions::apply(conn, account_id, head, secret, &imports.setups, versions).await?;
    let written = categories::write(conn, account_id, request.categories).await;
    written.map_err(|failure| failure.stopped(secret))?;
    let texts = spent.plan(|| texts(request, setup.version, &imports.limits));
    let known = if by_text { known(conn, request, &texts).await? } else { HashMap::new() };
    let mut answers = Answers::default();
    let checked = decode(conn, imports, request, &setup, &known, &mut answers, spent).await?;
    let mut stored = Stored::read(conn, request.account_id, &checked).await?;
    let mut planned = spent.plan(|| plan(&checked, &stored, &setup, &imports.limits));
    if request.head.on_error == OnError::Abort && (answers.any_failed() || planned.any_failed()) {
        answers.note(planned.outcomes);
        transaction.rollback().await.map_err(store::Error::from)?;
        return Ok(answers.report(true));
    }
    if planned.changes_anything() {
        let suspects = planned.products_to_forget(&stored, request.kind);
        if suspects.iter().any(|product| known.contains_key(&**product)) {
            return Err(Stopped::Careful("a SKU leaves a product that was known by its text"));
        }
        let locked = stored.lock(conn, request.account_id, &planned, &suspects).await?;
        // All that is new is as it was planned.
        if !locked.is_empty() {
            let before = planned;
            planned = spent.plan(|| plan(&checked, &stored, &setup, &imports.limits));
            let covered = planned.is_covered_by(&locked, &stored)
                && planned.products_to_forget(&stored, request.kind).is_subset(&suspects)
                && planned.any_failed() == before.any_failed();
            if !covered {
                return Err(store::Error::TryAgain("another request changed the same products or SKUs").into());
            }
        }
        let forget: Vec<&str> = suspects.iter().map(String::as_str).collect();
        store::items::clear_digests(conn, request.account_id, &forget).await?;
        write(conn, imports.is_local, request, &mut planned, &stored, &texts, &suspects).await?;
    }
    renew(conn, request, &planned, &stored, &checked, &texts).await?;
    let Plan { outcomes, ids, .. } = planned;
    answers.note(outcomes);
    for (slot, id, is_new) in ids {
        answers.note_id(Some(id).filter(|_| !(request.head.dry_run && is_new)), std::iter::once(slot));
    }
    let end = if request.head.dry_run { transaction.rollback().await } else { transaction.commit().await };
    end.map_err(store::Error::from)?;
    Ok(answers.report(false))
}

/// By what the texts of a request's items are known: those whose id is plain and comes once.
type Texts<'a> = HashMap<&'a str, Digest>;

fn texts<'a>(request: &CatalogueImport<'_, 'a>, version: i64, limits: &Limits) -> Texts<'a> {
    let mut texts = Texts::with_capacity(request.items.len());
    let mut twice = HashSet::new();
    for sent in request.items {
        let Some(id) = sent.external_id else { continue };
        if texts.insert(id, digest::of_text(sent.text, version, limits)).is_some() {
            twice.insert(id);
        }
    }
    texts.retain(|id, _| !twice.contains(id));
    // An id with escapes may be one of the others.
    if request.items.iter().any(|sent| sent.external_id.is_none()) {
        texts.clear();
    }
    texts
}

/// The internal ids of the items that were sent like this before.
async fn known(
    conn: &mut PgConnection,
    request: &CatalogueImport<'_, '_>,
    texts: &Texts<'_>,
) -> store::Result<HashMap<String, i64>> {
    let mut texts: Vec<(&str, Digest)> = texts.iter().map(|(id, digest)| (*id, *digest)).collect();
    texts.sort_unstable_by_key(|(id, _)| *id);
    store::items::known(conn, request.account_id, request.kind, &texts).await
}

/// The items that pass every check that needs no stored item; the others are answered.
async fn decode<'a>(
    conn: &mut PgConnection,
    imports: &Imports,
    request: &CatalogueImport<'_, 'a>,
    setup: &Setup,
    known: &HashMap<String, i64>,
    answers: &mut Answers<'a>,
    spent: &mut Spent,
) -> store::Result<Vec<Checked<'a>>> {
    let known_id = |sent: &Sent<'a>| sent.external_id.and_then(|id| Some((id, *known.get(id)?)));
    let decode_one = |(slot, sent): (usize, &Sent<'a>)| match known_id(sent) {
        Some(_) => None,
        None => Some((request.decode)(slot, sent.text, &imports.limits)),
    };
    let decoded = spent.decode(|| halves::each(request.items.iter().enumerate().collect(), decode_one));
    let items = || decoded.iter().flatten().filter_map(|decoded| decoded.item.as_ref().ok());
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
    let check_one = |(slot, decoded): (usize, Option<DecodedItem<'a>>)| {
        let DecodedItem { external_id, item } = decoded?;
        Some((external_id, item.and_then(|item| check::check(slot, item, setup, &categories, products.as_ref()))))
    };
    let results = spent.plan(|| halves::each(decoded.into_iter().enumerate().collect(), check_one));
    let mut checked = Vec::new();
    for (result, sent) in results.into_iter().zip(request.items) {
        let Some((external_id, result)) = result else {
            let (id, known) = known_id(sent).unwrap_or_default();
            answers.push(Cow::Borrowed(id), Outcome::Unchanged, Some(known));
            continue;
        };
        let outcome = match result {
            Ok(item) => {
                checked.push(item);
                Outcome::Unchanged
            }
            Err(rejection) => Outcome::Failed(Box::new(rejection)),
        };
        answers.push(external_id, outcome, None);
    }
    Ok(checked)
}

/// Writes what changed.
async fn write(
    conn: &mut PgConnection,
    is_local: bool,
    request: &CatalogueImport<'_, '_>,
    planned: &mut Plan,
    stored: &Stored,
    texts: &Texts<'_>,
    forget: &BTreeSet<String>,
) -> store::Result<()> {
    let account_id = request.account_id;
    for kind in [ItemType::Product, ItemType::Sku] {
        // A product that a SKU left or came to by itself is known by no text.
        let digest =
            |id: &str| texts.get(id).filter(|_| kind == request.kind && !forget.contains(id) && stored.stayed(id));
        if kind == ItemType::Product {
            let stubs: Vec<&str> = planned.stubs.iter().map(String::as_str).collect();
            store::catalogue::create_product_stubs(conn, account_id, &stubs, stubs.len()).await?;
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
    texts: &Texts<'_>,
) -> store::Result<()> {
    let forget = planned.products_to_forget(stored, request.kind);
    let changed: &BTreeMap<_, _> = planned.after(request.kind);
    let failed: HashSet<usize> = planned.failed().collect();
    let same = checked.iter().filter(|item| !failed.contains(&item.slot)).filter_map(|item| {
        let id = &*item.item.external_id;
        let known = !changed.contains_key(id) && !forget.contains(id) && stored.stayed(id);
        let digest = texts.get(id).filter(|_| known)?;
        Some((id, stored.of(request.kind).get(id)?.revision, *digest))
    });
    let mut same: Vec<_> = same.collect();
    same.sort_unstable_by_key(|(id, ..)| *id);
    store::items::renew_digests(conn, request.account_id, request.kind, &same).await
}
