//! The use case: one transaction that imports a batch of orders.
//!
//! `orders` owns the transaction and its phases. What to store, what to announce and what to answer is
//! decided by `check`, `customers`, `plan`, `merge` and `changes`, which are pure. Never enters: HTTP,
//! formats, SQL.

mod changes;
mod check;
mod customers;
mod definitions;
mod merge;
pub mod orders;
mod plan;
pub mod report;
