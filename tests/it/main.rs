//! The server, through its door: HTTP in, answer and stored state out, on a real PostgreSQL.
//!
//! `script/test` runs it. A failed test prints the name of its database; `ORDERGATE_KEEP=1 script/test` leaves the
//! cluster running, to be looked at.

mod admin;
mod batch;
mod cases;
mod charsets;
mod connections;
mod contention;
mod delivery;
mod differential;
mod house;
mod ledger;
mod lists;
mod origins;
mod pages;
mod process;
mod quick;
mod support;
mod transport;
