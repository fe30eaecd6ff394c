//! The worker: spreads packs, claims what is due, sends it, and notes what became of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::PgListener;
use sqlx::{Connection as _, PgPool};
use time::OffsetDateTime;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::lane::Lane;
use super::retry;
use super::send::{Sender, StartError};
use super::spread;
use crate::config::Webhooks;
use crate::store::deliveries::{self, Attempt, Claimed, Due, Target, Waiting};
use crate::store::subscriptions::{self, Health};
use crate::store::{self, connect};

/// Longest rest: what nobody was woken for is found after it.
const POLL: Duration = Duration::from_secs(5);
/// Shortest rest.
const MIN_REST: Duration = Duration::from_millis(5);
/// Shortest time from one turn to the next; and under load, where what comes together is noted together.
const TURN: Duration = Duration::from_millis(20);
const BUSY_TURN: Duration = Duration::from_millis(200);
/// So many results of one turn are a load.
const BUSY: usize = 10;
/// Rest after the database failed.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Workers are woken at most once in this time.
const WAKE_INTERVAL: Duration = Duration::from_millis(50);
/// Packs that are spread in one transaction; one may be a mebibyte or a little more.
const PACKS: i64 = 2_000;
/// And their bytes.
const PACK_BYTES: i64 = 4 << 20;
/// Deliveries that are due to a subscription; with less, more packs are spread.
const ENOUGH: i64 = 2_000;
/// A lease outlives the try that it is for.
const LEASE_BEYOND_TIMEOUT: Duration = Duration::from_secs(15);
/// A subscription to which nothing was delivered for so long is disabled.
const MAX_FAILING: Duration = Duration::from_hours(5 * 24);

/// Wakes the workers of all servers when events were written, for ever.
pub async fn announce(pool: &PgPool, written: &Notify) {
    loop {
        written.notified().await;
        let woken = async { deliveries::wake(&mut *connect::acquire(pool).await?).await };
        if let Err(error) = woken.await {
            tracing::debug!(%error, "workers were not woken; they look by themselves");
        }
        tokio::time::sleep(WAKE_INTERVAL).await;
    }
}

/// Delivers until `stop`; what is being sent then may finish.
///
/// # Errors
/// Nothing can be sent.
pub async fn run(pool: PgPool, webhooks: Webhooks, stop: CancellationToken) -> Result<(), StartError> {
    let sender = Arc::new(Sender::new(&webhooks).await?);
    let woken = Notify::new();
    let listening = listen(&pool, &woken);
    let (lanes, sending, results) = Default::default();
    let worker = Worker { pool: pool.clone(), webhooks, sender, lanes, sending, results, stop };
    tokio::select! {
        () = worker.run(&woken) => {}
        () = listening => {}
    }
    Ok(())
}

/// Passes on that events were written, for ever.
async fn listen(pool: &PgPool, woken: &Notify) {
    loop {
        let listening = async {
            let mut listener = PgListener::connect_with(pool).await?;
            listener.listen(deliveries::CHANNEL).await?;
            loop {
                // What came while there was no connection is looked for, too.
                woken.notify_one();
                listener.try_recv().await?;
            }
        };
        let ended: Result<(), sqlx::Error> = listening.await;
        let error = ended.err().map(|error| error.to_string());
        tracing::debug!(error, "workers are not woken for a while; they look by themselves");
        tokio::time::sleep(REST_AFTER_FAILURE).await;
    }
}

/// What became of what was claimed.
struct Tried {
    due: Due,
    id: i64,
    lease: OffsetDateTime,
    /// `None`: it was not sent, and is given back.
    attempt: Option<Attempt>,
    gone: bool,
}

struct Worker {
    pool: PgPool,
    webhooks: Webhooks,
    sender: Arc<Sender>,
    lanes: HashMap<Due, Lane>,
    sending: JoinSet<Tried>,
    /// What is not noted yet.
    results: Vec<Tried>,
    stop: CancellationToken,
}

impl Worker {
    async fn run(mut self, woken: &Notify) {
        while !self.stop.is_cancelled() {
            let turned = Instant::now();
            let turn = if self.results.len() < BUSY { TURN } else { BUSY_TURN };
            let rest = match self.turn().await {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::warn!(%error, "events are not delivered for a while");
                    REST_AFTER_FAILURE
                }
            };
            let ended = tokio::select! {
                () = self.stop.cancelled() => break,
                () = woken.notified() => None,
                () = tokio::time::sleep(rest) => None,
                ended = self.sending.join_next(), if !self.sending.is_empty() => ended,
            };
            if let Some(tried) = ended {
                self.keep(tried);
            }
            tokio::time::sleep(turn.saturating_sub(turned.elapsed())).await;
            while let Some(tried) = self.sending.try_join_next() {
                self.keep(tried);
            }
        }
        while let Some(tried) = self.sending.join_next().await {
            self.keep(tried);
        }
        if let Err(error) = self.note_last().await {
            tracing::warn!(%error, "what was delivered last was not noted: it will be delivered again");
        }
    }

    fn keep(&mut self, tried: Result<Tried, tokio::task::JoinError>) {
        match tried {
            Ok(tried) => {
                if let Some(lane) = self.lanes.get_mut(&tried.due) {
                    lane.leave(tried.attempt.is_some());
                    if tried.gone {
                        lane.closed.cancel();
                    }
                    if lane.is_empty() && lane.closed.is_cancelled() {
                        self.lanes.remove(&tried.due);
                    }
                }
                self.results.push(tried);
            }
            // Its lease ends by itself; its place is lost until the server starts again.
            Err(error) => tracing::error!(%error, "a delivery broke off"),
        }
    }

    /// Does all that can be done now; how long to rest then, if nothing happens.
    async fn turn(&mut self) -> store::Result<Duration> {
        // Waiting for a database that is away ends with a stop.
        let mut conn = tokio::select! {
            conn = connect::acquire(&self.pool) => conn?,
            () = self.stop.cancelled() => return Ok(MIN_REST),
        };
        self.note(&mut conn).await?;
        let mut more = false;
        for account_id in deliveries::accounts_to_spread(&mut conn).await? {
            more |= spread_some(&mut conn, account_id).await?;
        }
        let mut full = false;
        for due in deliveries::due(&mut conn).await? {
            let lane = self.lanes.entry(due).or_insert_with(|| Lane::new(self.webhooks.max_inflight, &self.stop));
            let wanted = if lane.closed.is_cancelled() { 0 } else { lane.wanted() };
            full |= wanted == 0;
            if wanted > 0 {
                self.claim(&mut conn, due, wanted).await?;
            }
        }
        let next = deliveries::next_in(&mut conn).await?;
        Ok(match next {
            _ if more => MIN_REST,
            Some(next) if next > Duration::ZERO || !full => next.clamp(MIN_REST, POLL),
            _ => POLL,
        })
    }

    /// Claims what is due for a subscription, and sends it as soon as there is a place.
    async fn claim(&mut self, conn: &mut sqlx::PgConnection, due: Due, wanted: usize) -> store::Result<()> {
        let Some(target) = deliveries::target(conn, due).await? else { return Ok(()) };
        let target = Arc::new(target);
        let lease = self.webhooks.timeout + LEASE_BEYOND_TIMEOUT;
        let limit = i64::try_from(wanted).unwrap_or(i64::MAX);
        let claimed_at = Instant::now();
        let all = deliveries::claim(conn, due, limit, lease).await?;
        let Some(lane) = self.lanes.get_mut(&due) else { return Ok(()) };
        lane.claim(all.len());
        for claimed in all {
            let sending = Sending {
                sender: Arc::clone(&self.sender),
                places: Arc::clone(&lane.places),
                closed: lane.closed.clone(),
                due,
                target: Arc::clone(&target),
                claimed,
                claimed_at,
                first_wait: self.webhooks.first_wait,
            };
            self.sending.spawn(sending.run());
        }
        Ok(())
    }

    /// Writes down what became of the last tries; a stop waits for no database that is away.
    async fn note_last(&mut self) -> store::Result<()> {
        if self.results.is_empty() {
            return Ok(());
        }
        connect::look(&self.pool).await?;
        self.note(&mut *connect::acquire(&self.pool).await?).await
    }

    /// Writes down what became of tries; what cannot be written stays for the next time.
    async fn note(&mut self, conn: &mut sqlx::PgConnection) -> store::Result<()> {
        let mut accounts: BTreeMap<i64, Vec<Tried>> = BTreeMap::new();
        for tried in self.results.drain(..) {
            accounts.entry(tried.due.account_id).or_default().push(tried);
        }
        while let Some((account_id, tries)) = accounts.pop_first() {
            if let Err(error) = note_some(conn, account_id, &tries).await {
                self.results.extend(tries);
                self.results.extend(accounts.into_values().flatten());
                return Err(error);
            }
        }
        Ok(())
    }
}

/// An event that was claimed.
struct Sending {
    sender: Arc<Sender>,
    places: Arc<Semaphore>,
    closed: CancellationToken,
    due: Due,
    target: Arc<Target>,
    claimed: Claimed,
    claimed_at: Instant,
    first_wait: Duration,
}

impl Sending {
    /// Sends the event once, when there is a place; or gives it back, if that is too late.
    async fn run(self) -> Tried {
        let place = tokio::select! {
            () = self.closed.cancelled() => None,
            place = self.places.acquire() => place.ok(),
        };
        let (due, id, lease) = (self.due, self.claimed.id, self.claimed.lease);
        if place.is_none() || self.claimed_at.elapsed() > LEASE_BEYOND_TIMEOUT / 2 {
            return Tried { due, id, lease, attempt: None, gone: false };
        }
        let attempt = self.attempt().await;
        let gone = attempt.status == Some(410);
        Tried { due, id, lease, attempt: Some(attempt), gone }
    }

    async fn attempt(&self) -> Attempt {
        let Sending { due, claimed, .. } = self;
        let start = Instant::now();
        let now = claimed.now + self.claimed_at.elapsed();
        let sent = self.sender.send(due.account_id, &self.target, claimed, now).await;
        let mut random = [0; 4];
        // Without random bytes nothing is spread: no reason to fail.
        let _ = getrandom::fill(&mut random);
        let chance = f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX);
        let wait = || retry::wait(claimed.attempts, self.first_wait, sent.retry_after, chance);
        let again_in = sent.error.as_ref().and_then(|_| wait());
        measure(claimed, now, start.elapsed(), sent.error.is_some(), again_in.is_some());
        tracing::debug!(
            account_id = due.account_id,
            subscription = due.subscription_id,
            delivery = claimed.id,
            attempt = claimed.attempts + 1,
            status = sent.status,
            error = sent.error,
            again_in_s = again_in.map(|wait| wait.as_secs()),
            "an event was sent"
        );
        let status = sent.status.map(i32::from);
        Attempt { id: claimed.id, lease: claimed.lease, status, error: sent.error, again_in }
    }
}

fn measure(claimed: &Claimed, now: OffsetDateTime, took: Duration, failed: bool, again: bool) {
    let outcome = match (failed, again) {
        (false, _) => "delivered",
        (true, true) => "failed",
        (true, false) => "dead",
    };
    let attempt = (claimed.attempts + 1).to_string();
    metrics::counter!("ordergate_delivery_attempts_total", "outcome" => outcome, "attempt" => attempt).increment(1);
    metrics::histogram!("ordergate_delivery_attempt_duration_seconds", "outcome" => outcome).record(took);
    if !failed {
        let delay = (now - claimed.created_at).as_seconds_f64() + took.as_secs_f64();
        metrics::histogram!("ordergate_delivery_delay_seconds").record(delay.max(0.0));
    }
}

/// How often it is counted what waits.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// Counts, for ever, what waits.
pub async fn count_waiting(pool: &PgPool) {
    loop {
        let counted = async { deliveries::waiting(&mut *connect::acquire(pool).await?).await };
        match counted.await {
            Ok(accounts) => accounts.iter().for_each(set_waiting),
            Err(error) => tracing::debug!(%error, "what waits was not counted"),
        }
        tokio::time::sleep(COUNT_INTERVAL).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn set_waiting(waiting: &Waiting) {
    let Waiting { account, deliveries, oldest_seconds, packs } = waiting;
    metrics::gauge!("ordergate_deliveries_waiting", "account" => account.clone()).set(*deliveries as f64);
    let oldest = metrics::gauge!("ordergate_deliveries_oldest_waiting_seconds", "account" => account.clone());
    oldest.set(oldest_seconds.unwrap_or_default());
    metrics::gauge!("ordergate_packs_waiting", "account" => account.clone()).set(*packs as f64);
}

async fn note_some(conn: &mut sqlx::PgConnection, account_id: i64, tries: &[Tried]) -> store::Result<()> {
    let mut healths: BTreeMap<i64, Health> = BTreeMap::new();
    let (mut attempts, mut unsent) = (Vec::new(), Vec::new());
    for Tried { due: Due { subscription_id: id, .. }, id: delivery, lease, attempt, gone } in tries {
        let Some(attempt) = attempt else {
            unsent.push((*delivery, *lease));
            continue;
        };
        let health = healths.entry(*id).or_insert(Health { id: *id, delivered: false, gone: false });
        health.delivered |= attempt.error.is_none();
        health.gone |= gone;
        attempts.push(attempt.clone());
    }
    let healths: Vec<Health> = healths.into_values().collect();
    let mut transaction = conn.begin().await?;
    subscriptions::lock(&mut transaction, account_id).await?;
    deliveries::note(&mut transaction, account_id, &attempts).await?;
    deliveries::give_back(&mut transaction, account_id, &unsent).await?;
    let disabled = subscriptions::note_health(&mut transaction, account_id, &healths, MAX_FAILING).await?;
    transaction.commit().await?;
    for (subscription, reason) in disabled {
        tracing::warn!(account_id, subscription, reason, "a subscription was disabled; what waits for it stays");
    }
    let dead = attempts.iter().filter(|attempt| attempt.error.is_some() && attempt.again_in.is_none()).count();
    if dead > 0 {
        tracing::warn!(account_id, dead, "deliveries were given up");
    }
    Ok(())
}

/// Spreads some packs of an account; whether there may be more.
async fn spread_some(conn: &mut sqlx::PgConnection, account_id: i64) -> store::Result<bool> {
    let mut transaction = conn.begin().await?;
    let subscriptions = subscriptions::lock(&mut transaction, account_id).await?;
    if !deliveries::is_hungry(&mut transaction, account_id, ENOUGH).await? {
        return Ok(false);
    }
    let waiting = deliveries::waiting_packs(&mut transaction, account_id, PACKS, PACK_BYTES).await?;
    let ids: Vec<i64> = waiting.iter().map(|pack| pack.id).collect();
    let mut packs = Vec::with_capacity(waiting.len());
    for pack in waiting {
        let corrupt = |error: serde_json::Error| store::Error::Corrupt {
            table: "outbox",
            column: "events",
            what: format!("pack {}: {error}", pack.id),
        };
        let events = tokio::task::block_in_place(|| spread::events(&pack)).map_err(corrupt)?;
        packs.push((pack, events));
    }
    let profiles = spread::profiles(&packs);
    if !profiles.is_empty() {
        let known = deliveries::profile_ids(&mut transaction, account_id, &profiles).await?;
        let known: HashMap<i64, String> = known.into_iter().collect();
        packs.iter_mut().flat_map(|(_, events)| events).for_each(|event| event.publish(&known));
    }
    let new = tokio::task::block_in_place(|| spread::deliveries(&packs, &subscriptions));
    deliveries::add(&mut transaction, account_id, &new).await?;
    deliveries::mark_spread(&mut transaction, account_id, &ids).await?;
    transaction.commit().await?;
    // As likely as not there are more.
    Ok(!ids.is_empty())
}
