//! What every import leaves of itself: in its own transaction if that changes orders; what changed nothing writes
//! nothing while somebody waits, so that its record is written a little later.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;

use super::orders::{Import, Posted};
use super::report::{Item, Outcome};
use crate::store;
use crate::store::imports::NewImport;

/// How often the records of imports that changed nothing are written.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Records that wait; more are lost, which a database that is away for long makes possible.
const MAX_WAITING: usize = 100_000;

/// The records of imports that changed nothing, with their accounts, until they are written.
#[derive(Debug, Default)]
pub struct Records(Mutex<Vec<(i64, NewImport)>>);

/// The records that go with the transaction of an import: one, or one for each that was joined.
pub(super) fn in_transaction(request: &Import<'_, '_>, items: &[Item<'_>]) -> Vec<NewImport> {
    if changes(request, items) { all(request, items) } else { Vec::new() }
}

fn changes(request: &Import<'_, '_>, items: &[Item<'_>]) -> bool {
    !request.head.dry_run && items.iter().any(|item| matches!(item.outcome, Outcome::Created | Outcome::Updated))
}

fn all(request: &Import<'_, '_>, items: &[Item<'_>]) -> Vec<NewImport> {
    let now = request.now;
    match request.posted {
        Posted::Together { announce, .. } => vec![record(now, request.token_id, announce, items)],
        Posted::Singly(each) => {
            let alone = items.iter().map(std::slice::from_ref);
            each.iter().zip(alone).map(|(one, item)| record(now, one.token_id, one.announce, item)).collect()
        }
    }
}

/// The record of an import of those outcomes.
fn record(created_at: OffsetDateTime, token_id: i64, announce: bool, items: &[Item<'_>]) -> NewImport {
    let (created, updated, unchanged, failed) = Default::default();
    let (skipped_orders, unchanged_orders) = Default::default();
    let skip_triggers = !announce;
    let mut record = NewImport {
        created_at,
        token_id,
        skip_triggers,
        created,
        updated,
        unchanged,
        failed,
        skipped_orders,
        unchanged_orders,
    };
    for item in items {
        let (count, orders) = match item.outcome {
            Outcome::Created => (&mut record.created, item.silent.then_some(&mut record.skipped_orders)),
            Outcome::Updated => (&mut record.updated, item.silent.then_some(&mut record.skipped_orders)),
            Outcome::Unchanged => (&mut record.unchanged, Some(&mut record.unchanged_orders)),
            Outcome::Failed(_) | Outcome::Aborted(_) => (&mut record.failed, None),
        };
        *count += 1;
        if let (Some(orders), Some(id)) = (orders, item.id) {
            orders.insert(id.unsigned_abs());
        }
    }
    record
}

impl Records {
    /// Keeps the records of an import that is over, unless its transaction wrote them.
    pub(super) fn keep(&self, request: &Import<'_, '_>, items: &[Item<'_>]) {
        if !request.head.dry_run && !changes(request, items) {
            self.add(all(request, items).into_iter().map(|record| (request.account_id, record)));
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

/// Writes, for ever, the records of imports that changed nothing.
pub async fn keep_writing(records: &Records, pool: &PgPool) {
    loop {
        tokio::time::sleep(WRITE_INTERVAL).await;
        if let Err(error) = records.write(pool).await {
            tracing::warn!(%error, "the records of some imports wait to be written");
        }
    }
}
