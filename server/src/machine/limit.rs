//! How much a stranger may ask for: a bucket of tokens for each address, in bounded memory.

use std::{collections::HashMap, net::IpAddr, time::Duration};

/// So many announcements an address may make at once.
const BURST: u32 = 20;
/// So long it takes until one more is granted: an agent announces a few times in a boot.
const REFILL: Duration = Duration::from_secs(3);
/// So many addresses are remembered: a /20 network.
const ADDRESSES: usize = 4096;

/// Counts what each address asked for.
#[derive(Debug, Default)]
pub struct Limit {
    buckets: HashMap<IpAddr, Bucket>,
    /// When full buckets were last looked for.
    swept: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// How much of [`REFILL`] times [`BURST`] is used up, at `at`.
    used: Duration,
    at: Duration,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Go on.
    Granted,
    /// This address asks too often.
    TooOften,
    /// More addresses ask than can be remembered: only who is known goes on.
    TooMany,
}

impl Limit {
    /// Takes a token of an address, `now` being the time since the server started.
    pub fn take(&mut self, address: IpAddr, now: Duration) -> Grant {
        if !self.buckets.contains_key(&address) && self.buckets.len() >= ADDRESSES {
            self.sweep(now);
            if self.buckets.len() >= ADDRESSES {
                return Grant::TooMany;
            }
        }
        let bucket =
            self.buckets.entry(address).or_insert(Bucket { used: Duration::ZERO, at: now });
        let used = bucket.used_at(now) + REFILL;
        if used > REFILL * BURST {
            return Grant::TooOften;
        }
        *bucket = Bucket { used, at: now };
        Grant::Granted
    }
}

impl Limit {
    /// Forgets addresses that are quiet, at most once a second: a flood must not make each request slow.
    fn sweep(&mut self, now: Duration) {
        if now.saturating_sub(self.swept) >= Duration::from_secs(1) {
            self.swept = now;
            self.buckets.retain(|_, bucket| bucket.used_at(now) > Duration::ZERO);
        }
    }
}

impl Bucket {
    fn used_at(&self, now: Duration) -> Duration {
        self.used.saturating_sub(now.saturating_sub(self.at))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(number))
    }

    #[test]
    fn an_address_that_asks_too_often_waits_and_others_do_not() {
        let mut limit = Limit::default();
        let now = Duration::from_secs(100);
        for _ in 0..BURST {
            assert_eq!(limit.take(address(1), now), Grant::Granted);
        }
        assert_eq!(limit.take(address(1), now), Grant::TooOften);
        assert_eq!(limit.take(address(2), now), Grant::Granted);
        assert_eq!(limit.take(address(1), now + REFILL), Grant::Granted);
        assert_eq!(limit.take(address(1), now + REFILL), Grant::TooOften);
    }

    #[test]
    fn the_memory_is_bounded_and_empties_itself() {
        let mut limit = Limit::default();
        for number in 0..100_000 {
            let granted = limit.take(address(number), Duration::ZERO);
            assert_eq!(granted == Grant::Granted, number < 4096, "{number}");
        }
        assert_eq!(limit.buckets.len(), ADDRESSES);
        assert_eq!(limit.take(address(200_000), REFILL), Grant::Granted);
    }
}
