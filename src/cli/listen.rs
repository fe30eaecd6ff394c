//! From what `--listen` says to an address of this machine.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;

use crate::config::Listen;

/// All addresses that a setting stands for, IPv4 before IPv6.
pub(super) async fn addresses(setting: &str, listen: &Listen) -> anyhow::Result<Vec<SocketAddr>> {
    let (name, port) = match listen {
        Listen::Address(address) => return Ok(vec![*address]),
        Listen::Name(name, port) => (name.as_str(), *port),
    };
    let found = tokio::net::lookup_host((name, port)).await;
    let found = found.with_context(|| format!("{setting}: expected a name with an address, found {name:?}"))?;
    let mut addresses: Vec<_> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

/// The first of them that this machine has. One whose port is taken stays the first: who asks for it is to find no other program.
pub(super) fn first_here(setting: &str, listen: &Listen, addresses: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    if let Listen::Address(address) = listen {
        return Ok(*address);
    }
    let is_here = |address: &&SocketAddr| TcpListener::bind((address.ip(), 0)).is_ok();
    addresses.iter().find(is_here).copied().with_context(|| {
        let found: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        format!("{setting}: expected a name of this machine, found {listen}, which is {}", found.join(", "))
    })
}
