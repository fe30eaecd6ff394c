//! The two formats, and how a request names them (contract, section 1).

use crate::domain::scalars::{self, trimmed};

/// A format of requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/xml`
    Xml,
}

impl Format {
    /// The format that a `format` field names.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match scalars::id(name) {
            "json" => Some(Format::Json),
            "xml" => Some(Format::Xml),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Xml => "xml",
        }
    }

    /// The `Content-Type` of an answer.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json; charset=utf-8",
            Format::Xml => "application/xml; charset=utf-8",
        }
    }

    /// The format of a body without a `Content-Type`, by its first character that is not blank.
    #[must_use]
    pub fn sniffed(body: &str) -> Option<Self> {
        match trimmed(body).chars().next()? {
            '{' | '[' => Some(Format::Json),
            '<' => Some(Format::Xml),
            _ => None,
        }
    }

    /// What an `Accept` header asks for: the higher q of JSON and XML. `None` for a tie, for wildcards
    /// and for other types.
    #[must_use]
    pub fn accepted(accept: &str) -> Option<Self> {
        let (mut json, mut xml) = (0, 0);
        for item in accept.split(',') {
            let (range, parameters) = item.split_once(';').unwrap_or((item, ""));
            match range.trim().to_ascii_lowercase().as_str() {
                "application/json" => json = json.max(thousandths(parameters)),
                "application/xml" | "text/xml" => xml = xml.max(thousandths(parameters)),
                _ => {}
            }
        }
        match json.cmp(&xml) {
            std::cmp::Ordering::Greater => Some(Format::Json),
            std::cmp::Ordering::Less => Some(Format::Xml),
            std::cmp::Ordering::Equal => None,
        }
    }
}

/// The `q` of a media range, in thousandths; 1000 where there is none that can be read.
fn thousandths(parameters: &str) -> u32 {
    parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .and_then(|(_, q)| q.trim().parse::<f32>().ok())
        .filter(|q| (0.0..=1.0).contains(q))
        .map_or(1000, |q| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "q is between 0 and 1")]
            let thousandths = (q * 1000.0).round() as u32;
            thousandths
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_q_wins() {
        for (accept, format) in [
            ("application/json", Some(Format::Json)),
            ("text/xml", Some(Format::Xml)),
            ("application/json;q=0.5, application/xml;q=0.9", Some(Format::Xml)),
            ("application/json, application/xml", None),
            ("*/*", None),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(Format::Xml)),
            ("application/json;q=0", None),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }
}
