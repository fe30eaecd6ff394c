//! `orders/preorder` and `orders/preorder_commit`: one order, checked and priced; and stored by the second.

use std::sync::Arc;
use std::time::Instant;

use super::App;
use super::call::Understood;
use super::log::{Counts, Line};
use super::orders::{counts, warning_text};
use crate::domain::batch::{Head, Sent};
use crate::domain::orders::Origin;
use crate::error::Error;
use crate::import::orders::{Import, Posted, refusal};
use crate::import::report::Outcome;
use crate::wire::answer::{Object, Value};
use crate::wire::preorder as schema;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pricing {
    /// It stores nothing.
    Check,
    /// It stores the order.
    Commit,
}

/// From the body to the fields of the answer.
pub(super) async fn carry_out(
    app: &App,
    line: &Arc<Line>,
    understood: &mut Understood<'_>,
    pricing: Pricing,
) -> Result<Object<'static>, Error> {
    let decoded = schema::order(&understood.document, &app.settings.limits, &understood.secret);
    let (decoded, head, ignored) = decoded.map_err(|rejection| refusal(&rejection, &understood.secret))?;
    let order = decoded.order.as_ref().map_err(|rejection| refusal(rejection, &understood.secret))?;
    let head = Head { dry_run: head.dry_run || pricing == Pricing::Check, ..head };
    let (commits, skip_triggers) = (!head.dry_run, head.skip_triggers);
    // It has no text by which an item of `orders/import` could be taken for it.
    let sent = [Sent::of("")];
    let start = Instant::now();
    let report = loop {
        let request = Import {
            account_id: understood.caller.account_id,
            origin: Origin { token_id: understood.caller.token_id, request_id: line.request_id() },
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
    let counts = Counts { dry_run: !commits, ..counts(&report) };
    line.note(|facts| {
        facts.counts = Some(counts);
        facts.phases.plan = report.spent.plan;
        facts.phases.database = start.elapsed().saturating_sub(report.spent.busy);
    });
    let item = report.items.first().ok_or_else(|| Error::internal(std::io::Error::other("no item was answered")))?;
    if let Outcome::Failed(rejection) = &item.outcome {
        return Err(refusal(&schema::at_its_place(rejection.as_ref().clone()), &understood.secret));
    }
    if commits && counts.created + counts.updated > 0 && !skip_triggers {
        app.events_written().notify_one();
    }
    let mut result = schema::prices(order);
    if let Some(warning) = &item.warning {
        let warning = schema::at_its_place(warning.as_ref().clone());
        result.push(("warnings", Value::Texts(vec![warning_text(&warning, &understood.secret).into()])));
    }
    if !ignored.is_empty() {
        result.push(("ignored", Value::Texts(ignored.into_iter().map(Into::into).collect())));
    }
    if let (Pricing::Commit, Some(id)) = (pricing, item.id) {
        result.insert(0, ("id", Value::Int(id)));
    }
    Ok(vec![("result", Value::Object(result))])
}
