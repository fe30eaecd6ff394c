//! Changes of one order beside imports: a line's status, a deletion. They tell their events as an import does.

use time::OffsetDateTime;

use super::changes::{self, Event, Pack};
use super::orders::Imports;
use super::setup::named;
use crate::domain::line_statuses::BUILT_IN_LINE_STATUSES;
use crate::domain::orders::{Origin, StoredOrder};
use crate::domain::place::Place;
use crate::domain::rejection::{Problem, Rejection};
use crate::error::{Code, Error};
use crate::store;
use crate::store::imports::NewImport;
use crate::store::order_lines::PlacedLine;

/// Who changes an order, and how.
#[derive(Debug, Clone, Copy)]
pub struct Edit<'e> {
    /// Whose order.
    pub account_id: i64,
    /// The request itself.
    pub origin: Origin<'e>,
    /// Its events are written.
    pub announce: bool,
    /// The one 'now' of the request.
    pub now: OffsetDateTime,
    /// The request's token, which no text repeats.
    pub secret: &'e str,
}

impl Edit<'_> {
    /// The refusal of a field of the request.
    #[must_use]
    pub fn refuse(&self, code: Code, field: &str, problem: Problem) -> Error {
        Error::new(code, Rejection::new(Place::default().field(field), problem).text(self.secret))
    }

    /// Writes events of an order; or, if none are asked for, that they were skipped.
    async fn tell(
        &self,
        conn: &mut sqlx::PgConnection,
        external_id: &str,
        order: &StoredOrder<'_>,
        events: &[Event],
    ) -> store::Result<()> {
        if !self.announce {
            let record = NewImport {
                created_at: self.now,
                token_id: self.origin.token_id,
                skip_triggers: true,
                created: 0,
                updated: 1,
                unchanged: 0,
                failed: 0,
                skipped_orders: vec![order.id],
                unchanged_orders: Vec::new(),
            };
            return store::imports::write(conn, self.account_id, &[record]).await;
        }
        let mut pack = Pack::default();
        for event in events {
            pack.push(order.id, external_id, &order.state.endpoint, event);
        }
        store::outbox::write(conn, self.account_id, &[pack.text()], self.now).await
    }
}

/// Gives a line another status; true if it had another one before.
///
/// # Errors
/// The order or the line is not there (404), the status is unknown (400); the database failed.
pub async fn update_line_status(
    imports: &Imports,
    edit: &Edit<'_>,
    external_id: &str,
    line: &str,
    status: &str,
) -> Result<bool, Error> {
    let mut transaction = store::connect::begin(&imports.pool).await?;
    let conn = &mut *transaction;
    if !BUILT_IN_LINE_STATUSES.contains(&status) {
        let own = store::definitions::read_line_statuses(conn, edit.account_id).await?;
        if own.iter().all(|own| own.external_id != status) {
            let own = own.iter().map(|own| &own.external_id);
            let problem = Problem::unknown_of("line status", status, &named(&BUILT_IN_LINE_STATUSES, own));
            return Err(edit.refuse(Code::BadRequest, "status_external_id", problem));
        }
    }
    let mut orders = store::orders::lock_and_read(conn, edit.account_id, &[external_id]).await?;
    let unknown = |field, thing, id| edit.refuse(Code::NotFound, field, Problem::unknown(thing, id));
    let before = orders.remove(external_id).ok_or_else(|| unknown("order_external_id", "order", external_id))?;
    let mut after = before.clone();
    let place = after.state.lines.iter().position(|found| found.external_id == line);
    let place = place.ok_or_else(|| unknown("order_line_external_id", "line", line))?;
    if after.state.lines[place].status == status {
        return Ok(false);
    }
    after.state.lines[place].status = status.to_owned().into();
    after.revision += 1;
    let line: Vec<_> = PlacedLine::all(&after).skip(place).take(1).collect();
    store::order_lines::write(conn, edit.account_id, &line, 1).await?;
    store::order_edits::touch(conn, edit.account_id, &after, edit.now, edit.origin).await?;
    let events = changes::events(Some(&before.state), &after.state, after.revision);
    edit.tell(conn, external_id, &after, &events).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(true)
}

/// Deletes the order of an internal and an external id; false if it is not there.
///
/// # Errors
/// The database failed.
pub async fn delete(imports: &Imports, edit: &Edit<'_>, id: i64, external_id: &str) -> Result<bool, Error> {
    let mut transaction = store::connect::begin(&imports.pool).await?;
    let conn = &mut *transaction;
    // Before the order's row: imports that bring definitions take both in this order.
    store::accounts::lock_definitions(conn, edit.account_id).await?;
    let mut orders = store::orders::lock_and_read(conn, edit.account_id, &[external_id]).await?;
    // Another one may be there under the same external id by now.
    let Some(order) = orders.remove(external_id).filter(|order| order.id == id) else { return Ok(false) };
    let event = changes::deleted(&order.state, order.revision + 1);
    store::order_edits::delete(conn, edit.account_id, order.id, order.revision + 2).await?;
    edit.tell(conn, external_id, &order, &[event]).await?;
    transaction.commit().await.map_err(store::Error::from)?;
    Ok(true)
}
