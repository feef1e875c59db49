//! The IP addresses that network interfaces have.

use std::{io, net::IpAddr};

use nix::{ifaddrs::getifaddrs, sys::socket::SockaddrStorage};

/// Returns the IP addresses of this network namespace, each with its interface's name (`RTM_GETADDR`).
pub fn all() -> io::Result<Vec<(String, IpAddr)>> {
    let ip = |storage: SockaddrStorage| {
        let four = storage.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        four.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    };
    let interfaces = getifaddrs()?;
    Ok(interfaces
        .filter_map(|interface| Some((interface.interface_name, ip(interface.address?)?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_address() {
        let found = all().unwrap();
        assert!(found.contains(&("lo".to_owned(), "127.0.0.1".parse().unwrap())), "{found:?}");
    }
}
