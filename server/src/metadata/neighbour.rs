//! The kernel's neighbour table, `/proc/net/arp`: which port answers for an address on the server's own networks.

use std::net::Ipv4Addr;

use protocol::MacAddress;

/// `ARPHRD_ETHER`.
const ETHERNET: &str = "0x1";
/// `ATF_COM`: the entry is complete (`linux/if_arp.h`).
const COMPLETE: u32 = 2;

/// Returns the port that the kernel has seen behind an address; nothing for addresses behind a router.
pub fn mac_of(address: Ipv4Addr) -> Option<MacAddress> {
    find(&std::fs::read_to_string("/proc/net/arp").ok()?, address)
}

/// Finds an address in the table. Two ports for one address are none.
fn find(table: &str, address: Ipv4Addr) -> Option<MacAddress> {
    let mut found = None;
    for line in table.lines().skip(1) {
        let mut words = line.split_ascii_whitespace();
        if words.next().and_then(|word| word.parse().ok()) != Some(address) {
            continue;
        }
        let (kind, flags, mac) = (words.next()?, words.next()?, words.next()?);
        let flags =
            flags.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if kind != ETHERNET || flags.is_none_or(|flags| flags & COMPLETE == 0) {
            continue;
        }
        let mac: MacAddress = mac.parse().ok()?;
        if mac == MacAddress([0; 6]) || found.is_some_and(|known| known != mac) {
            return None;
        }
        found = Some(mac);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
IP address       HW type     Flags       HW address            Mask     Device
10.0.0.7         0x1         0x2         52:54:00:12:34:56     *        br0
10.0.0.8         0x1         0x0         00:00:00:00:00:00     *        br0
10.0.0.9         0x1         0x6         52:54:00:00:00:09     *        br0
10.0.0.10        0x1         0x2         52:54:00:00:00:0a     *        br0
10.0.0.10        0x1         0x2         52:54:00:00:00:0b     *        br1
10.0.0.11        0x20        0x2         52:54:00:00:00:0c     *        ib0
";

    #[test]
    fn only_a_complete_entry_that_nobody_contradicts_is_believed() {
        let check = |address: [u8; 4]| find(TABLE, address.into()).map(|mac| mac.to_string());
        assert_eq!(check([10, 0, 0, 7]).as_deref(), Some("52:54:00:12:34:56"));
        assert_eq!(check([10, 0, 0, 9]).as_deref(), Some("52:54:00:00:00:09"));
        for last in [8, 10, 11, 12, 1] {
            assert_eq!(check([10, 0, 0, last]), None, "{last}");
        }
    }

    #[test]
    fn a_table_that_was_cut_is_no_reason_to_panic() {
        for length in 0..TABLE.len() {
            let found = find(&TABLE[..length], Ipv4Addr::new(10, 0, 0, 7));
            assert!(found.is_none_or(|mac| mac.to_string().starts_with("52:54:00:12:34")));
        }
    }
}
