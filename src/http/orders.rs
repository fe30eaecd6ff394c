//! `orders/import`: from the request to the reply.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

use super::App;
use super::call::{self, Received};
use super::log::{Counts, Line};
use super::reply::{Answering, Reply};
use crate::auth::{Caller, Role};
use crate::domain::batch::{Decoded, Head};
use crate::domain::rejection::Rejection;
use crate::error::{Code, Error};
use crate::import::orders::Import;
use crate::import::report::{Item, Outcome, Report};
use crate::wire::answer::{Object, Value};
use crate::wire::document::Document;
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
    let Received { bytes, hold, format: request_format, presented, caller } = received;
    let known = Known { presented, caller };
    let response = match Decoding::of(&app, &answering, &bytes, request_format, known, &mut format, &line).await {
        Ok(decoding) => run(&app, &line, &decoding, format).await,
        Err(error) => Reply::from(error).respond(&app, &line, format),
    };
    drop(hold);
    response
}

/// What header and query said of the caller.
struct Known {
    presented: crate::auth::Presented,
    caller: Option<Caller>,
}

/// A request that was understood.
struct Decoding<'a> {
    caller: Caller,
    secret: String,
    head: Head,
    orders: Vec<Decoded<'a>>,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl<'a> Decoding<'a> {
    /// Splits, authorizes and decodes a body; `format` becomes what the body asks for.
    async fn of(
        app: &'a App,
        answering: &Answering,
        bytes: &'a [u8],
        request_format: Format,
        known: Known,
        format: &mut Format,
        line: &Arc<Line>,
    ) -> Result<Self, Error> {
        let permit = tokio::time::timeout(app.settings.acquire_timeout, app.work.acquire()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(Error::unavailable("too many requests at once; send the same again"));
        };
        let limits = &app.settings.limits;
        let start = Instant::now();
        let text = call::text(bytes)?;
        let split = || Document::split(request_format, text, &schema::wanted(limits), limits.max_depth);
        let document = tokio::task::block_in_place(split).map_err(|fault| call::malformed(&fault, text))?;
        let body_format = call::body_format(answering, &document);
        if let Ok(body_format) = &body_format {
            *format = answering.format(*body_format, Some(request_format));
        }
        let in_body = document.early_text("token").map_err(|rejection| bad_request(&rejection, ""))?;
        let split_time = start.elapsed();
        let Known { mut presented, caller } = known;
        let caller = call::caller(app, &mut presented, caller, in_body, Role::OrdersWrite, line).await?;
        let secret = presented.token().unwrap_or_default().to_owned();
        if let Some(rejection) = schema::too_many(&document, limits) {
            return Err(Error::new(Code::TooLarge, rejection.text(&secret)));
        }
        let refuse = |rejection: Rejection| bad_request(&rejection, &secret);
        call::check_query_format(answering).map_err(refuse)?;
        body_format.map_err(refuse)?;
        let start = Instant::now();
        let head = schema::head(&document, limits).map_err(refuse)?;
        let slices = schema::orders(&document).map_err(refuse)?;
        let decode = |(index, slice): (usize, &&'a str)| schema::order(&document, index, slice, limits);
        let orders = tokio::task::block_in_place(|| slices.iter().enumerate().map(decode).collect());
        line.note(|facts| facts.phases.decode = split_time + start.elapsed());
        Ok(Decoding { caller, secret, head, orders, _permit: permit })
    }
}

fn bad_request(rejection: &Rejection, secret: &str) -> Error {
    Error::new(Code::BadRequest, rejection.text(secret))
}

/// Imports and replies.
async fn run(app: &App, line: &Arc<Line>, decoding: &Decoding<'_>, format: Format) -> Response {
    let Decoding { caller, secret, head, orders, .. } = decoding;
    let now = app.clock.now();
    let start = Instant::now();
    let request = Import { account_id: caller.account_id, head, orders, now, limits: &app.settings.limits, secret };
    let report = match crate::import::orders::import(&app.pool, &request).await {
        Ok(report) => report,
        Err(error) => return Reply::from(error).respond(app, line, format),
    };
    line.note(|facts| {
        facts.phases.plan = report.plan_time;
        facts.phases.database = start.elapsed().saturating_sub(report.plan_time);
        facts.counts = Some(counts(&report));
    });
    let render = Instant::now();
    let fields = tokio::task::block_in_place(|| vec![("result", Value::List(items(&report, head.detail, secret)))]);
    let reply = match first_failure(&report) {
        Some(rejection) => Reply::refused(Code::BadRequest, rejection.text(secret), fields),
        None => Reply::done(fields),
    };
    let response = reply.respond(app, line, format);
    line.note(|facts| facts.phases.render = render.elapsed());
    response
}

/// Why the request was stopped, if it was.
fn first_failure<'r>(report: &'r Report<'_>) -> Option<&'r Rejection> {
    match &report.items[report.stopped_by?].outcome {
        Outcome::Failed(rejection) => Some(rejection),
        _ => None,
    }
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
