//! What every import leaves of itself: in its own transaction if it skips events, since nothing else tells of it; else a
//! little later, while nobody waits for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::orders::{Import, Posted};
use super::report::{Answers, Item, Outcome, Report, Tally};
use crate::store;
use crate::store::imports::NewImport;

/// How often records are written.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Records that wait; more are lost, which a database that is away for long makes possible.
const MAX_WAITING: usize = 100_000;

/// The records of imports, with their accounts, until they are written.
#[derive(Debug, Default)]
pub struct Records(Mutex<Vec<(i64, NewImport)>>);

/// Writes the records of imports in their transaction, if they skip events.
pub(super) async fn write_skipped(
    conn: &mut PgConnection,
    request: &Import<'_, '_>,
    answers: &Answers<'_>,
) -> store::Result<()> {
    let (silent, items) = answers.silent();
    if !request.head.dry_run && skips(silent, items) {
        store::imports::write(conn, request.account_id, &all(request, silent, items)).await?;
    }
    Ok(())
}

/// True if orders changed that ask for no events.
fn skips(silent: &[usize], items: &[Item<'_>]) -> bool {
    silent.iter().any(|slot| matches!(items[*slot].outcome, Outcome::Created | Outcome::Updated))
}

/// One record, or one for each import that was joined.
fn all(request: &Import<'_, '_>, silent: &[usize], items: &[Item<'_>]) -> Vec<NewImport> {
    let record = |token_id, announce, slots: Range<usize>| {
        let first = silent.partition_point(|slot| *slot < slots.start);
        let last = silent.partition_point(|slot| *slot < slots.end);
        record(request.now, token_id, announce, silent[first..last].iter().map(|slot| &items[*slot]), &items[slots])
    };
    match request.posted {
        Posted::Together { announce, .. } | Posted::Decoded { announce, .. } => {
            vec![record(request.origin.token_id, announce, 0..items.len())]
        }
        Posted::Singly(each) => {
            (0..).zip(each).map(|(slot, one)| record(one.origin.token_id, one.announce, slot..slot + 1)).collect()
        }
    }
}

/// The record of an import.
fn record<'i, 'a: 'i>(
    created_at: OffsetDateTime,
    token_id: i64,
    announce: bool,
    silent: impl Iterator<Item = &'i Item<'a>>,
    items: &[Item<'_>],
) -> NewImport {
    let changed = |item: &&Item<'_>| matches!(item.outcome, Outcome::Created | Outcome::Updated);
    let skipped_orders = silent.filter(changed).filter_map(|item| item.id).collect();
    let unchanged_orders =
        items.iter().filter(|item| item.outcome == Outcome::Unchanged).filter_map(|item| item.id).collect();
    let Tally { created, updated, unchanged, failed, warned: _ } = Tally::of(items);
    let count = |count| i32::try_from(count).unwrap_or(i32::MAX);
    let skip_triggers = !announce;
    NewImport {
        created_at,
        token_id,
        skip_triggers,
        created: count(created),
        updated: count(updated),
        unchanged: count(unchanged),
        failed: count(failed),
        skipped_orders,
        unchanged_orders,
    }
}

impl Records {
    /// Keeps the records of an import that is over, unless its transaction wrote them.
    pub(super) fn keep(&self, request: &Import<'_, '_>, report: &Report<'_>) {
        let Report { silent, items, .. } = report;
        if !request.head.dry_run && !skips(silent, items) {
            self.add(all(request, silent, items).into_iter().map(|record| (request.account_id, record)));
        }
    }

    fn add(&self, records: impl Iterator<Item = (i64, NewImport)>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = MAX_WAITING.saturating_sub(waiting.len());
        waiting.extend(records.take(free));
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The database failed; what was not written waits on.
    pub async fn write(&self, pool: &PgPool) -> store::Result<()> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Ok(());
        }
        let mut accounts: BTreeMap<i64, Vec<NewImport>> = BTreeMap::new();
        for (account_id, record) in waiting {
            accounts.entry(account_id).or_default().push(record);
        }
        let written = write_all(pool, &mut accounts).await;
        let left =
            |(account_id, records): (i64, Vec<NewImport>)| records.into_iter().map(move |record| (account_id, record));
        self.add(accounts.into_iter().flat_map(left));
        written
    }
}

/// Writes the records of accounts; leaves those that were not written.
async fn write_all(pool: &PgPool, accounts: &mut BTreeMap<i64, Vec<NewImport>>) -> store::Result<()> {
    let mut conn = store::connect::acquire(pool).await?;
    while let Some(records) = accounts.first_entry() {
        store::imports::write(&mut conn, *records.key(), records.get()).await?;
        records.remove();
    }
    Ok(())
}

/// Writes, for ever, the records of imports.
pub async fn keep_writing(records: &Records, pool: &PgPool) {
    loop {
        tokio::time::sleep(WRITE_INTERVAL).await;
        if let Err(error) = records.write(pool).await {
            tracing::warn!(%error, "the records of some imports wait to be written");
        }
    }
}
