//! The quick way of many orders: set by set, the next one being looked for, decoded and decided while the database
//! is at work on the one before.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Postgres, Transaction};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::block_in_place;

use super::careful::Catalogue;
use super::check::{Checks, Ready};
use super::definitions;
use super::orders::{Import, Imports, Stopped, refusal, versions};
use super::quick::{Candidate, Complete, New, Quick, Wanted, is_known, ready};
use super::report::{Report, Spent};
use super::setup::Setup;
use crate::domain::batch::Sent;
use crate::store;
use crate::store::copy;
use crate::store::copy::MIN_ROWS;
use crate::store::looks::{self, Numbers, Stored};
use crate::store::orders::Digest;
use crate::store::references::Versions;

/// Orders that are decoded, decided and copied together: memory holds two such sets, and the database is kept waiting
/// for the first one.
const SET: usize = 1_000;
/// Packs of events are written when they are so many bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// New customers wait for those of the next set until they have more keys.
const MAX_KEYS: usize = SET;
/// Numbers are reserved for so many times the orders that are new, since the next ones are probably new, too.
const SETS_AHEAD: usize = 10;

/// Runs the whole in one transaction.
pub(super) async fn try_once<'a>(
    imports: &Imports,
    request: &Import<'_, 'a>,
    spent: &mut Spent,
) -> Result<Report<'a>, Stopped> {
    let mut transaction = store::connect::begin_impatient(&imports.pool).await?;
    let versions = versions(&mut transaction, request).await?;
    let setup = imports.setups.of_versions(&mut transaction, request.account_id, versions).await?;
    if block_in_place(|| definitions::differ(request.head, &setup))
        .map_err(|rejection| refusal(&rejection, request.secret))?
    {
        return Err(Stopped::Careful("it changes definitions"));
    }
    let checks = Checks { setup: &setup, limits: &imports.limits, strict: request.head.strict };
    let report = block_in_place(|| {
        std::thread::scope(|scope| {
            let (wanted, wanted_there) = std::sync::mpsc::channel::<Vec<Wanted>>();
            let (decoded_there, candidates) = mpsc::unbounded_channel();
            scope.spawn(move || {
                for wanted in wanted_there {
                    let start = Instant::now();
                    let decoded = wanted.iter().map(|wanted| wanted.decode(request, checks)).collect();
                    // The other side may have given up.
                    let _ = decoded_there.send((decoded, start.elapsed()));
                }
            });
            let decoder = Decoder { wanted, candidates };
            let mut quick = Quick::new(request, checks, versions.kinds);
            quick.first_revision = versions.first_revision;
            let large = Large::new(quick, decoder, imports.is_local, versions);
            Handle::current().block_on(large.run(transaction, spent))
        })
    })?;
    Ok(report)
}

/// A thread that decodes what it is told; with the time that it took.
struct Decoder<'a> {
    wanted: Sender<Vec<Wanted>>,
    candidates: UnboundedReceiver<(Vec<Candidate<'a>>, Duration)>,
}

/// Orders that were looked for together.
#[derive(Default)]
struct Looked {
    /// The place of the first of them.
    first: usize,
    /// The place after the last of them.
    end: usize,
    /// So many of them are picked together.
    set: usize,
    stored: Stored,
    /// By what their texts are known.
    digests: Vec<Digest>,
}

/// A set of orders: those that were sent like this before are known, the others are being decoded.
struct Picked {
    first: usize,
    /// The internal id of each that is the same, in order; `None` for each that is being decoded.
    same: Vec<Option<i64>>,
    /// The last of the others, which are decoded here.
    here: Vec<Wanted>,
}

/// A set of orders that are decoded.
struct Decoded<'a> {
    first: usize,
    same: Vec<Option<i64>>,
    candidates: Vec<Candidate<'a>>,
}

/// One run.
struct Large<'r, 'a> {
    quick: Quick<'r, 'a>,
    decoder: Decoder<'a>,
    is_local: bool,
    versions: Versions,
    /// The next order that was not picked.
    next: usize,
    looked: Looked,
    /// Numbers for orders and profiles that will be new.
    numbers: Numbers,
    /// Packs of events that are not written yet.
    events: Vec<String>,
    /// Stored orders are looked for between the first and the last external id of a set.
    by_range: bool,
}

impl<'r, 'a> Large<'r, 'a> {
    fn new(quick: Quick<'r, 'a>, decoder: Decoder<'a>, is_local: bool, versions: Versions) -> Self {
        let (next, looked, numbers, events) = Default::default();
        Large { quick, decoder, is_local, versions, next, looked, numbers, events, by_range: true }
    }

    async fn run(
        mut self,
        mut transaction: Transaction<'static, Postgres>,
        spent: &mut Spent,
    ) -> Result<Report<'a>, Stopped> {
        let conn = &mut *transaction;
        self.look(conn, spent).await?;
        while let Some(picked) = spent.plan(|| self.pick()) {
            let set = self.decoded(picked, spent).await;
            let mut new = self.decide(conn, set, spent).await?;
            // sqlx sends a copy in several writes, which wait for each other over TCP.
            while self.is_local && new.orders.len() >= MIN_ROWS {
                new = self.copy(conn, new, spent).await?;
            }
            self.write_events(conn, 0).await?;
            self.quick.make_stubs(conn, &new).await?;
            self.quick.create(conn, &new, self.versions).await?;
            self.look(conn, spent).await?;
        }
        self.write_events(conn, 0).await?;
        self.quick.make_customers(conn, 0).await?;
        if self.quick.has_made_orders()
            && store::references::versions(conn, self.quick.request.account_id).await?.first_revision
                != self.versions.first_revision
        {
            return Err(Stopped::Careful("an order was deleted that may be one of the new ones"));
        }
        self.quick.finish(transaction, spent).await
    }

    /// Copies a set of new orders in, and decides the next set meanwhile.
    async fn copy(&mut self, conn: &mut PgConnection, mut new: New<'a>, spent: &mut Spent) -> Result<New<'a>, Stopped> {
        let request = self.quick.request;
        let account_id = request.account_id;
        self.quick.make_customers(conn, MAX_KEYS).await?;
        self.quick.make_stubs(conn, &new).await?;
        self.events.push(std::mem::take(&mut new.events));
        self.write_events(conn, MAX_EVENT_BYTES).await?;
        self.look(conn, spent).await?;
        let orders = spent.plan(|| copy::orders(account_id, &new.keyed(request), request.now))?;
        let copying = copy::send_orders(conn, orders).await?;
        let (picked, lines) = spent.plan(|| (self.pick(), copy::lines(account_id, &new.keyed(request))));
        // Their rows are all that is needed of them: memory holds no more than the next set beside them.
        new.orders = Vec::new();
        copying.finish().await?;
        let copying = copy::send_lines(conn, lines?).await?;
        let Some(picked) = picked else {
            copying.finish().await?;
            return Ok(New::default());
        };
        let set = self.decoded(picked, spent).await;
        if spent.plan(|| self.needs_nothing(&set)) {
            let set = self.with_numbers(set, 0);
            let next = spent.plan(|| self.quick.decide(set, &self.looked.stored));
            copying.finish().await?;
            return next;
        }
        copying.finish().await?;
        self.decide(conn, set, spent).await
    }

    /// Decides a set, after all that it needs was looked for.
    async fn decide(
        &mut self,
        conn: &mut PgConnection,
        set: Decoded<'a>,
        spent: &mut Spent,
    ) -> Result<New<'a>, Stopped> {
        let set = self.complete(conn, set).await?;
        spent.plan(|| self.quick.decide(set, &self.looked.stored))
    }

    /// Looks for the orders that come next, unless some that were looked for are still to be picked. Without a lock,
    /// and before the set ahead of them is made: what that one makes is known here.
    async fn look(&mut self, conn: &mut PgConnection, spent: &mut Spent) -> Result<(), Stopped> {
        let (first, all) = (self.next, self.quick.request.orders.len());
        if first < self.looked.end || first == all {
            return Ok(());
        }
        let end = if first == 0 && all > store::SET { SET } else { all.min(first + store::SET) };
        let orders = &self.quick.request.orders[first..end];
        let mut keys: Vec<&str> = orders.iter().filter_map(|order| order.external_id).collect();
        keys.sort_unstable();
        keys.dedup();
        let checks = self.quick.checks;
        // The second is done while the database is at work on the first.
        let (stored, digests) = tokio::join!(self.stored(conn, &keys), async {
            spent.plan(|| orders.iter().map(|order| checks.digest(order)).collect())
        });
        let stored = stored?;
        let is_new = |order: &&Sent<'_>| order.external_id.is_none_or(|id| !stored.contains_key(id));
        let new = orders.iter().filter(is_new).count();
        // What is not copied is decided all at once.
        let set = if new == 0 { store::SET } else { SET };
        self.looked = Looked { first, end, set, stored, digests };
        let missing = new.saturating_sub(self.numbers.orders.len());
        if missing > 0 {
            let ahead = (SETS_AHEAD * missing).min(all - first);
            let reserved = looks::reserve_numbers(conn, ahead, 0).await?.orders;
            self.numbers.orders.splice(0..0, reserved);
        }
        Ok(())
    }

    /// The stored orders of those external ids, which are sorted; and maybe others.
    async fn stored(&mut self, conn: &mut PgConnection, keys: &[&str]) -> Result<Stored, Stopped> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(Stored::new()) };
        let account_id = self.quick.request.account_id;
        if self.by_range {
            if let Some(stored) = looks::between(conn, account_id, first, last, 2 * keys.len()).await? {
                return Ok(stored);
            }
            // Where ids are scattered, the next ones are, too.
            self.by_range = false;
        }
        Ok(looks::by_key(conn, account_id, keys).await?)
    }

    /// The next set of the orders that were looked for; those that were not sent like this before are being decoded.
    fn pick(&mut self) -> Option<Picked> {
        let Looked { end, set, ref stored, ref digests, .. } = self.looked;
        let first = self.next;
        if first == end {
            return None;
        }
        self.next = end.min(first + set);
        let digests = &digests[first - self.looked.first..];
        let mut others = Vec::new();
        let check = |(index, (order, digest)): (usize, (&Sent<'_>, &Digest))| {
            let known = order.external_id.and_then(|id| stored.get(id));
            let same = known.filter(|known| known.sent_digest.as_ref() == Some(digest));
            if same.is_none() {
                others.push(Wanted { index: first + index, sent: *digest });
            }
            same.map(|known| known.id)
        };
        let same = self.quick.request.orders[first..self.next].iter().zip(digests).enumerate().map(check).collect();
        // The database waits for the first set: both decode.
        let here = if first == 0 { others.split_off(others.len() / 2) } else { Vec::new() };
        self.decoder.wanted.send(others).expect("the thread lives as long as it may be told what to decode");
        Some(Picked { first, same, here })
    }

    /// Waits until a set is decoded.
    async fn decoded(&mut self, picked: Picked, spent: &mut Spent) -> Decoded<'a> {
        let Picked { first, same, here } = picked;
        let Quick { request, checks, .. } = self.quick;
        let last = match here.as_slice() {
            [] => Vec::new(),
            here => spent.decode(|| here.iter().map(|wanted| wanted.decode(request, checks)).collect()),
        };
        let (mut candidates, time) =
            self.decoder.candidates.recv().await.expect("every order that was sent comes back");
        candidates.extend(last);
        spent.decode += time;
        Decoded { first, same, candidates }
    }

    /// True if a set can be decided as it is.
    fn needs_nothing(&self, set: &Decoded<'a>) -> bool {
        let Quick { checks: Checks { setup: Setup { references, .. }, .. }, ref customers, .. } = self.quick;
        let known = |ready: &Ready<'_>| is_known(&self.looked.stored, ready) || customers.know(ready);
        !references.reject_products
            && !references.reject_skus
            && ready(&set.candidates).all(|ready| self.was_looked_for(ready) && known(ready))
    }

    /// False for an external id that was sent with escapes, or with blanks around it.
    fn was_looked_for(&self, ready: &Ready<'_>) -> bool {
        self.quick.request.orders[ready.index].external_id == Some(&*ready.order.external_id)
    }

    /// Gets what a set needs to be decided.
    async fn complete(&mut self, conn: &mut PgConnection, mut set: Decoded<'a>) -> Result<Complete<'a>, Stopped> {
        let account_id = self.quick.request.account_id;
        Catalogue::check_all(conn, account_id, self.quick.checks.setup, &mut set.candidates).await?;
        let missed = ready(&set.candidates).filter(|ready| !self.was_looked_for(ready));
        let mut missed: Vec<&str> = missed.map(|ready| &*ready.order.external_id).collect();
        if !missed.is_empty() {
            missed.sort_unstable();
            missed.dedup();
            self.looked.stored.extend(looks::by_key(conn, account_id, &missed).await?);
        }
        let differing = ready(&set.candidates).filter(|ready| !is_known(&self.looked.stored, ready));
        self.quick.customers.look(conn, account_id, differing.clone(), set.same.len()).await?;
        let new = differing.filter(|ready| self.quick.customers.misses(ready)).count();
        if new > self.numbers.profiles.len() {
            let ahead = (SETS_AHEAD * new).min(self.quick.request.orders.len() - set.first);
            let reserved = looks::reserve_numbers(conn, 0, ahead).await?.profiles;
            self.numbers.profiles.splice(0..0, reserved);
        }
        Ok(self.with_numbers(set, new))
    }

    /// A set with the numbers that its orders, and the new ones of their profiles, need.
    fn with_numbers(&mut self, set: Decoded<'a>, profiles: usize) -> Complete<'a> {
        let Decoded { first, same, candidates } = set;
        let is_new = |ready: &&Ready<'_>| !self.looked.stored.contains_key(&*ready.order.external_id);
        let orders = ready(&candidates).filter(is_new).count();
        let take = |numbers: &mut Vec<i64>, count| numbers.split_off(numbers.len().saturating_sub(count));
        let orders = take(&mut self.numbers.orders, orders);
        let profiles = take(&mut self.numbers.profiles, profiles);
        Complete { first, same, candidates, numbers: Numbers { orders, profiles } }
    }

    /// Writes the events that wait, if they are more than so many bytes.
    async fn write_events(&mut self, conn: &mut PgConnection, bytes: usize) -> Result<(), Stopped> {
        if self.events.iter().map(String::len).sum::<usize>() > bytes {
            let Import { account_id, now, .. } = *self.quick.request;
            store::outbox::write(conn, account_id, &self.events, now).await?;
            self.events.clear();
        }
        Ok(())
    }
}
