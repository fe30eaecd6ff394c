//! The use case: one transaction that imports a batch of orders.
//!
//! `orders` chooses the way: one of the quick ones (`joint` and `small` for one order or a few, `large` for many; they
//! share `quick`), or the `careful` one for what they cannot decide alone. What to store, what to announce and what to
//! answer is decided by `check`, `customers`, `plan`, `merge` and `changes`, which are pure. `setup` keeps what accounts
//! have, `digest` tells what was sent before. `edits` changes single orders beside imports. `catalogue` imports products and
//! SKUs in much the same way. Never enters: HTTP, formats, SQL.

mod careful;
pub mod catalogue;
mod catalogue_check;
mod catalogue_plan;
mod catalogue_quick;
mod catalogue_texts;
mod categories;
mod changes;
mod check;
mod customers;
mod definitions;
mod digest;
pub mod edits;
pub mod joint;
mod large;
mod merge;
pub mod orders;
mod plan;
mod quick;
pub mod records;
pub mod report;
pub mod setup;
mod small;
