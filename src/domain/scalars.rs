//! The grammars of scalars, the same for JSON and XML (contract, section 2).

use rust_decimal::Decimal;
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// A scalar without the blanks around it: XML's four, in both formats.
#[must_use]
pub fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// True for three letters, which name a currency in any case.
#[must_use]
pub fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic())
}

/// `true`, `false`, `1` or `0`.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match trimmed(text) {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// `-?[0-9]+` within 64 bits.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let text = trimmed(text);
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A decimal number: its sign, its digits without zeros at either end, and the power of ten that the last of them
/// stands for.
#[derive(Default)]
struct Digits {
    negative: bool,
    /// The digits as a number; no number, if they are more than [`MAX_DIGITS`].
    significant: i128,
    count: i64,
    exponent: i64,
}

/// More digits than a number has that is taken; 128 bits hold them.
const MAX_DIGITS: i64 = 38;

/// `-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?`
fn digits(text: &str) -> Option<Digits> {
    let text = trimmed(text);
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
        None => (unsigned, 0),
        Some((mantissa, power)) => (mantissa, signed_power(power)?),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        None => (mantissa, ""),
        Some((_, "")) => return None,
        Some(parts) => parts,
    };
    if whole.is_empty() {
        return None;
    }
    let mut digits = Digits { negative, ..Digits::default() };
    // Zeros that count only if another digit follows.
    let mut zeros = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        match byte {
            b'0' if digits.count > 0 => zeros += 1,
            b'0' => {}
            b'1'..=b'9' => {
                (0..std::mem::take(&mut zeros)).for_each(|_| digits.push(0));
                digits.push(byte - b'0');
            }
            _ => return None,
        }
    }
    if digits.count == 0 {
        return Some(Digits::default());
    }
    digits.exponent = power - i64::try_from(fraction.len()).ok()? + zeros;
    Some(digits)
}

/// `[+-]?[0-9]{1,3}`
fn signed_power(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl Digits {
    fn push(&mut self, digit: u8) {
        self.count += 1;
        if self.count <= MAX_DIGITS {
            self.significant = self.significant * 10 + i128::from(digit);
        }
    }

    /// Digits before the point, once expanded.
    fn whole_len(&self) -> i64 {
        (self.count + self.exponent).max(0)
    }

    /// Digits after the point, once expanded.
    fn fraction_len(&self) -> i64 {
        (-self.exponent).max(0)
    }

    /// The number, if it has no more than 28 digits; exact.
    fn decimal(&self) -> Option<Decimal> {
        let mut mantissa = self.significant;
        if self.exponent > 0 {
            mantissa = mantissa.checked_mul(10_i128.checked_pow(u32::try_from(self.exponent).ok()?)?)?;
        }
        if self.negative {
            mantissa = -mantissa;
        }
        Decimal::try_from_i128_with_scale(mantissa, u32::try_from(self.fraction_len()).ok()?).ok()
    }
}

/// A decimal of at most 18 digits before and 6 after the point, normalized.
#[must_use]
pub fn amount(text: &str) -> Option<Decimal> {
    let digits = digits(text)?;
    if digits.negative || digits.whole_len() > 18 || digits.fraction_len() > 6 {
        return None;
    }
    digits.decimal()
}

/// A decimal of at most 28 digits, before and after the point together, normalized.
#[must_use]
pub fn float(text: &str) -> Option<Decimal> {
    let digits = digits(text)?;
    if digits.whole_len() + digits.fraction_len() > 28 {
        return None;
    }
    digits.decimal()
}

/// A time in UTC, cut to microseconds, within the years 1 to 9999.
#[must_use]
pub fn time(text: &str) -> Option<OffsetDateTime> {
    let text = trimmed(text);
    let (date, rest) = text.split_at_checked(10)?;
    let date = calendar_date(date)?;
    if rest.is_empty() {
        return in_range(date.with_time(Time::MIDNIGHT).assume_utc());
    }
    let rest = rest.strip_prefix(['T', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let (hour, minute, second) = (two(clock, 0)?, two(clock, 3)?, two(clock, 6)?);
    if clock.as_bytes()[2] != b':' || clock.as_bytes()[5] != b':' {
        return None;
    }
    let (micros, rest) = fraction(rest)?;
    let clock = Time::from_hms_micro(hour, minute, second, micros).ok()?;
    in_range(date.with_time(clock).assume_offset(offset(rest)?))
}

/// `YYYY-MM-DD`, from the year 0 on: an offset may bring it back into the range.
fn calendar_date(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = i32::from(two(text, 0)?) * 100 + i32::from(two(text, 2)?);
    Date::from_calendar_date(year, Month::try_from(two(text, 5)?).ok()?, two(text, 8)?).ok()
}

/// Two digits at a byte position.
fn two(text: &str, at: usize) -> Option<u8> {
    match text.as_bytes().get(at..at + 2)? {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some((a - b'0') * 10 + (b - b'0')),
        _ => None,
    }
}

/// `.` and 1 to 9 digits, if there are any, as microseconds; and what follows.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=9).contains(&len) {
        return None;
    }
    let digits = rest.bytes().take(len).chain(std::iter::repeat(b'0')).take(6);
    Some((digits.fold(0, |micros, digit| micros * 10 + u32::from(digit - b'0')), &rest[len..]))
}

/// `Z`, `±HH:MM`, or nothing, which is UTC.
fn offset(text: &str) -> Option<UtcOffset> {
    if text.is_empty() || text == "Z" {
        return Some(UtcOffset::UTC);
    }
    let sign: i8 = match text.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (two(text, 1)?, two(text, 4)?);
    if text.len() != 6 || text.as_bytes()[3] != b':' || hours > 23 || minutes > 59 {
        return None;
    }
    UtcOffset::from_hms(sign * i8::try_from(hours).ok()?, sign * i8::try_from(minutes).ok()?, 0).ok()
}

/// The time in UTC, if its year is one that is stored.
fn in_range(time: OffsetDateTime) -> Option<OffsetDateTime> {
    let utc = time.checked_to_offset(UtcOffset::UTC)?;
    (1..=9999).contains(&utc.year()).then_some(utc)
}

/// A time as it is answered: UTC with `Z`, with the fraction only where it is not zero.
#[must_use]
pub fn time_text(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if time.microsecond() != 0 {
        text.push_str(format!(".{:06}", time.microsecond()).trim_end_matches('0'));
    }
    text.push('Z');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_bounded() {
        for (text, value) in [
            ("1000", "1000"),
            (" 1.50 ", "1.5"),
            ("1e2", "100"),
            ("0.000001", "0.000001"),
            ("-0", "0"),
            ("0e999", "0"),
            ("999999999999999999.999999", "999999999999999999.999999"),
            ("000123", "123"),
            ("1500000e-3", "1500"),
            ("1.0000000000", "1"),
            ("0.1E+1", "1"),
        ] {
            assert_eq!(amount(text).map(|v| v.to_string()).as_deref(), Some(value), "{text}");
        }
        for text in [
            "",
            "-1",
            "+1",
            ".5",
            "1.",
            "1_000",
            "1e400",
            "1e19",
            "1000000000000000000",
            "0.0000001",
            "NaN",
            "1,5",
            "0x1",
            "1e",
            "1e1000",
            "١",
        ] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn floats_have_28_digits() {
        assert!(float("-1234567890123456789012345678").is_some());
        assert!(float("1e27").is_some());
        assert!(float("1e-28").is_some());
        assert!(float("1e28").is_none());
        assert!(float("1e-29").is_none());
        assert!(float("12345678901234567890123456789").is_none());
        assert!(float("123456789012345.12345678901234").is_none());
    }

    #[test]
    fn times_of_every_spelling() {
        for (text, value) in [
            ("2022-01-02T15:04:05.141Z", "2022-01-02T15:04:05.141Z"),
            ("2022-01-02 15:04:05", "2022-01-02T15:04:05Z"),
            ("2022-01-02", "2022-01-02T00:00:00Z"),
            ("2022-01-02T15:04:05.1234567+03:00", "2022-01-02T12:04:05.123456Z"),
            ("0001-01-01", "0001-01-01T00:00:00Z"),
            ("0000-12-31T23:30:00-01:00", "0001-01-01T00:30:00Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(time(text).map(time_text).as_deref(), Some(value), "{text}");
        }
        for text in [
            "",
            "2022",
            "2022-13-01",
            "2022-02-30",
            "2022-01-02T24:00:00Z",
            "2022-01-02T23:59:60Z",
            "0000-01-01",
            "10000-01-01",
            "2022-01-02t15:04:05z",
            "2022-01-02T15:04Z",
            "2022-01-02T15:04:05.Z",
            "2022-01-02T15:04:05.1234567890Z",
            "2022-01-02T15:04:05+3:00",
            "2022-01-02T15:04:05+24:00",
            "9999-12-31T23:30:00-01:00",
            "2022-01-02T",
            "2022-01-02  15:04:05",
            "2022-01-02é15:04:05",
            "éé22-01-02",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn integers_and_flags() {
        assert_eq!(integer(" -9223372036854775808 "), Some(i64::MIN));
        assert_eq!(integer("007"), Some(7));
        for text in ["", "-", "+1", "1.0", "1e2", "9223372036854775808"] {
            assert_eq!(integer(text), None, "{text}");
        }
        assert_eq!(boolean("1"), Some(true));
        assert_eq!(boolean("True"), None);
    }
}
