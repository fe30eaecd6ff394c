//! Tokens, roles, the caller.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::domain::hex;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// List and read orders.
    OrdersRead,
    /// Import, change and delete orders.
    OrdersWrite,
    /// List products and SKUs.
    CatalogRead,
    /// Import, change and delete products and SKUs.
    CatalogWrite,
    /// Set the account up, manage subscriptions, and see what became of events.
    Admin,
}

/// The name that stands for all roles of the Market API: all but `admin`.
pub const MARKET: &str = "market";

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::OrdersRead, Self::OrdersWrite, Self::CatalogRead, Self::CatalogWrite, Self::Admin];

    /// The name of the role.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::OrdersRead => "orders:read",
            Role::OrdersWrite => "orders:write",
            Role::CatalogRead => "catalog:read",
            Role::CatalogWrite => "catalog:write",
            Role::Admin => "admin",
        }
    }
}

/// True for a role's name, or `market`.
#[must_use]
pub fn is_role(name: &str) -> bool {
    name == MARKET || Role::ALL.iter().any(|role| role.as_str() == name)
}

/// Who calls, by a token that is good now; or that was when it was last looked up.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The account that the token belongs to.
    pub account_id: i64,
    /// The token's internal id.
    pub token_id: i64,
    /// The names of its roles.
    pub roles: Vec<String>,
    /// When it ends by itself.
    pub expires_at: Option<OffsetDateTime>,
    /// The version of the account's tokens when it was looked up: with another one it has to be looked up again.
    pub tokens_version: i64,
    /// It was not looked up for this request.
    pub remembered: bool,
}

impl Caller {
    /// True if the token has the role, by itself or by `market`.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.iter().any(|name| (name == MARKET && role != Role::Admin) || name == role.as_str())
    }
}

/// What every token that we make begins with: secret scanners know it by `ordergate_[0-9a-f]{72}`.
const PREFIX: &str = "ordergate_";

/// The token of the demo, which stands in Altcraft's own examples: public, so good in a demo only.
pub const DEMO_TOKEN: &str = "abcdefghijklmnqrstuvwxyz";

/// The shortest token that is taken over, in characters.
pub const MIN_TOKEN_CHARS: usize = crate::domain::MIN_TOKEN_CHARS;
/// The longest one.
const MAX_TOKEN_CHARS: usize = 255;

/// A new token: 256 random bits and their CRC-32, both in hex, behind the prefix.
///
/// # Errors
/// The system gives no random bytes.
pub fn generate() -> Result<String, getrandom::Error> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let secret = hex(&secret);
    let checksum = crc32fast::hash(secret.as_bytes());
    Ok(format!("{PREFIX}{secret}{checksum:08x}"))
}

/// What is stored of a token.
#[must_use]
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Why a token that clients already carry cannot be taken over.
#[must_use]
pub fn unfit(token: &str) -> Option<String> {
    let chars = token.chars().count();
    if !(MIN_TOKEN_CHARS..=MAX_TOKEN_CHARS).contains(&chars) {
        return Some(format!("expected {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} characters, found {chars}"));
    }
    if !token.chars().all(|c| c.is_ascii_graphic()) {
        return Some("expected printable ASCII characters without blanks".to_owned());
    }
    if mistyped(token) {
        return Some(format!("a token that begins with {PREFIX} needs its checksum: it was cut or mistyped"));
    }
    None
}

/// True for a token with our prefix whose checksum does not fit: it need not be looked up.
#[must_use]
pub fn mistyped(token: &str) -> bool {
    let Some(rest) = token.strip_prefix(PREFIX) else { return false };
    let Some((secret, checksum)) = rest.split_at_checked(64) else { return true };
    format!("{:08x}", crc32fast::hash(secret.as_bytes())) != checksum
}

/// When each token was used last, until a background task writes it down: no write per request.
#[derive(Debug, Default)]
pub struct LastUsed(Mutex<HashMap<i64, OffsetDateTime>>);

impl LastUsed {
    /// Notes a use; the latest one counts.
    pub fn note(&self, token_id: i64, at: OffsetDateTime) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = uses.entry(token_id).or_insert(at);
        *latest = at.max(*latest);
    }

    /// What was noted since the last time.
    #[must_use]
    pub fn take(&self) -> HashMap<i64, OffsetDateTime> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Callers that are remembered; a server with more tokens in use forgets all and begins again.
const MAX_CALLERS: usize = 10_000;

/// Who was looked up before, by the hash of the token. It saves a call a round trip: an import reads the version of
/// the account's tokens in its own transaction, and what is refused before is looked up again.
#[derive(Debug, Default)]
pub struct Callers(Mutex<HashMap<[u8; 32], Caller>>);

impl Callers {
    /// The caller of a token that has not expired.
    #[must_use]
    pub fn get(&self, hash: &[u8; 32], now: OffsetDateTime) -> Option<Caller> {
        let callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let caller = callers.get(hash).filter(|caller| caller.expires_at.is_none_or(|end| end > now))?;
        Some(Caller { remembered: true, ..caller.clone() })
    }

    /// Remembers what was found for a token: a caller or nobody.
    pub fn note(&self, hash: [u8; 32], caller: Option<&Caller>) {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX_CALLERS {
            callers.clear();
        }
        match caller {
            Some(caller) => drop(callers.insert(hash, caller.clone())),
            None => drop(callers.remove(&hash)),
        }
    }
}

/// Where a request may carry a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `Authorization: Bearer`.
    Header,
    /// `token=` behind the path.
    Query,
    /// The field `token`.
    Body,
}

impl Source {
    /// Where that is, in words.
    #[must_use]
    pub fn place(self) -> &'static str {
        match self {
            Source::Header => "in the header Authorization",
            Source::Query => "in the query",
            Source::Body => "in the body",
        }
    }
}

/// The tokens of one request, from up to three places, which have to agree; and where the first one stands.
#[derive(Debug, Clone, Default)]
pub struct Presented(Option<(String, Source)>);

/// Two tokens in one request that are not the same, by where they stand.
#[derive(Debug, PartialEq, Eq)]
pub struct TokenMismatch {
    /// Where the one that came first stands.
    pub first: Source,
    /// Where the other one stands.
    pub second: Source,
}

impl Presented {
    /// Takes note of a token; the empty one counts as absent.
    ///
    /// # Errors
    /// Another one was there before.
    pub fn add(&mut self, token: &str, source: Source) -> Result<(), TokenMismatch> {
        match &self.0 {
            _ if token.is_empty() => Ok(()),
            Some((before, _)) if before == token => Ok(()),
            Some((_, first)) => Err(TokenMismatch { first: *first, second: source }),
            None => {
                self.0 = Some((token.to_owned(), source));
                Ok(())
            }
        }
    }

    /// The token, if there is one.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.0.as_ref().map(|(token, _)| token.as_str())
    }
}

/// The sentence for a role that a token lacks; it has these.
#[must_use]
pub fn lacks(role: Role, roles: &[String]) -> String {
    let found = if roles.is_empty() { "none".to_owned() } else { roles.join(", ") };
    format!("token: expected the role {}, found {found}", role.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_known_by_its_checksum() {
        let token = generate().expect("random bytes");
        assert_eq!(token.len(), PREFIX.len() + 72);
        assert!(!mistyped(&token));
        assert!(mistyped(&token[..token.len() - 1]));
        assert!(mistyped("ordergate_é"));
        assert!(!mistyped(DEMO_TOKEN));
        assert_eq!(unfit(&token), None);
        assert!(unfit("short").is_some());
        assert!(unfit("a token with blanks").is_some());
    }

    #[test]
    fn tokens_have_to_agree() {
        let mut presented = Presented::default();
        assert_eq!(presented.add("", Source::Header), Ok(()));
        assert_eq!(presented.add("a", Source::Query), Ok(()));
        assert_eq!(presented.add("a", Source::Body), Ok(()));
        let mismatch = TokenMismatch { first: Source::Query, second: Source::Body };
        assert_eq!(presented.add("b", Source::Body), Err(mismatch));
        assert_eq!(presented.token(), Some("a"));
    }
}
