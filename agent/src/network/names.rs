//! The name servers, where the C library looks for them.

use std::{fs, net::Ipv4Addr};

use tracing::warn;

const PATH: &str = "/etc/resolv.conf";

/// Uses these name servers; keeps what it has where there are none.
pub(super) fn write(servers: &[Ipv4Addr]) {
    if servers.is_empty() {
        return;
    }
    if let Err(error) = fs::write(PATH, text(servers)) {
        warn!(%error, "name servers cannot be written down");
    }
}

fn text(servers: &[Ipv4Addr]) -> String {
    servers.iter().fold(String::new(), |text, server| text + &format!("nameserver {server}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_a_line() {
        let servers = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(9, 9, 9, 9)];
        assert_eq!(text(&servers), "nameserver 10.0.0.1\nnameserver 9.9.9.9\n");
    }
}
