//! What every import leaves of itself: in its own transaction if it skips events, since nothing else tells of it; else a
//! little later, while nobody waits for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use super::orders::{Import, Posted};
use super::report::{Answers, Item, Outcome, Report};
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
        Posted::Together { announce, .. } => vec![record(request.token_id, announce, 0..items.len())],
        Posted::Singly(each) => {
            (0..).zip(each).map(|(slot, one)| record(one.token_id, one.announce, slot..slot + 1)).collect()
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
    let (mut created, mut updated, mut unchanged, mut failed) = (0, 0, 0, 0);
    let mut unchanged_orders = Vec::new();
    for item in items {
        match item.outcome {
            Outcome::Created => created += 1,
            Outcome::Updated => updated += 1,
            Outcome::Unchanged => {
                unchanged += 1;
                unchanged_orders.extend(item.id);
            }
            Outcome::Failed(_) | Outcome::Aborted(_) => failed += 1,
        }
    }
    let skip_triggers = !announce;
    NewImport {
        created_at,
        token_id,
        skip_triggers,
        created,
        updated,
        unchanged,
        failed,
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
        let mut conn = match store::connect::acquire(pool).await {
            Ok(conn) => conn,
            Err(error) => {
                self.add_back(accounts);
                return Err(error);
            }
        };
        while let Some((account_id, records)) = accounts.pop_first() {
            if let Err(error) = store::imports::write(&mut conn, account_id, &records).await {
                accounts.insert(account_id, records);
                self.add_back(accounts);
                return Err(error);
            }
        }
        Ok(())
    }

    fn add_back(&self, accounts: BTreeMap<i64, Vec<NewImport>>) {
        self.add(
            accounts
                .into_iter()
                .flat_map(|(account_id, records)| records.into_iter().map(move |record| (account_id, record))),
        );
    }
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
