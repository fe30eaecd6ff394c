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
use crate::domain::batch::{Decoded, OnError, Sent};
use crate::domain::orders::{Order, StoredOrder};
use crate::domain::rejection::Rejection;
use crate::store;
use crate::store::orders::{Digest, Digests, Keyed, Known};
use crate::store::{SET, copy};

/// Fewer orders are decoded where they are needed: a thread of their own would cost more than it gains.
const MIN_FOR_THREAD: usize = 100;
/// The first set is smaller, so that the database is not kept waiting for it.
const FIRST_SET: usize = 500;

/// What was stored before the request holds no longer, and its customer was not looked for.
const AGAIN: Stopped = Stopped::Careful("an order is sent as it is stored after it was sent otherwise");

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
    let decode = |wanted: &[Wanted]| wanted.iter().map(|wanted| wanted.decode(request, checks)).collect::<Vec<_>>();
    let quick = Quick::new(imports, request, checks);
    let answers = if request.orders.len() < MIN_FOR_THREAD {
        quick.run(conn, Decoder::Here(&decode), spent).await?
    } else {
        block_in_place(|| {
            std::thread::scope(|scope| {
                let (wanted, wanted_there) = std::sync::mpsc::channel::<Vec<Wanted>>();
                let (decoded_there, decoded) = mpsc::unbounded_channel();
                scope.spawn(move || {
                    for wanted in wanted_there {
                        let start = Instant::now();
                        // The other side may have given up.
                        let _ = decoded_there.send((decode(&wanted), start.elapsed()));
                    }
                });
                Handle::current().block_on(quick.run(conn, Decoder::Beside { wanted, decoded }, spent))
            })
        })?
    };
    let end = if request.head.dry_run { transaction.rollback().await } else { transaction.commit().await };
    end.map_err(store::Error::from)?;
    Ok(answers.report(false))
}

/// An order that has to be decoded.
struct Wanted {
    index: usize,
    /// By what its text is known.
    sent: Digest,
}

impl Wanted {
    /// Decodes the order and checks it, as far as no database is needed.
    fn decode<'a>(&self, request: &Import<'_, 'a>, checks: Checks<'_>) -> Candidate<'a> {
        let Decoded { external_id, order } = (request.decode)(self.index);
        let announce = !request.head.skip_triggers;
        let ready = order.and_then(|order| checks.check(self.index, announce, order, self.sent));
        Candidate { external_id, ready }
    }
}

/// An order that was decoded and checked.
struct Candidate<'a> {
    external_id: Cow<'a, str>,
    ready: Result<Ready<'a>, Rejection>,
}

/// Where orders are decoded.
enum Decoder<'d, 'a> {
    /// Where they are needed.
    Here(&'d (dyn Fn(&[Wanted]) -> Vec<Candidate<'a>> + Sync)),
    /// In a thread that decodes what it is told; with the time that it took.
    Beside {
        wanted: std::sync::mpsc::Sender<Vec<Wanted>>,
        decoded: mpsc::UnboundedReceiver<(Vec<Candidate<'a>>, Duration)>,
    },
}

/// Orders that are being decoded.
enum Decoding<'a> {
    Done(Vec<Candidate<'a>>),
    Beside,
}

impl<'a> Decoder<'_, 'a> {
    fn start(&mut self, orders: Vec<Wanted>, spent: &mut Spent) -> Decoding<'a> {
        match self {
            _ if orders.is_empty() => Decoding::Done(Vec::new()),
            Decoder::Here(decode) => Decoding::Done(spent.decode(|| decode(&orders))),
            Decoder::Beside { wanted, .. } => {
                wanted.send(orders).expect("the thread lives as long as it is told what to decode");
                Decoding::Beside
            }
        }
    }

    async fn finish(&mut self, decoding: Decoding<'a>, spent: &mut Spent) -> Vec<Candidate<'a>> {
        match (decoding, self) {
            (Decoding::Beside, Decoder::Beside { decoded, .. }) => {
                let (candidates, time) = decoded.recv().await.expect("every order that was sent comes back");
                spent.decode += time;
                candidates
            }
            (Decoding::Done(candidates), _) => candidates,
            (Decoding::Beside, Decoder::Here(_)) => unreachable!("nothing is decoded elsewhere"),
        }
    }
}

/// What is stored of the orders of a set, by external id.
type Stored = HashMap<String, Known>;

/// A set of orders: those that were sent like this before, and what is being decoded.
struct Seen<'a> {
    first: usize,
    /// The internal id of each that is the same, in order; `None` for each that is not.
    same: Vec<Option<i64>>,
    stored: Stored,
    decoding: Decoding<'a>,
}

/// A set of orders of which everything is known that is needed to decide.
struct Complete<'a> {
    first: usize,
    same: Vec<Option<i64>>,
    stored: Stored,
    candidates: Vec<Candidate<'a>>,
    /// Numbers for new orders and new profiles, the next one last.
    ids: (Vec<i64>, Vec<i64>),
}

/// An order that is new.
struct NewOrder<'a> {
    external_id: Cow<'a, str>,
    order: StoredOrder<'a>,
    digests: Digests,
}

/// Rows as they are copied.
struct Rows {
    orders: Vec<u8>,
    lines: Vec<u8>,
}

/// What a set of orders makes.
#[derive(Default)]
struct New<'a> {
    customers: Made,
    products: BTreeSet<Cow<'a, str>>,
    skus: BTreeMap<Cow<'a, str>, Option<Cow<'a, str>>>,
    orders: Vec<NewOrder<'a>>,
    /// Their rows instead, if they are copied.
    rows: Option<Rows>,
    events: String,
}

impl New<'_> {
    /// An order that comes later may need a customer.
    fn needs_neighbours(&self) -> bool {
        !self.customers.1.is_empty()
    }
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
    /// The next order that was not looked at.
    next: usize,
    /// Stored orders are looked for between the first and the last external id of a set.
    by_range: bool,
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
        let (next, by_range) = (0, request.orders.len() >= MIN_FOR_THREAD);
        Quick { imports, request, checks, next, by_range, answers, customers, taken, later, products, skus }
    }

    fn rules(&self) -> Rules<'r> {
        Rules { fields: &self.checks.setup.fields, limits: self.checks.limits, now: self.request.now }
    }

    async fn run(
        mut self,
        conn: &mut PgConnection,
        mut decoder: Decoder<'_, 'a>,
        spent: &mut Spent,
    ) -> Result<Answers<'a>, Stopped> {
        let mut seen = self.look(conn, &mut decoder, spent).await?;
        while let Some(set) = seen.take() {
            let complete = self.complete(conn, &mut decoder, set, spent).await?;
            let mut made = spent.plan(|| self.decide(complete))?;
            while let Some(rows) = made.rows.take() {
                // The next set is looked for, decoded and decided while this one goes in.
                self.make_neighbours(conn, &mut made).await?;
                let next = self.look(conn, &mut decoder, spent).await?;
                copy::copy_orders(conn, rows.orders).await?;
                let next = match next {
                    Some(next) => Some(self.complete(conn, &mut decoder, next, spent).await?),
                    None => None,
                };
                let copying = copy::send_lines(conn, rows.lines).await?;
                let next = next.map(|next| spent.plan(|| self.decide(next))).transpose();
                copying.finish().await?;
                self.announce(conn, &made).await?;
                made = next?.unwrap_or_default();
            }
            if !made.orders.is_empty() {
                self.make_neighbours(conn, &mut made).await?;
                let keyed: Vec<Keyed<'_, '_>> = made.orders.iter().map(NewOrder::keyed).collect();
                let Import { account_id, now, .. } = self.request;
                store::orders::create(conn, *account_id, &keyed, &made.events, *now).await?;
            } else if made.needs_neighbours() {
                self.make_neighbours(conn, &mut made).await?;
            }
            seen = self.look(conn, &mut decoder, spent).await?;
        }
        self.decide_later(conn, spent).await?;
        if self.request.head.on_error == OnError::Abort && self.answers.any_failed() {
            return Err(Stopped::Careful("an order was refused"));
        }
        Ok(self.answers)
    }

    /// The next set of orders: those that were sent like this before are known by their texts, the others are
    /// being decoded. Without a lock, and before the set ahead of it is made: what that one makes is known here.
    async fn look(
        &mut self,
        conn: &mut PgConnection,
        decoder: &mut Decoder<'_, 'a>,
        spent: &mut Spent,
    ) -> Result<Option<Seen<'a>>, Stopped> {
        let (first, all) = (self.next, self.request.orders.len());
        if first == all {
            return Ok(None);
        }
        self.next = if first == 0 && all > SET { FIRST_SET } else { all.min(first + SET) };
        let sent = &self.request.orders[first..self.next];
        let mut keys: Vec<&str> = sent.iter().filter_map(|sent| sent.external_id).collect();
        keys.sort_unstable();
        keys.dedup();
        let stored = self.stored(conn, &keys).await?;
        let (same, others) = spent.plan(|| {
            let mut others = Vec::new();
            let check = |(index, sent): (usize, &Sent<'_>)| {
                let known = sent.external_id.and_then(|id| stored.get(id));
                let digest = self.checks.digest(sent);
                let same = known.filter(|known| known.sent_digest.as_deref() == Some(&digest[..]));
                if same.is_none() {
                    others.push(Wanted { index: first + index, sent: digest });
                }
                same.map(|known| known.id)
            };
            (sent.iter().enumerate().map(check).collect(), others)
        });
        Ok(Some(Seen { first, same, stored, decoding: decoder.start(others, spent) }))
    }

    /// The stored orders of those external ids, which are sorted; and maybe others.
    async fn stored(&mut self, conn: &mut PgConnection, keys: &[&str]) -> Result<Stored, Stopped> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(Stored::new()) };
        let account_id = self.request.account_id;
        let mut stored = None;
        if self.by_range {
            stored = store::orders::look_between(conn, account_id, first, last, 2 * keys.len()).await?;
            // Where ids are scattered, the next ones are, too.
            self.by_range = stored.is_some();
        }
        let stored = match stored {
            Some(stored) => stored,
            None => store::orders::look(conn, account_id, keys).await?,
        };
        Ok(stored.into_iter().map(|known| (known.external_id.clone(), known)).collect())
    }

    /// Waits until a set is decoded, and gets what it needs to be decided.
    async fn complete(
        &mut self,
        conn: &mut PgConnection,
        decoder: &mut Decoder<'_, 'a>,
        seen: Seen<'a>,
        spent: &mut Spent,
    ) -> Result<Complete<'a>, Stopped> {
        let Seen { first, same, mut stored, decoding } = seen;
        let mut candidates = decoder.finish(decoding, spent).await;
        let account_id = self.request.account_id;
        let orders = ready(&candidates).map(|ready| &ready.order);
        let catalogue = Catalogue::of(conn, account_id, self.checks.setup, orders).await?;
        for candidate in &mut candidates {
            if let Ok(ready) = &candidate.ready
                && let Err(rejection) = catalogue.check(ready)
            {
                candidate.ready = Err(rejection);
            }
        }
        // An external id that was sent with escapes, or with blanks around it, was not looked for.
        let was_looked_for =
            |ready: &&Ready<'_>| self.request.orders[ready.index].external_id == Some(&*ready.order.external_id);
        let mut missed: Vec<&str> =
            ready(&candidates).filter(|ready| !was_looked_for(ready)).map(|ready| &*ready.order.external_id).collect();
        if !missed.is_empty() {
            missed.sort_unstable();
            missed.dedup();
            let found = store::orders::look(conn, account_id, &missed).await?;
            stored.extend(found.into_iter().map(|known| (known.external_id.clone(), known)));
        }
        let differs = |ready: &&Ready<'_>| !is_known(&stored, ready);
        let sent = self.next - first;
        self.customers.learn(conn, account_id, ready(&candidates).filter(differs), sent).await?;
        let new = |ready: &&Ready<'_>| !stored.contains_key(&*ready.order.external_id);
        let orders = ready(&candidates).filter(new).count();
        let profiles = ready(&candidates).filter(differs).filter(|ready| self.customers.misses(ready)).count();
        let mut ids = (Vec::new(), Vec::new());
        if orders + profiles > 0 {
            ids = store::orders::reserve_ids(conn, orders, profiles).await?;
            ids.0.reverse();
            ids.1.reverse();
        }
        Ok(Complete { first, same, stored, candidates, ids })
    }

    /// Decides a set: unchanged, new, or later. Pure.
    fn decide(&mut self, set: Complete<'a>) -> Result<New<'a>, Stopped> {
        let Complete { first, same, stored, candidates, mut ids } = set;
        let mut new = New::default();
        let mut events = Pack::default();
        let mut candidates = candidates.into_iter();
        for (sent, same) in self.request.orders[first..].iter().zip(same) {
            let (external_id, decided) = match (same, sent.external_id) {
                (Some(id), Some(external_id)) if !self.taken.contains_key(external_id) => {
                    (Cow::Borrowed(external_id), Ok((Outcome::Unchanged, Some(id))))
                }
                (Some(_), _) => return Err(AGAIN),
                (None, _) => {
                    let Candidate { external_id, ready } = candidates.next().expect("it was decoded");
                    let decided = match ready {
                        Ok(ready) => self.decide_one(ready, &stored, &mut ids, &mut new, &mut events)?,
                        Err(rejection) => Err(rejection),
                    };
                    (external_id, decided)
                }
            };
            let (outcome, id) = decided.unwrap_or_else(|rejection| (Outcome::Failed(Box::new(rejection)), None));
            self.answers.push(external_id, outcome, id);
        }
        new.customers = self.customers.take_made()?;
        new.events = events.text();
        // sqlx sends a copy in several writes, which wait for each other over TCP.
        if self.imports.is_local && new.orders.len() >= MIN_FOR_THREAD {
            let keyed: Vec<Keyed<'_, '_>> = new.orders.iter().map(NewOrder::keyed).collect();
            let account_id = self.request.account_id;
            new.rows =
                Some(Rows { orders: copy::orders(account_id, &keyed)?, lines: copy::lines(account_id, &keyed)? });
            new.orders = Vec::new();
        }
        Ok(new)
    }

    fn decide_one(
        &mut self,
        mut ready: Ready<'a>,
        stored: &Stored,
        ids: &mut (Vec<i64>, Vec<i64>),
        new: &mut New<'a>,
        events: &mut Pack,
    ) -> Result<Result<(Outcome, Option<i64>), Rejection>, Stopped> {
        let key = &ready.order.external_id;
        let taken = self.taken.contains_key(key);
        let known = stored.get(&**key);
        if let Some(known) = known.filter(|_| is_known(stored, &ready)) {
            return if taken { Err(AGAIN) } else { Ok(Ok((Outcome::Unchanged, Some(known.id)))) };
        }
        ready.slot = self.answers.len();
        ready.spare_profile = ids.1.last().copied();
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
            let order = StoredOrder { id: ids.0.pop().expect("there is one for each new order"), revision: 1, state };
            if ready.announce {
                for event in changes::events(None, &order.state, order.revision) {
                    events.push(order.id, key, &event);
                }
            }
            id = Some(order.id).filter(|_| !self.request.head.dry_run);
            new.orders.push(NewOrder { external_id: key.clone(), order, digests: ready.digests });
        }
        if Some(found.profile) == ready.spare_profile {
            ids.1.pop();
        }
        ready.profile = Some(found.profile);
        self.customers.keep(ready.database, found);
        self.name_catalogue(&ready.order, is_new.then_some(new))?;
        self.taken.entry(ready.order.external_id.clone()).or_insert(is_new);
        if is_new {
            return Ok(Ok((Outcome::Created, id)));
        }
        self.later.push(ready);
        Ok(Ok((Outcome::Unchanged, None)))
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

    /// Makes the customers, products and SKUs that a set needs.
    async fn make_neighbours(&self, conn: &mut PgConnection, new: &mut New<'a>) -> Result<(), Stopped> {
        let account_id = self.request.account_id;
        let (profiles, identities) = std::mem::take(&mut new.customers);
        store::profiles::create(conn, account_id, &profiles, identities, SET).await?;
        let products: Vec<&str> = new.products.iter().map(|id| &**id).collect();
        store::catalogue::create_product_stubs(conn, account_id, &products, SET).await?;
        let skus: Vec<_> = new.skus.iter().map(|(id, product)| (&**id, product.as_deref())).collect();
        Ok(store::catalogue::create_sku_stubs(conn, account_id, &skus, SET).await?)
    }

    async fn announce(&self, conn: &mut PgConnection, new: &New<'a>) -> Result<(), Stopped> {
        Ok(store::outbox::write(conn, self.request.account_id, &[&new.events], self.request.now).await?)
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
fn ready<'o, 'a>(candidates: &'o [Candidate<'a>]) -> impl Iterator<Item = &'o Ready<'a>> + Clone {
    candidates.iter().filter_map(|candidate| candidate.ready.as_ref().ok())
}

/// True if the order was sent like this before, in these or in other words.
fn is_known(stored: &Stored, ready: &Ready<'_>) -> bool {
    let known = stored.get(&*ready.order.external_id);
    known.is_some_and(|known| known.digest.as_deref() == Some(&ready.digests.order[..]))
}

impl<'a> NewOrder<'a> {
    fn keyed(&self) -> Keyed<'_, 'a> {
        Keyed { external_id: &self.external_id, order: &self.order, digests: &self.digests }
    }
}
