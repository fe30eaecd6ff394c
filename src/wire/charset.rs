//! Charsets: what a document says of its own (contract, section 1). Everything behind this room is UTF-8.

use encoding_rs::Encoding;

/// The charset of a label, as browsers know it; `None` for one that nobody knows, or that stands for no charset.
#[must_use]
pub fn labelled(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label_no_replacement(label.as_bytes())
}

/// The label in the XML declaration that a document begins with, if there is one.
#[must_use]
pub fn xml_declaration(document: &[u8]) -> Option<&str> {
    let rest = document.strip_prefix(b"<?xml")?;
    let end = rest.windows(2).take(MAX_DECLARATION_BYTES).position(|two| two == b"?>")?;
    let declaration = std::str::from_utf8(&rest[..end]).ok()?;
    let (_, rest) = declaration.split_once("encoding")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    rest[1..].split_once(quote).map(|(label, _)| label)
}

/// No declaration is longer.
const MAX_DECLARATION_BYTES: usize = 1024;
