//! The use case: one transaction that imports a batch of orders.
//!
//! `orders` chooses the way: a `quick` one for what is unchanged or new, of a `small` or a `large` request, or the
//! `careful` one for everything. What to store, what
//! to announce and what to answer is decided by `check`, `customers`, `plan`, `merge` and `changes`, which are
//! pure. `setup` keeps what accounts have. Never enters: HTTP, formats, SQL.

mod careful;
mod changes;
mod check;
mod customers;
mod definitions;
mod digest;
pub mod joint;
mod large;
mod merge;
pub mod orders;
mod plan;
mod quick;
pub mod report;
pub mod setup;
mod small;
