//! Which addresses a webhook may reach: no request is forged through one to what only we can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// True for an address of the public internet.
///
/// The special ones are those of the IANA registries of special-purpose addresses.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // "This network", shared by carriers, protocol assignments, benchmarks, multicast and what is reserved above it.
    let special = a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 224;
    !(special || address.is_loopback() || address.is_private() || address.is_link_local() || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        // IPv4-mapped, NAT64, and 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            is_public_v4(embedded(high, low))
        }
        // Teredo and other protocol assignments; documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Global unicast; all else is special.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The address that a URL names without a look-up.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok())
}

/// The host of a URL, if it says by itself that it is private: an address, or `localhost`. What another name stands for
/// is looked up when it is sent to.
pub(super) fn private_host(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    let name = host.trim_end_matches('.');
    let is_local = name == "localhost" || name.ends_with(".localhost");
    let is_private = is_local || literal(&url).is_some_and(|address| !is_public(address));
    is_private.then(|| host.to_owned())
}

/// Finds addresses of names; those that were checked are those that are connected to.
pub(super) struct PublicOnly {
    pub(super) allow_private: bool,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<SocketAddr> = found.filter(|address| allow_private || is_public(address.ip())).collect();
            if addresses.is_empty() {
                return Err(PRIVATE.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Why a private address is not reached.
pub(super) const PRIVATE: &str = "the address is private; --allow-private-webhooks allows such";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached() {
        let private = "0.1.2.3 10.1.2.3 100.64.0.1 100.127.255.255 127.0.0.1 127.1.2.3 169.254.169.254 172.16.0.1 172.31.255.255
            192.0.0.192 192.0.2.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1
            255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::7f00:1 64:ff9b:1::1
            100::1 2001::1 2001:db8::1 2002:7f00:1::1 2002:a00:1::1 2002:a9fe:a9fe::1 3fff::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1";
        for address in private.split_whitespace() {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
        let public = "1.1.1.1 9.9.9.9 100.63.255.255 100.128.0.1 172.15.0.1 172.32.0.1 192.0.1.1 192.169.0.1 198.17.0.1
            223.255.255.255 2606:4700::1111 2a00:1450::1 ::ffff:1.1.1.1 64:ff9b::101:101 2002:101:101::1 2001:4860::8888";
        for address in public.split_whitespace() {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
    }
    #[test]
    fn a_url_tells_by_itself_that_its_host_is_private() {
        for (url, host) in [
            ("http://127.0.0.1:9000/", Some("127.0.0.1")),
            ("http://127.1/", Some("127.0.0.1")),
            ("https://[::1]/hook", Some("[::1]")),
            ("http://10.0.0.7", Some("10.0.0.7")),
            ("http://LocalHost:9000", Some("localhost")),
            ("http://shop.localhost./", Some("shop.localhost.")),
            ("https://example.com", None),
            ("https://localhost.example.com", None),
            ("https://1.1.1.1", None),
            ("nats:", None),
        ] {
            assert_eq!(private_host(url).as_deref(), host, "{url}");
        }
    }
}
