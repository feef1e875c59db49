//! How often each port asks: too often in a second, or round and round through firmware.
//!
//! The table is bounded: 100,000 invented ports cost nobody memory, and ports that hold a lease keep being served.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use dhcp::Message;
use protocol::MacAddress;

use crate::journal::ClientFamily;

/// How many ports are watched at once.
const PORTS: usize = 4096;

/// How long a silent port is remembered.
const MEMORY: Duration = Duration::from_mins(2);

/// How many requests one port may make at once. Firmware needs four per boot, iPXE as many.
const BURST: f64 = 12.0;

/// How many requests per second one port may go on making.
const RATE: f64 = 1.0;

/// How many requests ports without a lease may make at once: a room full of machines switched on together.
const STRANGERS_BURST: f64 = 2000.0;

/// How many requests per second ports without a lease may go on making.
const STRANGERS_RATE: f64 = 200.0;

/// Within this time so many rounds through firmware are a loop.
const LOOP_WINDOW: Duration = Duration::from_mins(1);

/// How many rounds are still no loop.
const LOOP_ROUNDS: usize = 3;

/// Budgets and rounds of all ports.
#[derive(Debug)]
pub struct Pace {
    ports: HashMap<MacAddress, Port>,
    strangers: Budget,
    nonsense: Budget,
    swept: Instant,
}

/// What the pace says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// To be answered.
    Sound,
    /// The first of too many: to be said once.
    TooMany,
    /// One more of too many.
    StillTooMany,
}

/// Whether a machine goes in circles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// No.
    Fine,
    /// It has just become clear: to be said once.
    LoopBegins {
        /// Rounds within a minute.
        rounds: u32,
    },
    /// It was clear already.
    LoopGoesOn,
}

#[derive(Debug)]
struct Port {
    budget: Budget,
    muted: bool,
    last_seen: Instant,
    family: Option<ClientFamily>,
    firmware: Rounds,
    ipxe: Rounds,
}

/// The rounds of one stage. Firmware and the iPXE that it loads are counted apart: a boot has one round of each.
#[derive(Debug, Default)]
struct Rounds {
    /// The transaction that was counted last, and its age then.
    last: Option<(u32, u16)>,
    within_window: Vec<Instant>,
    looping: bool,
}

/// A bucket that fills slowly.
#[derive(Debug, Clone, Copy)]
struct Budget {
    left: f64,
    filled: Instant,
}

impl Budget {
    fn full(burst: f64, now: Instant) -> Self {
        Self { left: burst, filled: now }
    }

    fn take(&mut self, burst: f64, rate: f64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = rate.mul_add(passed, self.left).min(burst);
        self.filled = now;
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

impl Port {
    /// The rounds of the stage that speaks.
    fn stage(&mut self) -> &mut Rounds {
        match self.family {
            Some(ClientFamily::Ipxe) => &mut self.ipxe,
            _ => &mut self.firmware,
        }
    }
}

impl Rounds {
    fn count(&mut self, request: &Message, now: Instant) -> Progress {
        self.within_window.retain(|round| now.saturating_duration_since(*round) < LOOP_WINDOW);
        let is_repetition =
            self.last.is_some_and(|(xid, secs)| xid == request.xid && request.secs >= secs);
        self.last = Some((request.xid, request.secs));
        // In a loop the disk is named, not a boot program: that is no further round.
        if !is_repetition && self.within_window.len() <= LOOP_ROUNDS {
            self.within_window.push(now);
        }
        let rounds = self.within_window.len();
        if rounds <= LOOP_ROUNDS {
            self.looping = false;
            Progress::Fine
        } else if std::mem::replace(&mut self.looping, true) {
            Progress::LoopGoesOn
        } else {
            Progress::LoopBegins { rounds: u32::try_from(rounds).unwrap_or(u32::MAX) }
        }
    }
}

impl Pace {
    /// Knows nobody.
    pub fn new(now: Instant) -> Self {
        Self {
            ports: HashMap::new(),
            strangers: Budget::full(STRANGERS_BURST, now),
            nonsense: Budget::full(BURST, now),
            swept: now,
        }
    }

    /// Counts a request. `is_known` holds for ports that have a lease.
    pub fn admit(
        &mut self,
        mac: MacAddress,
        family: ClientFamily,
        is_known: bool,
        now: Instant,
    ) -> Verdict {
        let room_for_all = is_known || self.strangers.take(STRANGERS_BURST, STRANGERS_RATE, now);
        self.sweep(now);
        let is_full = self.ports.len() >= PORTS && !self.ports.contains_key(&mac);
        if is_full {
            // Nothing is remembered of this one: the strangers' budget alone decides.
            return if room_for_all { Verdict::Sound } else { Verdict::StillTooMany };
        }
        let port = self.ports.entry(mac).or_insert_with(|| Port {
            budget: Budget::full(BURST, now),
            muted: false,
            last_seen: now,
            family: None,
            firmware: Rounds::default(),
            ipxe: Rounds::default(),
        });
        port.last_seen = now;
        port.family = Some(family);
        if room_for_all && port.budget.take(BURST, RATE, now) {
            port.muted = false;
            return Verdict::Sound;
        }
        if std::mem::replace(&mut port.muted, true) {
            Verdict::StillTooMany
        } else {
            Verdict::TooMany
        }
    }

    /// Counts a request that cannot be read, and says whether it may be told.
    pub fn admit_nonsense(&mut self, now: Instant) -> bool {
        self.nonsense.take(BURST, RATE, now)
    }

    /// Counts a DISCOVER that is answered with a boot program. Repetitions of one request are one round:
    /// they have the same transaction, and say that more time has passed.
    pub fn boots(&mut self, request: &Message, now: Instant) -> Progress {
        let Some(port) = self.ports.get_mut(&request.chaddr) else { return Progress::Fine };
        port.stage().count(request, now)
    }

    /// Tells whether the machine was found to go in circles, without counting.
    pub fn progress(&mut self, mac: MacAddress) -> Progress {
        let is_looping = self.ports.get_mut(&mac).is_some_and(|port| port.stage().looping);
        if is_looping { Progress::LoopGoesOn } else { Progress::Fine }
    }

    /// Forgets the rounds of a machine that has reached a system.
    pub fn reached_system(&mut self, mac: MacAddress) {
        if let Some(port) = self.ports.get_mut(&mac) {
            port.firmware = Rounds::default();
            port.ipxe = Rounds::default();
        }
    }

    /// The family that a port spoke as, lately.
    pub fn family_of(&self, mac: MacAddress) -> Option<ClientFamily> {
        self.ports.get(&mac)?.family
    }

    /// Forgets silent ports, at most once a second where the table is full.
    fn sweep(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.swept);
        let is_due = age > MEMORY || (self.ports.len() >= PORTS && age > Duration::from_secs(1));
        if is_due {
            self.swept = now;
            self.ports.retain(|_, port| now.saturating_duration_since(port.last_seen) < MEMORY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

    fn admit(pace: &mut Pace, now: Instant) -> Verdict {
        pace.admit(MAC, ClientFamily::UefiPxe, false, now)
    }

    fn boots(pace: &mut Pace, xid: u32, secs: u16, now: Instant) -> Progress {
        let mut request = Message::request(MAC, xid);
        request.secs = secs;
        pace.boots(&request, now)
    }

    #[test]
    fn too_many_requests_are_said_once_and_end() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let verdicts: Vec<_> = (0..15).map(|_| admit(&mut pace, start)).collect();
        assert_eq!(verdicts[11], Verdict::Sound);
        assert_eq!(verdicts[12], Verdict::TooMany);
        assert_eq!(verdicts[13], Verdict::StillTooMany);
        assert_eq!(admit(&mut pace, start + Duration::from_secs(1)), Verdict::Sound);
    }

    #[test]
    fn a_hundred_thousand_invented_ports_are_bounded_and_known_ones_served() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut sound = 0_u32;
        for number in 0..100_000_u32 {
            let [a, b, c, d] = number.to_be_bytes();
            let mac = MacAddress([2, 0, a, b, c, d]);
            if pace.admit(mac, ClientFamily::Other, false, start) == Verdict::Sound {
                sound += 1;
            }
        }
        assert_eq!(sound, 2000);
        assert!(pace.ports.len() <= PORTS);
        assert_eq!(pace.admit(MAC, ClientFamily::Other, true, start), Verdict::Sound);
        let later = start + MEMORY + Duration::from_secs(1);
        assert_eq!(admit(&mut pace, later), Verdict::Sound);
        assert_eq!(pace.ports.len(), 1);
    }

    #[test]
    fn the_fourth_round_within_a_minute_is_a_loop() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(admit(&mut pace, start), Verdict::Sound);
        for xid in 1..=3 {
            assert_eq!(boots(&mut pace, xid, 0, start), Progress::Fine);
            assert_eq!(boots(&mut pace, xid, 4, start), Progress::Fine, "a repetition");
        }
        assert_eq!(boots(&mut pace, 4, 0, start), Progress::LoopBegins { rounds: 4 });
        assert_eq!(boots(&mut pace, 5, 0, start), Progress::LoopGoesOn);
        let later = start + LOOP_WINDOW;
        assert_eq!(boots(&mut pace, 6, 0, later), Progress::Fine);
    }

    #[test]
    fn a_rom_that_never_changes_its_transaction_is_counted_by_its_clock() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(admit(&mut pace, start), Verdict::Sound);
        for _ in 0..3 {
            assert_eq!(boots(&mut pace, 1, 0, start), Progress::Fine);
            assert_eq!(boots(&mut pace, 1, 8, start), Progress::Fine);
        }
        assert_eq!(boots(&mut pace, 1, 0, start), Progress::LoopBegins { rounds: 4 });
    }

    #[test]
    fn a_machine_that_reached_a_system_does_not_loop() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(admit(&mut pace, start), Verdict::Sound);
        for xid in 1..=20 {
            assert_eq!(boots(&mut pace, xid, 0, start), Progress::Fine);
            pace.reached_system(MAC);
        }
    }
}
