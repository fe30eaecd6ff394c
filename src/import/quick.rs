//! The quick way: an order that was sent like this before is known by its digest, new ones go in by `copy` set by
//! set while the next are being decoded, and the others are locked, read and decided after them.
//!
//! It leaves the phase order of the careful way, so it gives way: it waits for a lock for less than the time after
//! which PostgreSQL looks for a deadlock. What it cannot decide alone ends it, and the careful way runs the whole.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::block_in_place;

use super::careful::{Catalogue, create_stubs, note_id, write};
use super::changes::{self, Pack};
use super::check::{Checks, Ready};
use super::customers::{Customers, Made};
use super::definitions;
use super::merge::{Rules, merge};
use super::orders::{Import, Imports, Stopped, versions};
use super::plan::{Plan, plan};
use super::report::{Answers, Outcome, Report, Spent};
use crate::domain::batch::{Decoded, OnError};
use crate::domain::orders::{Order, StoredOrder};
use crate::domain::rejection::Rejection;
use crate::store;
use crate::store::orders::{Digest, Keyed, Looked};
use crate::store::{SET, copy};

/// Fewer orders are decoded at once: a thread of their own would cost more than it gains.
const MIN_FOR_THREAD: usize = 100;

/// Runs the whole in one transaction.
pub(super) async fn try_once<'a>(
    imports: &Imports,
    request: &Import<'_, 'a>,
    spent: &mut Spent,
) -> Result<Report<'a>, Stopped> {
    let mut transaction = store::connect::begin_impatient(&imports.pool).await?;
    let conn = &mut *transaction;
    let version = versions(conn, request).await?.setup;
    let setup = imports.setups.of_version(conn, request.account_id, version).await?;
    if block_in_place(|| definitions::differ(request.head, &setup)).map_err(|rejection| request.refuse(&rejection))? {
        return Err(Stopped::Careful("it changes definitions"));
    }
    let checks = Checks { setup: &setup, limits: &imports.limits };
    let announce = !request.head.skip_triggers;
    let set = |first: usize| {
        let decode = |index| Candidate::new((request.decode)(index), index, announce, checks);
        (first..request.count.min(first + SET)).map(decode).collect::<Vec<_>>()
    };
    let quick = Quick::new(imports, request, checks);
    let answers = if request.count <= MIN_FOR_THREAD {
        let only = spent.decode(|| set(0));
        quick.run(conn, &mut Sets::One(Some(only)), spent).await?
    } else {
        block_in_place(|| {
            std::thread::scope(|scope| {
                let (sender, sets) = mpsc::channel(1);
                scope.spawn(move || {
                    for first in (0..request.count).step_by(SET) {
                        let start = Instant::now();
                        let orders = set(first);
                        if sender.blocking_send((orders, start.elapsed())).is_err() {
                            // The other side needs no more.
                            break;
                        }
                    }
                });
                Handle::current().block_on(quick.run(conn, &mut Sets::Decoding(sets), spent))
            })
        })?
    };
    let end = if request.head.dry_run { transaction.rollback().await } else { transaction.commit().await };
    end.map_err(store::Error::from)?;
    Ok(answers.report(false))
}

/// An order that was decoded and checked, as far as no database is needed.
struct Candidate<'a> {
    external_id: Cow<'a, str>,
    order: Result<Ready<'a>, Rejection>,
}

impl<'a> Candidate<'a> {
    fn new(decoded: Decoded<'a>, index: usize, announce: bool, checks: Checks<'_>) -> Self {
        let Decoded { external_id, order } = decoded;
        Candidate { external_id, order: order.and_then(|order| checks.check(index, announce, order)) }
    }
}

/// Where sets of orders come from.
enum Sets<'a> {
    /// There is one.
    One(Option<Vec<Candidate<'a>>>),
    /// Another thread decodes them, one ahead; with the time that each took.
    Decoding(mpsc::Receiver<(Vec<Candidate<'a>>, Duration)>),
}

impl<'a> Sets<'a> {
    async fn next(&mut self, spent: &mut Spent) -> Option<Vec<Candidate<'a>>> {
        match self {
            Sets::One(orders) => orders.take(),
            Sets::Decoding(sets) => {
                let (orders, decode_time) = sets.recv().await?;
                spent.decode += decode_time;
                Some(orders)
            }
        }
    }
}

/// A set of orders and what there is of each good one.
struct Seen<'a> {
    orders: Vec<Candidate<'a>>,
    looked: Vec<Looked>,
}

/// An order that is new.
struct NewOrder<'a> {
    external_id: Cow<'a, str>,
    order: StoredOrder<'a>,
    digest: Digest,
}

/// What a set of orders makes.
#[derive(Default)]
struct New<'a> {
    customers: Made,
    products: BTreeSet<Cow<'a, str>>,
    skus: BTreeMap<Cow<'a, str>, Option<Cow<'a, str>>>,
    orders: Vec<NewOrder<'a>>,
    /// Rows of orders and lines, if they are copied.
    rows: Option<(Vec<u8>, Vec<u8>)>,
    events: String,
    /// The ids of orders, by their slots.
    ids: Vec<(usize, i64)>,
}

/// What a SKU that the request names comes with.
struct Named<'a> {
    product: Option<Cow<'a, str>>,
    /// It is there by now.
    made: bool,
}

/// One run.
struct Quick<'r, 'a> {
    imports: &'r Imports,
    request: &'r Import<'r, 'a>,
    checks: Checks<'r>,
    answers: Answers<'a>,
    customers: Customers,
    /// The keys that the request makes (true) or changes: what it says of them next comes later, too.
    taken: HashMap<Cow<'a, str>, bool>,
    /// Orders that are decided after the others, since they need what is stored.
    later: Vec<Ready<'a>>,
    products: HashSet<Cow<'a, str>>,
    skus: HashMap<Cow<'a, str>, Named<'a>>,
}

impl<'r, 'a> Quick<'r, 'a> {
    fn new(imports: &'r Imports, request: &'r Import<'r, 'a>, checks: Checks<'r>) -> Self {
        let customers = Customers::new(checks.setup.references.reject_profiles);
        let (answers, taken, later, products, skus) = Default::default();
        Quick { imports, request, checks, answers, customers, taken, later, products, skus }
    }

    fn rules(&self) -> Rules<'r> {
        Rules { fields: &self.checks.setup.fields, limits: self.checks.limits, now: self.request.now }
    }

    async fn run(
        mut self,
        conn: &mut PgConnection,
        sets: &mut Sets<'a>,
        spent: &mut Spent,
    ) -> Result<Answers<'a>, Stopped> {
        let mut seen = self.look(conn, sets, spent).await?;
        let mut next = self.decide(seen.take(), spent)?;
        while let Some(new) = next {
            next = self.make(conn, new, sets, spent).await?;
        }
        self.decide_later(conn, spent).await?;
        if self.request.head.on_error == OnError::Abort && self.answers.any_failed() {
            return Err(Stopped::Careful("an order was refused"));
        }
        Ok(self.answers)
    }

    /// The next set of orders, and what there is of each. Without a lock, and before the set ahead of it is made: what
    /// that one makes is known here.
    async fn look(
        &mut self,
        conn: &mut PgConnection,
        sets: &mut Sets<'a>,
        spent: &mut Spent,
    ) -> Result<Option<Seen<'a>>, Stopped> {
        let Some(mut orders) = sets.next(spent).await else { return Ok(None) };
        let account_id = self.request.account_id;
        let catalogue =
            Catalogue::of(conn, account_id, self.checks.setup, ready(&orders).map(|ready| &ready.order)).await?;
        for candidate in &mut orders {
            if let Ok(ready) = &candidate.order
                && let Err(rejection) = catalogue.check(ready)
            {
                candidate.order = Err(rejection);
            }
        }
        let (keys, digests): (Vec<&str>, Vec<&[u8]>) =
            ready(&orders).map(|ready| (&*ready.order.external_id, &ready.digest[..])).unzip();
        let looked = store::orders::look(conn, account_id, &keys, &digests).await?;
        let others = ready(&orders).zip(&looked).filter(|(_, looked)| !looked.same).map(|(ready, _)| ready);
        self.customers.learn(conn, account_id, others, orders.len()).await?;
        Ok(Some(Seen { orders, looked }))
    }

    /// Decides a set: unchanged, new, or later. Pure.
    fn decide(&mut self, seen: Option<Seen<'a>>, spent: &mut Spent) -> Result<Option<New<'a>>, Stopped> {
        seen.map(|seen| spent.plan(|| self.decide_set(seen))).transpose()
    }

    fn decide_set(&mut self, seen: Seen<'a>) -> Result<New<'a>, Stopped> {
        let mut new = New::default();
        let mut events = Pack::default();
        let mut looked = seen.looked.into_iter();
        for candidate in seen.orders {
            let outcome = match candidate.order {
                Ok(ready) => {
                    let looked = looked.next().expect("every good order was looked for");
                    self.decide_one(ready, looked, &mut new, &mut events)?
                }
                Err(rejection) => Err(rejection),
            };
            let outcome = outcome.unwrap_or_else(|rejection| Outcome::Failed(Box::new(rejection)));
            self.answers.push(candidate.external_id, outcome);
        }
        for (slot, id) in new.ids.drain(..) {
            self.answers.note_id(Some(id), std::iter::once(slot));
        }
        new.customers = self.customers.take_made()?;
        new.events = events.text();
        // sqlx sends a copy in several writes, which wait for each other over TCP.
        if self.imports.is_local && new.orders.len() >= MIN_FOR_THREAD {
            let keyed: Vec<Keyed<'_, '_>> = new.orders.iter().map(NewOrder::keyed).collect();
            let account_id = self.request.account_id;
            new.rows = Some((copy::orders(account_id, &keyed)?, copy::lines(account_id, &keyed)?));
            new.orders = Vec::new();
        }
        Ok(new)
    }

    fn decide_one(
        &mut self,
        mut ready: Ready<'a>,
        looked: Looked,
        new: &mut New<'a>,
        events: &mut Pack,
    ) -> Result<Result<Outcome, Rejection>, Stopped> {
        let taken = self.taken.contains_key(&ready.order.external_id);
        let slot = self.answers.len();
        ready.slot = slot;
        if looked.same && !taken {
            new.ids.push((slot, looked.id));
            return Ok(Ok(Outcome::Unchanged));
        }
        ready.spare_profile = Some(looked.spare_profile);
        let found = match self.customers.find(&ready) {
            Ok(found) => found,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let is_new = !looked.stored && !taken;
        if is_new {
            let state = match merge(&ready, found.profile, None, &self.rules()) {
                Ok(state) => state,
                Err(rejection) => return Ok(Err(rejection)),
            };
            let order = StoredOrder { id: looked.id, revision: 1, state };
            if ready.announce {
                for event in changes::events(None, &order.state, order.revision) {
                    events.push(order.id, &ready.order.external_id, &event);
                }
            }
            if !self.request.head.dry_run {
                new.ids.push((slot, looked.id));
            }
            new.orders.push(NewOrder { external_id: ready.order.external_id.clone(), order, digest: ready.digest });
        }
        ready.profile = Some(found.profile);
        self.customers.keep(ready.database, found);
        self.name_catalogue(&ready.order, is_new.then_some(new))?;
        self.taken.entry(ready.order.external_id.clone()).or_insert(is_new);
        if is_new {
            return Ok(Ok(Outcome::Created));
        }
        self.later.push(ready);
        Ok(Ok(Outcome::Unchanged))
    }

    /// Notes the products and SKUs that an order names; those that the request has not made yet, if it is new.
    fn name_catalogue(&mut self, order: &Order<'a>, mut new: Option<&mut New<'a>>) -> Result<(), Stopped> {
        for line in &order.lines {
            if let (Some(product), Some(new)) = (&line.product, &mut new)
                && self.products.insert(product.clone())
            {
                new.products.insert(product.clone());
            }
            let Some(sku) = &line.sku else { continue };
            let named = match self.skus.entry(sku.clone()) {
                Entry::Occupied(named) if named.get().product != line.product => {
                    return Err(Stopped::Careful("the first order that names a SKU's product counts"));
                }
                Entry::Occupied(named) => named.into_mut(),
                Entry::Vacant(place) => place.insert(Named { product: line.product.clone(), made: false }),
            };
            if let Some(new) = &mut new
                && !named.made
            {
                named.made = true;
                new.skus.insert(sku.clone(), line.product.clone());
            }
        }
        Ok(())
    }

    /// Makes what a set makes, and decides the next one while the database is at work.
    async fn make(
        &mut self,
        conn: &mut PgConnection,
        new: New<'a>,
        sets: &mut Sets<'a>,
        spent: &mut Spent,
    ) -> Result<Option<New<'a>>, Stopped> {
        let (account_id, now) = (self.request.account_id, self.request.now);
        let (profiles, identities) = new.customers;
        store::profiles::create(conn, account_id, &profiles, identities, SET).await?;
        let products: Vec<&str> = new.products.iter().map(|id| &**id).collect();
        store::catalogue::create_product_stubs(conn, account_id, &products, SET).await?;
        let skus: Vec<_> = new.skus.iter().map(|(id, product)| (&**id, product.as_deref())).collect();
        store::catalogue::create_sku_stubs(conn, account_id, &skus, SET).await?;
        let Some((orders, lines)) = new.rows else {
            if !new.orders.is_empty() {
                let keyed: Vec<Keyed<'_, '_>> = new.orders.iter().map(NewOrder::keyed).collect();
                store::orders::create(conn, account_id, &keyed, &new.events, now).await?;
            }
            let seen = self.look(conn, sets, spent).await?;
            return self.decide(seen, spent);
        };
        let seen = self.look(conn, sets, spent).await?;
        copy::copy_orders(conn, orders).await?;
        let copying = copy::send_lines(conn, lines).await?;
        let next = self.decide(seen, spent);
        copying.finish().await?;
        store::outbox::write(conn, account_id, &[&new.events], now).await?;
        next
    }

    /// Locks, reads, decides and writes the orders that are stored otherwise than they were sent.
    async fn decide_later(&mut self, conn: &mut PgConnection, spent: &mut Spent) -> Result<(), Stopped> {
        if self.later.is_empty() {
            return Ok(());
        }
        let account_id = self.request.account_id;
        let mut later = std::mem::take(&mut self.later);
        let mut keys: Vec<&str> = later.iter().map(|ready| &*ready.order.external_id).collect();
        keys.sort_unstable();
        keys.dedup();
        store::orders::lock(conn, account_id, &keys).await?;
        let stored = store::orders::read(conn, account_id, &keys).await?;
        if stored.len() < keys.len() {
            return Err(Stopped::Careful("an order was deleted"));
        }
        let rules = self.rules();
        let Plan { groups, outcomes } = spent.plan(|| plan(&mut later, stored, &mut self.customers, &rules));
        if outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Failed(_))) {
            return Err(Stopped::Careful("an order was refused for what is stored"));
        }
        self.answers.note(outcomes);
        let (mut changed, same): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.after.is_some());
        changed.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        create_stubs(conn, account_id, &changed, &later).await?;
        write(conn, account_id, &same, &changed, later.len(), self.request.now).await?;
        for group in same.iter().chain(&changed) {
            let made_here = self.taken.get(&group.key).is_some_and(|made| *made);
            note_id(&mut self.answers, group, &later, self.request.head.dry_run && made_here);
        }
        Ok(())
    }
}

/// The good ones of a set of orders.
fn ready<'o, 'a>(orders: &'o [Candidate<'a>]) -> impl Iterator<Item = &'o Ready<'a>> + Clone {
    orders.iter().filter_map(|candidate| candidate.order.as_ref().ok())
}

impl<'a> NewOrder<'a> {
    fn keyed(&self) -> Keyed<'_, 'a> {
        Keyed { external_id: &self.external_id, order: &self.order, digest: &self.digest }
    }
}
