//! What the server's words make the machine do: pure, so that every case is a test.
//!
//! The default is to wait. Nothing happens twice, nothing older than what was done happens at all,
//! and nothing that was not understood whole.

use std::time::{Duration, Instant};

use protocol::{Instruction, Verb, Welcome};

/// What is to be done at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing but to keep asking.
    Wait,
    /// Restart through the firmware.
    Restart,
    /// Switch off.
    SwitchOff,
    /// Collect and announce again.
    Announce,
    /// Carry out an order that destroys, where this program can.
    Work(Box<Verb>),
    /// Tell the server that this is not done, and why.
    Refuse {
        /// The instruction's number, where that much could be read.
        sequence: Option<u64>,
        /// Why, for a person.
        reason: String,
    },
}

/// What the machine was told so far.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    sequence: u64,
    restart_at: Option<Instant>,
}

/// The longest time that a restart can be put off. More is no wish but a mistake.
const LONGEST_DELAY: Duration = Duration::from_hours(24);

impl Orders {
    /// Returns the number after which to ask.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns when the machine restarts, unless something else is said before.
    pub fn restart_at(&self) -> Option<Instant> {
        self.restart_at
    }

    /// Follows what the server says to an announcement. A restart that is already due is not put off by announcing again.
    pub fn welcome(&mut self, now: Instant, welcome: &Welcome) -> Act {
        self.sequence = self.sequence.max(welcome.sequence);
        let before = self.restart_at;
        let act = self.follow(now, &welcome.verb);
        if let (Some(before), Some(after)) = (before, self.restart_at) {
            self.restart_at = Some(before.min(after));
        }
        // An answer to an announcement that asks for an announcement would never end.
        if act == Act::Announce { Act::Wait } else { act }
    }

    /// Follows an instruction as it came over the wire.
    pub fn receive(&mut self, now: Instant, json: &[u8]) -> Act {
        let instruction: Instruction = match serde_json::from_slice(json) {
            Ok(instruction) => instruction,
            Err(error) => {
                let sequence = readable_sequence(json);
                // What cannot be understood is not asked for again.
                self.sequence = self.sequence.max(sequence.unwrap_or(0));
                return Act::Refuse { sequence, reason: format!("not understood: {error}") };
            }
        };
        if instruction.sequence <= self.sequence {
            let reason = format!("not newer than {}", self.sequence);
            return Act::Refuse { sequence: Some(instruction.sequence), reason };
        }
        self.sequence = instruction.sequence;
        self.follow(now, &instruction.verb)
    }

    fn follow(&mut self, now: Instant, verb: &Verb) -> Act {
        let restart_at = self.restart_at.take();
        match verb {
            Verb::Wait {} => Act::Wait,
            Verb::Reboot {} => Act::Restart,
            Verb::PowerOff {} => Act::SwitchOff,
            Verb::RebootAfter { seconds } => {
                let delay = Duration::from_secs(u64::from(*seconds)).min(LONGEST_DELAY);
                self.restart_at = Some(now + delay);
                Act::Wait
            }
            Verb::Announce {} => {
                // To announce says nothing about what comes after.
                self.restart_at = restart_at;
                Act::Announce
            }
            // After the work the server says how it goes on.
            order => Act::Work(Box::new(order.clone())),
        }
    }
}

/// Reads the number of an instruction of which nothing else is understood.
fn readable_sequence(json: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(json).ok()?.get("sequence")?.as_u64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(orders: &mut Orders, json: &str, expected: &Act) {
        assert_eq!(&orders.receive(Instant::now(), json.as_bytes()), expected, "{json}");
    }

    fn welcome(sequence: u64, verb: Verb) -> Welcome {
        Welcome {
            machine: "m".to_owned(),
            clock_unix_milliseconds: None,
            sequence,
            notice: None,
            verb,
        }
    }

    fn refused(orders: &mut Orders, json: &str) -> Option<u64> {
        match orders.receive(Instant::now(), json.as_bytes()) {
            Act::Refuse { sequence, .. } => sequence,
            other => panic!("{json} led to {other:?}"),
        }
    }

    #[test]
    fn each_verb_is_carried_out_once() {
        let mut orders = Orders::default();
        check(&mut orders, r#"{"sequence": 1, "verb": {"kind": "wait"}}"#, &Act::Wait);
        check(&mut orders, r#"{"sequence": 2, "verb": {"kind": "announce"}}"#, &Act::Announce);
        check(&mut orders, r#"{"sequence": 3, "verb": {"kind": "powerOff"}}"#, &Act::SwitchOff);
        check(&mut orders, r#"{"sequence": 9, "verb": {"kind": "reboot"}}"#, &Act::Restart);
        let repeated = r#"{"sequence": 9, "verb": {"kind": "reboot"}}"#;
        assert_eq!(refused(&mut orders, repeated), Some(9));
        let older = r#"{"sequence": 4, "verb": {"kind": "reboot"}}"#;
        assert_eq!(refused(&mut orders, older), Some(4));
    }

    #[test]
    fn what_is_not_understood_whole_is_refused_and_not_asked_for_again() {
        let mut orders = Orders::default();
        let unknown_verb = r#"{"sequence": 5, "verb": {"kind": "wipe"}}"#;
        assert_eq!(refused(&mut orders, unknown_verb), Some(5));
        assert_eq!(orders.sequence(), 5);
        let unknown_field = r#"{"sequence": 6, "verb": {"kind": "reboot", "force": true}}"#;
        assert_eq!(refused(&mut orders, unknown_field), Some(6));
        assert_eq!(refused(&mut orders, "{"), None);
        assert_eq!(orders.sequence(), 6);
    }

    #[test]
    fn a_put_off_restart_is_called_off_by_the_next_word() {
        let mut orders = Orders::default();
        let json = r#"{"sequence": 1, "verb": {"kind": "rebootAfter", "seconds": 60}}"#;
        check(&mut orders, json, &Act::Wait);
        assert!(orders.restart_at().is_some());
        check(&mut orders, r#"{"sequence": 2, "verb": {"kind": "announce"}}"#, &Act::Announce);
        assert!(orders.restart_at().is_some());
        check(&mut orders, r#"{"sequence": 3, "verb": {"kind": "wait"}}"#, &Act::Wait);
        assert_eq!(orders.restart_at(), None);
    }

    #[test]
    fn announcing_again_neither_puts_a_restart_off_nor_goes_back() {
        let mut orders = Orders::default();
        let (start, later) = (Instant::now(), Instant::now() + Duration::from_secs(30));
        let verb = Verb::RebootAfter { seconds: 60 };
        assert_eq!(orders.welcome(start, &welcome(7, verb.clone())), Act::Wait);
        let due = orders.restart_at();
        assert_eq!(orders.welcome(later, &welcome(3, verb)), Act::Wait);
        assert_eq!((orders.restart_at(), orders.sequence()), (due, 7));
        assert_eq!(orders.welcome(later, &welcome(7, Verb::Announce {})), Act::Wait);
        assert_eq!(orders.welcome(later, &welcome(7, Verb::Wait {})), Act::Wait);
        assert_eq!(orders.restart_at(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_do_anything_but_what_they_say(bytes: Vec<u8>) {
            let act = Orders::default().receive(Instant::now(), &bytes);
            let refused = matches!(act, Act::Refuse { .. });
            prop_assert!(refused);
        }
    }
}
