//! Which customer profile an order belongs to (contract, section 5).

use std::borrow::Cow;

use super::scalars::trimmed;

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

/// An e-mail address as it is compared: trimmed, without case; text on both sides of one `@`.
#[must_use]
pub fn fold_email(text: &str) -> Option<String> {
    let folded = trimmed(text).to_lowercase();
    let (local, domain) = folded.split_once('@')?;
    (!local.is_empty() && !domain.is_empty() && !domain.contains('@')).then_some(folded)
}

/// A phone number as it is compared: one leading `+`, if there is one, and digits.
#[must_use]
pub fn fold_phone(text: &str) -> Option<String> {
    let text = trimmed(text);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let plus = if text.starts_with('+') { "+" } else { "" };
    (!digits.is_empty()).then(|| format!("{plus}{digits}"))
}

/// A profile id: 24 hex digits, in lower case.
#[must_use]
pub fn fold_profile_id(text: &str) -> Option<String> {
    let text = trimmed(text);
    (text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_folded() {
        assert_eq!(fold_email(" John@Example.COM ").as_deref(), Some("john@example.com"));
        for bad in ["", "john", "@x", "x@", "a@b@c"] {
            assert_eq!(fold_email(bad), None, "{bad}");
        }
        assert_eq!(fold_phone("+7 (999) 123-45-67").as_deref(), Some("+79991234567"));
        assert_eq!(fold_phone("8 999+1").as_deref(), Some("89991"));
        assert_eq!(fold_phone("+"), None);
        assert_eq!(fold_profile_id("5F0000000000000000000ABC").as_deref(), Some("5f0000000000000000000abc"));
        assert_eq!(fold_profile_id("5f"), None);
    }
}
