//! How many requests an address may make: a bucket that refills, in bounded memory.

use std::{
    collections::HashMap,
    mem,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Addresses remembered at least; at most twice as many.
const GENERATION: usize = 2_048;

/// The buckets of all addresses.
#[derive(Debug)]
pub(crate) struct Rate {
    burst: u32,
    refill: Duration,
    young: HashMap<IpAddr, Bucket>,
    old: HashMap<IpAddr, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: u32,
    since: Instant,
}

impl Rate {
    /// Allows `burst` requests at once, and one more after every `refill`.
    pub(crate) fn new(burst: u32, refill: Duration) -> Self {
        Self { burst, refill, young: HashMap::new(), old: HashMap::new() }
    }

    /// Takes a token of an address; false when there is none.
    pub(crate) fn take(&mut self, address: IpAddr, now: Instant) -> bool {
        let known = self.young.get(&address).or_else(|| self.old.get(&address)).copied();
        let mut bucket = known.unwrap_or(Bucket { tokens: self.burst, since: now });
        let refills = now.duration_since(bucket.since).as_nanos() / self.refill.as_nanos().max(1);
        if let Ok(refills @ 1..) = u32::try_from(refills) {
            bucket.tokens = bucket.tokens.saturating_add(refills).min(self.burst);
            bucket.since = now;
        }
        let granted = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        if self.young.len() >= GENERATION && !self.young.contains_key(&address) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(address, bucket);
        granted
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_burst_is_granted_then_one_at_a_time() {
        let mut rate = Rate::new(3, Duration::from_secs(1));
        let start = Instant::now();
        let granted = (0..5).filter(|_| rate.take(ADDRESS, start)).count();
        assert_eq!(granted, 3);
        let later = start + Duration::from_secs(1);
        assert!(rate.take(ADDRESS, later));
        assert!(!rate.take(ADDRESS, later));
        assert!(rate.take(Ipv4Addr::new(10, 0, 0, 9).into(), later), "others are not held up");
    }

    #[test]
    fn a_flood_of_addresses_is_bounded() {
        let mut rate = Rate::new(3, Duration::from_secs(1));
        let now = Instant::now();
        for number in 0..100_000 {
            rate.take(Ipv4Addr::from_bits(number).into(), now);
        }
        assert!(rate.young.len() + rate.old.len() <= 2 * GENERATION);
    }
}
