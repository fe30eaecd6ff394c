//! Cells as spreadsheets write them: numbers with commas, dates with points, ids that lost digits.

use std::borrow::Cow;

use crate::domain::scalars;

/// What a field's cells are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What names something; a spreadsheet may take it for a number.
    Id,
    /// An amount or a count.
    Number,
    Time,
    Other,
}

/// A cell's text as the calls take it; or what was expected instead of it. What is not understood is left to the calls.
pub(super) fn value(kind: Kind, text: &str, decimal_comma: bool) -> Result<Cow<'_, str>, String> {
    let changed = match kind {
        Kind::Id if is_shortened(text) => {
            return Err(format!(
                "expected an id with all its digits, found {text:?} as Excel shortens it; format the column as text \
                before ids are entered, or export them again from the shop"
            ));
        }
        Kind::Number => match with_point(text) {
            Some(number) if !decimal_comma && text.contains([',', ' ', '\u{a0}', '\u{202f}']) => {
                let grouped = text.replace(',', "");
                let is_grouped = text.split_once(',').is_some_and(|(_, rest)| rest.len() == 3) && is_digits(&grouped);
                let cure = if is_grouped { format!(", or write {grouped}") } else { String::new() };
                return Err(format!(
                    "expected a number like 1234.50, found {text:?}; say --decimal-comma, which reads it as {number}{cure}"
                ));
            }
            number => number.filter(|_| decimal_comma),
        },
        Kind::Time => with_year_first(text),
        Kind::Id | Kind::Other => None,
    };
    Ok(changed.map_or(Cow::Borrowed(text), Cow::Owned))
}

/// True for a number like `4.55E+15`.
fn is_shortened(text: &str) -> bool {
    let Some((digits, power)) = text.split_once("E+") else { return false };
    let (whole, fraction) = digits.split_once([',', '.']).unwrap_or((digits, "0"));
    [whole, fraction, power].into_iter().all(is_digits)
}

/// `1234.50` of `1.234,50` or `1 234,50`; `None` of what is no such number.
fn with_point(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = &text[..text.len() - unsigned.len()];
    let (whole, fraction) = match unsigned.split_once(',') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let whole = ungrouped(whole)?;
    match fraction {
        None => Some(format!("{sign}{whole}")),
        Some(fraction) => is_digits(fraction).then(|| format!("{sign}{whole}.{fraction}")),
    }
}

/// Digits without what groups them by thousands.
fn ungrouped(whole: &str) -> Option<String> {
    let Some(separator) = whole.chars().find(|c| !c.is_ascii_digit()) else {
        return is_digits(whole).then(|| whole.to_owned());
    };
    let mut groups = whole.split(separator);
    let first = groups.next()?;
    // 0.123 is no group of thousands.
    let is_grouped = matches!(separator, '.' | ' ' | '\u{a0}' | '\u{202f}')
        && is_digits(first)
        && first.len() <= 3
        && !first.starts_with('0')
        && groups.all(|group| is_digits(group) && group.len() == 3);
    is_grouped.then(|| whole.replace(separator, ""))
}

/// `2024-01-15 09:30` of `15.1.2024 9:30`: with points, the day comes first everywhere. `None` of what is no such time.
fn with_year_first(text: &str) -> Option<String> {
    let (date, clock) = match text.split_once(' ') {
        Some((date, clock)) => (date, Some(clock.trim_start())),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '.');
    let (day, month, year) = (two(parts.next()?)?, two(parts.next()?)?, parts.next()?);
    let clock = match clock {
        None => String::new(),
        Some(clock) => {
            let parts: Vec<String> = clock.split(':').map(two).collect::<Option<_>>()?;
            format!(" {}", parts.join(":"))
        }
    };
    Some(format!("{year}-{month}-{day}{clock}")).filter(|time| scalars::time(time).is_some())
}

/// One or two digits as two.
fn two(text: &str) -> Option<String> {
    (is_digits(text) && text.len() <= 2).then(|| format!("{text:0>2}"))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_a_comma_are_told_from_others() {
        for (text, expected) in [
            ("12,50", "12.50"),
            ("2,0", "2.0"),
            ("12", "12"),
            ("-1.234,50", "-1234.50"),
            ("1 234,50", "1234.50"),
            ("1\u{a0}234\u{a0}567,5", "1234567.5"),
            ("12\u{202f}345", "12345"),
            ("1.234", "1234"),
            ("1,234", "1.234"),
            // The rest is left as it is.
            ("0.123", "0.123"),
            ("12.50", "12.50"),
            ("1.2345", "1.2345"),
            ("1234.567,50", "1234.567,50"),
            ("1.234 567,50", "1.234 567,50"),
            ("1,234.50", "1,234.50"),
            ("1,2,3", "1,2,3"),
            ("12,", "12,"),
            (",5", ",5"),
            ("1'234,50", "1'234,50"),
            ("12,50 €", "12,50 €"),
            ("-", "-"),
        ] {
            assert_eq!(value(Kind::Number, text, true).as_deref(), Ok(expected), "{text}");
        }
        for text in ["12,50", "1 234", "1.234,50"] {
            let refused = value(Kind::Number, text, false).expect_err(text);
            assert!(refused.contains("say --decimal-comma, which reads it as 1"), "{refused}");
        }
        for text in ["12.50", "1.234", "1,234.50", "x"] {
            assert_eq!(value(Kind::Number, text, false).as_deref(), Ok(text));
        }
    }

    #[test]
    fn dates_with_points_have_the_day_first() {
        for (text, expected) in [
            ("15.01.2024", "2024-01-15"),
            ("1.2.2024", "2024-02-01"),
            ("15.01.2024 12:30", "2024-01-15 12:30"),
            ("15.01.2024 9:05:07", "2024-01-15 09:05:07"),
            ("01.15.2024", "01.15.2024"),
            ("30.02.2024", "30.02.2024"),
            ("15.01.24", "15.01.24"),
            ("15.01.2024 25:00", "15.01.2024 25:00"),
            ("15.01.2024 12", "15.01.2024 12"),
            ("15.01.2024 x", "15.01.2024 x"),
            ("2024.01.15", "2024.01.15"),
            ("2024-01-15", "2024-01-15"),
        ] {
            assert_eq!(value(Kind::Time, text, false).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn ids_that_lost_digits_are_told_from_others() {
        for text in ["4.55E+15", "4,55E+15", "5E+09"] {
            assert!(value(Kind::Id, text, true).is_err(), "{text}");
        }
        for text in ["E+15", "4.E+15", "4.55E15", "A4E+1", "4E+1x", "15", "1,234"] {
            assert_eq!(value(Kind::Id, text, true).as_deref(), Ok(text));
        }
        assert_eq!(value(Kind::Other, "4.55E+15", true).as_deref(), Ok("4.55E+15"));
    }
}
