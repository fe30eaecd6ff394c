//! Who asks: the other end of the connection, and for whom it says that it asks.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::config::Network;

/// The address of the other end of a connection. A call inside the process has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub IpAddr);

/// The client for whom trusted proxies ask: of `X-Forwarded-For`, from the right, the first address that is none of theirs.
/// Behind what is no address, and behind a stranger, nothing can be believed: then there is none.
pub(super) fn forwarded_for(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let values = headers.get_all("x-forwarded-for").iter().rev().map(|value| value.to_str().unwrap_or_default());
    let mut hops = values.flat_map(|value| value.rsplit(',')).map_while(address);
    if is_trusted(peer) { hops.find(|hop| !is_trusted(*hop)) } else { None }
}

/// The address of an entry; some proxies add the port.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let address = entry.parse::<IpAddr>().or_else(|_| entry.parse().map(|address: SocketAddr| address.ip()));
    let address = address.or_else(|_| entry.trim_start_matches('[').trim_end_matches(']').parse());
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        let trusted = ["10.0.0.0/8", "192.168.1.1", "fd00::/8"].map(|text| text.parse().expect("a network"));
        for (peer, sent, client) in [
            ("10.0.0.1", &["203.0.113.9"][..], Some("203.0.113.9")),
            ("10.0.0.1", &["1.2.3.4, 203.0.113.9, 10.1.1.1"], Some("203.0.113.9")),
            ("10.0.0.1", &["1.2.3.4, 203.0.113.9", "192.168.1.1,fd00::1"], Some("203.0.113.9")),
            ("192.168.1.1", &["203.0.113.9:4711"], Some("203.0.113.9")),
            ("fd00::7", &["[2001:db8::9]:4711, [fd00::1]"], Some("2001:db8::9")),
            ("10.0.0.1", &["::ffff:203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], None),
            ("10.0.0.1", &["203.0.113.9, a-token-of-a-client"], None),
            ("10.0.0.1", &["203.0.113.9, nobody, 10.0.0.2"], None),
            ("10.0.0.1", &[""], None),
            ("10.0.0.1", &[], None),
            ("192.168.1.2", &["203.0.113.9"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append("x-forwarded-for", value.parse().expect("a header"));
            }
            let found = forwarded_for(peer.parse().expect("an address"), &headers, &trusted);
            assert_eq!(found, client.map(|client| client.parse().expect("an address")), "{peer}: {sent:?}");
        }
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "203.0.113.9".parse().expect("a header"));
        assert_eq!(forwarded_for(IpAddr::from([10, 0, 0, 1]), &headers, &[]), None, "nobody is trusted");
    }
}
