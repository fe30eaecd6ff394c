//! The market's small calls: lists, look-ups, changes of one thing, deletions, preorders (contract, section 6).

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, post};

use super::App;
use super::call::{self, Reads, Understood};
use super::log::Line;
use super::preorder::{self, Pricing};
use super::reply::{Answering, Reply};
use crate::auth::Role;
use crate::config::Limits;
use crate::domain::catalogue::ItemType;
use crate::domain::rejection::{Problem, Rejection, known};
use crate::error::{Code, Error};
use crate::import::catalogue;
use crate::import::edits::{self, Edit};
use crate::store;
use crate::store::lists::Found;
use crate::wire::answer::{Object, Value};
use crate::wire::document::Document;
use crate::wire::market::{self as schema, NamedOrder};
use crate::wire::preorder as schema_of_preorder;
use crate::wire::{format::Format, listed};

/// About how many bytes a page has at most, unless one item alone has more.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// A call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    ListOrders,
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
            Call::ListOrders | Call::GetStatus | Call::Preorder(Pricing::Check) => Role::OrdersRead,
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
    let wanted = if matches!(call, Call::Preorder(_)) { schema_of_preorder::wanted() } else { schema::wanted(limits) };
    let reads = Reads { role: call.role(), wanted: &wanted, too_many: schema::too_many };
    let mut understood = call::understand_now(app, &received, &reads, answering, format, line).await?;
    let start = Instant::now();
    let asked = Asked { app, understood: &understood };
    let done = match call {
        Call::Preorder(pricing) => {
            return preorder::carry_out(app, line, &mut understood, pricing).await;
        }
        Call::ListOrders => asked.list_orders().await,
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
            token_id: caller.token_id,
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
        const KIND: char = 'o';
        let page = self.said(|document, limits| schema::page(document, limits, KIND))?;
        let account_id = self.understood.caller.account_id;
        let mut conn = store::connect::acquire(&self.app.imports.pool).await?;
        if let Some(endpoint) = &page.endpoint {
            let touchpoints = store::accounts::list_touchpoints(&mut conn, account_id).await?;
            if touchpoints.iter().all(|(id, _)| id != endpoint) {
                let known = known(touchpoints.iter().map(|(id, _)| id.as_str()));
                let problem = Problem::unknown_of("touchpoint", endpoint, &known);
                return Err(self.refuse(Code::BadRequest, "endpoint", problem));
            }
        }
        let bounds = (page.limit, MAX_PAGE_BYTES);
        let found = store::lists::orders(&mut conn, account_id, page.after, bounds, page.endpoint.as_deref()).await?;
        drop(conn);
        let style = self.app.settings.list_money;
        let orders = found.items.into_iter().map(|order| listed::order(order, style)).collect();
        Ok(list(KIND, found.last, orders))
    }

    async fn list_items(&self, kind: ItemType) -> Result<Object<'static>, Error> {
        let letter = if kind == ItemType::Product { 'p' } else { 's' };
        let page = self.said(|document, limits| schema::page(document, limits, letter))?;
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
    async fn order(&self, named: &NamedOrder) -> Result<Found, Error> {
        let mut conn = store::connect::acquire(&self.app.imports.pool).await?;
        let account_id = self.understood.caller.account_id;
        let found = store::lists::find(&mut conn, account_id, named.id, named.external_id.as_deref()).await?;
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
        let order = self.order(&named).await?;
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
        let order = self.order(&named).await?;
        let edit = self.edit(named.skip_triggers);
        if !edits::delete(&self.app.imports, &edit, order.id, &order.external_id).await? {
            return Err(self.refuse(Code::NotFound, "external_id", Problem::unknown("order", &order.external_id)));
        }
        self.announce(named.skip_triggers);
        Ok(Vec::new())
    }
}

/// A page of a list; whatever stands on it, the next one begins behind it, and one that is empty is the end.
fn list(kind: char, last: Option<i64>, items: Vec<Object<'static>>) -> Object<'static> {
    let next = last.map(|last| schema::from_id(kind, last)).unwrap_or_default();
    vec![("next_from_id", Value::Text(next.into())), ("result", Value::Objects(items))]
}
