//! Types of events.

/// All types (contract, section 3, Events).
pub const ALL: [&str; 5] =
    ["order.created", "order.updated", "order.status_changed", "order_line.status_changed", "order.deleted"];

/// What stands for all types.
pub const ANY: &str = "*";

/// True for a type, or for what stands for all.
#[must_use]
pub fn is_subscribable(name: &str) -> bool {
    name == ANY || ALL.contains(&name)
}
