//! One import: begin, definitions, references, snapshot, plan, customers and catalogue, locks, write,
//! events, commit. Rolled back for a dry run or an abort; run again as a whole when another
//! transaction was in the way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::check::{self, Definitions, Ready};
use super::customers::Customers;
use super::definitions::{self, Failure};
use super::merge::Rules;
use super::plan::{Group, Plan, plan};
use super::report::{Answers, Outcome, Report};
use crate::config::Limits;
use crate::domain::batch::{Decoded, Head, OnError};
use crate::domain::custom_fields::EntityType;
use crate::domain::hex;
use crate::domain::orders::StoredOrder;
use crate::domain::rejection::Rejection;
use crate::error::{Code, Error};
use crate::store;
use crate::store::orders::PlacedLine;
use crate::store::outbox::NewEvent;
use crate::store::profiles::Scoped;

/// How often the whole is run when other transactions are in the way.
const MAX_TRIES: u32 = 10;

/// A request to import orders.
pub struct Import<'r, 'a> {
    /// Whose orders.
    pub account_id: i64,
    /// Everything but the orders.
    pub head: &'r Head,
    /// The orders.
    pub orders: &'r [Decoded<'a>],
    /// The one 'now' of the request.
    pub now: OffsetDateTime,
    /// Bounds on what is stored.
    pub limits: &'r Limits,
    /// The request's token, which no text repeats.
    pub secret: &'r str,
}

/// Why one try ended without a report.
enum Stopped {
    Store(store::Error),
    Request(Error),
}

impl From<store::Error> for Stopped {
    fn from(error: store::Error) -> Self {
        Stopped::Store(error)
    }
}

/// Imports a batch: all of it is written, or nothing, before the report is there.
///
/// # Errors
/// A definition is wrong (400, 409); the database is away, or others were in the way too often (503).
pub async fn import<'a>(pool: &PgPool, request: &Import<'_, 'a>) -> Result<Report<'a>, Error> {
    let mut plan_time = Duration::ZERO;
    let mut retries = 0;
    loop {
        match try_once(pool, request, &mut plan_time).await {
            Ok(report) => return Ok(Report { plan_time, retries, ..report }),
            Err(Stopped::Store(store::Error::TryAgain(reason))) if retries + 1 < MAX_TRIES => {
                tracing::debug!(reason, "the import is run again");
                retries += 1;
            }
            Err(Stopped::Store(error)) => return Err(error.into()),
            Err(Stopped::Request(error)) => return Err(error),
        }
    }
}

/// Runs `decide`, which is pure and may take long, without holding up other tasks; notes its time.
fn timed<T>(plan_time: &mut Duration, decide: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let decided = tokio::task::block_in_place(decide);
    *plan_time += start.elapsed();
    decided
}

async fn try_once<'a>(
    pool: &PgPool,
    request: &Import<'_, 'a>,
    plan_time: &mut Duration,
) -> Result<Report<'a>, Stopped> {
    let mut transaction = store::connect::begin(pool).await?;
    let conn = &mut *transaction;
    let account_id = request.account_id;
    definitions::write(conn, account_id, request.head).await.map_err(|failure| match failure {
        Failure::Store(error) => Stopped::Store(error),
        Failure::Refused(rejection) => {
            let code = if rejection.number() == 409 { Code::Conflict } else { Code::BadRequest };
            Stopped::Request(Error::new(code, rejection.text(request.secret)))
        }
    })?;
    let entities = [EntityType::Order, EntityType::LineOrder];
    let definitions = Definitions::new(store::definitions::read(conn, account_id, &entities).await?);
    let mut answers = Answers::new(request.orders);
    let (mut ready, reject_profiles) = ready_orders(conn, request, &definitions, &mut answers, plan_time).await?;
    let orders = ready.len();
    let mut customers = customers(conn, account_id, &ready, reject_profiles).await?;
    let mut keys: Vec<&str> = ready.iter().map(|ready| &*ready.order.external_id).collect();
    keys.sort_unstable();
    keys.dedup();
    let stored = store::orders::read(conn, account_id, &keys).await?;
    let announce = !request.head.skip_triggers;
    let rules = Rules { definitions: &definitions, limits: request.limits, now: request.now, announce };
    let Plan { mut groups, outcomes } = timed(plan_time, || plan(&mut ready, stored, &mut customers, &rules));
    answers.note(outcomes);
    if request.head.on_error == OnError::Abort && answers.any_failed() {
        transaction.rollback().await.map_err(store::Error::from)?;
        return Ok(answers.report(true));
    }
    // An order that reads as before is done: it needs no lock.
    let (mut changed, same): (Vec<_>, Vec<_>) = groups.drain(..).partition(|group| group.after.is_some());
    changed.sort_unstable_by_key(|group| group.key);
    create_neighbours(conn, account_id, &changed, &ready, customers).await?;
    lock(conn, account_id, &mut changed, &ready, &rules, &mut answers, plan_time).await?;
    for group in same.iter().chain(&changed) {
        let hidden = request.head.dry_run && group.stored.is_none();
        let id = group.after.as_ref().or(group.stored.as_ref()).map(|order| order.id).filter(|_| !hidden);
        answers.note_id(id, group.members.iter().map(|member| ready[*member].index));
    }
    changed.retain(|group| group.after.is_some());
    write(conn, account_id, &changed, orders, request.now).await?;
    let end = if request.head.dry_run { transaction.rollback().await } else { transaction.commit().await };
    end.map_err(store::Error::from)?;
    Ok(answers.report(false))
}

/// The orders that pass every check that needs no stored order, and whether unknown customers are refused.
async fn ready_orders<'o, 'a>(
    conn: &mut PgConnection,
    request: &Import<'o, 'a>,
    definitions: &Definitions,
    answers: &mut Answers<'a>,
    plan_time: &mut Duration,
) -> Result<(Vec<Ready<'o, 'a>>, bool), store::Error> {
    let good = || request.orders.iter().filter_map(|decoded| decoded.order.as_ref().ok());
    let references = store::references::read(conn, request.account_id, &check::wanted(good())).await?;
    let products = if references.reject_products {
        Some(
            store::catalogue::known_products(conn, request.account_id, &check::products(good()), request.orders.len())
                .await?,
        )
    } else {
        None
    };
    let skus = if references.reject_skus {
        Some(store::catalogue::known_skus(conn, request.account_id, &check::skus(good()), request.orders.len()).await?)
    } else {
        None
    };
    let check_one = |(index, decoded): (usize, &'o Decoded<'a>)| {
        let order = decoded.order.as_ref().map_err(Clone::clone)?;
        let ready = check::check(index, order, &references, definitions)?;
        check::check_catalogue(&ready, products.as_ref(), skus.as_ref())?;
        Ok::<_, Rejection>(ready)
    };
    let checked = timed(plan_time, || request.orders.iter().enumerate().map(check_one).collect::<Vec<_>>());
    let mut ready = Vec::with_capacity(checked.len());
    for (index, checked) in checked.into_iter().enumerate() {
        match checked {
            Ok(order) => ready.push(order),
            Err(rejection) => answers.note([(index, Outcome::Failed(rejection))]),
        }
    }
    Ok((ready, references.reject_profiles))
}

/// The profiles that the orders' customers may have, and numbers for those that they may need.
async fn customers(
    conn: &mut PgConnection,
    account_id: i64,
    ready: &[Ready<'_, '_>],
    reject_unknown: bool,
) -> Result<Customers, Stopped> {
    let scoped = |ready: &Ready<'_, '_>| {
        let database = ready.database;
        let keys = ready.order.customer.iter();
        keys.flat_map(|key| &key.looks_among).map(move |identity| (database, identity.clone())).collect::<Vec<_>>()
    };
    let wanted: Vec<Scoped> = ready.iter().flat_map(scoped).collect::<HashSet<_>>().into_iter().collect();
    let found = store::profiles::find(conn, account_id, &wanted.iter().collect::<Vec<_>>(), ready.len()).await?;
    let known: HashMap<Scoped, i64> =
        found.into_iter().map(|(place, profile)| (wanted[place].clone(), profile)).collect();
    let misses = ready.iter().filter(|ready| scoped(ready).iter().all(|scoped| !known.contains_key(scoped))).count();
    let mut spare = Vec::new();
    if misses > 0 && !reject_unknown {
        for id in store::profiles::reserve_ids(conn, misses).await? {
            let mut profile_id = [0; 12];
            getrandom::fill(&mut profile_id).map_err(|error| Stopped::Request(Error::internal(error)))?;
            spare.push((id, hex(&profile_id)));
        }
    }
    Ok(Customers::new(known, spare, reject_unknown))
}

/// Writes the profiles that are new, and stubs of the products and SKUs that are not there, for the orders
/// of the request that change something, in the order sent.
async fn create_neighbours(
    conn: &mut PgConnection,
    account_id: i64,
    changed: &[Group<'_, '_>],
    ready: &[Ready<'_, '_>],
    customers: Customers,
) -> Result<(), store::Error> {
    let orders = ready.len();
    store::profiles::create_identities(conn, account_id, customers.new_identities, orders).await?;
    store::profiles::create(conn, account_id, &customers.new_profiles).await?;
    let mut members: Vec<usize> = changed.iter().flat_map(|group| group.members.iter().copied()).collect();
    members.sort_unstable();
    let mut products: BTreeSet<&str> = BTreeSet::new();
    let mut skus: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for line in members.into_iter().flat_map(|member| &ready[member].order.lines) {
        products.extend(line.product.as_deref());
        if let Some(sku) = line.sku.as_deref() {
            let product = skus.entry(sku).or_default();
            *product = product.or(line.product.as_deref());
        }
    }
    store::catalogue::create_product_stubs(conn, account_id, &products.into_iter().collect::<Vec<_>>(), orders).await?;
    store::catalogue::create_sku_stubs(conn, account_id, &skus.into_iter().collect::<Vec<_>>(), orders).await
}

/// Inserts the orders that are new and locks the others; those are then read and decided again.
async fn lock<'a>(
    conn: &mut PgConnection,
    account_id: i64,
    changed: &mut [Group<'_, 'a>],
    ready: &[Ready<'_, 'a>],
    rules: &Rules<'_>,
    answers: &mut Answers<'a>,
    plan_time: &mut Duration,
) -> Result<(), store::Error> {
    let keyed: Vec<_> = changed.iter().filter_map(|group| Some((group.key, group.after.as_ref()?))).collect();
    let inserted = store::orders::insert_or_lock(conn, account_id, &keyed).await?;
    let mut locked = Vec::new();
    for group in &mut *changed {
        match (inserted.get(group.key), &group.stored, &mut group.after) {
            (Some(id), None, Some(after)) => after.id = *id,
            (Some(_), _, _) => return Err(store::Error::TryAgain("an order was deleted by another request")),
            (None, _, _) => locked.push(group.key),
        }
    }
    if locked.is_empty() {
        return Ok(());
    }
    let mut stored = store::orders::read(conn, account_id, &locked).await?;
    timed(plan_time, || {
        for group in changed.iter_mut().filter(|group| !inserted.contains_key(group.key)) {
            let stored =
                stored.remove(group.key).ok_or(store::Error::TryAgain("an order was deleted by another request"))?;
            answers.note(group.decide_again(stored, ready, rules).map_err(store::Error::TryAgain)?);
        }
        Ok(())
    })
}

/// Writes the orders that changed, their lines and their events.
async fn write(
    conn: &mut PgConnection,
    account_id: i64,
    changed: &[Group<'_, '_>],
    orders: usize,
    now: OffsetDateTime,
) -> Result<(), store::Error> {
    let mut updated = Vec::new();
    let mut lines = Vec::new();
    let mut gone: Vec<(i64, &str)> = Vec::new();
    let mut events = Vec::new();
    for group in changed {
        let Some(after) = &group.after else { continue };
        if let Some(stored) = &group.stored {
            updated.push((group.key, after));
            let stays: HashSet<&str> = after.state.lines.iter().map(|line| &*line.external_id).collect();
            let went = stored.state.lines.iter().map(|line| &*line.external_id).filter(|id| !stays.contains(id));
            gone.extend(went.map(|id| (after.id, id)));
        }
        lines.extend(changed_lines(group.stored.as_ref(), after));
        events.extend(group.events.iter().map(|event| NewEvent {
            order_id: after.id,
            order_external_id: group.key,
            order_revision: event.revision,
            kind: event.kind,
            line_external_id: event.line.as_deref(),
            changes: &event.changes,
        }));
    }
    store::orders::update(conn, account_id, &updated).await?;
    store::orders::delete_lines(conn, account_id, &gone, orders).await?;
    store::orders::write_lines(conn, account_id, &lines, orders).await?;
    store::outbox::write(conn, account_id, &events, orders, now).await
}

/// The lines that are not stored as they are, at the place where they are.
fn changed_lines<'s, 'a>(
    stored: Option<&'s StoredOrder<'a>>,
    after: &'s StoredOrder<'a>,
) -> impl Iterator<Item = PlacedLine<'s, 'a>> {
    let stored = stored.map(|order| order.state.lines.as_slice()).unwrap_or_default();
    let placed = after.state.lines.iter().enumerate();
    placed.filter(move |(place, line)| stored.get(*place) != Some(line)).map(|(place, line)| PlacedLine {
        order_id: after.id,
        position: i32::try_from(place).unwrap_or(i32::MAX),
        line,
    })
}
