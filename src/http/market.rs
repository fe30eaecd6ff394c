//! The market's small calls: lists, look-ups, changes of one thing, deletions, preorders (contract, section 6).

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use sqlx::PgConnection;

use super::App;
use super::call::{self, Reads, Understood};
use super::log::Line;
use super::preorder::{self, Pricing};
use super::reply::{Answering, Reply};
use crate::auth::Role;
use crate::config::Limits;
use crate::domain::catalogue::ItemType;
use crate::domain::line_statuses::BUILT_IN_ORDER_STATUSES;
use crate::domain::orders::{OrderFilter, Origin};
use crate::domain::place::Place;
use crate::domain::rejection::{Problem, Rejection, known};
use crate::domain::scalars::time_text;
use crate::error::{Code, Error};
use crate::import::catalogue;
use crate::import::edits::{self, Edit};
use crate::import::setup::named;
use crate::store;
use crate::store::order_lists::{self, Found, LastWrite};
use crate::wire::answer::{Object, Value};
use crate::wire::catalogue::known_fields;
use crate::wire::document::Document;
use crate::wire::format::Format;
use crate::wire::known;
use crate::wire::listed::{self, customer_object};
use crate::wire::market::{self as schema, NamedOrder, OrderPage};
use crate::wire::preorder as schema_of_preorder;

/// About how many bytes a page has at most, unless one item alone has more.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// A call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    ListOrders,
    GetOrder,
    GetStatus,
    UpdateLineStatus,
    DeleteOrder,
    ListItems(ItemType),
    DeleteItems(ItemType),
    Preorder(Pricing),
}

impl Call {
    fn role(self) -> Role {
        match self {
            Call::ListOrders | Call::GetOrder | Call::GetStatus | Call::Preorder(Pricing::Check) => Role::OrdersRead,
            Call::UpdateLineStatus | Call::DeleteOrder | Call::Preorder(Pricing::Commit) => Role::OrdersWrite,
            Call::ListItems(_) => Role::CatalogRead,
            Call::DeleteItems(_) => Role::CatalogWrite,
        }
    }
}

/// The route of a call.
pub(super) fn route(call: Call) -> MethodRouter<App> {
    post(async move |State(app): State<App>, Extension(line): Extension<Arc<Line>>, request: Request| -> Response {
        let answering = Answering::of(request.uri(), request.headers());
        let mut format = answering.format(None, None);
        let done = Box::pin(run(&app, &line, call, request, &answering, &mut format)).await;
        done.map_or_else(Reply::from, Reply::done).respond(&app, &line, format)
    })
}

/// From the request to the fields of the answer; `format` becomes what the body asks for.
async fn run(
    app: &App,
    line: &Arc<Line>,
    call: Call,
    request: Request,
    answering: &Answering,
    format: &mut Format,
) -> Result<Object<'static>, Error> {
    let received = call::receive(app, request, call.role(), line).await?;
    *format = answering.format(None, Some(received.format));
    let limits = &app.settings.limits;
    let wanted = match call {
        Call::Preorder(_) => schema_of_preorder::wanted(),
        Call::ListOrders => schema::wanted_of_list(limits, &known::ORDER),
        Call::ListItems(kind) => schema::wanted_of_list(limits, known_fields(kind)),
        _ => schema::wanted(limits),
    };
    let reads = Reads { role: call.role(), wanted: &wanted, too_many: schema::too_many };
    let mut understood = call::understand_now(app, &received, &reads, answering, format, line).await?;
    let start = Instant::now();
    let asked = Asked { app, understood: &understood, line };
    let done = match call {
        Call::Preorder(pricing) => {
            return preorder::carry_out(app, line, &mut understood, pricing).await;
        }
        Call::ListOrders => asked.list_orders().await,
        Call::GetOrder => asked.get_order().await,
        Call::GetStatus => asked.status().await,
        Call::UpdateLineStatus => asked.update_line_status().await,
        Call::DeleteOrder => asked.delete_order().await,
        Call::ListItems(kind) => asked.list_items(kind).await,
        Call::DeleteItems(kind) => asked.delete_items(kind).await,
    };
    line.note(|facts| facts.phases.database = start.elapsed());
    done
}

/// A call that is understood.
struct Asked<'c> {
    app: &'c App,
    understood: &'c Understood<'c>,
    line: &'c Line,
}

impl Asked<'_> {
    /// Decodes what the call says.
    fn said<T>(&self, decode: impl FnOnce(&Document<'_>, &Limits) -> Result<T, Rejection>) -> Result<T, Error> {
        decode(&self.understood.document, &self.app.settings.limits)
            .map_err(|rejection| Error::new(Code::BadRequest, rejection.text(&self.understood.secret)))
    }

    fn edit(&self, skip_triggers: bool) -> Edit<'_> {
        let caller = &self.understood.caller;
        Edit {
            account_id: caller.account_id,
            origin: Origin { token_id: caller.token_id, request_id: self.line.request_id() },
            announce: !skip_triggers,
            now: self.app.clock.now(),
            secret: &self.understood.secret,
        }
    }

    fn refuse(&self, code: Code, field: &str, problem: Problem) -> Error {
        self.edit(true).refuse(code, field, problem)
    }

    /// Tells deliveries that there may be events.
    fn announce(&self, skip_triggers: bool) {
        if !skip_triggers {
            self.app.events_written().notify_one();
        }
    }

    async fn list_orders(&self) -> Result<Object<'static>, Error> {
        let OrderPage { page, filter, with_customer } = self.said(schema::order_page)?;
        let account_id = self.understood.caller.account_id;
        let mut conn = store::connect::begin_snapshot(&self.app.imports.pool).await?;
        self.check_words(&mut conn, &filter).await?;
        let bounds = (page.limit, MAX_PAGE_BYTES);
        let found = order_lists::page(&mut conn, account_id, page.after, bounds, &filter, with_customer).await?;
        drop(conn);
        let style = self.app.settings.list_money;
        let orders = found.items.into_iter().map(|order| listed::order(order, style)).collect();
        Ok(list(schema::ORDERS[usize::from(filter.newest_first)], found.last, orders))
    }

    /// Refuses a filter by a word that the account does not have.
    async fn check_words(&self, conn: &mut PgConnection, filter: &OrderFilter) -> Result<(), Error> {
        let account_id = self.understood.caller.account_id;
        if let Some(endpoint) = &filter.endpoint {
            let touchpoints = store::accounts::list_touchpoints(conn, account_id).await?;
            if touchpoints.iter().all(|(id, _)| id != endpoint) {
                let known = known(touchpoints.iter().map(|(id, _)| id.as_str()));
                let problem = Problem::unknown_of("touchpoint", endpoint, &known);
                return Err(self.refuse(Code::BadRequest, "endpoint", problem));
            }
        }
        if let Some(statuses) = &filter.statuses {
            let own = store::accounts::list_order_statuses(conn, account_id).await?;
            let is_known =
                |status: &str| BUILT_IN_ORDER_STATUSES.contains(&status) || own.iter().any(|own| own == status);
            if let Some((index, status)) = statuses.iter().enumerate().find(|(_, status)| !is_known(status)) {
                let problem = Problem::unknown_of("order status", status, &named(&BUILT_IN_ORDER_STATUSES, &own));
                let rejection = Rejection::new(Place::root_item("statuses", index), problem);
                return Err(Error::new(Code::BadRequest, rejection.text(&self.understood.secret)));
            }
        }
        Ok(())
    }

    async fn get_order(&self) -> Result<Object<'static>, Error> {
        let named = self.said(schema::named_order)?;
        let mut conn = store::connect::begin_snapshot(&self.app.imports.pool).await?;
        let Found { id, external_id, .. } = self.order(&mut conn, &named).await?;
        let account_id = self.understood.caller.account_id;
        let filter = OrderFilter { external_ids: Some(vec![external_id]), ..OrderFilter::default() };
        let found = order_lists::page(&mut conn, account_id, 0, (1, MAX_PAGE_BYTES), &filter, named.detail).await?;
        let write = if named.detail { order_lists::last_write(&mut conn, account_id, id).await? } else { None };
        drop(conn);
        let mut listed = found.items.into_iter().next().expect("it was there at the same moment");
        let (customer, revision) = (listed.customer.take(), listed.order.revision);
        let mut result = listed::order(listed, self.app.settings.list_money);
        if named.detail {
            result.push(("revision", Value::Int(revision)));
            result.extend(customer.map(|found| ("customer", Value::Object(customer_object(&found)))));
            result.extend(write.map(|write| ("import", Value::Object(written(write)))));
        }
        Ok(vec![("result", Value::Object(result))])
    }

    async fn list_items(&self, kind: ItemType) -> Result<Object<'static>, Error> {
        let letter = if kind == ItemType::Product { 'p' } else { 's' };
        let page = self.said(|document, limits| schema::page(document, limits, letter, known_fields(kind)))?;
        let mut conn = store::connect::acquire(&self.app.imports.pool).await?;
        let account_id = self.understood.caller.account_id;
        let bounds = (page.limit, MAX_PAGE_BYTES);
        let found = store::lists::items(&mut conn, account_id, kind, page.after, bounds).await?;
        drop(conn);
        let style = self.app.settings.list_money;
        let items = found.items.into_iter().map(|item| listed::item(item, kind, style)).collect();
        Ok(list(letter, found.last, items))
    }

    async fn delete_items(&self, kind: ItemType) -> Result<Object<'static>, Error> {
        let wanted = self.said(schema::deletion)?;
        let account_id = self.understood.caller.account_id;
        let count = catalogue::delete(&self.app.imports, account_id, kind, &wanted.ids, &wanted.external_ids).await?;
        Ok(vec![("deleted_count", Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))])
    }

    /// The order that a call names (contract, section 6).
    async fn order(&self, conn: &mut PgConnection, named: &NamedOrder) -> Result<Found, Error> {
        let account_id = self.understood.caller.account_id;
        let found = order_lists::find(conn, account_id, named.id, named.external_id.as_deref()).await?;
        let fits = |found: &Found| {
            named.id.is_none_or(|id| id == found.id)
                && named.external_id.as_ref().is_none_or(|id| *id == found.external_id)
        };
        let is_named = |external_id: &String| found.iter().any(|found| found.external_id == *external_id);
        let unknown = named.external_id.as_ref().filter(|external_id| !is_named(external_id));
        let is_unknown = named.id.is_some_and(|id| found.iter().all(|found| found.id != id));
        if let Some(found) = found.into_iter().find(fits) {
            return Ok(found);
        }
        let id = named.id.map(|id| id.to_string()).unwrap_or_default();
        Err(match unknown {
            Some(external_id) => self.refuse(Code::NotFound, "external_id", Problem::unknown("order", external_id)),
            None if is_unknown => self.refuse(Code::NotFound, "id", Problem::unknown("order", &id)),
            None => {
                let problem = Problem::expected("the order that external_id names", &id);
                self.refuse(Code::BadRequest, "id", problem)
            }
        })
    }

    async fn status(&self) -> Result<Object<'static>, Error> {
        let named = self.said(schema::named_order)?;
        let mut conn = store::connect::acquire(&self.app.imports.pool).await?;
        let order = self.order(&mut conn, &named).await?;
        let status =
            vec![("endpoint", Value::Text(order.endpoint.into())), ("status", Value::Text(order.status.into()))];
        Ok(vec![("result", Value::Object(status))])
    }

    async fn update_line_status(&self) -> Result<Object<'static>, Error> {
        let update = self.said(schema::line_status_update)?;
        let edit = self.edit(update.skip_triggers);
        edits::update_line_status(&self.app.imports, &edit, &update.order, &update.line, &update.status).await?;
        self.announce(update.skip_triggers);
        Ok(Vec::new())
    }

    async fn delete_order(&self) -> Result<Object<'static>, Error> {
        let named = self.said(schema::named_order)?;
        let mut conn = store::connect::acquire(&self.app.imports.pool).await?;
        let order = self.order(&mut conn, &named).await?;
        drop(conn);
        let edit = self.edit(named.skip_triggers);
        if !edits::delete(&self.app.imports, &edit, order.id, &order.external_id).await? {
            return Err(self.refuse(Code::NotFound, "external_id", Problem::unknown("order", &order.external_id)));
        }
        self.announce(named.skip_triggers);
        Ok(Vec::new())
    }
}

/// Which request wrote an order last.
fn written(LastWrite { written_at, token_id, request_id }: LastWrite) -> Object<'static> {
    let mut import: Object<'static> =
        vec![("time", Value::Text(time_text(written_at).into())), ("request_id", Value::Text(request_id.into()))];
    import.extend((token_id != call::NO_TOKEN).then_some(("token_id", Value::Int(token_id))));
    import
}

/// A page of a list; whatever stands on it, the next one begins behind it, and one that is empty is the end.
fn list(kind: char, last: Option<i64>, items: Vec<Object<'static>>) -> Object<'static> {
    let next = last.map(|last| schema::from_id(kind, last)).unwrap_or_default();
    vec![("next_from_id", Value::Text(next.into())), ("result", Value::Objects(items))]
}
