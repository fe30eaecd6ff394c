//! Bytes from and to typed calls: one schema for both formats.
//!
//! A body is split first (`document`), which finds everything that is not well-formed and where each item
//! of its lists stands, and builds no tree. Each item is then read by itself (`node`, `items`) and decoded by the
//! schema of its call (`orders_import`). Never enters: HTTP, SQL.

pub mod admin;
pub mod answer;
pub mod catalogue;
pub mod charset;
pub mod document;
pub mod fields;
pub mod format;
mod items;
mod json;
pub mod known;
pub mod listed;
pub mod market;
pub mod node;
pub mod orders_import;
pub mod preorder;
mod xml;
mod xml_events;
mod xml_tree;

pub(crate) use json::check as check_json;
pub(crate) use xml_events::fault as xml_fault;
