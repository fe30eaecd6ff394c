//! Values that cannot be wrong, and the rules that need nothing but values.
//!
//! Never enters: serde, SQL, HTTP, async, the clock.

use std::fmt::Write as _;

pub mod batch;
pub mod catalogue;
pub mod custom_fields;
pub mod events;
pub mod line_statuses;
pub mod matching;
pub mod orders;
pub mod place;
pub mod rejection;
pub mod scalars;

/// Shortest token, in characters.
pub const MIN_TOKEN_CHARS: usize = 16;
/// Longest id, name, key or tag, and longest text that anything is looked up by, in characters.
pub const MAX_KEY_CHARS: usize = 255;
/// Longest other text, in characters.
pub const MAX_TEXT_CHARS: usize = 10_000;

/// What a request says of a value that may be absent (contract, section 3, upsert rules).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Patch<T> {
    /// Not sent: what is stored stays.
    #[default]
    Keep,
    /// Sent empty: what is stored goes.
    Clear,
    /// Sent: replaces what is stored.
    Set(T),
}

impl<T: Clone> Patch<T> {
    /// What is stored afterwards.
    pub fn apply(&self, stored: &mut Option<T>) {
        match self {
            Patch::Keep => {}
            Patch::Clear => *stored = None,
            Patch::Set(value) => *stored = Some(value.clone()),
        }
    }
}

/// True for the characters that an XML 1.0 document can carry; no other is stored.
#[must_use]
pub fn is_storable(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
