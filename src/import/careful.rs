//! The careful way: definitions, references, snapshot, plan, customers and catalogue, locks, write, events,
//! always in this order. It decides every batch as a whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::PgConnection;

use super::changes::Pack;
use super::check::{self, Checks, Ready};
use super::customers::Customers;
use super::definitions;
use super::merge::Rules;
use super::orders::{Import, Imports, Stopped, versions};
use super::plan::{Group, Plan, plan};
use super::quick::{self, Candidate};
use super::records;
use super::report::{Answers, Outcome, Report, Spent};
use super::setup::{Neighbours, Setup};
use crate::domain::batch::{Decoded, OnError};
use crate::domain::matching::IdentityKinds;
use crate::domain::orders::{Order, StoredOrder};
use crate::domain::rejection::Rejection;
use crate::store;
use crate::store::order_lines::PlacedLine;
use crate::store::orders::Keyed;

/// Runs the whole in one transaction.
pub(super) async fn try_once<'a>(
    imports: &Imports,
    request: &Import<'_, 'a>,
    spent: &mut Spent,
) -> Result<Report<'a>, Stopped> {
    let mut transaction = store::connect::begin(&imports.pool).await?;
    let conn = &mut *transaction;
    let account_id = request.account_id;
    let versions = versions(conn, request).await?;
    let setup = definitions::apply(conn, account_id, request.head, request.secret, &imports.setups, versions).await?;
    let checks = Checks { setup: &setup, limits: &imports.limits, strict: request.head.strict };
    let mut answers = Answers::default();
    let mut ready = ready_orders(conn, request, checks, &mut answers, spent).await?;
    let mut customers = customers(conn, account_id, &mut ready, &setup).await?;
    let mut keys: Vec<&str> = ready.iter().map(|ready| &*ready.order.external_id).collect();
    keys.sort_unstable();
    keys.dedup();
    let stored = store::orders::read(conn, account_id, &keys).await?;
    let rules = Rules {
        fields: &setup.fields,
        limits: &imports.limits,
        first_revision: versions.first_revision,
        now: request.now,
    };
    let Plan { mut groups, outcomes } = spent.plan(|| plan(&mut ready, stored, &mut customers, &rules));
    answers.note(outcomes);
    if request.head.on_error == OnError::Abort && answers.any_failed() {
        transaction.rollback().await.map_err(store::Error::from)?;
        return Ok(answers.report(true));
    }
    // An order that reads as before is done: it needs no lock.
    let (mut changed, same): (Vec<_>, Vec<_>) = groups.drain(..).partition(|group| group.after.is_some());
    changed.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let (profiles, identities) = customers.take_made()?;
    store::profiles::create(conn, account_id, &profiles, identities, ready.len()).await?;
    create_stubs(conn, account_id, &changed, &ready, &setup.neighbours).await?;
    lock(conn, request, &mut changed, &ready, &rules, &mut answers, spent).await?;
    for group in same.iter().chain(&changed) {
        note_id(&mut answers, group, &ready, request.head.dry_run && group.stored.is_none());
    }
    write(conn, request, &same, &changed, ready.len()).await?;
    records::write_skipped(conn, request, &answers).await?;
    let end = if request.head.dry_run { transaction.rollback().await } else { transaction.commit().await };
    end.map_err(store::Error::from)?;
    if !request.head.dry_run {
        setup.neighbours.keep_kinds(customers.made_kinds);
    }
    Ok(answers.report(false))
}

/// Notes the id of an order that was accepted, unless it is hidden: what a dry run would make has none.
pub(super) fn note_id(answers: &mut Answers<'_>, group: &Group<'_>, ready: &[Ready<'_>], hidden: bool) {
    let order = group.after.as_ref().or(group.stored.as_ref());
    let id = order.map(|order| order.id).filter(|_| !hidden);
    answers.note_id(id, group.members.iter().map(|member| ready[*member].slot));
}

/// The orders that pass every check that needs no stored order.
async fn ready_orders<'a>(
    conn: &mut PgConnection,
    request: &Import<'_, 'a>,
    checks: Checks<'_>,
    answers: &mut Answers<'a>,
    spent: &mut Spent,
) -> Result<Vec<Ready<'a>>, store::Error> {
    let decode = |order| request.decode(order, checks.limits);
    let decode_all = || (0..request.orders.len()).map(decode).collect::<Vec<_>>();
    let decoded = spent.decode(decode_all);
    let good = decoded.iter().filter_map(|decoded| decoded.order.as_ref().ok());
    let catalogue = Catalogue::of(conn, request.account_id, checks.setup, good).await?;
    let check_one = |(index, order): (usize, Result<Order<'a>, Rejection>)| {
        let ready = checks.check(request.place(index), order?, checks.digest(&request.orders[index]))?;
        catalogue.check(&ready)?;
        Ok::<_, Rejection>(ready)
    };
    let mut ready = Vec::with_capacity(decoded.len());
    spent.plan(|| {
        for (index, Decoded { external_id, order }) in decoded.into_iter().enumerate() {
            let (outcome, warning) = match check_one((index, order)) {
                Ok(mut order) => {
                    if !order.announce {
                        answers.silence();
                    }
                    let warning = order.order.warning.take();
                    ready.push(order);
                    (Outcome::Unchanged, warning)
                }
                Err(rejection) => (Outcome::Failed(Box::new(rejection)), None),
            };
            answers.push(external_id, outcome, None);
            answers.warn(warning);
        }
    });
    Ok(ready)
}

/// The products and SKUs that some orders name and the account has, where its policy refuses others.
pub(super) struct Catalogue {
    products: Option<HashSet<String>>,
    skus: Option<HashSet<String>>,
}

impl Catalogue {
    async fn of<'o, 'a: 'o, O: Iterator<Item = &'o Order<'a>> + Clone>(
        conn: &mut PgConnection,
        account_id: i64,
        setup: &Setup,
        orders: O,
    ) -> store::Result<Self> {
        let mut catalogue = Catalogue { products: None, skus: None };
        if setup.references.reject_products {
            let (products, orders) = (check::products(orders.clone()), orders.clone().count());
            catalogue.products = Some(store::catalogue::known_products(conn, account_id, &products, orders).await?);
        }
        if setup.references.reject_skus {
            let (skus, orders) = (check::skus(orders.clone()), orders.count());
            catalogue.skus = Some(store::catalogue::known_skus(conn, account_id, &skus, orders).await?);
        }
        Ok(catalogue)
    }

    fn check(&self, ready: &Ready<'_>) -> Result<(), Rejection> {
        check::check_catalogue(ready, self.products.as_ref(), self.skus.as_ref())
    }

    /// Refuses those of some orders that name what the account does not have, where its policy says so.
    pub(super) async fn check_all(
        conn: &mut PgConnection,
        account_id: i64,
        setup: &Setup,
        candidates: &mut [Candidate<'_>],
    ) -> store::Result<()> {
        if !setup.references.reject_products && !setup.references.reject_skus {
            return Ok(());
        }
        let orders = quick::ready(candidates).map(|ready| &ready.order);
        let catalogue = Catalogue::of(conn, account_id, setup, orders).await?;
        for candidate in candidates {
            if let Ok(ready) = &candidate.ready
                && let Err(rejection) = catalogue.check(ready)
            {
                candidate.ready = Err(rejection);
            }
        }
        Ok(())
    }
}

/// The profiles that the orders' customers may have, and numbers for those that they may need.
async fn customers<'s>(
    conn: &mut PgConnection,
    account_id: i64,
    ready: &mut [Ready<'_>],
    setup: &'s Setup,
) -> store::Result<Customers<'s>> {
    let mut customers = Customers::new(setup, IdentityKinds::ALL);
    customers.look(conn, account_id, ready.iter(), ready.len()).await?;
    let misses: Vec<_> = ready.iter_mut().filter(|ready| customers.misses(ready)).collect();
    if !misses.is_empty() && !setup.references.reject_profiles {
        let spare = store::looks::reserve_numbers(conn, 0, misses.len()).await?;
        for (ready, id) in misses.into_iter().zip(spare.profiles.into_iter().rev()) {
            ready.spare_profile = Some(id);
        }
    }
    Ok(customers)
}

/// Writes stubs of the products and SKUs that are not there, for the orders of the request that change
/// something, in the order sent.
pub(super) async fn create_stubs(
    conn: &mut PgConnection,
    account_id: i64,
    changed: &[Group<'_>],
    ready: &[Ready<'_>],
    neighbours: &Neighbours,
) -> Result<(), store::Error> {
    let orders = ready.len();
    let mut members: Vec<usize> = changed.iter().flat_map(|group| group.members.iter().copied()).collect();
    members.sort_unstable();
    let mut products: BTreeSet<&str> = BTreeSet::new();
    let mut skus: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for line in members.into_iter().flat_map(|member| &ready[member].order.lines) {
        products.extend(line.product.as_deref().filter(|id| !neighbours.has_product(id)));
        if let Some(sku) = line.sku.as_deref().filter(|id| !neighbours.has_sku(id)) {
            let product = skus.entry(sku).or_default();
            *product = product.or(line.product.as_deref());
        }
    }
    let products: Vec<&str> = products.into_iter().collect();
    store::catalogue::create_product_stubs(conn, account_id, &products, orders).await?;
    store::catalogue::create_sku_stubs(conn, account_id, &skus.into_iter().collect::<Vec<_>>(), orders).await
}

/// Inserts the orders that are new and locks the others; those are then read and decided again.
async fn lock<'a>(
    conn: &mut PgConnection,
    request: &Import<'_, 'a>,
    changed: &mut [Group<'a>],
    ready: &[Ready<'a>],
    rules: &Rules<'_>,
    answers: &mut Answers<'a>,
    spent: &mut Spent,
) -> Result<(), store::Error> {
    let account_id = request.account_id;
    let keyed: Vec<_> = changed.iter().filter_map(|group| group.keyed(request)).collect();
    let inserted = store::orders::insert_or_lock(conn, account_id, &keyed, request.now).await?;
    if !inserted.is_empty() {
        // One of them may have been made and deleted by others since this was read; from now on none can be.
        let first_revision = store::references::versions(conn, account_id).await?.first_revision;
        let new = changed.iter_mut().filter(|group| inserted.contains_key(&*group.key));
        new.for_each(|group| group.raise(first_revision - rules.first_revision));
    }
    let mut locked = Vec::new();
    for group in &mut *changed {
        match (inserted.get(&*group.key), &group.stored, &mut group.after) {
            (Some(id), None, Some(after)) => after.id = *id,
            (Some(_), _, _) => return Err(store::Error::TryAgain("an order was deleted by another request")),
            (None, _, _) => locked.push(&*group.key),
        }
    }
    if locked.is_empty() {
        return Ok(());
    }
    let mut stored = store::orders::read(conn, account_id, &locked).await?;
    spent.plan(|| {
        for group in changed.iter_mut().filter(|group| !inserted.contains_key(&*group.key)) {
            let stored =
                stored.remove(&*group.key).ok_or(store::Error::TryAgain("an order was deleted by another request"))?;
            answers.note(group.decide_again(stored, ready, rules).map_err(store::Error::TryAgain)?);
        }
        Ok(())
    })
}

/// Writes the orders that changed, their lines and their events; and of those that read as before, by what they
/// are known when they come again.
pub(super) async fn write(
    conn: &mut PgConnection,
    request: &Import<'_, '_>,
    same: &[Group<'_>],
    changed: &[Group<'_>],
    orders: usize,
) -> Result<(), store::Error> {
    let Import { account_id, now, .. } = *request;
    let mut updated = Vec::new();
    let mut lines = Vec::new();
    let mut gone: Vec<(i64, &str)> = Vec::new();
    let mut events = Vec::new();
    let accepted = |group: &&Group<'_>| group.after.is_none() && !group.members.is_empty();
    let known: Vec<Keyed<'_, '_>> =
        same.iter().chain(changed).filter(accepted).filter_map(|group| group.keyed(request)).collect();
    for group in changed {
        let Some(after) = &group.after else { continue };
        if group.stored.is_some() || group.raised {
            updated.extend(group.keyed(request));
        }
        if let Some(stored) = &group.stored {
            let stays: HashSet<&str> = after.state.lines.iter().map(|line| &*line.external_id).collect();
            let went = stored.state.lines.iter().map(|line| &*line.external_id).filter(|id| !stays.contains(id));
            gone.extend(went.map(|id| (after.id, id)));
        }
        lines.extend(changed_lines(group.stored.as_ref(), after));
        events.extend(group.events.iter().map(|event| (after, &*group.key, event)));
    }
    store::orders::renew_digests(conn, account_id, &known).await?;
    store::orders::update(conn, account_id, &updated, now).await?;
    store::order_lines::delete(conn, account_id, &gone, orders).await?;
    store::order_lines::write(conn, account_id, &lines, orders).await?;
    let packs: Vec<String> = store::sets(&events, orders)
        .map(|events| {
            let mut pack = Pack::default();
            for (order, key, event) in events {
                pack.push(order.id, key, &order.state.endpoint, event);
            }
            pack.text()
        })
        .collect();
    store::outbox::write(conn, account_id, &packs, now).await
}

/// The lines that are not stored as they are, at the place where they are.
fn changed_lines<'s, 'a>(
    stored: Option<&'s StoredOrder<'a>>,
    after: &'s StoredOrder<'a>,
) -> impl Iterator<Item = PlacedLine<'s, 'a>> {
    let stored = stored.map(|order| order.state.lines.as_slice()).unwrap_or_default();
    let placed = PlacedLine::all(after).enumerate();
    placed.filter(move |(place, placed)| stored.get(*place) != Some(placed.line)).map(|(_, placed)| placed)
}
