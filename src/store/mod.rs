//! All SQL: one file for each subject, functions over one connection, so that whoever owns the
//! transaction decides what is in it.
//!
//! Statements work on sets of at most [`SET`] orders' worth of rows, name one account (but for tokens and the
//! janitor), are checked at compile time, and begin with a comment that names them. Never enters: HTTP, formats, decisions.

pub mod accounts;
pub mod catalogue;
pub mod categories;
pub mod connect;
pub mod copy;
pub mod custom_values;
pub mod definitions;
pub mod deliveries;
pub mod imports;
mod item_content;
pub mod items;
pub mod ledger;
pub mod lists;
pub mod looks;
pub mod order_edits;
pub mod order_lines;
pub mod order_lists;
mod order_rows;
pub mod orders;
pub mod outage;
pub mod outbox;
pub mod profiles;
pub mod references;
pub mod subscriptions;
pub mod tokens;

use outage::{Cause, Outage};

/// Most orders in one statement.
pub const SET: usize = 2_000;

/// Cuts rows into no more sets than so many orders are, so that statements grow by sets of orders, however
/// many rows an order has.
pub fn sets<T>(rows: &[T], orders: usize) -> std::slice::Chunks<'_, T> {
    let sets = orders.div_ceil(SET).max(1);
    rows.chunks(rows.len().div_ceil(sets).max(SET))
}

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be used for now.
    #[error("{}{}", outage.text(), at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default())]
    Unavailable {
        /// Why.
        outage: Outage,
        /// Where it was looked for.
        at: Option<String>,
        /// What happened.
        source: Cause,
    },
    /// Another transaction was in the way: the same again, as a whole, may succeed.
    #[error("another transaction was in the way: {0}")]
    TryAgain(&'static str),
    /// A lock was not had in time.
    #[error("a lock was not had in time")]
    LockTimeout(#[source] Cause),
    /// What is stored is not what can be stored.
    #[error("corrupt: {table}.{column}: {what}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What stood there.
        what: String,
    },
    /// Something that the caller could not have caused.
    #[error(transparent)]
    Other(Cause),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match outage::code(&error).as_deref() {
            Some("40001") => Error::TryAgain("serialization failure"),
            Some("40P01") => Error::TryAgain("deadlock"),
            Some("23505") => Error::TryAgain("a key that was not there is there"),
            Some("55P03") => Error::LockTimeout(Cause(error)),
            _ => match Outage::of(&error) {
                Some(outage) => {
                    outage::note(outage);
                    Error::Unavailable { outage, at: None, source: Cause(error) }
                }
                None => Error::Other(Cause(error)),
            },
        }
    }
}

/// What storage functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl From<Error> for crate::error::Error {
    fn from(error: Error) -> Self {
        use crate::error::Error as Failure;
        match error {
            Error::Unavailable { outage, .. } => Failure::unavailable(outage.text()).caused_by(error),
            Error::TryAgain(_) => {
                Failure::unavailable("other requests kept changing the same data; send the same again").caused_by(error)
            }
            Error::LockTimeout(_) => {
                Failure::unavailable("another request holds the same data; send the same again").caused_by(error)
            }
            Error::Corrupt { .. } | Error::Other(_) => Failure::internal(error),
        }
    }
}
