//! One transfer as a state machine: packets and time in, packets and an end out.
//!
//! ```text
//!          options agreed                 acknowledges 0
//!  begin ────────────────► Offering ──────────────────────► Sending ──► ended
//!    └──────────────────────────────────────────────────────►  │ ▲        ├ Sent: the last block is acknowledged
//!          no options: the first block at once                 └─┘        ├ Probed: it only wanted the size
//!                                           acknowledges inside the window├ Aborted: it gave up
//!                                           or nothing for a while: again └ TimedOut: it is gone
//! ```

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{packet, terms::Terms};

/// How long the first answer is waited for.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// Waiting doubles up to this.
const LONGEST_PATIENCE: Duration = Duration::from_secs(5);
/// How often the same packets are sent before the client counts as gone: 19 s in all.
const TRIES: u32 = 6;

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Transfer {
    content: Bytes,
    terms: Terms,
    /// The file's last block, which is shorter than the others: empty where the length divides evenly.
    last: u64,
    state: State,
    tries: u32,
    deadline: Instant,
}

/// Blocks are counted from 1 and never wrap here; on the wire 65535 is followed by 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The options were sent.
    Offering,
    /// Everything up to `acknowledged` has arrived, everything up to `sent` is on its way.
    Sending { acknowledged: u64, sent: u64 },
}

/// What happens to a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The client has everything up to a block.
    Acknowledge(u16),
    /// The client gives up.
    Error {
        /// Its code.
        code: u16,
        /// Its words.
        text: String,
    },
    /// The client asked again, as if nothing had arrived.
    AskedAgain,
    /// Nothing, until the deadline or later.
    Nothing,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// These packets, in this order. None: the event meant nothing.
    Send(Vec<Bytes>),
    /// The end.
    End(End),
}

/// How a transfer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The last block is acknowledged.
    Sent,
    /// The client asked for the size, had it, and left: EDK2 and many ROMs do, and come again.
    Probed,
    /// The client gave up.
    Aborted {
        /// Its words, or its code where it has none.
        reason: String,
    },
    /// The client is gone.
    TimedOut {
        /// The first block that it did not acknowledge; 0: the options.
        block: u64,
        /// The last block of the file.
        last: u64,
    },
}

impl Transfer {
    /// Begins a transfer: its first packets, and itself.
    pub(super) fn begin(content: Bytes, terms: Terms, now: Instant) -> (Self, Vec<Bytes>) {
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let last = length / u64::from(terms.block_bytes) + 1;
        let state = if terms.granted.is_empty() {
            State::Sending { acknowledged: 0, sent: last.min(u64::from(terms.window)) }
        } else {
            State::Offering
        };
        let mut transfer = Self { content, terms, last, state, tries: 0, deadline: now };
        transfer.progress(now);
        let packets = transfer.in_flight();
        (transfer, packets)
    }

    /// Returns when something is to be sent again.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the file's length in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        u64::try_from(self.content.len()).unwrap_or(u64::MAX)
    }

    /// Takes a step.
    pub(super) fn step(&mut self, event: Event, now: Instant) -> Step {
        match event {
            Event::Acknowledge(block) => self.acknowledged(block, now),
            Event::Error { code, text } => Step::End(self.aborted(code, text)),
            Event::AskedAgain if !self.has_begun() => self.again(now),
            Event::Nothing if now >= self.deadline => self.again(now),
            Event::AskedAgain | Event::Nothing => Step::Send(Vec::new()),
        }
    }

    /// Holds once the client has acknowledged anything.
    pub(super) fn has_begun(&self) -> bool {
        match self.state {
            State::Offering => false,
            State::Sending { acknowledged, .. } => {
                acknowledged > 0 || !self.terms.granted.is_empty()
            }
        }
    }

    fn acknowledged(&mut self, block: u16, now: Instant) -> Step {
        let acknowledged = match self.state {
            State::Offering if block == 0 => 0,
            State::Offering => return Step::Send(Vec::new()),
            // An old acknowledgement, or a double, is never answered: each answer would
            // double every block that follows (the "Sorcerer's Apprentice", RFC 1123, 4.2.3.1).
            State::Sending { acknowledged, sent } => {
                match (acknowledged + 1..=sent).find(|candidate| on_the_wire(*candidate) == block) {
                    Some(acknowledged) => acknowledged,
                    None => return Step::Send(Vec::new()),
                }
            }
        };
        if acknowledged == self.last {
            return Step::End(End::Sent);
        }
        let sent = self.last.min(acknowledged + u64::from(self.terms.window));
        self.state = State::Sending { acknowledged, sent };
        self.progress(now);
        Step::Send(self.in_flight())
    }

    fn aborted(&self, code: u16, text: String) -> End {
        if self.state == State::Offering && self.terms.asked_for_size {
            return End::Probed;
        }
        End::Aborted { reason: if text.is_empty() { format!("error {code}") } else { text } }
    }

    fn again(&mut self, now: Instant) -> Step {
        if self.tries >= TRIES {
            let block = match self.state {
                State::Offering => 0,
                State::Sending { acknowledged, .. } => acknowledged + 1,
            };
            return Step::End(End::TimedOut { block, last: self.last });
        }
        self.wait(now);
        Step::Send(self.in_flight())
    }

    fn progress(&mut self, now: Instant) {
        self.tries = 0;
        self.wait(now);
    }

    fn wait(&mut self, now: Instant) {
        let doubled = FIRST_PATIENCE.saturating_mul(1 << self.tries.min(8)).min(LONGEST_PATIENCE);
        self.tries += 1;
        self.deadline = now + self.terms.timeout.unwrap_or(doubled);
    }

    /// Makes the packets that are on their way.
    fn in_flight(&self) -> Vec<Bytes> {
        match self.state {
            State::Offering => vec![packet::acknowledge_options(&self.terms.granted)],
            State::Sending { acknowledged, sent } => self.blocks(acknowledged + 1..=sent),
        }
    }

    fn blocks(&self, blocks: RangeInclusive<u64>) -> Vec<Bytes> {
        let block_bytes = u64::from(self.terms.block_bytes);
        let index = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX).min(self.content.len());
        let data = |block: u64| {
            let content =
                &self.content[index((block - 1) * block_bytes)..index(block * block_bytes)];
            packet::data(on_the_wire(block), content)
        };
        blocks.map(data).collect()
    }
}

/// Block numbers have 16 bits; files over 32 MB at 512 bytes wrap to 0, as most clients expect.
fn on_the_wire(block: u64) -> u16 {
    u16::try_from(block % 0x1_0000).unwrap_or_default()
}

#[cfg(test)]
mod tests;
