//! The table of codes, and the failure that ends a request.

use std::error::Error as StdError;
use std::time::Duration;

/// Every number that can stand in `error` (contract, section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Done.
    Done,
    /// The document, or a field of it, is wrong.
    BadRequest,
    /// No token, or not a good one.
    Unauthorized,
    /// The token lacks the role.
    Forbidden,
    /// What the call names does not exist.
    NotFound,
    /// A clash with what is stored.
    Conflict,
    /// Another order stopped the request.
    NotWritten,
    /// There is no such path.
    NoSuchPath,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body came too slowly.
    Timeout,
    /// The request is too large.
    TooLarge,
    /// The format is unknown.
    UnsupportedType,
    /// The client is too fast.
    SlowDown,
    /// Our fault.
    Internal,
    /// The database is away, or the server is too busy.
    Unavailable,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The number in `error`.
    pub number: u16,
    /// True if the HTTP status is the number under every setting: transport trouble.
    pub always_status: bool,
    /// True if the same request may succeed later.
    pub retryable: bool,
    /// One line for people.
    pub meaning: &'static str,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::Done,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::NotWritten,
        Self::NoSuchPath,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::TooLarge,
        Self::UnsupportedType,
        Self::SlowDown,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The row of this code.
    #[must_use]
    pub fn row(self) -> Row {
        let row = |number, always_status, retryable, meaning| Row { number, always_status, retryable, meaning };
        match self {
            Code::Done => row(0, false, false, "done"),
            Code::BadRequest => {
                row(400, false, false, "the document, or a field of it, is wrong; `error_text` says where and why")
            }
            Code::Unauthorized => {
                row(401, false, false, "no token; an unknown, revoked or expired token; tokens that differ")
            }
            Code::Forbidden => {
                row(403, false, false, "the token lacks the role; the text names it, and those that the token has")
            }
            Code::NotFound => row(404, false, false, "what the call names does not exist"),
            Code::Conflict => row(409, false, false, "a clash with what is stored (a definition's type)"),
            Code::NotWritten => row(
                424,
                false,
                false,
                "nothing is wrong with this order, but another one stopped the request (`on_error: abort`)",
            ),
            Code::NoSuchPath => row(404, true, false, "there is no such path"),
            Code::MethodNotAllowed => row(405, true, false, "the path exists, the method does not; `Allow` names it"),
            Code::Timeout => row(408, true, true, "the body came too slowly"),
            Code::TooLarge => row(413, true, false, "the request is too large; the text names the limit"),
            Code::UnsupportedType => {
                row(415, true, false, "an unknown format, charset or encoding; the text names what to send")
            }
            Code::SlowDown => row(429, true, true, "slow down; see `Retry-After`"),
            Code::Internal => row(500, true, true, "our fault; the log has the cause under the request id"),
            Code::Unavailable => {
                row(503, true, true, "the database is away, or the server is too busy; see `Retry-After`")
            }
        }
    }

    /// The number in `error`.
    #[must_use]
    pub fn number(self) -> u16 {
        self.row().number
    }
}

/// What ends a request.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// Which kind of failure.
    pub code: Code,
    /// The sentence that answers: never a token, never an inside.
    pub text: String,
    /// What stands in `Retry-After`.
    pub retry_after: Option<Duration>,
    /// What went wrong inside; for the log alone.
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure that the client can mend.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Error { code, text: text.into(), retry_after: None, source: None }
    }

    /// A failure inside; the client only learns that it is not its fault.
    #[must_use]
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error {
            source: Some(source.into()),
            ..Error::new(Code::Internal, "the server failed; its log has the cause under the request id")
        }
    }

    /// A failure that passes; the same request may succeed in a second.
    #[must_use]
    pub fn unavailable(text: &str) -> Self {
        Error { retry_after: Some(Duration::from_secs(1)), ..Error::new(Code::Unavailable, text) }
    }

    /// The same failure with its cause.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error { source: Some(source.into()), ..self }
    }
}

/// An error and its causes, each said once: some libraries repeat the cause in their own text.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.contains(&own) {
            text = format!("{text}: {own}");
        }
        cause = error.source();
    }
    text
}
