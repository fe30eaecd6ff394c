//! The quick way of many new products: set by set, the next one being decoded and decided while the database copies the
//! one before. All is decided as if nothing of it were stored; where something is, the careful way does it again.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::block_in_place;

use super::catalogue::{self, CatalogueImport};
use super::catalogue_check as check;
use super::catalogue_plan::{Plan, Stored, plan};
use super::catalogue_texts::Looked;
use super::orders::Stopped;
use super::report::{Answers, Outcome, Spent};
use super::setup::Setup;
use crate::config::Limits;
use crate::domain::batch::OnError;
use crate::domain::catalogue::{DecodedItem, ItemType};
use crate::store;

/// Products that are decoded, decided and copied together: the database waits for the first ones.
const SET: usize = 500;

/// True if there is a set to be decided while another one is copied, and none of it is stored as far as its texts tell.
pub(super) fn may(request: &CatalogueImport<'_, '_>, looked: &Looked<'_>) -> bool {
    request.kind == ItemType::Product && looked.others_are_new && looked.others().nth(SET).is_some()
}

/// What is to be done with a set of products.
struct Set<'a> {
    /// The place and the external id of each, as it is answered.
    products: Vec<(usize, Cow<'a, str>)>,
    plan: Plan,
    /// The categories that they name.
    categories: BTreeSet<String>,
    /// How long it took to decode them.
    decode: Duration,
    /// How long it took to decide.
    decide: Duration,
}

/// Writes the new products of a request; blocks, in place.
///
/// [`Stopped::Careful`] if one of their SKUs is stored or comes twice, a category is unknown, or one that is wrong stops all.
pub(super) fn write<'a>(
    conn: &mut PgConnection,
    request: &CatalogueImport<'_, 'a>,
    setup: &Setup,
    limits: &Limits,
    looked: &Looked<'a>,
    spent: &mut Spent,
) -> Result<Answers<'a>, Stopped> {
    let others: Vec<usize> = looked.others().collect();
    let (decided, mut sets) = mpsc::channel(1);
    block_in_place(|| {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut sets = others.chunks(SET).map(|slots| decide(request, setup, limits, slots));
                // The other side may have given up.
                while sets.next().is_some_and(|set| decided.blocking_send(set).is_ok()) {}
            });
            Handle::current().block_on(async move {
                let mut answers = Answers::of(request.items.len());
                let mut categories = BTreeSet::new();
                while let Some(mut set) = sets.recv().await {
                    confirm(conn, request, &set, &mut categories).await?;
                    let (none, nothing) = (Stored::default(), BTreeSet::new());
                    catalogue::write(conn, true, request, &mut set.plan, &none, looked, &nothing).await?;
                    spent.decode += set.decode;
                    spent.plan += set.decide;
                    for (slot, external_id) in set.products {
                        catalogue::answer_known(&mut answers, request, looked, slot);
                        answers.push(external_id, Outcome::Created, None);
                    }
                    set.plan.answer(&mut answers, request.head.dry_run);
                }
                catalogue::answer_known(&mut answers, request, looked, request.items.len());
                Ok(answers)
            })
        })
    })
}

/// Decodes products and decides as if nothing were stored and every category were known.
fn decide<'a>(request: &CatalogueImport<'_, 'a>, setup: &Setup, limits: &Limits, slots: &[usize]) -> Set<'a> {
    let start = Instant::now();
    let decode = |slot: &usize| (*slot, (request.decode)(*slot, request.items[*slot].text, limits));
    let decoded: Vec<_> = slots.iter().map(decode).collect();
    let (decode, start) = (start.elapsed(), Instant::now());
    let (mut products, mut checked, mut refused) = (Vec::with_capacity(slots.len()), Vec::new(), Vec::new());
    let mut categories = BTreeSet::new();
    for (slot, DecodedItem { external_id, item }) in decoded {
        products.push((slot, external_id));
        let item = item.and_then(|item| {
            categories.extend(check::categories(&item).map(str::to_owned));
            check::check(slot, item, setup, None, None)
        });
        match item {
            Ok(item) => checked.push(item),
            Err(rejection) => refused.push((slot, Outcome::Failed(Box::new(rejection)))),
        }
    }
    let mut plan = plan(&checked, &Stored::default(), setup, limits);
    plan.outcomes.extend(refused);
    Set { products, plan, categories, decode, decide: start.elapsed() }
}

/// Makes sure that a set can be written as it was decided.
async fn confirm(
    conn: &mut PgConnection,
    request: &CatalogueImport<'_, '_>,
    set: &Set<'_>,
    known_categories: &mut BTreeSet<String>,
) -> Result<(), Stopped> {
    if request.head.on_error == OnError::Abort && set.plan.any_failed() {
        return Err(Stopped::Careful("a product is wrong, and stops the others"));
    }
    let categories: Vec<&str> = set.categories.difference(known_categories).map(String::as_str).collect();
    if !categories.is_empty() {
        let known = store::categories::known(conn, request.account_id, &categories).await?;
        if known.len() < categories.len() {
            return Err(Stopped::Careful("a category is unknown"));
        }
        known_categories.extend(known);
    }
    let skus: Vec<&str> = set.plan.after(ItemType::Sku).keys().map(String::as_str).collect();
    // Those of the sets before are stored, too.
    let stored = store::items::look(conn, request.account_id, ItemType::Sku, &skus).await?;
    if set.plan.shares_skus() || skus.iter().any(|sku| stored.contains_key(*sku)) {
        return Err(Stopped::Careful("a SKU is stored, or comes twice"));
    }
    Ok(())
}
