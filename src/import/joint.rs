//! Requests of one order each, of one account, that wait for their turn anyway go in together: one transaction, one
//! flush of the log. Each keeps its own answer; if they cannot go together, each goes alone. One that comes while
//! there is a turn to be had waits for nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::orders::{Decode, Import, Imports, Posted, Single};
use super::report::{Item, Outcome, Report, Spent};
use super::small;
use crate::domain::batch::{Head, OnError, Sent};
use crate::domain::orders::Origin;

/// Transactions of joined requests at once, for an account: one can be decided while another is being flushed.
const MAX_TURNS: usize = 2;

/// Longer orders go alone: those that wait are copied.
const MAX_BYTES: usize = 64 << 10;

/// The requests that wait for their turn, by account.
#[derive(Debug, Default)]
pub struct Joints(Mutex<HashMap<i64, Queue>>);

#[derive(Debug, Default)]
struct Queue {
    turns: usize,
    waiting: Vec<Waiting>,
}

/// A request on its way.
#[derive(Debug)]
struct Joined {
    text: String,
    external_id: Option<String>,
    root: String,
    decode: Decode,
    announce: bool,
    token_id: i64,
    request_id: String,
    tokens_version: i64,
    now: OffsetDateTime,
}

impl Joined {
    fn sent(&self) -> Sent<'_> {
        Sent { text: &self.text, external_id: self.external_id.as_deref(), root: &self.root }
    }

    fn single(&self) -> Single<'_> {
        let origin = Origin { token_id: self.token_id, request_id: &self.request_id };
        Single { decode: self.decode, announce: self.announce, origin }
    }
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    joined: Joined,
    tell: oneshot::Sender<Told>,
}

/// What one that waits is told; nothing at all if it has to go alone.
#[derive(Debug)]
enum Told {
    /// What became of it.
    Done(Item<'static>, Spent),
    /// It is its turn, together with these.
    Turn(Turn, Joined, Vec<Waiting>),
}

/// The right to run a transaction; the next one gets it when this is dropped.
#[derive(Debug)]
struct Turn {
    imports: Arc<Imports>,
    account_id: i64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.imports.joints.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queues.get_mut(&self.account_id) else { return };
        if queue.waiting.is_empty() {
            queue.turns -= 1;
            if queue.turns == 0 {
                queues.remove(&self.account_id);
            }
            return;
        }
        let count = queue.waiting.len().min(small::MAX_ORDERS);
        let mut next = queue.waiting.drain(..count);
        let Some(Waiting { joined, tell }) = next.next() else { return };
        let others = next.collect();
        drop(queues);
        let turn = Turn { imports: Arc::clone(&self.imports), account_id: self.account_id };
        // If it has gone away, its message comes back and is dropped, which passes the turn on.
        let _ = tell.send(Told::Turn(turn, joined, others));
    }
}

/// Imports an order that came alone, maybe together with others. `None`: it has to go alone.
pub(super) async fn import<'a>(imports: &Arc<Imports>, request: &Import<'_, 'a>) -> Option<Report<'a>> {
    let (Posted::Together { decode, announce }, [order]) = (request.posted, request.orders) else { return None };
    if order.text.len() > MAX_BYTES {
        return None;
    }
    let mine = Joined {
        text: order.text.to_owned(),
        external_id: order.external_id.map(str::to_owned),
        root: order.root.to_owned(),
        decode,
        announce,
        token_id: request.origin.token_id,
        request_id: request.origin.request_id.to_owned(),
        tokens_version: request.tokens_version,
        now: request.now,
    };
    let told = match enter(imports, request.account_id, mine) {
        Entered::Turn(turn, mine) => Told::Turn(turn, mine, Vec::new()),
        Entered::Waits(told) => told.await.ok()?,
    };
    let (item, spent) = match told {
        Told::Done(item, spent) => (item, spent),
        Told::Turn(turn, mine, others) => run(&turn, mine, others).await?,
    };
    let stopped = request.head.on_error == OnError::Abort && matches!(item.outcome, Outcome::Failed(_));
    Some(Report { items: vec![item], silent: Vec::new(), stopped_by: stopped.then_some(0), spent, retries: 0 })
}

enum Entered {
    Turn(Turn, Joined),
    Waits(oneshot::Receiver<Told>),
}

fn enter(imports: &Arc<Imports>, account_id: i64, joined: Joined) -> Entered {
    let mut queues = imports.joints.0.lock().unwrap_or_else(PoisonError::into_inner);
    let queue = queues.entry(account_id).or_default();
    if queue.turns < MAX_TURNS {
        queue.turns += 1;
        return Entered::Turn(Turn { imports: Arc::clone(imports), account_id }, joined);
    }
    let (tell, told) = oneshot::channel();
    queue.waiting.push(Waiting { joined, tell });
    Entered::Waits(told)
}

/// Runs requests in one transaction; what became of the first one is returned, the others are told.
async fn run(turn: &Turn, mine: Joined, others: Vec<Waiting>) -> Option<(Item<'static>, Spent)> {
    // One whose token was looked up under another version goes alone.
    let others: Vec<Waiting> =
        others.into_iter().filter(|other| other.joined.tokens_version == mine.tokens_version).collect();
    let joined: Vec<&Joined> = std::iter::once(&mine).chain(others.iter().map(|other| &other.joined)).collect();
    let orders: Vec<Sent<'_>> = joined.iter().map(|joined| joined.sent()).collect();
    let each: Vec<Single<'_>> = joined.iter().map(|joined| joined.single()).collect();
    let request = Import {
        account_id: turn.account_id,
        origin: mine.single().origin,
        tokens_version: mine.tokens_version,
        head: &Head::default(),
        orders: &orders,
        posted: Posted::Singly(&each),
        now: joined.iter().map(|joined| joined.now).max().unwrap_or(mine.now),
        secret: "",
    };
    let mut spent = Spent { few: true, ..Spent::default() };
    let report = small::try_once(&turn.imports, &request, &mut spent).await.ok()?;
    turn.imports.records.keep(&request, &report);
    let mut items: Vec<Item<'static>> = report.items.into_iter().map(Item::into_owned).collect();
    let mine = items.drain(..1).next()?;
    for (other, item) in others.into_iter().zip(items) {
        // One that has gone away needs no answer.
        let _ = other.tell.send(Told::Done(item, spent));
    }
    Some((mine, spent))
}
