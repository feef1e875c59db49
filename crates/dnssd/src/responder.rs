//! Who is found: what a server says on one link, to whom, and when. RFC 6762.
//!
//! ```text
//!   start, another address ──► says everything, and again a second later (§8.3)
//!   question, port 5353 ─────► to all, at most once a second (§6); to the asker alone where all heard it lately (§5.4)
//!   question, other ports ───► to the asker alone (§6.7)
//!   end ─────────────────────► takes everything back (§10.1)
//! ```
//!
//! It does not ask whether somebody has its names already (§8.1): they have to be unique by how they are made.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use crate::{Announcement, MULTICAST_PORT, Message};

/// So long nothing is said to all again. RFC 6762 §6.
const REST: Duration = Duration::from_secs(1);
/// How often everything is said without a question. RFC 6762 §8.3.
const UNASKED: u8 = 2;
/// Who asks for an answer to himself gets it where all have heard it for so long: a quarter of how long it holds.
/// RFC 6762 §5.4.
const FRESH: Duration = Duration::from_secs(30);

/// How many answers go to single askers: so many at once, and so many in each second. Whoever asks in others' names makes
/// them hear no more than 30 kB in a second.
const AT_ONCE: u32 = 100;
const EACH_SECOND: u32 = 50;

/// The network of a link: this machine's address there, and how many bits are the same in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Where the server is.
    pub address: Ipv4Addr,
    /// 0 to 32.
    pub prefix_length: u8,
}

/// A server that is found on one link.
#[derive(Debug)]
pub struct Responder {
    announcement: Announcement,
    network: Network,
    /// When everything is said to all next.
    due: Option<Instant>,
    /// When it was last.
    said: Option<Instant>,
    /// How often it is said yet without a question.
    unasked: u8,
    /// How many answers may go to single askers, and since when.
    left: (u32, Instant),
}

impl Network {
    /// Holds for addresses that one machine on this link can have. RFC 6762 §11.
    pub fn has(self, address: Ipv4Addr) -> bool {
        let (own, other) = (self.address.to_bits(), address.to_bits());
        let hosts = u32::MAX.checked_shr(u32::from(self.prefix_length)).unwrap_or(0);
        let is_everybody = self.prefix_length < 31 && [0, hosts].contains(&(other & hosts));
        let is_none = address.is_unspecified() || address.is_broadcast() || address.is_multicast();
        (own ^ other) & !hosts == 0 && !is_everybody && !is_none
    }
}

impl Responder {
    /// Begins to say it: there is something to be said at once.
    pub fn new(announcement: Announcement, network: Network, now: Instant) -> Self {
        Self {
            announcement,
            network,
            due: Some(now),
            said: None,
            unasked: UNASKED,
            left: (AT_ONCE, now),
        }
    }

    /// Returns when there is something to be said to all.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns what is to be said to all, where it is time for that.
    pub fn speak(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.due.filter(|due| *due <= now)?;
        self.said = Some(now);
        self.unasked = self.unasked.saturating_sub(1);
        self.due = (self.unasked > 0).then(|| now + REST);
        Some(self.announcement.whole(&self.addresses())?.encode())
    }

    /// Hears a datagram that was sent to the group, and returns what the sender alone is told.
    ///
    /// `chance` is how long an answer to all waits where others may answer too: 20 ms to 120 ms, another one each time.
    pub fn hear(
        &mut self,
        datagram: &[u8],
        from: SocketAddrV4,
        now: Instant,
        chance: Duration,
    ) -> Option<Vec<u8>> {
        if !self.network.has(*from.ip()) || from.port() == 0 {
            return None;
        }
        let query = Message::parse(datagram)?;
        if from.port() != MULTICAST_PORT {
            // More than one question would be a way to be told long names again.
            let [_] = query.questions.as_slice() else { return None };
            let answer = self.announcement.answer_legacy(&query, &self.addresses())?;
            return self.may_tell(now).then(|| answer.encode());
        }
        let mut answer = self.announcement.answer(&query, &self.addresses())?;
        let wants_it_alone = query.questions.iter().all(|question| question.by_unicast);
        let is_fresh = self.said.is_some_and(|said| now.duration_since(said) < FRESH);
        if wants_it_alone && is_fresh && self.may_tell(now) {
            answer.id = query.id;
            return Some(answer.encode());
        }
        // What nobody else has can be said at once.
        let is_ours_alone = answer.records.iter().all(|record| record.is_unique);
        let wait = if is_ours_alone { Duration::ZERO } else { chance };
        let rested = self.said.map_or(now, |said| said + REST);
        let at = rested.max(now + wait);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
        None
    }

    /// Returns what is said to all at the end; nothing where nothing was said.
    pub fn farewell(&self) -> Option<Vec<u8>> {
        self.said?;
        Some(self.announcement.farewell(&self.addresses())?.encode())
    }

    fn addresses(&self) -> [IpAddr; 1] {
        [self.network.address.into()]
    }

    fn may_tell(&mut self, now: Instant) -> bool {
        let (left, since) = &mut self.left;
        let seconds = now.saturating_duration_since(*since).as_secs();
        if seconds > 0 {
            let more = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(EACH_SECOND);
            (*left, *since) = (left.saturating_add(more).min(AT_ONCE), now);
        }
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests;
