//! `orders/import`: from the request to the reply.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::task::block_in_place;

use super::App;
use super::call::{self, Reads, Understood};
use super::log::{Counts, Line};
use super::reply::{Answering, Reply};
use crate::auth::Role;
use crate::domain::batch::{Decoded, Head};
use crate::domain::rejection::Rejection;
use crate::error::Code;
use crate::import::orders::Import;
use crate::import::report::{Item, Outcome, Report};
use crate::wire::answer::{Object, Value};
use crate::wire::format::Format;
use crate::wire::orders_import as schema;

/// `POST /api/v1.1/market/orders/import`
pub(super) async fn import(
    State(app): State<App>,
    Extension(line): Extension<Arc<Line>>,
    request: Request,
) -> Response {
    let answering = Answering::of(request.uri(), request.headers());
    let received = match call::receive(&app, request, Role::OrdersWrite, &line).await {
        Ok(received) => received,
        Err(error) => return Reply::from(error).respond(&app, &line, answering.format(None, None)),
    };
    let mut format = answering.format(None, Some(received.format));
    let wanted = schema::wanted(&app.settings.limits);
    let reads = Reads { role: Role::OrdersWrite, wanted: &wanted, too_many: schema::too_many };
    match call::understand(&app, &received, &reads, &answering, &mut format, &line).await {
        Ok(understood) => run(&app, &line, &understood, format).await,
        Err(error) => Reply::from(error).respond(&app, &line, format),
    }
}

/// Decodes, imports and replies.
async fn run(app: &App, line: &Arc<Line>, understood: &Understood<'_>, format: Format) -> Response {
    let secret = &understood.secret;
    let decoded = decode(app, line, understood);
    let (head, orders) = match &decoded {
        Ok((head, orders)) => (head, orders),
        Err(rejection) => return Reply::from(understood.refuse(rejection)).respond(app, line, format),
    };
    let now = app.clock.now();
    let start = Instant::now();
    let account_id = understood.caller.account_id;
    let request = Import { account_id, head, orders, now, limits: &app.settings.limits, secret };
    let report = match crate::import::orders::import(&app.pool, &request).await {
        Ok(report) => report,
        Err(error) => return Reply::from(error).respond(app, line, format),
    };
    line.note(|facts| {
        facts.phases.plan = report.plan_time;
        facts.phases.database = start.elapsed().saturating_sub(report.plan_time);
        facts.counts = Some(Counts { dry_run: head.dry_run, ..counts(&report) });
        facts.first_failure = failures(&report).next().map(|rejection| rejection.text(secret));
    });
    let render = Instant::now();
    let fields = block_in_place(|| vec![("result", Value::List(items(&report, head.detail, secret)))]);
    let reply = match failures(&report).next().filter(|_| report.stopped_by.is_some()) {
        Some(rejection) => Reply::refused(Code::BadRequest, rejection.text(secret), fields),
        None => Reply::done(fields),
    };
    let response = reply.respond(app, line, format);
    line.note(|facts| facts.phases.render = render.elapsed());
    response
}

/// The typed call: everything at the root, and each order by itself.
fn decode<'a>(app: &App, line: &Line, understood: &Understood<'a>) -> Result<(Head, Vec<Decoded<'a>>), Rejection> {
    let (document, limits) = (&understood.document, &app.settings.limits);
    let start = Instant::now();
    let decoded = block_in_place(|| {
        let head = schema::head(document, limits)?;
        let slices = schema::orders(document)?.iter().enumerate();
        Ok((head, slices.map(|(index, slice)| schema::order(document, index, slice, limits)).collect()))
    });
    line.note(|facts| facts.phases.decode += start.elapsed());
    decoded
}

/// Why orders failed, in their order.
fn failures<'r>(report: &'r Report<'_>) -> impl Iterator<Item = &'r Rejection> {
    report.items.iter().filter_map(|item| match &item.outcome {
        Outcome::Failed(rejection) => Some(rejection),
        _ => None,
    })
}

fn counts(report: &Report<'_>) -> Counts {
    let mut counts = Counts { orders: report.items.len(), retries: report.retries, ..Counts::default() };
    for item in &report.items {
        match item.outcome {
            Outcome::Created => counts.created += 1,
            Outcome::Updated => counts.updated += 1,
            Outcome::Unchanged => counts.unchanged += 1,
            Outcome::Failed(_) | Outcome::Aborted(_) => counts.failed += 1,
        }
    }
    counts
}

/// One item for each order (contract, section 3).
fn items<'r>(report: &'r Report<'_>, detail: bool, secret: &str) -> Vec<Object<'r>> {
    report.items.iter().enumerate().map(|(index, item)| answer_item(index, item, detail, secret)).collect()
}

fn answer_item<'r>(index: usize, item: &'r Item<'_>, detail: bool, secret: &str) -> Object<'r> {
    let rejection = match &item.outcome {
        Outcome::Created | Outcome::Updated | Outcome::Unchanged => None,
        Outcome::Failed(rejection) => Some(rejection.clone()),
        Outcome::Aborted(first) => Some(Rejection::stopped(*first)),
    };
    let number = rejection.as_ref().map_or(0, Rejection::number);
    let mut fields: Object<'r> = Vec::with_capacity(if detail { 9 } else { 3 });
    fields.push(("error", Value::Int(number.into())));
    if let Some(rejection) = &rejection {
        fields.push(("error_text", Value::Text(rejection.text(secret).into())));
    }
    fields.push(("external_id", Value::Text(item.external_id.as_ref().into())));
    if !detail {
        return fields;
    }
    let outcome = match item.outcome {
        Outcome::Created => "created",
        Outcome::Updated => "updated",
        Outcome::Unchanged => "unchanged",
        Outcome::Failed(_) => "failed",
        Outcome::Aborted(_) => "aborted",
    };
    fields.push(("index", Value::Int(i64::try_from(index).unwrap_or(i64::MAX))));
    fields.push(("outcome", Value::Text(outcome.into())));
    if let Some(id) = item.id {
        fields.push(("id", Value::Int(id)));
    }
    if let Some(rejection) = &rejection {
        fields.push(("code", Value::Text(rejection.problem.code().into())));
        fields.push(("pointer", Value::Text(rejection.pointer(secret).into())));
        fields.push(("retryable", Value::Bool(false)));
    }
    fields
}
