//! Which port had which address, as the journal's own entries tell it.

use std::{collections::HashMap, mem, net::Ipv4Addr};

use protocol::MacAddress;

/// Addresses remembered at least; at most twice as many.
const GENERATION: usize = 4_096;

/// The port last seen with each address. Bounded: what was not seen for long is forgotten.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    young: HashMap<Ipv4Addr, MacAddress>,
    old: HashMap<Ipv4Addr, MacAddress>,
}

impl Neighbours {
    /// Remembers that a port has an address.
    pub(super) fn learn(&mut self, address: Ipv4Addr, mac: MacAddress) {
        if address.is_unspecified() {
            return;
        }
        if self.young.len() >= GENERATION && !self.young.contains_key(&address) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(address, mac);
    }

    /// Returns the port that was last seen with an address.
    pub(super) fn mac_of(&self, address: Ipv4Addr) -> Option<MacAddress> {
        self.young.get(&address).or_else(|| self.old.get(&address)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_addresses_is_bounded_and_the_latest_are_known() {
        let mut neighbours = Neighbours::default();
        for number in 1..=100_000_u32 {
            let address = Ipv4Addr::from_bits(0x0a00_0000 + number);
            neighbours.learn(address, MacAddress([2, 0, 0, 0, 0, 1]));
            assert!(neighbours.mac_of(address).is_some());
        }
        assert!(neighbours.young.len() + neighbours.old.len() <= 2 * GENERATION);
    }
}
