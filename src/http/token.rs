//! The tokens of one request, from up to three places, which have to agree.

use axum::http::{HeaderMap, Uri, header};

use crate::auth::{Presented, Source, TokenMismatch};
use crate::domain::scalars;
use crate::error::{Code, Error};

/// The token of header and query, if there is one.
pub(super) fn presented(uri: &Uri, headers: &HeaderMap) -> Result<Presented, Error> {
    let mut presented = Presented::default();
    for value in headers.get_all(header::AUTHORIZATION) {
        let value = String::from_utf8_lossy(value.as_bytes());
        if let Some((scheme, token)) = value.trim().split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
        {
            presented.add(scalars::id(token), Source::Header).map_err(mismatch)?;
        }
    }
    let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    for (_, token) in query.filter(|(key, _)| key == "token") {
        presented.add(scalars::id(&token), Source::Query).map_err(mismatch)?;
    }
    Ok(presented)
}

/// The failure of two tokens that differ: where they stand, and never they themselves.
pub(super) fn mismatch(TokenMismatch { first, second }: TokenMismatch) -> Error {
    let (first_place, second_place) = (first.place(), second.place());
    let places =
        if first == second { format!("both {first_place}") } else { format!("{first_place} and {second_place}") };
    Error::new(Code::Unauthorized, format!("token: expected one, found two that differ, {places}"))
}
