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
pub mod replay;
mod retry;
mod send;
mod spread;
pub mod subscriptions;
mod worker;

pub use send::{StartError, install_tls};
pub use worker::{announce, count_waiting, run};
