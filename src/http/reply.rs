//! What a call answers, and its way to bytes: envelope, status, format.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;

use super::log::Line;
use super::{App, in_place};
use crate::config::HttpStatus;
use crate::domain::scalars;
use crate::error::{Code, Error, chain};
use crate::wire::answer::{self, Object, Value};
use crate::wire::format::Format;

/// What a call answers.
pub(super) struct Reply<'a> {
    code: Code,
    text: String,
    retry_after: Option<u64>,
    cause: Option<String>,
    /// What follows the envelope's `error` and `error_text`.
    fields: Object<'a>,
}

impl<'a> Reply<'a> {
    /// A call that was carried out.
    pub(super) fn done(fields: Object<'a>) -> Self {
        Reply { code: Code::Done, text: String::new(), retry_after: None, cause: None, fields }
    }

    /// A call that was understood and refused, with more than the reason.
    pub(super) fn refused(code: Code, text: String, fields: Object<'a>) -> Self {
        Reply { fields, ..Reply::from(Error::new(code, text)) }
    }
}

impl From<Error> for Reply<'_> {
    fn from(error: Error) -> Self {
        Reply {
            code: error.code,
            retry_after: error.retry_after.map(|wait| wait.as_secs().max(1)),
            cause: error.source.as_deref().map(|source| chain(source)),
            text: error.text,
            fields: Vec::new(),
        }
    }
}

impl Reply<'_> {
    /// Renders the reply and notes it for the log.
    pub(super) fn respond(self, app: &App, line: &Line, format: Format) -> Response {
        let start = Instant::now();
        let row = self.code.row();
        let as_200 = row.number == 0 || (!row.always_status && app.settings.http_status == HttpStatus::Ok);
        let status = if as_200 { Ok(StatusCode::OK) } else { StatusCode::from_u16(row.number) };
        let status = status.expect("the numbers of the table are HTTP statuses");
        let envelope =
            [("error", Value::Int(row.number.into())), ("error_text", Value::Text(self.text.clone().into()))];
        let answer: Object<'_> = envelope.into_iter().chain(self.fields).collect();
        let body = in_place(answer::least_bytes(&answer), || answer::render(format, &answer));
        drop(answer);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        line.note(|facts| {
            facts.error = row.number;
            facts.error_text = self.text;
            facts.cause = self.cause;
            facts.phases.render = start.elapsed();
        });
        response
    }
}

/// What a request says of the format of its answer, the body's own word aside.
#[derive(Debug, Clone)]
pub(super) struct Answering {
    /// `format` in the query, not empty.
    pub query: Option<String>,
    accept: Option<Format>,
    content_type: Option<Format>,
}

impl Answering {
    pub(super) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let query = uri.query().unwrap_or_default();
        let mut formats = form_urlencoded::parse(query.as_bytes())
            .filter(|(key, value)| key == "format" && !scalars::id(value).is_empty());
        let accepts: Vec<&str> =
            headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).collect();
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).and_then(media_type);
        Answering {
            query: formats.next().map(|(_, value)| value.into_owned()),
            accept: Format::accepted(&accepts.join(",")),
            content_type,
        }
    }

    /// The format of the answer (contract, section 1): what the query says, else the body, else `Accept`,
    /// else the request's own.
    pub(super) fn format(&self, body_says: Option<Format>, request: Option<Format>) -> Format {
        let query = self.query.as_deref().and_then(Format::named);
        query.or(body_says).or(self.accept).or(request).or(self.content_type).unwrap_or(Format::Json)
    }
}

/// The format that a `Content-Type` names, without its parameters.
pub(super) fn media_type(content_type: &str) -> Option<Format> {
    match content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Some(Format::Json),
        "application/xml" | "text/xml" => Some(Format::Xml),
        _ => None,
    }
}

/// Answers a path that does not exist.
pub(super) async fn no_such_path(
    State(app): State<App>,
    Extension(line): Extension<Arc<Line>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    answer_early(&app, &line, &uri, &headers, Error::new(Code::NoSuchPath, "path: there is no such path").into())
}

/// Answers a method that the path does not have; the router adds `Allow`.
pub(super) async fn method_not_allowed(
    State(app): State<App>,
    Extension(line): Extension<Arc<Line>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let expected = if uri.path().starts_with("/health/") { "GET" } else { "POST" };
    let text = format!("method: expected {expected}");
    answer_early(&app, &line, &uri, &headers, Error::new(Code::MethodNotAllowed, text).into())
}

/// Answers a call that reads no body.
pub(super) fn answer_early(app: &App, line: &Line, uri: &Uri, headers: &HeaderMap, reply: Reply<'_>) -> Response {
    reply.respond(app, line, Answering::of(uri, headers).format(None, None))
}
