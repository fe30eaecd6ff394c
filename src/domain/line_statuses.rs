//! Statuses of orders and of their lines.

/// Order statuses that every account has (contract, section 3).
pub const BUILT_IN_ORDER_STATUSES: [&str; 5] = ["new", "delivered", "paid", "canceled", "part_refunded"];

/// Line statuses that every account has (contract, section 3).
pub const BUILT_IN_LINE_STATUSES: [&str; 6] = ["new", "processing", "delivering", "delivered", "canceled", "refunded"];

/// The status of a new line that was sent without one.
pub const DEFAULT_LINE_STATUS: &str = "new";

/// The types that a custom line status can have.
pub const LINE_STATUS_TYPES: [&str; 4] = ["delivered", "canceled", "refunded", "in_process"];

/// A line status beside the built-in ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineStatus {
    /// How lines name it.
    pub external_id: String,
    /// What people call it.
    pub name: String,
    /// One of [`LINE_STATUS_TYPES`].
    pub kind: &'static str,
}

/// A line status as a request sends it; an absent name keeps the stored one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentLineStatus {
    /// How lines name it.
    pub external_id: String,
    /// What people call it.
    pub name: Option<String>,
    /// One of [`LINE_STATUS_TYPES`].
    pub kind: &'static str,
}

impl SentLineStatus {
    /// The status after this was sent.
    #[must_use]
    pub fn merged(&self, stored: Option<&LineStatus>) -> LineStatus {
        let name = match (&self.name, stored) {
            (Some(name), _) => name.clone(),
            (None, Some(stored)) => stored.name.clone(),
            (None, None) => self.external_id.clone(),
        };
        LineStatus { external_id: self.external_id.clone(), name, kind: self.kind }
    }
}
