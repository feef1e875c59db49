//! How many requests one address may make: a burst, then a steady rate.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

/// Requests of one address at once: firmware, iPXE and their size probes come to six, and a Raspberry Pi that looks for what nobody
/// has to some forty within a second.
const BURST: u32 = 60;
/// Then one each so often.
const INTERVAL: Duration = Duration::from_millis(100);
/// Addresses that are remembered. Each is forgotten two seconds after its last request.
const ADDRESSES_LIMIT: usize = 4096;

/// What each address has used of what it is allowed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Until when each address has used it up.
    used: HashMap<Ipv4Addr, Instant>,
    /// When the full table may be searched again for addresses to forget: a flood must not make each request a search.
    search_again: Option<Instant>,
}

impl Pace {
    /// Counts a request, and says whether it may be answered.
    pub(super) fn allows(&mut self, address: Ipv4Addr, now: Instant) -> bool {
        if self.used.len() >= ADDRESSES_LIMIT && !self.used.contains_key(&address) {
            if self.search_again.is_some_and(|again| now < again) {
                return false;
            }
            self.used.retain(|_, until| *until > now);
            if self.used.len() >= ADDRESSES_LIMIT {
                self.search_again = Some(now + INTERVAL);
                return false;
            }
        }
        let until = self.used.entry(address).or_insert(now);
        let next = (*until).max(now) + INTERVAL;
        if next - now > INTERVAL * BURST {
            return false;
        }
        *until = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);

    #[test]
    fn a_burst_passes_and_then_a_steady_rate() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let passed = (0..100).filter(|_| pace.allows(ADDRESS, now)).count();
        assert_eq!(passed, 60);
        assert!(pace.allows(Ipv4Addr::new(10, 0, 0, 8), now));
        assert!(pace.allows(ADDRESS, now + INTERVAL));
        assert!(!pace.allows(ADDRESS, now + INTERVAL));
        assert!(pace.allows(ADDRESS, now + Duration::from_secs(7)));
    }

    #[test]
    fn invented_addresses_take_no_memory_and_pass_with_time() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let address = |number: u32| Ipv4Addr::from_bits(0x0a00_0000 + number);
        let passed = (0..100_000).filter(|number| pace.allows(address(*number), now)).count();
        assert_eq!(passed, ADDRESSES_LIMIT);
        assert!(pace.used.len() <= ADDRESSES_LIMIT);
        assert!(pace.allows(address(100_001), now + Duration::from_secs(3)));
    }
}
