//! The admin API: accounts' settings, subscriptions and the ledger of events. It speaks JSON alone, and needs the role `admin`.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde_json::{Value as Json, json};
use sqlx::PgConnection;

use super::App;
use super::call::{self, Reads};
use super::log::Line;
use super::reply::{Answering, Reply, answer_early};
use super::setup;
use crate::accounts::Refused;
use crate::auth::Role;
use crate::delivery::ledger::{self, Asked, Entry, Selection};
use crate::delivery::replay::{Replay, replay};
use crate::delivery::subscriptions::{self, Secret, Wanted};
use crate::domain::place::redact;
use crate::error::{Code, Error};
use crate::store;
use crate::wire::admin::{self as schema, Said};
use crate::wire::answer::Value;
use crate::wire::format::Format;

/// For so many hours the secrets before stay good after a rotation, unless the call says otherwise.
const KEEP_HOURS: u32 = 24;

/// `POST /api/v1.1/admin/{subject}/{verb}`
pub(super) async fn call(
    State(app): State<App>,
    Extension(line): Extension<Arc<Line>>,
    Path((subject, verb)): Path<(String, String)>,
    request: Request,
) -> Response {
    let Some(call) = Call::named(&subject, &verb) else {
        let error = Error::new(Code::NoSuchPath, "path: there is no such path");
        return answer_early(&app, &line, request.uri(), request.headers(), error.into());
    };
    let reply = match run(&app, &line, call, request).await {
        Ok(result) => Reply::done(vec![("result", Value::Json(result))]),
        Err(error) => Reply::from(error),
    };
    reply.respond(&app, &line, Format::Json)
}

/// A call.
#[derive(Debug, Clone, Copy)]
enum Call {
    Setup(setup::Call),
    CreateSubscription,
    ListSubscriptions,
    ShowSubscription,
    EnableSubscription(bool),
    RotateSubscription,
    DeleteSubscription,
    ListEvents,
    ShowEvent,
    ReplayEvents,
}

impl Call {
    fn named(subject: &str, verb: &str) -> Option<Self> {
        Some(match (subject, verb) {
            ("subscriptions", "create") => Call::CreateSubscription,
            ("subscriptions", "list") => Call::ListSubscriptions,
            ("subscriptions", "show") => Call::ShowSubscription,
            ("subscriptions", "enable") => Call::EnableSubscription(true),
            ("subscriptions", "disable") => Call::EnableSubscription(false),
            ("subscriptions", "rotate") => Call::RotateSubscription,
            ("subscriptions", "delete") => Call::DeleteSubscription,
            ("events", "list") => Call::ListEvents,
            ("events", "show") => Call::ShowEvent,
            ("events", "replay") => Call::ReplayEvents,
            _ => return setup::Call::named(subject, verb).map(Call::Setup),
        })
    }
}

/// From the request to the result.
async fn run(app: &App, line: &Arc<Line>, call: Call, request: Request) -> Result<Json, Error> {
    let answering = Answering::of(request.uri(), request.headers());
    let received = call::receive(app, request, Role::Admin, line).await?;
    if received.format != Format::Json {
        return Err(Error::new(Code::UnsupportedType, "Content-Type: send Content-Type: application/json"));
    }
    let wanted = schema::wanted();
    let reads = Reads { role: Role::Admin, wanted: &wanted, too_many: schema::too_many };
    let mut format = Format::Json;
    let understood = call::understand_now(app, &received, &reads, &answering, &mut format, line).await?;
    let said = schema::said(&understood.document, &app.settings.limits)
        .map_err(|rejection| Error::new(Code::BadRequest, rejection.text(&understood.secret)))?;
    if matches!(call, Call::ListEvents)
        && let Err(error) = app.records().write(&app.imports.pool).await
    {
        tracing::debug!(%error, "the ledger is shown without the last imports");
    }
    let mut conn = store::connect::acquire(&app.imports.pool).await?;
    let done = Box::pin(carry_out(app, &mut conn, understood.caller.account_id, call, &said)).await;
    done.map_err(|refused| refusal(refused, &understood.secret))
}

fn refusal(refused: Refused, secret: &str) -> Error {
    // A token that stands in the place of an id is not repeated.
    let text = redact(&refused.to_string(), secret);
    match refused {
        // Cut only after the token is taken out.
        Refused::Unknown(rejection) => Error::new(Code::NotFound, rejection.text(secret)),
        Refused::Wrong(_) => Error::new(Code::BadRequest, text),
        Refused::Missing(_) => Error::new(Code::NotFound, text),
        Refused::Taken(_) => Error::new(Code::Conflict, text),
        Refused::Store(error) => error.into(),
        Refused::Random(error) => Error::internal(error),
    }
}

pub(super) fn required<T>(name: &str, value: Option<T>) -> Result<T, Refused> {
    value.ok_or_else(|| Refused::Wrong(format!("{name}: required")))
}

async fn carry_out(
    app: &App,
    conn: &mut PgConnection,
    account_id: i64,
    call: Call,
    said: &Said,
) -> Result<Json, Refused> {
    let id = || required("id", said.id);
    match call {
        Call::Setup(call) => setup::carry_out(conn, account_id, call, said, app.clock.now()).await,
        Call::CreateSubscription => create(conn, account_id, said, app.settings.webhooks.allow_private).await,
        Call::ListSubscriptions => {
            let all = store::subscriptions::list(conn, account_id).await?;
            Ok(all.iter().map(|one| object(&subscriptions::COLUMNS, subscriptions::row(one))).collect())
        }
        Call::ShowSubscription => show(conn, account_id, id()?).await,
        Call::EnableSubscription(enabled) => {
            subscriptions::enable(conn, account_id, id()?, enabled).await?;
            show(conn, account_id, id()?).await
        }
        Call::RotateSubscription => {
            let keep = Duration::from_hours(said.keep_hours.unwrap_or(KEEP_HOURS).into());
            Ok(shown(&subscriptions::rotate(conn, account_id, id()?, keep).await?))
        }
        Call::DeleteSubscription => {
            subscriptions::delete(conn, account_id, id()?).await?;
            Ok(json!({"id": id()?}))
        }
        Call::ListEvents => {
            let which = ledger::which(conn, account_id, selection(said)).await?;
            let asked = Asked { which, states: states(said)?, limit: said.limit };
            Ok(lines(&ledger::list(conn, account_id, &asked).await?))
        }
        Call::ShowEvent => {
            let event = required("event", said.event.as_deref())?;
            Ok(lines(&ledger::show(conn, account_id, event).await?))
        }
        Call::ReplayEvents => {
            if said.event.is_none() && said.order.is_none() && said.from.is_none() && said.to.is_none() {
                return Err(Refused::Wrong("event: required; or order, or from or to".to_owned()));
            }
            let which = ledger::which(conn, account_id, selection(said)).await?;
            let Replay { deliveries, reason } =
                replay(conn, account_id, &which, said.delivered, "delivered: true").await?;
            let mut result = json!({"deliveries": deliveries});
            if let Some(reason) = reason {
                result["reason"] = json!(reason);
            }
            Ok(result)
        }
    }
}

async fn create(conn: &mut PgConnection, account_id: i64, said: &Said, allows_private: bool) -> Result<Json, Refused> {
    let url = required("url", said.url.as_deref())?;
    let Said { events, touchpoints, description, .. } = said;
    let secret = subscriptions::create(conn, account_id, Wanted { url, events, touchpoints, description }).await?;
    let mut result = shown(&secret);
    if let Some(warning) = subscriptions::warning(url).filter(|_| !allows_private) {
        result["warnings"] = json!([warning]);
    }
    Ok(result)
}

async fn show(conn: &mut PgConnection, account_id: i64, id: i64) -> Result<Json, Refused> {
    let one = subscriptions::show(conn, account_id, id).await?;
    Ok(object(&subscriptions::COLUMNS, subscriptions::row(&one)))
}

/// A new secret, this once.
fn shown(Secret { id, secret }: &Secret) -> Json {
    json!({"id": id, "secret": secret})
}

fn selection(said: &Said) -> Selection<'_> {
    Selection {
        order: said.order.as_deref(),
        event: said.event.as_deref(),
        subscription_id: said.subscription,
        from: said.from,
        to: said.to,
    }
}

fn states(said: &Said) -> Result<Vec<ledger::State>, Refused> {
    let known = ledger::State::ALL;
    let find = |(place, name): (usize, &String)| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let wrong = || Refused::Wrong(format!("states[{place}]: expected one of {}, found {name:?}", names.join(", ")));
        known.iter().find(|(state, _)| state == name).map(|(_, state)| *state).ok_or_else(wrong)
    };
    said.states.iter().enumerate().map(find).collect()
}

fn lines(entries: &[Entry]) -> Json {
    entries.iter().map(|entry| object(&ledger::COLUMNS, entry.row())).collect()
}

pub(super) fn object(columns: &[&str], row: Vec<Json>) -> Json {
    columns.iter().map(|column| (*column).to_owned()).zip(row).collect()
}
