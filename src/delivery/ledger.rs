//! The ledger: what became of each event, and why an order made none.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value as Json, json};
use sqlx::PgConnection;
use time::OffsetDateTime;
use time::macros::datetime;

use super::send::event_id;
use crate::accounts::Refused;
use crate::domain::scalars::time_text;
use crate::store;
use crate::store::deliveries::Pack;
use crate::store::imports::{self, Silent};
use crate::store::ledger::{self, Kept, Which};

/// What became of an event, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It happened; no subscription asked for it, or it was not yet looked at for whom it is.
    Fired,
    /// It waits for its first try, for the next one, or for an earlier event of its order.
    Waiting,
    /// It was delivered.
    Delivered,
    /// It was given up.
    Failed,
    /// The order changed, and the import asked for no events.
    Skipped,
    /// The order did not change.
    Unchanged,
}

impl State {
    /// All of them, with their names.
    pub const ALL: [(&str, Self); 6] = [
        ("fired", Self::Fired),
        ("waiting", Self::Waiting),
        ("delivered", Self::Delivered),
        ("failed", Self::Failed),
        ("skipped", Self::Skipped),
        ("unchanged", Self::Unchanged),
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// One line of the ledger.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When it happened.
    pub time: OffsetDateTime,
    /// The order's external id; `None` if the order was deleted since.
    pub order: Option<String>,
    /// What became of it.
    pub state: State,
    /// The event, if there is one.
    pub event: Option<Event>,
    /// Its delivery, if a subscription is to be told.
    pub delivery: Option<Delivery>,
    /// The import that made no event of the order.
    pub import_id: Option<i64>,
}

/// An event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its id: what `webhook-id` says.
    pub id: String,
    /// `order.created`, ….
    pub kind: String,
    /// The order's revision that it tells of.
    pub revision: i64,
    /// Field to from and to.
    pub changes: Json,
}

/// A delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// To whom.
    pub subscription_id: i64,
    /// How often it was tried.
    pub attempts: i32,
    /// The HTTP status of the last answer.
    pub status: Option<i32>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// When it was done, or is due; `None` while an earlier event of its order waits.
    pub at: Option<OffsetDateTime>,
}

/// The columns of a line.
pub const COLUMNS: [&str; 13] = [
    "time",
    "order",
    "state",
    "type",
    "event",
    "revision",
    "subscription",
    "attempts",
    "status",
    "error",
    "at",
    "import",
    "changes",
];

impl Entry {
    /// The cells of a line; null where a column is not about it.
    #[must_use]
    pub fn row(&self) -> Vec<Json> {
        let Entry { time, order, state, event, delivery, import_id } = self;
        let (event, delivery) = (event.as_ref(), delivery.as_ref());
        vec![
            json!(time_text(*time)),
            json!(order),
            json!(state.as_str()),
            json!(event.map(|event| &event.kind)),
            json!(event.map(|event| &event.id)),
            json!(event.map(|event| event.revision)),
            json!(delivery.map(|delivery| delivery.subscription_id)),
            json!(delivery.map(|delivery| delivery.attempts)),
            json!(delivery.map(|delivery| delivery.status)),
            json!(delivery.map(|delivery| &delivery.error)),
            json!(delivery.map(|delivery| delivery.at.map(time_text))),
            json!(import_id),
            json!(event.map(|event| &event.changes)),
        ]
    }
}

/// Which events are meant, in the caller's words.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'s> {
    /// Those of the order of that external id.
    pub order: Option<&'s str>,
    /// The one of that id.
    pub event: Option<&'s str>,
    /// Those for that subscription.
    pub subscription_id: Option<i64>,
    /// Those that happened from then on ….
    pub from: Option<OffsetDateTime>,
    /// …, and before then.
    pub to: Option<OffsetDateTime>,
}

/// Finds what a selection names.
///
/// # Errors
/// There is no such order, or the event's id is none; or the database failed.
pub async fn which(conn: &mut PgConnection, account_id: i64, selection: Selection<'_>) -> Result<Which, Refused> {
    let Selection { order, event, subscription_id, from, to } = selection;
    let order_id = match order {
        None => None,
        Some(order) => {
            let missing = || Refused::Missing(format!("order: expected one that is stored, found {order:?}"));
            Some(ledger::order_id(conn, account_id, order).await?.ok_or_else(missing)?)
        }
    };
    let event = match event {
        None => None,
        Some(id) => {
            let wrong = || Refused::Wrong(format!("event: expected an id like evt_12_0, found {id:?}"));
            Some(event_of(id).ok_or_else(wrong)?)
        }
    };
    let of_event = match event {
        None => None,
        Some(event) => ledger::order_of(conn, account_id, event).await?,
    };
    if let (Some(id), None) = (selection.event, of_event)
        && !is_delivered(conn, account_id, event).await?
    {
        return Err(Refused::Missing(format!("event: expected one that is kept, found {id:?}")));
    }
    let order_id = order_id.or(of_event);
    let (from, to) = (from.unwrap_or(OffsetDateTime::UNIX_EPOCH), to.unwrap_or(datetime!(9999-12-31 0:00 UTC)));
    Ok(Which { order_id, event, subscription_id, from, to })
}

/// True for an event whose pack is no longer kept, but a delivery of it.
async fn is_delivered(conn: &mut PgConnection, account_id: i64, event: Option<(i64, i32)>) -> store::Result<bool> {
    let (from, to) = (OffsetDateTime::UNIX_EPOCH, datetime!(9999-12-31 0:00 UTC));
    let which = Which { order_id: None, event, subscription_id: None, from, to };
    let kept = ledger::deliveries(conn, account_id, &which, &["waiting", "delivered", "dead"], 1).await?;
    Ok(!kept.is_empty())
}

/// Which lines are asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Those that …; with a subscription, all others have a delivery.
    pub which: Which,
    /// Those of these states; of all, if there are none.
    pub states: Vec<State>,
    /// At most so many.
    pub limit: usize,
}

impl Asked {
    fn asks(&self, state: State) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }
}

/// Packs and imports that are read at once.
const SET: i64 = 20;

/// The pack and the place that an event's id names.
fn event_of(id: &str) -> Option<(i64, i32)> {
    let (pack_id, place) = id.strip_prefix("evt_")?.split_once('_')?;
    let event = (pack_id.parse().ok()?, place.parse().ok()?);
    // `+1` and `01` are numbers, too, but no id is spelled so.
    (event.0 >= 0 && event.1 >= 0 && event_id(event.0, event.1) == id).then_some(event)
}

/// What became of one event: a line for each subscription that is to be told.
///
/// # Errors
/// There is no such event, or it is no longer kept; or the database failed.
pub async fn show(conn: &mut PgConnection, account_id: i64, id: &str) -> Result<Vec<Entry>, Refused> {
    let which = which(conn, account_id, Selection { event: Some(id), ..Selection::default() }).await?;
    let asked = Asked { which, states: Vec::new(), limit: usize::MAX };
    Ok(list(conn, account_id, &asked).await?)
}

/// Lines of the ledger, newest first.
///
/// # Errors
/// The database failed.
pub async fn list(conn: &mut PgConnection, account_id: i64, asked: &Asked) -> store::Result<Vec<Entry>> {
    let mut asked = asked.clone();
    let mut entries = delivered(conn, account_id, &asked).await?;
    if asked.which.subscription_id.is_none() {
        if asked.asks(State::Fired) {
            newest(&mut entries, &mut asked);
            entries.extend(fired(conn, account_id, &asked).await?);
        }
        let silent = asked.asks(State::Skipped) || asked.asks(State::Unchanged);
        if silent && asked.which.event.is_none() {
            newest(&mut entries, &mut asked);
            entries.extend(silenced(conn, account_id, &asked).await?);
        }
    }
    newest(&mut entries, &mut asked);
    Ok(entries)
}

/// Leaves the newest of the lines so far; with as many as are asked for, older ones need not be looked for.
fn newest(entries: &mut Vec<Entry>, asked: &mut Asked) {
    // Stable: what happened at the same time stays in its order.
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.time));
    entries.truncate(asked.limit);
    if let Some(last) = entries.last().filter(|_| entries.len() == asked.limit) {
        asked.which.from = asked.which.from.max(last.time);
    }
}

/// What waits for subscriptions, and what is done.
async fn delivered(conn: &mut PgConnection, account_id: i64, asked: &Asked) -> store::Result<Vec<Entry>> {
    let outcomes = [("waiting", State::Waiting), ("delivered", State::Delivered), ("dead", State::Failed)];
    let wanted: Vec<&str> =
        outcomes.iter().filter(|(_, state)| asked.asks(*state)).map(|(outcome, _)| *outcome).collect();
    let kept = ledger::deliveries(conn, account_id, &asked.which, &wanted, limit(asked)).await?;
    let entry = |kept: Kept| {
        let fields: Map<String, Json> = serde_json::from_str(&kept.event).unwrap_or_default();
        let state =
            outcomes.iter().find(|(outcome, _)| *outcome == kept.outcome).map_or(State::Fired, |(_, state)| *state);
        let delivery = Delivery {
            subscription_id: kept.subscription_id,
            attempts: kept.attempts,
            status: kept.last_status,
            error: kept.last_error,
            at: kept.at,
        };
        let delivery = Some(delivery);
        Entry { state, delivery, ..happened(kept.created_at, kept.pack_id, kept.place, fields) }
    };
    Ok(kept.into_iter().map(entry).collect())
}

fn limit(asked: &Asked) -> i64 {
    i64::try_from(asked.limit).unwrap_or(i64::MAX)
}

/// An event for nobody.
fn happened(time: OffsetDateTime, pack_id: i64, place: i32, mut fields: Map<String, Json>) -> Entry {
    let text = |name: &str| fields.get(name).and_then(Json::as_str).map(ToOwned::to_owned);
    let (order, kind) = (text("order"), text("type").unwrap_or_default());
    let revision = fields.get("revision").and_then(Json::as_i64).unwrap_or_default();
    let changes = fields.remove("changes").unwrap_or_default();
    let event = Event { id: event_id(pack_id, place), kind, revision, changes };
    Entry { time, order, state: State::Fired, event: Some(event), delivery: None, import_id: None }
}

/// The events for nobody.
async fn fired(conn: &mut PgConnection, account_id: i64, asked: &Asked) -> store::Result<Vec<Entry>> {
    let (which, mut before, mut entries) = (&asked.which, i64::MAX, Vec::new());
    loop {
        let packs = ledger::packs(conn, account_id, which, before, SET).await?;
        let Some(last) = packs.last() else { return Ok(entries) };
        before = last.id;
        let ids: Vec<i64> = packs.iter().map(|pack| pack.id).collect();
        let heard = ledger::heard(conn, account_id, &ids, which.order_id).await?;
        let heard: HashSet<(i64, i32)> = heard.into_iter().collect();
        for Pack { id, events, created_at } in packs {
            let events: Vec<Map<String, Json>> = serde_json::from_str(&events).unwrap_or_default();
            let asked_for = |(place, fields): &(i32, Map<String, Json>)| {
                let order_id = fields.get("order_id").and_then(Json::as_i64);
                !heard.contains(&(id, *place))
                    && which.order_id.is_none_or(|wanted| order_id == Some(wanted))
                    && which.event.is_none_or(|wanted| wanted == (id, *place))
            };
            let mut events: Vec<_> = (0..).zip(events).filter(asked_for).collect();
            events.reverse();
            entries.extend(events.into_iter().map(|(place, fields)| happened(created_at, id, place, fields)));
        }
        if entries.len() >= asked.limit {
            return Ok(entries);
        }
    }
}

/// The orders of which imports made no events.
async fn silenced(conn: &mut PgConnection, account_id: i64, asked: &Asked) -> store::Result<Vec<Entry>> {
    let Which { order_id, from, to, .. } = asked.which;
    let (mut before, mut found) = (i64::MAX, Vec::new());
    loop {
        let kinds = (asked.asks(State::Skipped), asked.asks(State::Unchanged));
        let silent = imports::silent(conn, account_id, order_id, kinds, (from, to), before, SET).await?;
        let Some(last) = silent.last() else { break };
        before = last.id;
        for Silent { id, created_at, skipped_orders, unchanged_orders } in silent {
            for (state, orders) in [(State::Skipped, skipped_orders), (State::Unchanged, unchanged_orders)] {
                if !asked.asks(state) {
                    continue;
                }
                let of = |order: &i64| order_id.is_none_or(|wanted| wanted == *order);
                let orders = orders.iter().filter_map(|order| i64::try_from(order).ok()).filter(of);
                found.extend(orders.take(asked.limit).map(|order| (created_at, id, state, order)));
            }
        }
        if found.len() >= asked.limit {
            break;
        }
    }
    let orders: BTreeSet<i64> = found.iter().map(|(.., order)| *order).collect();
    let orders: Vec<i64> = orders.into_iter().collect();
    let names: HashMap<i64, String> = ledger::external_ids(conn, account_id, &orders).await?.into_iter().collect();
    let entry = |(time, id, state, order)| Entry {
        time,
        order: names.get(&order).cloned(),
        state,
        event: None,
        delivery: None,
        import_id: Some(id),
    };
    Ok(found.into_iter().map(entry).collect())
}
