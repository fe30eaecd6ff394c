//! `orders/import`: from the request to the reply.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;

use super::call::{self, Reads, Understood};
use super::log::{Counts, Line};
use super::reply::{Answering, Reply};
use super::{App, in_place};
use crate::auth::Role;
use crate::domain::batch::Head;
use crate::domain::orders::Origin;
use crate::domain::rejection::Rejection;
use crate::error::{Code, Error};
use crate::import::orders::{Import, Posted};
use crate::import::report::{Item, Outcome, Report, Tally};
use crate::wire::answer::{Object, Value};
use crate::wire::format::Format;
use crate::wire::known;
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
        Ok(understood) => run(&app, &line, understood, format).await,
        Err(error) => Reply::from(error).respond(&app, &line, format),
    }
}

/// Decodes, imports and replies.
async fn run(app: &App, line: &Arc<Line>, mut understood: Understood<'_>, format: Format) -> Response {
    let head = match schema::head(&understood.document, &app.settings.limits) {
        Ok(head) => head,
        Err(rejection) => {
            let error = understood.refuse(app, line, Code::BadRequest, &rejection).await;
            return Reply::from(error).respond(app, line, format);
        }
    };
    let start = Instant::now();
    let report = match import_orders(app, line, &mut understood, &head).await {
        Ok(report) => report,
        Err(error) => return Reply::from(error).respond(app, line, format),
    };
    let counts = Counts { dry_run: head.dry_run, ..counts(&report) };
    if counts.created + counts.updated > 0 && !head.skip_triggers && !head.dry_run {
        app.events_written().notify_one();
    }
    line.note(|facts| {
        facts.phases.decode += report.spent.decode;
        facts.phases.plan = report.spent.plan;
        facts.phases.database = start.elapsed().saturating_sub(report.spent.busy);
        facts.counts = Some(counts);
    });
    reply(app, line, &report, &understood, head.detail.then_some(&known::ORDER), format)
}

/// Answers with one item for each order, product or SKU; with more in each if its `schema` is given, by which it is known what
/// was ignored.
pub(super) fn reply(
    app: &App,
    line: &Line,
    report: &Report<'_>,
    understood: &Understood<'_>,
    schema: Option<&known::Schema>,
    format: Format,
) -> Response {
    let render = Instant::now();
    let Understood { document, secret, .. } = understood;
    line.note(|facts| facts.first_failure = failures(report).next().map(|rejection| rejection.text(secret)));
    let sent = schema::orders(document).unwrap_or_default();
    let ignored = |schema: &known::Schema, index: usize| {
        known::ignored(document.format, schema, &sent[index], &app.settings.limits, secret)
    };
    let item = |index| {
        let ignored = schema.map(|schema| ignored(schema, index));
        answer_item(index, &report.items[index], ignored, secret)
    };
    let fields = vec![("result", Value::List(report.items.len(), &item))];
    let reply = match failures(report).next().filter(|_| report.stopped_by.is_some()) {
        Some(rejection) => Reply::refused(Code::BadRequest, rejection.text(secret), fields),
        None => Reply::done(fields),
    };
    // What was ignored is found in the texts, which are read again.
    let bytes = schema.map_or(0, |_| sent.iter().map(|item| item.text.len()).sum());
    let response = in_place(bytes, || reply.respond(app, line, format));
    line.note(|facts| facts.phases.render = render.elapsed());
    response
}

/// Imports the orders; the caller is looked up again for as long as tokens of the account change.
async fn import_orders<'a>(
    app: &App,
    line: &Arc<Line>,
    understood: &mut Understood<'a>,
    head: &Head,
) -> Result<Report<'a>, Error> {
    loop {
        if head.is_plain() && matches!(schema::orders(&understood.document), Ok([_])) {
            understood.rest();
        }
        let document = &understood.document;
        let orders = match schema::orders(document) {
            Ok(orders) => orders,
            Err(rejection) => return Err(understood.refuse(app, line, Code::BadRequest, &rejection).await),
        };
        let request = Import {
            account_id: understood.caller.account_id,
            origin: Origin { token_id: understood.caller.token_id, request_id: line.request_id() },
            tokens_version: understood.caller.tokens_version,
            head,
            orders,
            posted: Posted::Together {
                decode: match document.format {
                    Format::Json => schema::json_order,
                    Format::Xml => schema::xml_order,
                },
                announce: !head.skip_triggers,
            },
            now: app.clock.now(),
            secret: &understood.secret,
        };
        if let Some(report) = crate::import::orders::import(&app.imports, &request).await? {
            return Ok(report);
        }
        understood.look_up_again(app, line).await?;
    }
}

/// Why orders failed, in their order.
fn failures<'r>(report: &'r Report<'_>) -> impl Iterator<Item = &'r Rejection> {
    report.items.iter().filter_map(|item| match &item.outcome {
        Outcome::Failed(rejection) => Some(&**rejection),
        _ => None,
    })
}

pub(super) fn counts(report: &Report<'_>) -> Counts {
    let Tally { created, updated, unchanged, failed, warned } = Tally::of(&report.items);
    let orders = Some(report.items.len());
    let retries = report.retries;
    Counts { orders, items: None, created, updated, unchanged, failed, warned, retries, dry_run: false }
}

/// What a warning says.
pub(super) fn warning_text(warning: &Rejection, secret: &str) -> String {
    format!("{}; it is left out", warning.text(secret))
}

/// The item of an order (contract, section 3).
fn answer_item<'r>(index: usize, item: &'r Item<'_>, ignored: Option<Vec<String>>, secret: &str) -> Object<'r> {
    let rejection = match &item.outcome {
        Outcome::Created | Outcome::Updated | Outcome::Unchanged => None,
        Outcome::Failed(rejection) => Some(rejection.as_ref().clone()),
        Outcome::Aborted(first) => Some(Rejection::stopped(*first)),
    };
    let number = rejection.as_ref().map_or(0, Rejection::number);
    let mut fields: Object<'r> = Vec::with_capacity(if ignored.is_some() { 10 } else { 3 });
    fields.push(("error", Value::Int(number.into())));
    if let Some(rejection) = &rejection {
        fields.push(("error_text", Value::Text(rejection.text(secret).into())));
    }
    fields.push(("external_id", Value::Text(item.external_id.as_ref().into())));
    let Some(ignored) = ignored else { return fields };
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
    if let (Some(warning), None) = (&item.warning, &rejection) {
        fields.push(("warnings", Value::Texts(vec![warning_text(warning, secret).into()])));
    }
    if !ignored.is_empty() {
        fields.push(("ignored", Value::Texts(ignored.into_iter().map(Into::into).collect())));
    }
    fields
}
