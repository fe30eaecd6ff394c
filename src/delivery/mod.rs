//! Deliveries: packs of events become deliveries to subscriptions, which are sent, signed, until they arrive; and what
//! the command line and the API know of both.
//!
//! Workers on any number of machines share the work. What is spread and what became of attempts is written by one
//! transaction at once for an account; sending happens outside of all transactions, under a lease. All times that
//! decide are the database's. Never enters: HTTP servers, formats of calls, queries.

mod address;
mod broker;
mod lane;
pub mod ledger;
mod retry;
mod send;
mod spread;
pub mod subscriptions;
mod worker;

pub use send::{StartError, install_tls};
pub use worker::{announce, count_waiting, run};

use crate::store;

/// Why a subscription or an event could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What was said is wrong; where, what was expected and what was found.
    #[error("{0}")]
    Wrong(String),
    /// It is not there.
    #[error("{0}")]
    Missing(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The system gives no random bytes.
    #[error("random bytes")]
    Random(#[from] getrandom::Error),
}
