//! The grammars of scalars, the same for JSON and XML (contract, section 2).

use rust_decimal::Decimal;
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// A scalar without the blanks around it: XML's four, in both formats.
#[must_use]
pub fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// True for what nobody sees: blanks of every kind, zero-width characters, marks of direction, byte order marks.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}')
}

/// An id, a key of a look-up or a word of a fixed list without what nobody sees around it.
#[must_use]
pub fn id(text: &str) -> &str {
    // Most begin and end with a letter or a digit.
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim_matches(is_invisible),
    }
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

/// A decimal without a fraction, within 64 bits: `2`, `2.000`, `1e2`.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let digits = digits(text)?;
    if digits.fraction_len() > 0 || digits.count > MAX_DIGITS {
        return None;
    }
    let power = 10_i128.checked_pow(u32::try_from(digits.exponent).ok()?)?;
    let unsigned = digits.significant.checked_mul(power)?;
    i64::try_from(if digits.negative { -unsigned } else { unsigned }).ok()
}

/// An integer within 64 bits that is shown as it was sent: no zeros in front, no other spelling.
#[must_use]
pub fn code(text: &str) -> Option<i64> {
    let text = trimmed(text);
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
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

    /// The nearest number with so many digits after the point; of two the one whose last digit is even.
    fn rounded(mut self, fraction_len: i64) -> Self {
        let cut = -self.exponent - fraction_len;
        if cut <= 0 {
            return self;
        }
        // Digits that are not kept, since they are too many, are less than the last one that is, and more than nothing.
        let lost = (self.count - MAX_DIGITS).max(0);
        let divisor = u32::try_from(cut - lost).ok().and_then(|power| 10_i128.checked_pow(power));
        let Some(divisor) = divisor else { return Digits::default() };
        let (kept, rest) = (self.significant / divisor, self.significant % divisor);
        let is_up = match rest.cmp(&(divisor - rest)) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => lost > 0 || kept % 2 == 1,
            std::cmp::Ordering::Less => false,
        };
        self.significant = kept + i128::from(is_up);
        self.exponent = -fraction_len;
        self.count = i64::from(self.significant.checked_ilog10().map_or(0, |log| log + 1));
        while self.significant != 0 && self.significant % 10 == 0 {
            self.significant /= 10;
            (self.exponent, self.count) = (self.exponent + 1, self.count - 1);
        }
        if self.significant == 0 { Digits::default() } else { self }
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

/// A decimal of at most 18 digits before the point, rounded to 6 after it, half to even, and normalized.
#[must_use]
pub fn amount(text: &str) -> Option<Decimal> {
    let digits = digits(text)?;
    // A power that is large takes no time.
    if digits.whole_len() > 18 {
        return None;
    }
    Some(digits.rounded(6)).filter(|rounded| rounded.whole_len() <= 18)?.decimal()
}

/// An amount from 0.
#[must_use]
pub fn price(text: &str) -> Option<Decimal> {
    amount(text).filter(|amount| !amount.is_sign_negative())
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
    let (date, rest) = trimmed(text).split_at_checked(10)?;
    let (clock, offset) = clock_and_offset(rest)?;
    in_range(calendar_date(date)?.with_time(clock).assume_offset(offset))
}

/// True for what stands for no date at all: the year 1 of 1C and .NET, the zeros of `MySQL`; at midnight, or without a clock.
#[must_use]
pub fn is_no_date(text: &str) -> bool {
    let Some((date, rest)) = trimmed(text).split_at_checked(10) else { return false };
    matches!(date, "0001-01-01" | "0000-00-00")
        && clock_and_offset(rest).is_some_and(|(clock, _)| clock == Time::MIDNIGHT)
}

/// What follows a date: nothing, which is midnight, or `T` or a blank, a clock, and an offset.
fn clock_and_offset(text: &str) -> Option<(Time, UtcOffset)> {
    if text.is_empty() {
        return Some((Time::MIDNIGHT, UtcOffset::UTC));
    }
    let text = text.strip_prefix(['T', 't', ' '])?;
    let (hour, minute) = (two(text, 0)?, two(text, 3)?);
    if text.as_bytes()[2] != b':' {
        return None;
    }
    let (second, micros, rest) = match text[5..].strip_prefix(':') {
        None => (0, 0, &text[5..]),
        Some(seconds) => {
            let second = two(seconds, 0)?;
            let (micros, rest) = fraction(&seconds[2..])?;
            (second, micros, rest)
        }
    };
    Some((Time::from_hms_micro(hour, minute, second, micros).ok()?, offset(rest)?))
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

/// `Z`, `UTC`, `±HH:MM`, `±HHMM` or `±HH`, maybe behind a blank; or nothing, which is UTC.
fn offset(text: &str) -> Option<UtcOffset> {
    if text.is_empty() {
        return Some(UtcOffset::UTC);
    }
    let text = text.strip_prefix(' ').unwrap_or(text);
    if matches!(text, "Z" | "z" | "UTC") {
        return Some(UtcOffset::UTC);
    }
    let sign: i8 = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = two(text, 1)?;
    let minutes = match &text[3..] {
        "" => 0,
        minutes => {
            let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
            if minutes.len() != 2 {
                return None;
            }
            two(minutes, 0)?
        }
    };
    if hours > 23 || minutes > 59 {
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
            ("-15.50", "-15.5"),
            ("67.2000000000000028", "67.2"),
            ("0.0000005", "0"),
            ("0.0000015", "0.000002"),
            ("0.0000025", "0.000002"),
            ("0.00000250000000000000000000000000000000000000000000000001", "0.000003"),
            ("-0.0000015", "-0.000002"),
            ("-0.0000001", "0"),
            ("1.9999996", "2"),
            ("1e-999", "0"),
            ("999999999999999999.9999994", "999999999999999999.999999"),
        ] {
            assert_eq!(amount(text).map(|v| v.to_string()).as_deref(), Some(value), "{text}");
        }
        for text in [
            "",
            "+1",
            ".5",
            "1.",
            "1_000",
            "1e400",
            "1e19",
            "1000000000000000000",
            "999999999999999999.9999995",
            "NaN",
            "1,5",
            "0x1",
            "1e",
            "1e1000",
            "١",
        ] {
            assert_eq!(amount(text), None, "{text}");
        }
        assert_eq!((price("-0.01"), price("-0")), (None, Some(Decimal::ZERO)));
    }

    proptest::proptest! {
        /// Whatever has more digits is as near as can be, and none is nearer.
        #[test]
        fn amounts_are_rounded_to_the_nearest(whole in 0_u64..1_000_000, fraction in "[0-9]{7,21}") {
            let rounded = amount(&format!("{whole}.{fraction}")).expect("an amount");
            let exact = Decimal::from_str_exact(&format!("{whole}.{fraction}")).expect("at most 28 digits");
            let strategy = rust_decimal::RoundingStrategy::MidpointNearestEven;
            proptest::prop_assert_eq!(rounded, exact.round_dp_with_strategy(6, strategy));
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
            ("0001-01-01T00:00:01", "0001-01-01T00:00:01Z"),
            ("2024-01-15T12:30:00+0000", "2024-01-15T12:30:00Z"),
            ("2024-01-15T12:30:00.000+0300", "2024-01-15T09:30:00Z"),
            ("2024-01-15 12:30:00+00", "2024-01-15T12:30:00Z"),
            ("2024-01-15 12:30:00 -0530", "2024-01-15T18:00:00Z"),
            ("2024-01-15T12:30+03:00", "2024-01-15T09:30:00Z"),
            ("2024-01-15 12:30", "2024-01-15T12:30:00Z"),
            ("2024-01-15T12:30Z", "2024-01-15T12:30:00Z"),
            ("2024-01-15 12:30:00 UTC", "2024-01-15T12:30:00Z"),
            ("2024-01-15t12:30:00z", "2024-01-15T12:30:00Z"),
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
            "2022-01-02T15:4Z",
            "2022-01-02T15:04.5Z",
            "2022-01-02T15:04:05+030",
            "2022-01-02T15:04:05+03:0",
            "2022-01-02T15:04:05+",
            "2022-01-02T15:04:05  UTC",
            "2022-01-02T15:04:05 utc",
            "2022-01-02T15",
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
    fn no_date_is_what_stands_for_none() {
        for text in [
            "0001-01-01",
            " 0001-01-01T00:00:00 ",
            "0001-01-01T00:00:00.0000000",
            "0001-01-01T00:00:00+03:00",
            "0001-01-01 00:00:00Z",
            "0000-00-00",
            "0000-00-00 00:00:00",
        ] {
            assert!(is_no_date(text), "{text}");
        }
        for text in ["", "0001-01-02", "0001-01-01T00:00:01", "0000-00-00x", "0000-00-01", "2022-01-02"] {
            assert!(!is_no_date(text), "{text}");
        }
    }

    #[test]
    fn ids_lose_what_nobody_sees_around_them() {
        for text in ["a b", " a b", "a b\n", "\u{feff}a b\u{200b}", "\u{a0}\t\r\na b\u{200e}"] {
            assert_eq!(id(text), "a b", "{text:?}");
        }
        assert_eq!((id(""), id(" "), id("\u{200b}"), id("a"), id("а ")), ("", "", "", "a", "а"));
    }

    #[test]
    fn integers_and_flags() {
        assert_eq!(integer(" -9223372036854775808 "), Some(i64::MIN));
        for (text, value) in [("007", 7), ("2.0000", 2), ("2.0", 2), ("1e2", 100), ("-0.0", 0), ("1500e-2", 15)] {
            assert_eq!(integer(text), Some(value), "{text}");
        }
        let too_long = "1".repeat(40);
        for text in ["", "-", "+1", "1.5", "0.35", "1e-1", "1e19", "1e999", "9223372036854775808", "1.", &too_long] {
            assert_eq!(integer(text), None, "{text}");
        }
        assert_eq!((code("0"), code(" -12 "), code("9223372036854775807")), (Some(0), Some(-12), Some(i64::MAX)));
        for text in ["", "007", "-0", "+1", "1.0", "1e2", "080442957X", "9223372036854775808"] {
            assert_eq!(code(text), None, "{text}");
        }
        assert_eq!(boolean("1"), Some(true));
        assert_eq!(boolean("True"), None);
    }
}
