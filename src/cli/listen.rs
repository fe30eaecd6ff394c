//! From what `--listen` says to an address of this machine.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::config::Listen;

/// Listens on the address of a setting.
pub(super) async fn bind(setting: &str, listen: &Listen) -> anyhow::Result<TcpListener> {
    let address = address(setting, listen).await?;
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("listen on {address} (--{setting} names another address)"))
}

/// The address of a setting; of a name the first that this machine has, IPv4 before IPv6. One whose port is taken stays the first:
/// who asks for it is to find no other program.
pub(super) async fn address(setting: &str, listen: &Listen) -> anyhow::Result<SocketAddr> {
    let (name, port) = match listen {
        Listen::Address(address) => return Ok(*address),
        Listen::Name(name, port) => (name.as_str(), *port),
    };
    let found = tokio::net::lookup_host((name, port)).await;
    let found = found.with_context(|| format!("{setting}: expected a name with an address, found {name:?}"))?;
    let mut addresses: Vec<_> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let is_here = |address: &&SocketAddr| std::net::TcpListener::bind((address.ip(), 0)).is_ok();
    addresses.iter().find(is_here).copied().with_context(|| {
        let found: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        format!("{setting}: expected a name of this machine, found {listen}, which is {}", found.join(", "))
    })
}
