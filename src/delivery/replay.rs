//! Sends events again that were given up; and says of those that were not what becomes of them.

use std::collections::HashMap;

use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;

use super::ledger::{self, Asked, Delivery, Entry, State};
use crate::domain::scalars::time_text;
use crate::store::ledger::{self as kept, Which};
use crate::store::{self, deliveries, subscriptions};

/// Deliveries that are sent again by one transaction.
const SET: usize = 10_000;
/// Lines of the ledger that are looked at for why nothing is sent.
const LOOKED_AT: usize = 1_000;

/// What is sent again.
#[derive(Debug, Clone)]
pub struct Replay {
    /// So many deliveries.
    pub deliveries: usize,
    /// Why none is.
    pub reason: Option<String>,
}

impl Replay {
    /// That, in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Replay { deliveries, reason } = self;
        let noun = if *deliveries == 1 { "delivery" } else { "deliveries" };
        let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{deliveries} {noun} will be sent again{reason}")
    }
}

/// Sends events again that were given up, and those that were delivered if that is asked for, each behind what waits of
/// its order; `asking` is how the caller asks for the latter.
///
/// # Errors
/// The database failed; what was written before stays.
pub async fn replay(
    conn: &mut PgConnection,
    account_id: i64,
    which: &Which,
    delivered: bool,
    asking: &str,
) -> store::Result<Replay> {
    let outcomes: &[&str] = if delivered { &["dead", "delivered"] } else { &["dead"] };
    // What is delivered again meanwhile is not taken twice.
    let started = kept::now(conn).await?;
    let mut count = 0;
    loop {
        let mut transaction = conn.begin().await?;
        subscriptions::lock(&mut transaction, account_id).await?;
        let limit = i64::try_from(SET).unwrap_or(i64::MAX);
        let new = kept::take_back(&mut transaction, account_id, which, outcomes, started, limit).await?;
        deliveries::add(&mut transaction, account_id, &new).await?;
        deliveries::wake(&mut transaction).await?;
        transaction.commit().await?;
        count += new.len();
        if new.len() < SET {
            break;
        }
    }
    let reason = if count > 0 { None } else { Some(reason(conn, account_id, which, started, asking).await?) };
    Ok(Replay { deliveries: count, reason })
}

/// What becomes of an event without a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Delivered,
    /// It was given up after the replay had begun.
    GivenUp,
    /// It is sent at that time, or now.
    Due(Option<OffsetDateTime>),
    /// An earlier event of its order is sent first.
    Behind,
    /// It waits for that subscription, which is disabled.
    Disabled(i64),
    /// It was for that subscription, which is no longer there.
    Gone(i64),
    /// No subscription asked for it, or it was not yet looked at for whom it is.
    ForNobody,
}

/// Why nothing is sent again.
async fn reason(
    conn: &mut PgConnection,
    account_id: i64,
    which: &Which,
    now: OffsetDateTime,
    asking: &str,
) -> store::Result<String> {
    let states = vec![State::Fired, State::Waiting, State::Delivered, State::Failed];
    let asked = Asked { which: *which, states, limit: LOOKED_AT };
    let entries = ledger::list(conn, account_id, &asked).await?;
    let subscriptions = subscriptions::list(conn, account_id).await?;
    let enabled: HashMap<i64, bool> = subscriptions.iter().map(|one| (one.id, one.enabled)).collect();
    let fates: Vec<(&Entry, Fate)> = entries.iter().map(|entry| (entry, fate(entry, &enabled, now))).collect();
    Ok(match fates.as_slice() {
        [] => "no event is kept that fits".to_owned(),
        [(entry, fate)] => of_one(entry, *fate, asking),
        fates => of_many(fates, asking),
    })
}

fn fate(entry: &Entry, enabled: &HashMap<i64, bool>, now: OffsetDateTime) -> Fate {
    let Some(Delivery { subscription_id, at, .. }) = entry.delivery else { return Fate::ForNobody };
    match (enabled.get(&subscription_id), entry.state, at) {
        (None, ..) => Fate::Gone(subscription_id),
        (Some(false), State::Waiting, _) => Fate::Disabled(subscription_id),
        (_, State::Waiting, None) => Fate::Behind,
        (_, State::Waiting, at) => Fate::Due(at.filter(|at| *at > now)),
        (_, State::Failed, _) => Fate::GivenUp,
        _ => Fate::Delivered,
    }
}

fn of_one(entry: &Entry, fate: Fate, asking: &str) -> String {
    let id = entry.event.as_ref().map(|event| event.id.as_str()).unwrap_or_default();
    match fate {
        Fate::Delivered => format!("{id} was delivered; say {asking} to send it again"),
        Fate::GivenUp => format!("{id} was given up only now; replay it once more to send it again"),
        Fate::Due(Some(at)) => format!("{id} is waiting: it will be sent at {}", time_text(at)),
        Fate::Due(None) => format!("{id} is waiting: it is due now"),
        Fate::Behind => format!("{id} is waiting: it will be sent after an earlier event of its order"),
        Fate::Disabled(to) => format!("{id} is waiting: it will be sent when subscription {to} is enabled"),
        Fate::Gone(to) => format!("{id} was for subscription {to}, which is no longer there"),
        Fate::ForNobody => {
            format!("{id} is waiting for nobody: no subscription asked for it, or it was not yet looked at")
        }
    }
}

fn of_many(fates: &[(&Entry, Fate)], asking: &str) -> String {
    let count = |is: fn(Fate) -> bool| fates.iter().filter(|(_, fate)| is(*fate)).count();
    let waiting = |fate| matches!(fate, Fate::Due(_) | Fate::Behind);
    let kinds = [
        (count(|fate| fate == Fate::Delivered), format!("delivered; say {asking} to send them again")),
        (count(|fate| fate == Fate::GivenUp), "given up only now; replay once more to send them again".to_owned()),
        (count(waiting), "waiting, and will be sent".to_owned()),
        (count(|fate| matches!(fate, Fate::Disabled(_))), "waiting for a subscription that is disabled".to_owned()),
        (count(|fate| matches!(fate, Fate::Gone(_))), "for a subscription that is no longer there".to_owned()),
        (count(|fate| fate == Fate::ForNobody), "for no subscription, or not yet looked at".to_owned()),
    ];
    let found = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let newest = if fates.len() < LOOKED_AT { String::new() } else { format!("of the newest {LOOKED_AT}, ") };
    format!("nothing to send: {newest}{}", found.collect::<Vec<_>>().join("; "))
}
