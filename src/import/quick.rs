//! What the quick ways share: an order that was sent like this before is known by its digest, new ones go in as they
//! are, and the others are locked, read and decided after them.
//!
//! They leave the phase order of the careful way, so they give way: they wait for a lock for less than the time after
//! which PostgreSQL looks for a deadlock. What they cannot decide alone ends them, and the careful way runs the whole.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use sqlx::{PgConnection, Postgres, Transaction};

use super::careful::{create_stubs, note_id, write};
use super::changes::{self, Pack};
use super::check::{Checks, Ready};
use super::customers::Customers;
use super::merge::{Rules, merge};
use super::orders::{Import, Stopped};
use super::plan::{Plan, plan};
use super::records;
use super::report::{Answers, Outcome, Report, Spent};
use crate::domain::batch::{Decoded, OnError};
use crate::domain::matching::IdentityKinds;
use crate::domain::orders::{Order, StoredOrder};
use crate::domain::rejection::Rejection;
use crate::store;
use crate::store::SET;
use crate::store::looks::{Numbers, Stored};
use crate::store::orders::{Digest, Digests, Keyed};
use crate::store::references::Versions;

/// What was stored before the request holds no longer, and its customer was not looked for.
const AGAIN: Stopped = Stopped::Careful("an order is sent as it is stored after it was sent otherwise");

/// An order that looked as if it were stored is new.
const NO_NUMBER: Stopped = Stopped::Careful("an order has another external id than its text shows");

/// An order that has to be decoded.
pub(super) struct Wanted {
    pub index: usize,
    /// By what its text is known.
    pub sent: Digest,
}

impl Wanted {
    /// Decodes the order and checks it, as far as no database is needed.
    pub(super) fn decode<'a>(&self, request: &Import<'_, 'a>, checks: Checks<'_>) -> Candidate<'a> {
        let Decoded { external_id, order } = request.decode(self.index, checks.limits);
        let ready = order.and_then(|order| checks.check(request.place(self.index), order, self.sent));
        Candidate { external_id, ready }
    }
}

/// An order that was decoded and checked.
pub(super) struct Candidate<'a> {
    pub external_id: Cow<'a, str>,
    pub ready: Result<Ready<'a>, Rejection>,
}

/// A set of orders of which everything is known that is needed to decide.
pub(super) struct Complete<'a> {
    /// The place of the first of them.
    pub first: usize,
    /// The internal id of each whose text was sent before, in order; `None` for the others, which are candidates.
    pub same: Vec<Option<i64>>,
    pub candidates: Vec<Candidate<'a>>,
    pub numbers: Numbers,
}

/// An order that is new.
pub(super) struct NewOrder<'a> {
    external_id: Cow<'a, str>,
    order: StoredOrder<'a>,
    digests: Digests,
    /// Its place among the answers.
    slot: usize,
}

/// What a set of orders makes.
#[derive(Default)]
pub(super) struct New<'a> {
    products: BTreeSet<Cow<'a, str>>,
    skus: BTreeMap<Cow<'a, str>, Option<Cow<'a, str>>>,
    pub orders: Vec<NewOrder<'a>>,
    pub events: String,
}

impl<'a> New<'a> {
    /// Products or SKUs have to be made before the orders.
    pub(super) fn needs_stubs(&self) -> bool {
        !(self.products.is_empty() && self.skus.is_empty())
    }

    /// The orders on their way to the database.
    pub(super) fn keyed<'s>(&'s self, request: &Import<'s, '_>) -> Vec<Keyed<'s, 'a>> {
        self.orders.iter().map(|order| order.keyed(request)).collect()
    }
}

impl<'a> NewOrder<'a> {
    fn keyed<'s>(&'s self, request: &Import<'s, '_>) -> Keyed<'s, 'a> {
        let origin = request.origin(self.slot);
        Keyed { external_id: &self.external_id, order: &self.order, digests: &self.digests, origin }
    }
}

/// What a SKU that the request names comes with.
struct Named<'a> {
    product: Option<Cow<'a, str>>,
    /// It is there by now.
    made: bool,
}

/// One run.
pub(super) struct Quick<'r, 'a> {
    pub request: &'r Import<'r, 'a>,
    pub checks: Checks<'r>,
    /// From here new orders count their changes.
    pub first_revision: i64,
    answers: Answers<'a>,
    pub customers: Customers<'r>,
    /// The keys that the request makes and those that it changes, by their hashes: what it says of them next comes
    /// later, too. Two keys of one hash only make the second one take the longer way.
    made: HashSet<u64>,
    changed: HashSet<u64>,
    hasher: RandomState,
    /// Orders that are decided after the others, since they need what is stored.
    pub later: Vec<Ready<'a>>,
    products: HashSet<Cow<'a, str>>,
    skus: HashMap<Cow<'a, str>, Named<'a>>,
}

impl<'r, 'a> Quick<'r, 'a> {
    pub(super) fn new(request: &'r Import<'r, 'a>, checks: Checks<'r>, kinds: IdentityKinds) -> Self {
        let customers = Customers::new(checks.setup, kinds);
        let (made, changed, hasher, later, products, skus) = Default::default();
        let answers = Answers::of(request.orders.len());
        Quick { request, checks, first_revision: 1, answers, customers, made, changed, hasher, later, products, skus }
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    fn is_taken(&self, hash: u64) -> bool {
        self.made.contains(&hash) || self.changed.contains(&hash)
    }

    fn rules(&self) -> Rules<'r> {
        let Checks { setup, limits, .. } = self.checks;
        Rules { fields: &setup.fields, limits, first_revision: self.first_revision, now: self.request.now }
    }

    /// Decides a set: unchanged, new, or later. Pure.
    pub(super) fn decide(&mut self, set: Complete<'a>, stored: &Stored) -> Result<New<'a>, Stopped> {
        let Complete { first, same, candidates, mut numbers } = set;
        let mut new = New::default();
        let mut events = Pack::default();
        let mut candidates = candidates.into_iter();
        for (sent, same) in self.request.orders[first..].iter().zip(same) {
            let mut warning = None;
            let (external_id, decided) = match (same, sent.external_id) {
                (Some(id), Some(external_id)) if !self.is_taken(self.hash(external_id)) => {
                    (Cow::Borrowed(external_id), Ok((Outcome::Unchanged, Some(id))))
                }
                (Some(_), _) => return Err(AGAIN),
                (None, _) => {
                    let Candidate { external_id, mut ready } = candidates.next().expect("it was decoded");
                    warning = ready.as_mut().ok().and_then(|ready| ready.order.warning.take());
                    if ready.as_ref().is_ok_and(|ready| !ready.announce) {
                        self.answers.silence();
                    }
                    let decided = match ready {
                        Ok(ready) => self.decide_one(ready, stored, &mut numbers, &mut new, &mut events)?,
                        Err(rejection) => Err(rejection),
                    };
                    (external_id, decided)
                }
            };
            let warning = warning.filter(|_| decided.is_ok());
            let (outcome, id) = decided.unwrap_or_else(|rejection| (Outcome::Failed(Box::new(rejection)), None));
            self.answers.push(external_id, outcome, id);
            self.answers.warn(warning);
        }
        new.events = events.text();
        Ok(new)
    }

    fn decide_one(
        &mut self,
        mut ready: Ready<'a>,
        stored: &Stored,
        numbers: &mut Numbers,
        new: &mut New<'a>,
        events: &mut Pack,
    ) -> Result<Result<(Outcome, Option<i64>), Rejection>, Stopped> {
        let key = &ready.order.external_id;
        let hash = self.hash(key);
        let taken = self.is_taken(hash);
        let known = stored.get(&**key);
        if let Some(known) = known.filter(|_| is_known(stored, &ready)) {
            return if taken { Err(AGAIN) } else { Ok(Ok((Outcome::Unchanged, Some(known.id)))) };
        }
        ready.slot = self.answers.len();
        ready.spare_profile = numbers.profiles.last().copied();
        let found = match self.customers.find(&ready) {
            Ok(found) => found,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let is_new = known.is_none() && !taken;
        let mut id = None;
        if is_new {
            let state = match merge(&ready, found.profile, None, &self.rules()) {
                Ok(state) => state,
                Err(rejection) => return Ok(Err(rejection)),
            };
            let revision = self.first_revision;
            let order = StoredOrder { id: numbers.orders.pop().ok_or(NO_NUMBER)?, revision, state };
            if ready.announce {
                for event in changes::events(None, &order.state, order.revision) {
                    events.push(order.id, key, &order.state.endpoint, &event);
                }
            }
            id = Some(order.id).filter(|_| !self.request.head.dry_run);
            new.orders.push(NewOrder { external_id: key.clone(), order, digests: ready.digests, slot: ready.slot });
        }
        if Some(found.profile) == ready.spare_profile {
            numbers.profiles.pop();
        }
        ready.profile = Some(found.profile);
        self.customers.keep(ready.database, found);
        self.name_catalogue(&ready.order, is_new.then_some(new))?;
        if is_new {
            self.made.insert(hash);
            return Ok(Ok((Outcome::Created, id)));
        }
        self.changed.insert(hash);
        self.later.push(ready);
        Ok(Ok((Outcome::Unchanged, None)))
    }

    /// Notes the products and SKUs that an order names; those that the request has not made yet, if it is new.
    fn name_catalogue(&mut self, order: &Order<'a>, mut new: Option<&mut New<'a>>) -> Result<(), Stopped> {
        let neighbours = &self.checks.setup.neighbours;
        for line in &order.lines {
            if let (Some(product), Some(new)) = (&line.product, &mut new)
                && !neighbours.has_product(product)
                && self.products.insert(product.clone())
            {
                new.products.insert(product.clone());
            }
            let Some(sku) = line.sku.as_ref().filter(|sku| !neighbours.has_sku(sku)) else { continue };
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

    /// Some orders are new.
    pub(super) fn has_made_orders(&self) -> bool {
        !self.made.is_empty()
    }

    /// Some orders ask for no events.
    pub(super) fn is_silent(&self) -> bool {
        !self.answers.silent().0.is_empty()
    }

    /// Makes the customers of the orders so far, if they have more than so many keys.
    pub(super) async fn make_customers(&mut self, conn: &mut PgConnection, keys: usize) -> Result<(), Stopped> {
        if self.customers.keys_to_make() > keys {
            let (profiles, identities) = self.customers.take_made()?;
            store::profiles::create(conn, self.request.account_id, &profiles, identities, SET).await?;
        }
        Ok(())
    }

    /// Makes the products and SKUs that a set needs.
    pub(super) async fn make_stubs(&self, conn: &mut PgConnection, new: &New<'a>) -> Result<(), Stopped> {
        let account_id = self.request.account_id;
        let products: Vec<&str> = new.products.iter().map(|id| &**id).collect();
        store::catalogue::create_product_stubs(conn, account_id, &products, SET).await?;
        let skus: Vec<_> = new.skus.iter().map(|(id, product)| (&**id, product.as_deref())).collect();
        Ok(store::catalogue::create_sku_stubs(conn, account_id, &skus, SET).await?)
    }

    /// Inserts the new orders of a set, if they were decided under the versions that still hold.
    pub(super) async fn create(
        &self,
        conn: &mut PgConnection,
        new: &New<'a>,
        versions: Versions,
    ) -> Result<(), Stopped> {
        let Import { account_id, now, .. } = *self.request;
        if new.orders.is_empty()
            || store::orders::create(conn, account_id, &new.keyed(self.request), &new.events, now, versions).await?
        {
            Ok(())
        } else {
            Err(Stopped::Careful("the account's setup was changed"))
        }
    }

    /// Does what comes after the last set, and ends the transaction.
    pub(super) async fn finish(
        mut self,
        mut transaction: Transaction<'static, Postgres>,
        spent: &mut Spent,
    ) -> Result<Report<'a>, Stopped> {
        self.decide_later(&mut transaction, spent).await?;
        let answers = self.answers()?;
        records::write_skipped(&mut transaction, self.request, &answers).await?;
        if self.request.head.dry_run {
            transaction.rollback().await.map_err(store::Error::from)?;
        } else {
            transaction.commit().await.map_err(store::Error::from)?;
            self.remember();
        }
        Ok(answers.report(false))
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
        let stored = store::orders::lock_and_read(conn, account_id, &keys).await?;
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
        create_stubs(conn, account_id, &changed, &later, &self.checks.setup.neighbours).await?;
        write(conn, self.request, &same, &changed, later.len()).await?;
        for group in same.iter().chain(&changed) {
            let made_here = self.made.contains(&self.hash(&group.key));
            note_id(&mut self.answers, group, &later, self.request.head.dry_run && made_here);
        }
        Ok(())
    }

    /// The answers, unless the request is to be stopped by a refusal.
    pub(super) fn answers(&mut self) -> Result<Answers<'a>, Stopped> {
        if self.request.head.on_error == OnError::Abort && self.answers.any_failed() {
            return Err(Stopped::Careful("an order was refused"));
        }
        Ok(std::mem::take(&mut self.answers))
    }

    /// Remembers what was made, after it was committed.
    fn remember(&self) {
        self.checks.setup.neighbours.keep_kinds(self.customers.made_kinds);
        let made = self.skus.iter().filter(|(_, named)| named.made).map(|(id, _)| &**id);
        self.checks.setup.neighbours.keep_catalogue(self.products.iter().map(|id| &**id), made);
    }
}

/// The good ones of a set of orders.
pub(super) fn ready<'o, 'a>(candidates: &'o [Candidate<'a>]) -> impl Iterator<Item = &'o Ready<'a>> + Clone {
    candidates.iter().filter_map(|candidate| candidate.ready.as_ref().ok())
}

/// True if the order was sent like this before, in these or in other words.
pub(super) fn is_known(stored: &Stored, ready: &Ready<'_>) -> bool {
    let known = stored.get(&*ready.order.external_id);
    known.is_some_and(|known| known.digest.as_ref() == Some(&ready.digests.order))
}
