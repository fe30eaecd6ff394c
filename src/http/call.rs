//! One call's way from bytes to a document and a caller, in the order in which failures answer
//! (contract, section 1).

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};
use encoding_rs::Encoding as Charset;
use http_body_util::BodyExt as _;
use tokio::sync::SemaphorePermit;

use super::body::{self, Bounds, Encoding, Misfit};
use super::inflight::Hold;
use super::local::OnBehalfOf;
use super::log::Line;
use super::reply::{Answering, media_type};
use super::{App, in_place, token};
use crate::auth::{self, Caller, Presented, Role, Source};
use crate::config::Limits;
use crate::domain::place::Place;
use crate::domain::rejection::{Problem, Rejection};
use crate::domain::scalars;
use crate::error::{Code, Error};
use crate::store;
use crate::wire::charset::{self, NoCharset};
use crate::wire::document::{Document, Wanted};
use crate::wire::format::Format;
use crate::wire::node::Text;

/// The internal id of no token.
pub(super) const NO_TOKEN: i64 = 0;

/// A request whose body is read.
pub(super) struct Received {
    /// The body, unpacked and decoded, up to the first bytes that do not fit its charset.
    text: String,
    /// These bytes.
    misfit: Option<Misfit>,
    /// Its bytes count as in memory as long as this lives.
    _hold: Hold,
    /// Its format.
    pub format: Format,
    /// The token of header and query, if there is one.
    pub presented: Presented,
    /// Who it belongs to.
    pub caller: Option<Caller>,
}

/// Reads a request up to the end of its body.
pub(super) async fn receive(app: &App, request: Request, role: Role, line: &Arc<Line>) -> Result<Received, Error> {
    let (parts, mut body) = request.into_parts();
    let mut early = early(app, &parts.uri, &parts.headers, role, line).await;
    if let (Ok(early), Some(OnBehalfOf(account_id))) = (&mut early, parts.extensions.get()) {
        early.caller = Some(inside(app, *account_id, line).await?);
    }
    let result = match early {
        Ok(early) => {
            let (caller, token) = (early.caller.clone(), early.presented.token().map(str::to_owned));
            match read(app, &mut body, early, line).await {
                Ok(received) => Ok(received),
                Err(error) => Err(confirmed(app, caller.as_ref(), token.as_deref(), role, line, error).await),
            }
        }
        Err(error) => Err(error),
    };
    if result.is_err() && !parts.headers.contains_key(header::EXPECT) {
        drain(app, body);
    }
    result
}

/// The caller of a call that this program makes itself, for an account.
async fn inside(app: &App, account_id: i64, line: &Arc<Line>) -> Result<Caller, Error> {
    let mut conn = store::connect::acquire(&app.imports.pool).await?;
    let tokens_version = store::references::versions(&mut conn, account_id).await?.tokens;
    line.note(|facts| facts.account_id = Some(account_id));
    let roles = Role::ALL.iter().map(|role| role.as_str().to_owned()).collect();
    Ok(Caller { account_id, token_id: NO_TOKEN, roles, expires_at: None, tokens_version, remembered: false })
}

/// What is known before the body.
struct Early {
    encoding: Encoding,
    /// `None`: to be told by the first byte.
    format: Option<Format>,
    charset: Option<&'static Charset>,
    presented: Presented,
    caller: Option<Caller>,
}

async fn early(app: &App, uri: &Uri, headers: &HeaderMap, role: Role, line: &Arc<Line>) -> Result<Early, Error> {
    let encoding = encoding(headers)?;
    let (format, charset) = content_type(headers)?;
    line.note(|facts| facts.format = format);
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
    let max_bytes = app.settings.limits.max_body_bytes;
    if let Some(declared) = declared.filter(|declared| *declared > max_bytes as u64) {
        return Err(body::too_large(max_bytes, Some(declared)));
    }
    let presented = token::presented(uri, headers)?;
    let caller = match presented.token() {
        Some(token) => Some(authorize(app, token, role, line).await?),
        None => None,
    };
    Ok(Early { encoding, format, charset, presented, caller })
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Error> {
    let values: Vec<_> = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    match values.join(",").trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Encoding::Identity),
        "gzip" | "x-gzip" => Ok(Encoding::Gzip),
        "br" => Ok(Encoding::Brotli),
        "zstd" => Ok(Encoding::Zstd),
        _ => Err(Error::new(Code::UnsupportedType, "Content-Encoding: expected identity or one of gzip, br, zstd")),
    }
}

const SEND_CONTENT_TYPE: &str = "send Content-Type: application/json or Content-Type: application/xml";

/// The format and the charset that a request declares.
fn content_type(headers: &HeaderMap) -> Result<(Option<Format>, Option<&'static Charset>), Error> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok((None, None)) };
    let value = String::from_utf8_lossy(value.as_bytes());
    if value.trim().is_empty() {
        return Ok((None, None));
    }
    let Some(format) = media_type(&value) else {
        return Err(Error::new(Code::UnsupportedType, format!("Content-Type: {SEND_CONTENT_TYPE}")));
    };
    let parameters = value.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let mut labels = charsets.map(|(_, label)| label.trim().trim_matches('"')).filter(|label| !label.is_empty());
    let Some(label) = labels.next() else { return Ok((Some(format), None)) };
    let charset = charset::labelled(label).ok_or_else(|| unknown_charset("Content-Type", label))?;
    Ok((Some(format), Some(charset)))
}

/// The failure of a charset that nobody knows.
fn unknown_charset(place: &str, label: &str) -> Error {
    // One that is as long as a token may be one.
    let found = if label.len() < auth::MIN_TOKEN_CHARS {
        Problem::expected("a charset like UTF-8", label).text("")
    } else {
        format!("expected a charset like UTF-8, found an unknown one of {} characters", label.chars().count())
    };
    Error::new(Code::UnsupportedType, format!("{place}: {found}"))
}

fn note(line: &Line, caller: &Caller) {
    line.note(|facts| (facts.account_id, facts.token_id) = (Some(caller.account_id), Some(caller.token_id)));
}

/// Who a token belongs to, if it is good and has the role; or was and had, when it was last looked up.
async fn authorize(app: &App, token: &str, role: Role, line: &Arc<Line>) -> Result<Caller, Error> {
    let now = app.clock.now();
    match app.callers.get(&auth::hash(token), now).filter(|caller| caller.has(role)) {
        Some(caller) => {
            app.last_used.note(caller.token_id, now);
            note(line, &caller);
            Ok(caller)
        }
        None => look_up(app, token, role, line).await,
    }
}

/// Who a token belongs to, if it is good now and has the role.
pub(super) async fn look_up(app: &App, token: &str, role: Role, line: &Arc<Line>) -> Result<Caller, Error> {
    let unknown = || {
        let form = ["{{", "${"].into_iter().find(|form| token.contains(form));
        let text = form.map_or_else(
            || "token: expected a known one that is neither revoked nor expired".to_owned(),
            |form| format!("token: expected a token, found a variable that was not replaced: it has {form} in it"),
        );
        Error::new(Code::Unauthorized, text)
    };
    let public = token == auth::DEMO_TOKEN && !app.demo;
    if public || auth::mistyped(token) {
        return Err(unknown());
    }
    let (now, hash) = (app.clock.now(), auth::hash(token));
    let mut conn = store::connect::acquire(&app.imports.pool).await?;
    let row = store::tokens::find(&mut conn, &hash, now).await?;
    drop(conn);
    let caller = row.map(|row| Caller {
        account_id: row.account_id,
        token_id: row.id,
        roles: row.roles,
        expires_at: row.expires_at,
        tokens_version: row.tokens_version,
        remembered: false,
    });
    app.callers.note(hash, caller.as_ref());
    let caller = caller.ok_or_else(unknown)?;
    app.last_used.note(caller.token_id, now);
    note(line, &caller);
    if caller.has(role) { Ok(caller) } else { Err(Error::new(Code::Forbidden, auth::lacks(role, &caller.roles))) }
}

/// The failure of a call that no transaction of its own has confirmed the caller for: a token that was only
/// remembered may have been revoked, which would come first.
pub(super) async fn confirmed(
    app: &App,
    caller: Option<&Caller>,
    token: Option<&str>,
    role: Role,
    line: &Arc<Line>,
    error: Error,
) -> Error {
    match (caller, token) {
        (Some(Caller { remembered: true, .. }), Some(token)) => {
            look_up(app, token, role, line).await.err().unwrap_or(error)
        }
        _ => error,
    }
}

async fn read(app: &App, body: &mut Body, early: Early, line: &Arc<Line>) -> Result<Received, Error> {
    let Early { encoding, format, charset, presented, caller } = early;
    let start = Instant::now();
    let settings = &app.settings;
    let bounds = Bounds {
        max_bytes: settings.limits.max_body_bytes,
        idle: settings.body_idle_timeout,
        total: settings.body_timeout,
    };
    let hold = app.inflight.hold(caller.is_none());
    let (bytes, hold) = body::read(body, encoding, bounds, hold).await?;
    if let Some(packed) = packing(&bytes).filter(|_| encoding == Encoding::Identity) {
        let text = format!("Content-Encoding: expected {packed}, by which the body is packed, found none");
        return Err(Error::new(Code::BadRequest, text));
    }
    let (text, misfit, hold) = in_place(bytes.len(), || decode(bytes, charset, bounds.max_bytes, hold))?;
    line.note(|facts| facts.phases.read = start.elapsed());
    let format = match format {
        Some(format) => format,
        None if text.is_empty() => Format::Json,
        None => Format::sniffed(&text)
            .ok_or_else(|| Error::new(Code::UnsupportedType, format!("Content-Type: {SEND_CONTENT_TYPE}")))?,
    };
    line.note(|facts| facts.format = Some(format));
    Ok(Received { text, misfit, _hold: hold, format, presented, caller })
}

/// By what a body is packed, as its first bytes tell.
fn packing(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        _ => None,
    }
}

/// The text of a body, without its byte order mark; and the first bytes that do not fit its charset.
fn decode(
    mut bytes: Vec<u8>,
    header: Option<&'static Charset>,
    max_bytes: usize,
    hold: Hold,
) -> Result<(String, Option<Misfit>, Hold), Error> {
    // Nothing is nothing, whatever it is declared as.
    let header = header.filter(|_| !bytes.iter().all(u8::is_ascii_whitespace));
    let document = charset::Charset::of(&bytes, header).map_err(|none| match none {
        NoCharset::Utf32 => {
            let text = "body: expected a charset like UTF-8, found a byte order mark of UTF-32";
            Error::new(Code::UnsupportedType, text)
        }
        NoCharset::Label(label) => unknown_charset("XML declaration", &label),
        NoCharset::NotUtf16 => Error::new(Code::BadRequest, "byte 1: expected UTF-16, as Content-Type says"),
    })?;
    if document.encoding != encoding_rs::UTF_8 {
        let (decoded, mut hold, misfit) =
            body::decode(&bytes[document.mark_len..], document.encoding, max_bytes, hold)?;
        hold.shrink(bytes.len());
        return Ok((String::from_utf8(decoded).map_err(Error::internal)?, misfit, hold));
    }
    bytes.drain(..document.mark_len);
    let error = match String::from_utf8(bytes) {
        Ok(text) => return Ok((text, None, hold)),
        Err(error) => error,
    };
    let valid = error.utf8_error().valid_up_to();
    let expected = if document.is_default { "UTF-8, since no other charset is declared" } else { "UTF-8" };
    let mut bytes = error.into_bytes();
    bytes.truncate(valid);
    let text = String::from_utf8(bytes).map_err(Error::internal)?;
    Ok((text, Some(Misfit { byte: valid + 1, expected }), hold))
}

/// Reads on for a while and throws away, so that a client that still sends can read the answer.
fn drain(app: &App, mut body: Body) {
    let mut left = 2 * app.settings.limits.max_body_bytes;
    let wait = app.settings.body_idle_timeout.min(Duration::from_secs(5));
    app.tasks.spawn(async move {
        let reading = async {
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(1, bytes::Bytes::len));
                if left == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(wait, reading).await;
    });
}

/// What a call reads: its role, the root fields of its schema, and which of them has too many items.
pub(super) struct Reads<'r> {
    pub role: Role,
    pub wanted: &'r [Wanted],
    pub too_many: fn(&Document<'_>, &Limits) -> Option<Rejection>,
}

/// A request that is well-formed, and whose caller may make it.
pub(super) struct Understood<'a> {
    pub document: Document<'a>,
    pub caller: Caller,
    /// The request's token, which no text repeats.
    pub secret: String,
    role: Role,
    /// The call is at work as long as this lives.
    permit: Option<SemaphorePermit<'a>>,
}

impl Understood<'_> {
    /// The failure of a field of the root.
    pub(super) async fn refuse(&self, app: &App, line: &Arc<Line>, code: Code, rejection: &Rejection) -> Error {
        let error = Error::new(code, rejection.text(&self.secret));
        confirmed(app, Some(&self.caller), Some(&self.secret), self.role, line, error).await
    }

    /// The call only waits from here on, and others may be at work.
    pub(super) fn rest(&mut self) {
        self.permit = None;
    }

    /// Looks the caller up again.
    pub(super) async fn look_up_again(&mut self, app: &App, line: &Arc<Line>) -> Result<(), Error> {
        self.caller = if self.caller.token_id == NO_TOKEN {
            inside(app, self.caller.account_id, line).await?
        } else {
            look_up(app, &self.secret, self.role, line).await?
        };
        Ok(())
    }
}

/// Splits a body, finds its caller and checks its sizes; `format` becomes what the body asks for.
pub(super) async fn understand<'a>(
    app: &'a App,
    received: &'a Received,
    reads: &Reads<'_>,
    answering: &Answering,
    format: &mut Format,
    line: &Arc<Line>,
) -> Result<Understood<'a>, Error> {
    let (understood, body_format) = match split(app, received, reads, answering, format, line).await {
        Ok(split) => split,
        Err(error) => {
            let (caller, token) = (received.caller.as_ref(), received.presented.token());
            return Err(confirmed(app, caller, token, reads.role, line, error).await);
        }
    };
    if let Some(rejection) = (reads.too_many)(&understood.document, &app.settings.limits) {
        return Err(understood.refuse(app, line, Code::TooLarge, &rejection).await);
    }
    match check_query_format(answering).and(body_format) {
        Ok(_) => Ok(understood),
        Err(rejection) => Err(understood.refuse(app, line, Code::BadRequest, &rejection).await),
    }
}

/// The same for a call that no transaction confirms the caller of: one that was only remembered is looked up.
pub(super) async fn understand_now<'a>(
    app: &'a App,
    received: &'a Received,
    reads: &Reads<'_>,
    answering: &Answering,
    format: &mut Format,
    line: &Arc<Line>,
) -> Result<Understood<'a>, Error> {
    let mut understood = understand(app, received, reads, answering, format, line).await?;
    if understood.caller.remembered {
        understood.look_up_again(app, line).await?;
    }
    Ok(understood)
}

/// A body and its caller; and the format that the body asks for, if it names one.
type Split<'a> = (Understood<'a>, Result<Option<Format>, Rejection>);

async fn split<'a>(
    app: &'a App,
    received: &'a Received,
    reads: &Reads<'_>,
    answering: &Answering,
    format: &mut Format,
    line: &Arc<Line>,
) -> Result<Split<'a>, Error> {
    let permit = tokio::time::timeout(app.settings.acquire_timeout, app.work.acquire()).await;
    let Ok(Ok(permit)) = permit else {
        return Err(Error::unavailable("too many requests at once; send the same again"));
    };
    let limits = &app.settings.limits;
    let start = Instant::now();
    let text = received.text.as_str();
    if received.misfit.is_none() && scalars::trimmed(text).is_empty() {
        return Err(Error::new(Code::BadRequest, "body: expected a document, found nothing"));
    }
    let split = || Document::split(received.format, text, reads.wanted, limits.max_depth);
    let document = match (in_place(text.len(), split), received.misfit) {
        (Ok(document), None) => document,
        (Err(fault), None) => return Err(Error::new(Code::BadRequest, fault.text(text))),
        (broken, Some(Misfit { byte, expected })) => {
            // Where the text ends, the bytes are that do not fit.
            let place = broken.err().filter(|fault| fault.is_cut).map(|fault| fault.place());
            let text = format!("byte {byte}{}: expected {expected}", place.unwrap_or_default());
            return Err(Error::new(Code::BadRequest, text));
        }
    };
    line.note(|facts| facts.phases.decode = start.elapsed());
    let body_format = body_format(answering, &document);
    if let Ok(body_format) = &body_format {
        *format = answering.format(*body_format, Some(received.format));
    }
    let in_body = document.early_text("token").map_err(|rejection| Error::new(Code::BadRequest, rejection.text("")))?;
    if let Some(token) = &in_body {
        line.hide(token.shown());
    }
    let mut presented = received.presented.clone();
    let caller = caller(app, &mut presented, received.caller.clone(), in_body, reads.role, line).await?;
    let secret = presented.token().unwrap_or_default().to_owned();
    Ok((Understood { document, caller, secret, role: reads.role, permit: Some(permit) }, body_format))
}

/// The format that the body asks for, if no query did; not yet an error if it names none.
fn body_format(answering: &Answering, document: &Document<'_>) -> Result<Option<Format>, Rejection> {
    if answering.query.is_some() {
        return Ok(None);
    }
    match document.early_text("format")? {
        None => Ok(None),
        Some(Text::Good(name)) => named(&name).map(Some),
        Some(Text::Bad(shown)) => Err(wrong_format(Problem::Character(shown.into()))),
    }
}

/// The format that the query asks for has to be one.
fn check_query_format(answering: &Answering) -> Result<(), Rejection> {
    answering.query.as_deref().map_or(Ok(()), |name| named(name).map(drop))
}

fn named(name: &str) -> Result<Format, Rejection> {
    Format::named(name).ok_or_else(|| wrong_format(Problem::expected("json or xml", name)))
}

fn wrong_format(problem: Problem) -> Rejection {
    Rejection::new(Place::default().field("format"), problem)
}

/// The caller, by the token of header, query or body, which have to agree.
async fn caller(
    app: &App,
    presented: &mut Presented,
    known: Option<Caller>,
    in_body: Option<Text<'_>>,
    role: Role,
    line: &Arc<Line>,
) -> Result<Caller, Error> {
    if let Some(token) = in_body {
        presented.add(token.shown(), Source::Body).map_err(token::mismatch)?;
    }
    match (known, presented.token()) {
        (Some(caller), _) => Ok(caller),
        (None, Some(token)) => authorize(app, token, role, line).await,
        (None, None) => Err(Error::new(
            Code::Unauthorized,
            "token: required; send it in the body, as Authorization: Bearer, or in the query",
        )),
    }
}
