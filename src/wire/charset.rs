//! Charsets: by what a document becomes UTF-8, which everything behind this room is (contract, section 1).

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use quick_xml::events::attributes::Attributes;

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
    let declaration = std::str::from_utf8(&rest[..end]).ok().filter(|rest| rest.starts_with(char::is_whitespace))?;
    let mut attributes = Attributes::new(declaration, 0).flatten();
    let encoding = attributes.find(|attribute| attribute.key.as_ref() == "encoding")?;
    match encoding.value {
        Cow::Borrowed(label) => Some(label),
        Cow::Owned(_) => None,
    }
}

/// No declaration is longer.
const MAX_DECLARATION_BYTES: usize = 1024;

/// The charset of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset {
    /// By what it is decoded.
    pub encoding: &'static Encoding,
    /// So many bytes at its start are a byte order mark.
    pub mark_len: usize,
    /// Nothing says so: it is what counts then.
    pub is_default: bool,
}

/// Why a document has no charset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCharset {
    /// Its byte order mark is that of UTF-32.
    Utf32,
    /// Its XML declaration has a label that nobody knows.
    Label(String),
    /// It is declared as UTF-16 from outside, and is not.
    NotUtf16,
}

impl Charset {
    /// What the header says, else the byte order mark, else the XML declaration, else UTF-8. Of the two
    /// UTF-16 the mark or the first character tells which.
    ///
    /// # Errors
    /// See [`NoCharset`].
    pub fn of(document: &[u8], header: Option<&'static Encoding>) -> Result<Self, NoCharset> {
        if document.starts_with(&[0xff, 0xfe, 0, 0]) || document.starts_with(&[0, 0, 0xfe, 0xff]) {
            return Err(NoCharset::Utf32);
        }
        let is_utf16 = |encoding| encoding == UTF_16LE || encoding == UTF_16BE;
        let charset = |encoding, mark_len| Ok(Charset { encoding, mark_len, is_default: false });
        let mark = Encoding::for_bom(document);
        match (header, mark) {
            (Some(header), Some((encoding, len))) if header == encoding || is_utf16(header) && is_utf16(encoding) => {
                charset(encoding, len)
            }
            (Some(header), _) if is_utf16(header) => charset(byte_order(document).ok_or(NoCharset::NotUtf16)?, 0),
            (Some(header), _) => charset(header, 0),
            (None, Some((encoding, len))) => charset(encoding, len),
            (None, None) => match (byte_order(document), xml_declaration(document)) {
                (Some(encoding), _) => charset(encoding, 0),
                (None, None) => Ok(Charset { encoding: UTF_8, mark_len: 0, is_default: true }),
                (None, Some(label)) => match labelled(label) {
                    // The declaration itself can be read without it.
                    Some(encoding) if is_utf16(encoding) => charset(UTF_8, 0),
                    Some(encoding) => charset(encoding, 0),
                    None => Err(NoCharset::Label(label.to_owned())),
                },
            },
        }
    }
}

/// Which UTF-16 a document without a mark is: it begins with an ASCII character, beside which stands a zero.
fn byte_order(document: &[u8]) -> Option<&'static Encoding> {
    match document {
        [0, second, ..] if *second != 0 => Some(UTF_16BE),
        [first, 0, ..] if *first != 0 => Some(UTF_16LE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::WINDOWS_1251;

    use super::*;

    #[test]
    fn the_header_decides_then_the_mark_then_the_declaration() {
        let declared = |label: &str| format!("<?xml version='1.0' encoding='{label}'?><xml/>").into_bytes();
        let of = |document: &[u8], header: Option<&str>| {
            let header = header.map(|label| labelled(label).expect("a known label"));
            Charset::of(document, header).map(|charset| (charset.encoding.name(), charset.mark_len))
        };
        for (document, header, expected) in [
            (&b"{}"[..], None, ("UTF-8", 0)),
            (b"{}", Some("koi8-r"), ("KOI8-R", 0)),
            (b"{}", Some("ISO-8859-1"), ("windows-1252", 0)),
            (b"\xef\xbb\xbf{}", None, ("UTF-8", 3)),
            (b"\xef\xbb\xbf{}", Some("utf8"), ("UTF-8", 3)),
            (b"\xff\xfe{\0}\0", None, ("UTF-16LE", 2)),
            (b"\xfe\xff\0{\0}", None, ("UTF-16BE", 2)),
            (b"\xfe\xff\0{\0}", Some("utf-16"), ("UTF-16BE", 2)),
            (b"\0{\0}", Some("utf-16"), ("UTF-16BE", 0)),
            (b"{\0}\0", None, ("UTF-16LE", 0)),
            (b"\xff\xfe{\0}\0", Some("utf-8"), ("UTF-8", 0)),
            (&declared("windows-1251"), None, ("windows-1251", 0)),
            (&declared("windows-1251"), Some("utf-8"), ("UTF-8", 0)),
            (&declared("utf-16"), None, ("UTF-8", 0)),
            (&[b"\xef\xbb\xbf", &*declared("utf-16")].concat(), None, ("UTF-8", 3)),
        ] {
            assert_eq!(of(document, header), Ok(expected), "{document:?} {header:?}");
        }
        assert_eq!(of(&declared("klingon"), None), Err(NoCharset::Label("klingon".to_owned())));
        assert_eq!(of(b"{}", Some("utf-16")), Err(NoCharset::NotUtf16));
        assert_eq!(of(b"\xff\xfe\0\0{\0\0\0", None), Err(NoCharset::Utf32));
        assert_eq!(labelled("cp1251"), Some(WINDOWS_1251));
        assert_eq!((labelled("klingon"), labelled("hz-gb-2312")), (None, None));
    }

    #[test]
    fn a_declaration_names_its_label() {
        for (document, label) in [
            ("<?xml version='1.0' encoding='koi8-r'?>", Some("koi8-r")),
            ("<?xml version=\"1.0\" encoding = \"a\" standalone='yes' ?>", Some("a")),
            ("<?xml version='1.0'?>", None),
            ("<?xml version='1.0' encoding=a?>", None),
            (" <?xml version='1.0' encoding='a'?>", None),
            ("<?xml-stylesheet encoding='a'?>", None),
            ("<?xml version='1.0' xencoding='a'?>", None),
            ("<?xml version='1.0' standalone='encoding=\"a\"'?>", None),
            ("<?xml version='1.0' encoding='a'", None),
            ("{}", None),
        ] {
            assert_eq!(xml_declaration(document.as_bytes()), label, "{document}");
        }
    }
}
