//! `orders/preorder` and `orders/preorder_commit`: one order, checked and priced; and stored by the second.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, post};

use super::App;
use super::call::{self, Reads};
use super::log::Line;
use super::orders::counts;
use super::reply::{Answering, Reply};
use crate::auth::Role;
use crate::domain::batch::{Head, Sent};
use crate::domain::rejection::Rejection;
use crate::error::{Code, Error};
use crate::import::orders::{Import, Posted};
use crate::import::report::Outcome;
use crate::wire::answer::{Object, Value};
use crate::wire::format::Format;
use crate::wire::preorder as schema;

/// The route of a call; `commits`, if it stores the order.
pub(super) fn route(commits: bool) -> MethodRouter<App> {
    post(async move |State(app): State<App>, Extension(line): Extension<Arc<Line>>, request: Request| -> Response {
        let answering = Answering::of(request.uri(), request.headers());
        let mut format = answering.format(None, None);
        let done = Box::pin(run(&app, &line, commits, request, &answering, &mut format)).await;
        done.map_or_else(Reply::from, Reply::done).respond(&app, &line, format)
    })
}

/// From the request to the fields of the answer; `format` becomes what the body asks for.
async fn run(
    app: &App,
    line: &Arc<Line>,
    commits: bool,
    request: Request,
    answering: &Answering,
    format: &mut Format,
) -> Result<Object<'static>, Error> {
    let role = if commits { Role::OrdersWrite } else { Role::OrdersRead };
    let received = call::receive(app, request, role, line).await?;
    *format = answering.format(None, Some(received.format));
    let wanted = schema::wanted();
    let reads = Reads { role, wanted: &wanted, too_many: schema::too_many };
    let mut understood = call::understand(app, &received, &reads, answering, format, line).await?;
    if understood.caller.remembered {
        understood.look_up_again(app, line).await?;
    }
    let refuse = |rejection: &Rejection, secret: &str| {
        let code = if rejection.number() == 409 { Code::Conflict } else { Code::BadRequest };
        Error::new(code, rejection.text(secret))
    };
    let decoded = schema::order(&understood.document, &app.settings.limits);
    let (decoded, skip_triggers) = decoded.map_err(|rejection| refuse(&rejection, &understood.secret))?;
    let order = decoded.order.as_ref().map_err(|rejection| refuse(rejection, &understood.secret))?;
    let head = Head { dry_run: !commits, skip_triggers, ..Head::default() };
    // The whole body is the order's text: by it a commit that is sent again is known.
    let text = String::from_utf8_lossy(&received.bytes);
    let sent = [Sent { text: &text, external_id: None }];
    let start = Instant::now();
    let report = loop {
        let request = Import {
            account_id: understood.caller.account_id,
            token_id: understood.caller.token_id,
            tokens_version: understood.caller.tokens_version,
            head: &head,
            orders: &sent,
            posted: Posted::Decoded { order: &decoded, announce: !skip_triggers },
            now: app.clock.now(),
            secret: &understood.secret,
        };
        match crate::import::orders::import(&app.imports, &request).await? {
            Some(report) => break report,
            None => understood.look_up_again(app, line).await?,
        }
    };
    let counts = super::log::Counts { dry_run: !commits, ..counts(&report) };
    line.note(|facts| {
        facts.counts = Some(counts);
        facts.phases.plan = report.spent.plan;
        facts.phases.database = start.elapsed().saturating_sub(report.spent.busy);
    });
    let item = report.items.first().ok_or_else(|| Error::internal(std::io::Error::other("no item was answered")))?;
    if let Outcome::Failed(rejection) = &item.outcome {
        return Err(refuse(&schema::at_its_place(rejection.as_ref().clone()), &understood.secret));
    }
    if commits && counts.created + counts.updated > 0 && !skip_triggers {
        app.events_written().notify_one();
    }
    let mut result = schema::prices(order);
    if let (true, Some(id)) = (commits, item.id) {
        result.insert(0, ("id", Value::Int(id)));
    }
    Ok(vec![("result", Value::Object(result))])
}
