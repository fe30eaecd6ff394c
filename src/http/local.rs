//! Calls without a socket, for commands that work on the database: the same way as from outside, but for the token.

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::{App, router};
use crate::error::Error;

/// Whose call it is. Only a program that makes the request itself can put this into it.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnBehalfOf(pub i64);

/// Makes a call for an account, with all its roles; returns the HTTP status and the body of the answer.
///
/// # Errors
/// The call cannot be written down as a request.
pub async fn call(
    app: &App,
    account_id: i64,
    path_and_query: &str,
    content_type: &str,
    body: Bytes,
) -> Result<(u16, Vec<u8>), Error> {
    let request = Request::post(path_and_query).header(header::CONTENT_TYPE, content_type).body(Body::from(body));
    let mut request = request.map_err(Error::internal)?;
    request.extensions_mut().insert(OnBehalfOf(account_id));
    let response = match router(app).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(Error::internal)?;
    Ok((status, body.to_bytes().into()))
}
