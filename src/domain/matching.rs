//! Which customer profile an order belongs to (contract, section 5).

use std::borrow::Cow;

use email_address::{EmailAddress, Options as EmailOptions};

use super::scalars::{id, is_invisible};

/// A kind of key by which a profile can be found; each has its own name space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityKind {
    /// The profile's own id.
    ProfileId,
    /// The e-mail address of a profile.
    EmailProfile,
    /// The e-mail address of a subscription.
    EmailSub,
    /// The phone number of a profile.
    PhoneProfile,
    /// The phone number of a subscription.
    PhoneSub,
    /// A push subscription at a provider.
    PushSub,
    /// A custom field of a profile.
    Custom,
    /// A custom field of a subscription.
    CustomSub,
}

impl IdentityKind {
    /// The kind of a name that is stored.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        use IdentityKind as Kind;
        let kinds = [
            Kind::ProfileId,
            Kind::EmailProfile,
            Kind::EmailSub,
            Kind::PhoneProfile,
            Kind::PhoneSub,
            Kind::PushSub,
            Kind::Custom,
            Kind::CustomSub,
        ];
        kinds.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The name that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            IdentityKind::ProfileId => "profile_id",
            IdentityKind::EmailProfile => "email_profile",
            IdentityKind::EmailSub => "email_sub",
            IdentityKind::PhoneProfile => "phone_profile",
            IdentityKind::PhoneSub => "phone_sub",
            IdentityKind::PushSub => "push_sub",
            IdentityKind::Custom => "custom",
            IdentityKind::CustomSub => "custom_sub",
        }
    }
}

/// Some kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IdentityKinds(u8);

impl IdentityKinds {
    /// Every kind.
    pub const ALL: Self = IdentityKinds(u8::MAX);

    /// True if this kind is one of them.
    #[must_use]
    pub fn contains(self, kind: IdentityKind) -> bool {
        self.0 & IdentityKinds::from(kind).0 != 0
    }

    /// These and those.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        IdentityKinds(self.0 | others.0)
    }
}

impl From<IdentityKind> for IdentityKinds {
    fn from(kind: IdentityKind) -> Self {
        IdentityKinds(1 << kind as u8)
    }
}

impl FromIterator<IdentityKind> for IdentityKinds {
    fn from_iter<I: IntoIterator<Item = IdentityKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(IdentityKinds::default(), |all, kind| all.and(kind.into()))
    }
}

/// One way to find one profile in a profile database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The kind of key.
    pub kind: IdentityKind,
    /// The provider or the field; empty for the other kinds.
    pub name: String,
    /// The key, folded as its kind is compared.
    pub value: String,
}

/// A key of a customer, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The kind of key.
    pub kind: IdentityKind,
    /// The provider or the field; empty for the other kinds.
    pub name: String,
    /// The key.
    pub value: String,
    /// Another customer has the same address or number, as a profile or as a subscription.
    pub is_shared: bool,
}

/// A customer, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCustomer {
    /// The public id of the profile.
    pub profile_id: String,
    /// By what it is found, by kind, name and value, the first few of each kind; without the profile's id.
    pub keys: Vec<StoredKey>,
}

/// One key that an order carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key<'a> {
    /// The path of the field that carries the key, inside the order.
    pub field: &'static [&'static str],
    /// A profile is looked for under each of these kinds; a miss creates the first one.
    pub kinds: &'static [IdentityKind],
    /// The provider or the field; empty for the other kinds.
    pub name: Cow<'a, str>,
    /// The key, folded as its kinds are compared.
    pub value: Cow<'a, str>,
}

/// A customer, as an order names it: one key, or an e-mail and a phone number in this order.
pub type Customer<'a> = Vec<Key<'a>>;

impl Key<'_> {
    /// What a miss creates; nothing for a profile id.
    #[must_use]
    pub fn creates(&self) -> Option<Identity> {
        let kind = self.kinds.first().filter(|kind| **kind != IdentityKind::ProfileId)?;
        Some(Identity { kind: *kind, name: self.name.to_string(), value: self.value.to_string() })
    }
}

/// An e-mail address as it is compared: without what nobody sees around it and without `mailto:`, in lower case, its domain in
/// the ASCII form of IDNA. One address by RFC 5322, without quotes, comments or blanks.
#[must_use]
pub fn fold_email(text: &str) -> Option<String> {
    let text = text.trim_matches(is_invisible);
    let address = match without_scheme(text, "mailto:") {
        // `mailto:` may bring a subject.
        address if address.len() < text.len() => address.split('?').next().unwrap_or(address),
        address => address,
    };
    let (local, domain) = address.rsplit_once('@')?;
    let folded = format!("{}@{}", local.to_lowercase(), idna::domain_to_ascii_strict(domain).ok()?);
    let options = EmailOptions::default().without_display_text().without_domain_literal().with_no_minimum_sub_domains();
    // IDNA would take invisible characters out of the domain, and make one address of two.
    let is_plain = !address.contains(|c: char| c == '"' || c == '(' || is_invisible(c));
    (is_plain && EmailAddress::parse_with_options(&folded, options).is_ok()).then_some(folded)
}

/// A phone number as it is compared: a `+`, if one stands before the digits, and 7 to 15 digits. What people put between them
/// does not count.
#[must_use]
pub fn fold_phone(text: &str) -> Option<String> {
    let number = without_scheme(text.trim_matches(is_invisible), "tel:");
    // A number that a table took for one with a fraction.
    if number.strip_suffix(".0").is_some_and(|whole| whole.bytes().all(|b| b.is_ascii_digit() || b == b'+')) {
        return None;
    }
    let mut folded = String::with_capacity(number.len());
    for c in number.chars() {
        match c {
            '0'..='9' => folded.push(c),
            '+' if folded.is_empty() => folded.push(c),
            '(' | ')' | '-' | '.' | '/' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
            c if is_invisible(c) => {}
            _ => return None,
        }
    }
    let digits = folded.len() - usize::from(folded.starts_with('+'));
    (7..=15).contains(&digits).then_some(folded)
}

fn without_scheme<'t>(text: &'t str, scheme: &str) -> &'t str {
    match text.split_at_checked(scheme.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(scheme) => rest,
        _ => text,
    }
}

/// A profile id: 24 hex digits, in lower case.
#[must_use]
pub fn fold_profile_id(text: &str) -> Option<String> {
    let text = id(text);
    (text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_folded() {
        for (sent, folded) in [
            (" John@Example.COM ", "john@example.com"),
            ("\u{200b}john@example.com\u{a0}", "john@example.com"),
            ("john@example.com\u{feff}", "john@example.com"),
            ("MailTo:john@example.com", "john@example.com"),
            ("o'brien+a=b@mail-1.example.com", "o'brien+a=b@mail-1.example.com"),
            ("Иван@Пример.рф", "иван@xn--e1afmkfd.xn--p1ai"),
            ("иван@XN--E1AFMKFD.xn--p1ai", "иван@xn--e1afmkfd.xn--p1ai"),
            ("john@localhost", "john@localhost"),
            ("mailto:john@example.com?subject=Hi", "john@example.com"),
        ] {
            assert_eq!(fold_email(sent).as_deref(), Some(folded), "{sent:?}");
        }
        for bad in [
            "",
            "john",
            "@x",
            "x@",
            "a@b@c",
            "a@b..c",
            "a@.b",
            "a@b.",
            "a..b@c",
            ".a@b",
            "john@example.com;",
            "a@b.com,c@d.com",
            "John <john@example.com>",
            "john smith@example.com",
            "john@exam ple.com",
            "john\u{200b}@example.com",
            "john@exam\u{ad}ple.com",
            "\"john smith\"@example.com",
            "john(comment)@example.com",
            "john@[127.0.0.1]",
            "john@example.com?subject=Hi",
            "john@example.com/a",
            "john@exa%mple.com",
            "mailto:",
            "http://example.com",
        ] {
            assert_eq!(fold_email(bad), None, "{bad:?}");
        }
        for (sent, folded) in [
            ("+7 (999) 123-45-67", "+79991234567"),
            ("(+7) 999.123/45-67", "+79991234567"),
            ("tel:+7-999-123-45-67", "+79991234567"),
            ("\u{202a}+7\u{a0}999\u{2011}123 45 67\u{202c}", "+79991234567"),
            ("8 999 123 45 67", "89991234567"),
            ("1234567", "1234567"),
            ("+123456789012345", "+123456789012345"),
        ] {
            assert_eq!(fold_phone(sent).as_deref(), Some(folded), "{sent:?}");
        }
        for bad in [
            "",
            "+",
            "0",
            "123456",
            "1234567890123456",
            "+7 (___) ___-__-__",
            "79991234567.0",
            "7.9E+10",
            "8 999+1234567",
            "++79991234567",
            "+79991234567 ext. 5",
            "+79991234567, +79991234568",
            "+79991234567;",
            "call me: 79991234567",
            "٧٩٩٩١٢٣٤٥٦٧",
        ] {
            assert_eq!(fold_phone(bad), None, "{bad:?}");
        }
        assert_eq!(fold_profile_id("5F0000000000000000000ABC").as_deref(), Some("5f0000000000000000000abc"));
        assert_eq!(fold_profile_id("5f"), None);
    }
}
