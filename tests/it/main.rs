//! The server, through its door: HTTP in, answer and stored state out, on a real PostgreSQL.
//!
//! `script/test` runs it. A failed test keeps its database and prints its name.

mod batch;
mod cases;
mod contention;
mod differential;
mod house;
mod process;
mod support;
mod transport;
