//! `products/import` and `sku/import`: from the request to the reply.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, post};

use super::App;
use super::call::{self, Reads, Understood};
use super::log::{Counts, Line};
use super::orders::{counts, reply};
use super::reply::{Answering, Reply};
use crate::auth::Role;
use crate::domain::batch::Head;
use crate::domain::catalogue::{ItemType, SentCategory};
use crate::error::{Code, Error};
use crate::import::catalogue::CatalogueImport;
use crate::import::report::Report;
use crate::wire::catalogue as schema;
use crate::wire::format::Format;
use crate::wire::orders_import::{head, orders};

/// The route of an import of products, or of SKUs.
pub(super) fn import(kind: ItemType) -> MethodRouter<App> {
    post(async move |State(app): State<App>, Extension(line): Extension<Arc<Line>>, request: Request| -> Response {
        let answering = Answering::of(request.uri(), request.headers());
        let received = match call::receive(&app, request, Role::CatalogWrite, &line).await {
            Ok(received) => received,
            Err(error) => return Reply::from(error).respond(&app, &line, answering.format(None, None)),
        };
        let mut format = answering.format(None, Some(received.format));
        let wanted = schema::wanted(&app.settings.limits);
        let reads = Reads { role: Role::CatalogWrite, wanted: &wanted, too_many: schema::too_many };
        match call::understand(&app, &received, &reads, &answering, &mut format, &line).await {
            Ok(understood) => run(&app, &line, understood, kind, format).await,
            Err(error) => Reply::from(error).respond(&app, &line, format),
        }
    })
}

/// Decodes, imports and replies.
async fn run(app: &App, line: &Arc<Line>, mut understood: Understood<'_>, kind: ItemType, format: Format) -> Response {
    let limits = &app.settings.limits;
    let decoded = head(&understood.document, limits)
        .and_then(|head| Ok((head, schema::categories(&understood.document, limits)?)));
    let (head, categories) = match decoded {
        Ok(decoded) => decoded,
        Err(rejection) => {
            let error = understood.refuse(app, line, Code::BadRequest, &rejection).await;
            return Reply::from(error).respond(app, line, format);
        }
    };
    let start = Instant::now();
    let report = match import_items(app, line, &mut understood, kind, &head, &categories).await {
        Ok(report) => report,
        Err(error) => return Reply::from(error).respond(app, line, format),
    };
    line.note(|facts| {
        facts.phases.decode += report.spent.decode;
        facts.phases.plan = report.spent.plan;
        facts.phases.database = start.elapsed().saturating_sub(report.spent.busy);
        let counts = counts(&report);
        facts.counts = Some(Counts { orders: None, items: counts.orders, dry_run: head.dry_run, ..counts });
    });
    reply(app, line, &report, &understood, head.detail.then(|| schema::known_fields(kind)), format)
}

/// Imports the items; the caller is looked up again for as long as tokens of the account change.
async fn import_items<'a>(
    app: &App,
    line: &Arc<Line>,
    understood: &mut Understood<'a>,
    kind: ItemType,
    head: &Head,
    categories: &[SentCategory],
) -> Result<Report<'a>, Error> {
    loop {
        let document = &understood.document;
        let items = match orders(document) {
            Ok(items) => items,
            Err(rejection) => return Err(understood.refuse(app, line, Code::BadRequest, &rejection).await),
        };
        let format = document.format;
        let request = CatalogueImport {
            account_id: understood.caller.account_id,
            tokens_version: understood.caller.tokens_version,
            head,
            categories,
            kind,
            items,
            decode: &move |index, sent, limits| schema::item((format, kind, head.strict), index, sent, limits),
            secret: &understood.secret,
        };
        if let Some(report) = crate::import::catalogue::import(&app.imports, &request).await? {
            return Ok(report);
        }
        understood.look_up_again(app, line).await?;
    }
}
