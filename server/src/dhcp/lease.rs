//! Who has which address: in memory, pure; what must survive a restart goes to [`store`].
//!
//! Addresses are kept by MAC address, not by client identifier: firmware, iPXE and agent of one machine
//! send three different ones, and all shall have one address.
//!
//! ```text
//!            DISCOVER             REQUEST              time passes
//!   (free) ───────────► offered ───────────► leased ───────────────► lapsed: still this MAC's,
//!      ▲                   │ 60 s              │ ▲                     until nothing else is free
//!      └───────────────────┘                   │ └──── renewed ────┘
//!                                              ▼ DECLINE, or somebody else answers ARP
//!                                         quarantined
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    time::Duration,
};

use protocol::MacAddress;
use serde::{Deserialize, Serialize};

use crate::dhcp::settings::Subnet;

pub mod store;

/// How long an offer is kept for the client that got it. Firmware collects offers for 4 s and asks again after 32 s.
const OFFER_TIME: Duration = Duration::from_mins(1);

/// How old an offer must be to be given to somebody else when nothing is free: firmware takes offers within 4 s.
const OFFER_PATIENCE: Duration = Duration::from_secs(10);

/// How long an address rests that somebody else was seen to use.
const QUARANTINE_TIME: Duration = Duration::from_hours(10);

/// A moment by the server's clock: milliseconds since 1970. A lease outlives the server's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// The moment so much later; for ever where the sum overflows.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// An address that is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The client's port.
    pub mac: MacAddress,
    /// Until when.
    pub until: UnixTime,
    /// In which way it is not free.
    pub state: State,
    /// Whether it stays this MAC's for good.
    #[serde(default)]
    pub reserved: bool,
}

/// In which way an address is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Offered, not yet taken.
    Offered,
    /// Taken.
    Leased,
    /// Used by somebody who did not ask us.
    Quarantined,
}

/// An address that a client may be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The address.
    pub address: Ipv4Addr,
    /// Whether it must be seen first that nobody uses it.
    pub confidence: Confidence,
}

/// How sure it is that nobody else uses an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// It is this client's own.
    Known,
    /// Somebody may have it who never asked us.
    ToBeProbed,
}

/// What a client's claim to an address is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The address is the client's.
    Own,
    /// The address is free and ours to lend.
    Free,
    /// The address is somebody else's, or none of ours.
    Void,
}

/// All addresses that are not free. One per pool address at most, so its size is bounded.
#[derive(Debug, Clone, Default)]
pub struct Leases {
    held: BTreeMap<Ipv4Addr, Lease>,
    /// Every address that stands in `held` and is not in quarantine, by its MAC: one per subnet, seldom more than one in all.
    by_mac: HashMap<MacAddress, Vec<Ipv4Addr>>,
}

impl Leases {
    /// Takes over what was stored, as far as it still belongs to the subnets.
    pub fn restore(
        stored: impl IntoIterator<Item = (Ipv4Addr, Lease)>,
        subnets: &[Subnet],
    ) -> Self {
        let mut leases = Self::default();
        for (address, lease) in stored {
            let is_ours = subnets.iter().any(|subnet| {
                subnet.lends(address) || (lease.reserved && subnet.contains(address))
            });
            if is_ours {
                leases.hold(address, lease);
            }
        }
        leases
    }

    /// How many addresses are not free.
    pub fn count(&self) -> usize {
        self.held.len()
    }

    /// What is known of an address.
    pub fn get(&self, address: Ipv4Addr) -> Option<&Lease> {
        self.held.get(&address)
    }

    /// The address that a client has, or had last, in a subnet.
    pub fn address_of(&self, mac: MacAddress, subnet: &Subnet) -> Option<Ipv4Addr> {
        let addresses = self.by_mac.get(&mac)?;
        addresses.iter().copied().find(|address| subnet.contains(*address))
    }

    /// Holds for clients that took an address once, and still could have it.
    pub fn knows(&self, mac: MacAddress) -> bool {
        let addresses = self.by_mac.get(&mac).map(Vec::as_slice).unwrap_or_default();
        addresses
            .iter()
            .filter_map(|address| self.held.get(address))
            .any(|lease| lease.reserved || lease.state == State::Leased)
    }

    /// Finds the address to offer, and keeps it for the client: its own, else the one it wants, else any.
    ///
    /// Absent when the pool is exhausted.
    pub fn offer(
        &mut self,
        mac: MacAddress,
        wanted: Option<Ipv4Addr>,
        subnet: &Subnet,
        now: UnixTime,
    ) -> Option<Offer> {
        let own = self.address_of(mac, subnet);
        let address = own
            .or_else(|| wanted.filter(|wanted| self.is_free(*wanted, subnet, now)))
            .or_else(|| self.find_free(mac, subnet, now))
            .or_else(|| self.find_lapsed(subnet, now))?;
        let known = self.held.get(&address).filter(|lease| lease.mac == mac);
        let is_current = known.is_some_and(|lease| {
            lease.reserved || (lease.state == State::Leased && lease.until > now)
        });
        let was_leased = known.is_some_and(|lease| lease.state == State::Leased);
        if was_leased || is_current {
            let confidence = if is_current { Confidence::Known } else { Confidence::ToBeProbed };
            return Some(Offer { address, confidence });
        }
        let until = now.after(OFFER_TIME);
        self.hold(address, Lease { mac, until, state: State::Offered, reserved: false });
        Some(Offer { address, confidence: Confidence::ToBeProbed })
    }

    /// Says what a client's claim to an address is worth.
    pub fn claim(
        &self,
        mac: MacAddress,
        address: Ipv4Addr,
        subnet: &Subnet,
        now: UnixTime,
    ) -> Claim {
        let own = self.address_of(mac, subnet);
        match own {
            Some(own) if own == address => Claim::Own,
            // One address per MAC: an offer that was not taken yields, a lease does not.
            Some(own) if self.held.get(&own).is_some_and(|lease| lease.state == State::Leased) => {
                Claim::Void
            }
            _ if self.is_free(address, subnet, now) => Claim::Free,
            _ => Claim::Void,
        }
    }

    /// Lends an address, and returns what must be stored. A longer lease is never shortened: its holder may still rely on it.
    pub fn lend(
        &mut self,
        mac: MacAddress,
        address: Ipv4Addr,
        duration: Duration,
        now: UnixTime,
    ) -> Lease {
        let before = self.held.get(&address).filter(|lease| lease.mac == mac).copied();
        let kept = before.filter(|lease| lease.state == State::Leased);
        let until = now.after(duration).max(kept.map_or(now, |lease| lease.until));
        let reserved = before.is_some_and(|lease| lease.reserved);
        let lease = Lease { mac, until, state: State::Leased, reserved };
        self.hold(address, lease);
        lease
    }

    /// Makes the client's address its own for good, and returns what must be stored. Absent where it has none.
    pub fn reserve(&mut self, mac: MacAddress, subnet: &Subnet) -> Option<(Ipv4Addr, Lease)> {
        let address = self.address_of(mac, subnet)?;
        let lease = self.held.get_mut(&address)?;
        lease.reserved = true;
        lease.state = State::Leased;
        Some((address, *lease))
    }

    /// Ends a reservation; the lease itself goes on. Returns what must be stored.
    pub fn unreserve(&mut self, mac: MacAddress) -> Vec<(Ipv4Addr, Lease)> {
        let addresses = self.by_mac.get(&mac).cloned().unwrap_or_default();
        let mut changed = Vec::new();
        for address in addresses {
            if let Some(lease) = self.held.get_mut(&address).filter(|lease| lease.reserved) {
                lease.reserved = false;
                changed.push((address, *lease));
            }
        }
        changed
    }

    /// Forgets an offer that the client did not take.
    pub fn withdraw(&mut self, mac: MacAddress) {
        let addresses = self.by_mac.get(&mac).cloned().unwrap_or_default();
        for address in addresses {
            let offered =
                self.held.get(&address).is_some_and(|lease| lease.state == State::Offered);
            if offered {
                self.drop_held(address);
            }
        }
    }

    /// Ends a lease at its holder's wish, and returns what must be stored. The address stays that MAC's until it is needed.
    pub fn release(&mut self, mac: MacAddress, address: Ipv4Addr, now: UnixTime) -> Option<Lease> {
        let lease = self.held.get_mut(&address)?;
        if lease.mac != mac || lease.state != State::Leased {
            return None;
        }
        lease.until = lease.until.min(now);
        Some(*lease)
    }

    /// Lays an address aside that somebody else uses, and returns what must be stored.
    ///
    /// Only the address that this client holds: else one client could lay the whole pool aside.
    pub fn quarantine(
        &mut self,
        mac: MacAddress,
        address: Ipv4Addr,
        now: UnixTime,
    ) -> Option<Lease> {
        let lease = self.held.get(&address)?;
        if lease.mac != mac || lease.state == State::Quarantined {
            return None;
        }
        let until = now.after(QUARANTINE_TIME);
        let lease = Lease { mac, until, state: State::Quarantined, reserved: false };
        self.hold(address, lease);
        Some(lease)
    }

    /// Holds for addresses of the pool that nobody holds, or whose offer or quarantine is over.
    fn is_free(&self, address: Ipv4Addr, subnet: &Subnet, now: UnixTime) -> bool {
        subnet.lends(address)
            && self.held.get(&address).is_none_or(|lease| {
                lease.state != State::Leased && !lease.reserved && lease.until <= now
            })
    }

    /// Looks for a free address from a place that follows from the MAC address,
    /// so that a machine tends to get its old address even from an empty table.
    fn find_free(&self, mac: MacAddress, subnet: &Subnet, now: UnixTime) -> Option<Ipv4Addr> {
        let size = subnet.pool_size();
        let start = spread(mac) % size;
        let first = subnet.range_start().to_bits();
        (0..size)
            .map(|step| Ipv4Addr::from_bits(first + (start + step) % size))
            .find(|address| self.is_free(*address, subnet, now))
    }

    /// Looks for the address whose holder can best do without: the lease that lapsed first, else the oldest offer.
    fn find_lapsed(&self, subnet: &Subnet, now: UnixTime) -> Option<Ipv4Addr> {
        let stale = now.after(OFFER_TIME.saturating_sub(OFFER_PATIENCE));
        let first = subnet.range_start();
        let last = Ipv4Addr::from_bits(first.to_bits() + (subnet.pool_size() - 1));
        let candidates = self.held.range(first..=last).filter(|(_, lease)| !lease.reserved);
        let (lapsed, offered): (Vec<_>, Vec<_>) = candidates
            .filter(|(_, lease)| match lease.state {
                State::Leased => lease.until <= now,
                State::Offered => lease.until <= stale,
                State::Quarantined => false,
            })
            .partition(|(_, lease)| lease.state == State::Leased);
        let oldest = |leases: Vec<(&Ipv4Addr, &Lease)>| {
            leases.into_iter().min_by_key(|(_, lease)| lease.until).map(|(address, _)| *address)
        };
        oldest(offered).or_else(|| oldest(lapsed))
    }

    fn hold(&mut self, address: Ipv4Addr, lease: Lease) {
        self.drop_held(address);
        self.held.insert(address, lease);
        if lease.state != State::Quarantined {
            self.by_mac.entry(lease.mac).or_default().push(address);
        }
    }

    fn drop_held(&mut self, address: Ipv4Addr) {
        let Some(lease) = self.held.remove(&address) else { return };
        if let Some(addresses) = self.by_mac.get_mut(&lease.mac) {
            addresses.retain(|known| *known != address);
            if addresses.is_empty() {
                self.by_mac.remove(&lease.mac);
            }
        }
    }
}

/// Spreads MAC addresses, whose makers count them up, over the pool. FNV-1a.
fn spread(mac: MacAddress) -> u32 {
    mac.0.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
