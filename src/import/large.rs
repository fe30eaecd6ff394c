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
use super::orders::{Import, Imports, Stopped, versions};
use super::quick::{Candidate, Complete, New, Quick, Wanted, is_known, ready};
use super::report::{Report, Spent};
use crate::domain::batch::Sent;
use crate::store;
use crate::store::looks::{self, Numbers, Stored};
use crate::store::orders::{Digest, Keyed};
use crate::store::references::Versions;
use crate::store::{SET, copy};

/// The first set is smaller, so that the database is not kept waiting for it.
const FIRST_SET: usize = 500;
/// Fewer orders are inserted by one statement: a copy takes several round trips.
const MIN_FOR_COPY: usize = 100;

/// Runs the whole in one transaction.
pub(super) async fn try_once<'a>(
    imports: &Imports,
    request: &Import<'_, 'a>,
    spent: &mut Spent,
) -> Result<Report<'a>, Stopped> {
    let mut transaction = store::connect::begin_impatient(&imports.pool).await?;
    let versions = versions(&mut transaction, request).await?;
    let setup = imports.setups.of_version(&mut transaction, request.account_id, versions.setup).await?;
    if block_in_place(|| definitions::differ(request.head, &setup)).map_err(|rejection| request.refuse(&rejection))? {
        return Err(Stopped::Careful("it changes definitions"));
    }
    let checks = Checks { setup: &setup, limits: &imports.limits };
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
            let quick = Quick::new(request, checks);
            let large = Large { quick, decoder, is_local: imports.is_local, versions, next: 0, by_range: true };
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

/// A set of orders: those that were sent like this before are known, the others are being decoded.
struct Seen {
    first: usize,
    /// The internal id of each that is the same, in order; `None` for each that is being decoded.
    same: Vec<Option<i64>>,
    stored: Stored,
    /// The last of the others, which are decoded here.
    here: Vec<Wanted>,
}

/// One run.
struct Large<'r, 'a> {
    quick: Quick<'r, 'a>,
    decoder: Decoder<'a>,
    is_local: bool,
    versions: Versions,
    /// The next order that was not looked at.
    next: usize,
    /// Stored orders are looked for between the first and the last external id of a set.
    by_range: bool,
}

impl<'a> Large<'_, 'a> {
    async fn run(
        mut self,
        mut transaction: Transaction<'static, Postgres>,
        spent: &mut Spent,
    ) -> Result<Report<'a>, Stopped> {
        let conn = &mut *transaction;
        let mut seen = self.look(conn, spent).await?;
        while let Some(set) = seen.take() {
            let complete = self.complete(conn, set, spent).await?;
            let mut new = spent.plan(|| self.quick.decide(complete))?;
            // sqlx sends a copy in several writes, which wait for each other over TCP.
            while self.is_local && new.orders.len() >= MIN_FOR_COPY {
                new = self.copy(conn, new, spent).await?;
            }
            self.quick.make_neighbours(conn, &mut new).await?;
            self.quick.create(conn, &new, self.versions).await?;
            seen = self.look(conn, spent).await?;
        }
        self.quick.finish(transaction, spent).await
    }

    /// Copies a set of new orders in, and decides the next set meanwhile.
    async fn copy(&mut self, conn: &mut PgConnection, mut new: New<'a>, spent: &mut Spent) -> Result<New<'a>, Stopped> {
        let Import { account_id, now, .. } = *self.quick.request;
        self.quick.make_neighbours(conn, &mut new).await?;
        let seen = self.look(conn, spent).await?;
        let encode = |keyed: &[Keyed<'_, '_>]| Ok((copy::orders(account_id, keyed)?, copy::lines(account_id, keyed)?));
        let (orders, lines) = spent.plan(|| encode(&new.keyed())).map_err(Stopped::Store)?;
        // Their rows are all that is needed of them: memory holds no more than the next set beside them.
        new.orders = Vec::new();
        copy::copy_orders(conn, orders).await?;
        let next = match seen {
            Some(seen) => Some(self.complete(conn, seen, spent).await?),
            None => None,
        };
        let copying = copy::send_lines(conn, lines).await?;
        let next = next.map(|set| spent.plan(|| self.quick.decide(set))).transpose();
        copying.finish().await?;
        store::outbox::write(conn, account_id, &[&new.events], now).await?;
        Ok(next?.unwrap_or_default())
    }

    /// The next set of orders: those that were sent like this before are known by their texts, the others are
    /// being decoded. Without a lock, and before the set ahead of it is made: what that one makes is known here.
    async fn look(&mut self, conn: &mut PgConnection, spent: &mut Spent) -> Result<Option<Seen>, Stopped> {
        let (first, all) = (self.next, self.quick.request.orders.len());
        if first == all {
            return Ok(None);
        }
        self.next = if first == 0 && all > SET { FIRST_SET } else { all.min(first + SET) };
        let orders = &self.quick.request.orders[first..self.next];
        let mut keys: Vec<&str> = orders.iter().filter_map(|order| order.external_id).collect();
        keys.sort_unstable();
        keys.dedup();
        let checks = self.quick.checks;
        // The second is done while the database is at work on the first.
        let (stored, digests) = tokio::join!(self.stored(conn, &keys), async {
            spent.plan(|| orders.iter().map(|order| checks.digest(order)).collect::<Vec<_>>())
        });
        let stored = stored?;
        let mut others = Vec::new();
        let check = |((index, order), digest): ((usize, &Sent<'_>), Digest)| {
            let known = order.external_id.and_then(|id| stored.get(id));
            let same = known.filter(|known| known.sent_digest.as_deref() == Some(&digest[..]));
            if same.is_none() {
                others.push(Wanted { index: first + index, sent: digest });
            }
            same.map(|known| known.id)
        };
        let same = orders.iter().enumerate().zip(digests).map(check).collect();
        // The database waits for the first set: both decode.
        let here = if first == 0 { others.split_off(others.len() / 2) } else { Vec::new() };
        self.decoder.wanted.send(others).expect("the thread lives as long as it may be told what to decode");
        Ok(Some(Seen { first, same, stored, here }))
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

    /// Waits until a set is decoded, and gets what it needs to be decided.
    async fn complete(
        &mut self,
        conn: &mut PgConnection,
        seen: Seen,
        spent: &mut Spent,
    ) -> Result<Complete<'a>, Stopped> {
        let Seen { first, same, mut stored, here } = seen;
        let (account_id, count) = (self.quick.request.account_id, self.next - first);
        let Quick { request, checks, .. } = self.quick;
        let last = spent.decode(|| here.iter().map(|wanted| wanted.decode(request, checks)).collect::<Vec<_>>());
        let (mut candidates, time) =
            self.decoder.candidates.recv().await.expect("every order that was sent comes back");
        candidates.extend(last);
        spent.decode += time;
        Catalogue::check_all(conn, account_id, self.quick.checks.setup, &mut candidates).await?;
        // An external id that was sent with escapes, or with blanks around it, was not looked for.
        let was_looked_for =
            |ready: &&Ready<'_>| self.quick.request.orders[ready.index].external_id == Some(&*ready.order.external_id);
        let mut missed: Vec<&str> =
            ready(&candidates).filter(|ready| !was_looked_for(ready)).map(|ready| &*ready.order.external_id).collect();
        if !missed.is_empty() {
            missed.sort_unstable();
            missed.dedup();
            stored.extend(looks::by_key(conn, account_id, &missed).await?);
        }
        let differs = |ready: &&Ready<'_>| !is_known(&stored, ready);
        self.quick.customers.look(conn, account_id, ready(&candidates).filter(differs), count).await?;
        let orders = ready(&candidates).filter(|ready| !stored.contains_key(&*ready.order.external_id)).count();
        let profiles = ready(&candidates).filter(differs).filter(|ready| self.quick.customers.misses(ready)).count();
        let numbers = match orders + profiles {
            0 => Numbers::default(),
            _ => looks::reserve_numbers(conn, orders, profiles).await?,
        };
        Ok(Complete { first, same, stored, candidates, numbers })
    }
}
