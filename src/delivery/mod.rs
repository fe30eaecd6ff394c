//! Deliveries: packs of events become deliveries to subscriptions, which are sent, signed, until they arrive.
//!
//! Workers on any number of machines share the work. What is spread and what became of attempts is written by one
//! transaction at once for an account; sending happens outside of all transactions, under a lease. All times that
//! decide are the database's. Never enters: HTTP servers, formats of calls, queries.

mod address;
mod retry;
mod send;
mod spread;
mod worker;

pub use send::{install_tls, secret, url_problem};
pub use worker::{announce, run};
