//! The quick way of many new products: set by set, the next one being decoded, decided and encoded while the database copies
//! the one before. All is decided as if nothing of it were stored; where something is, the careful way does it again.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::block_in_place;

use super::catalogue::{CatalogueImport, answer_known};
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
use crate::store::copy;
use crate::store::items::NewItem;

/// Products that are decoded, decided and copied together: the database waits for the first ones.
const SET: usize = 500;

/// True if there is a set to be decided while another one is copied, and none of it is stored as far as its texts tell.
pub(super) fn may(request: &CatalogueImport<'_, '_>, looked: &Looked<'_>) -> bool {
    request.kind == ItemType::Product && looked.others_are_new && looked.others().nth(SET).is_some()
}

/// A set of products that is decided.
struct Set<'a> {
    /// The place and the external id of each, as it is answered.
    products: Vec<(usize, Cow<'a, str>)>,
    plan: Plan,
    /// The categories that they name.
    categories: BTreeSet<String>,
    /// What is to be written.
    rows: Vec<(ItemType, Vec<u8>)>,
    /// How long it took to decode them.
    decode: Duration,
    /// How long it took to decide.
    decide: Duration,
}

/// Writes the new products of a request; blocks, in place.
///
/// [`Stopped::Careful`] if two of them have the same SKU, a category is unknown, or one that is wrong stops all. A SKU that
/// is stored stops the transaction.
pub(super) async fn write<'a>(
    conn: &mut PgConnection,
    request: &CatalogueImport<'_, 'a>,
    setup: &Setup,
    limits: &Limits,
    looked: &Looked<'a>,
    spent: &mut Spent,
) -> Result<Answers<'a>, Stopped> {
    let slots: Vec<usize> = looked.others().collect();
    let ids = store::items::reserve_numbers(conn, slots.len()).await?;
    let decider = Decider { request, setup, limits, looked };
    let (sender, mut sets) = mpsc::channel(1);
    block_in_place(|| {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut sets = slots.chunks(SET).zip(ids.chunks(SET)).map(|(slots, ids)| decider.decide(slots, ids));
                // The other side may have given up.
                while sets.next().is_some_and(|set| sender.blocking_send(set).is_ok()) {}
            });
            Handle::current().block_on(async move {
                let mut answers = Answers::of(request.items.len());
                let mut categories = BTreeSet::new();
                while let Some(set) = sets.recv().await {
                    let set = set?;
                    confirm(conn, request, &set, &mut categories).await?;
                    for (kind, rows) in set.rows {
                        copy::send_items(conn, kind, rows).await?.finish().await?;
                    }
                    spent.decode += set.decode;
                    spent.plan += set.decide;
                    for (slot, external_id) in set.products {
                        answer_known(&mut answers, request, looked, slot);
                        answers.push(external_id, Outcome::Created, None);
                    }
                    set.plan.answer(&mut answers, request.head.dry_run);
                }
                answer_known(&mut answers, request, looked, request.items.len());
                Ok(answers)
            })
        })
    })
}

/// Decides what needs no look at what is stored.
#[derive(Clone, Copy)]
struct Decider<'r, 'a> {
    request: &'r CatalogueImport<'r, 'a>,
    setup: &'r Setup,
    limits: &'r Limits,
    looked: &'r Looked<'a>,
}

impl<'a> Decider<'_, 'a> {
    /// Decodes products, decides as if nothing were stored and every category were known, and encodes them.
    fn decide(self, slots: &[usize], ids: &[i64]) -> store::Result<Set<'a>> {
        let Decider { request, setup, limits, looked } = self;
        let start = Instant::now();
        let decode = |slot: &usize| (*slot, (request.decode)(*slot, &request.items[*slot], limits));
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
        let new = |kind: ItemType| {
            let digest = move |id: &str| looked.digest(id).filter(|_| kind == ItemType::Product);
            let states = plan.after(kind).iter();
            states.map(move |(id, state)| NewItem { external_id: id, state, sent_digest: digest(id) })
        };
        let account_id = request.account_id;
        let numbered: Vec<_> = ids.iter().copied().zip(new(ItemType::Product)).collect();
        let skus: Vec<_> = new(ItemType::Sku).collect();
        let mut rows = vec![(ItemType::Product, copy::products(account_id, &numbered)?)];
        if !skus.is_empty() {
            rows.push((ItemType::Sku, copy::skus(account_id, &skus)?));
        }
        let numbers: HashMap<_, _> = numbered.iter().map(|(id, item)| (item.external_id.to_owned(), *id)).collect();
        plan.number(&numbers);
        Ok(Set { products, plan, categories, rows, decode, decide: start.elapsed() })
    }
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
    if set.plan.shares_skus() {
        return Err(Stopped::Careful("two products have the same SKU"));
    }
    let categories: Vec<&str> = set.categories.difference(known_categories).map(String::as_str).collect();
    if !categories.is_empty() {
        let known = store::categories::known(conn, request.account_id, &categories).await?;
        if known.len() < categories.len() {
            return Err(Stopped::Careful("a category is unknown"));
        }
        known_categories.extend(known);
    }
    Ok(())
}
