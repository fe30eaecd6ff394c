//! Where to listen.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;

/// Where to listen: an address or a name, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// An address, with its port.
    Address(SocketAddr),
    /// A name, which has yet to be resolved, and a port.
    Name(String, u16),
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Listen::Address(address));
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        text.rsplit_once(':')
            .filter(|(name, port)| is_name(name) && is_number(port))
            .and_then(|(name, port)| Some(Listen::Name(name.to_owned(), port.parse().ok()?)))
            .ok_or("expected an address or a name with a port, like 127.0.0.1:8080, [::1]:8080 or localhost:8080")
    }
}

impl TryFrom<String> for Listen {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Address(address) => address.fmt(f),
            Listen::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}
