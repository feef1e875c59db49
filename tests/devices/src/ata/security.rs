//! The security feature set (ACS-4, Security feature set).
//!
//! ```text
//!         SET PASSWORD (user)                power off
//!  SEC1 ─────────────────────► SEC5 ───────────────────────► SEC3 ── power on ──► SEC4 locked
//!   │  ◄── DISABLE PASSWORD ───┘ │  ◄────────────── UNLOCK ──────────────────────┘
//!   │  ◄── ERASE UNIT ───────────┴──────────────────────────────────────────────┘
//!   └─ FREEZE LOCK ─► SEC2       └─ FREEZE LOCK ─► SEC6         (both until power is off)
//! ```

use super::{Abort, Disk, Freezing, Output};
use crate::{
    Course, NoAnswer,
    course::{Effect, Erasure, Inversion},
    layout::bytes,
};

/// How often a wrong password is taken before power must be cut (password attempt counter).
const ATTEMPTS: u8 = 5;

/// What the security feature set can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityCapabilities {
    /// Enhanced erase (word 128 bit 5).
    pub enhanced_erase: bool,
    /// How long an erase takes (word 89), in minutes.
    pub erase_minutes: u16,
    /// How long an enhanced erase takes (word 90), in minutes.
    pub enhanced_minutes: u16,
    /// The master password that the factory set.
    pub master: [u8; 32],
}

/// The states, without those in which there is no power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// SEC1: disabled, not frozen.
    Disabled,
    /// SEC2: disabled, frozen.
    DisabledFrozen,
    /// SEC4: enabled, locked.
    Locked,
    /// SEC5: enabled, unlocked, not frozen.
    Unlocked,
    /// SEC6: enabled, unlocked, frozen.
    UnlockedFrozen,
}

/// State and passwords. Passwords outlast power.
#[derive(Debug, Clone)]
pub(super) struct Security {
    is_supported: bool,
    enhanced_erase: bool,
    state: State,
    user: Option<[u8; 32]>,
    master: [u8; 32],
    /// Word 92: 0xfffe is what the factory set.
    master_identifier: u16,
    /// Master password capability is maximum: it does not unlock.
    is_maximum: bool,
    attempts: u8,
}

impl Security {
    pub(super) fn new(can: Option<&SecurityCapabilities>) -> Self {
        Self {
            is_supported: can.is_some(),
            enhanced_erase: can.is_some_and(|can| can.enhanced_erase),
            state: State::Disabled,
            user: None,
            master: can.map_or([0; 32], |can| can.master),
            master_identifier: 0xfffe,
            is_maximum: false,
            attempts: ATTEMPTS,
        }
    }

    /// Power comes back.
    pub(super) fn start(&mut self, freezes: bool) {
        self.state = if self.user.is_some() { State::Locked } else { State::Disabled };
        self.attempts = ATTEMPTS;
        if freezes {
            self.freeze();
        }
    }

    /// SECURITY FREEZE LOCK; a locked disk does not take it.
    pub(super) fn freeze(&mut self) {
        self.state = match self.state {
            State::Disabled if self.is_supported => State::DisabledFrozen,
            State::Unlocked => State::UnlockedFrozen,
            other => other,
        };
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.user.is_some()
    }

    pub(super) fn master_identifier(&self) -> u16 {
        self.master_identifier
    }

    fn is_frozen(&self) -> bool {
        matches!(self.state, State::DisabledFrozen | State::UnlockedFrozen)
    }

    /// Word 128.
    pub(super) fn status(&self) -> u16 {
        if !self.is_supported {
            return 0;
        }
        let bits = [
            (true, 0),
            (self.is_enabled(), 1),
            (self.state == State::Locked, 2),
            (self.is_frozen(), 3),
            (self.attempts == 0, 4),
            (self.enhanced_erase, 5),
            (self.is_maximum, 8),
        ];
        bits.into_iter().fold(0, |word, (is_set, place)| word | u16::from(is_set) << place)
    }

    /// Whether a command is executed in this state (Security command actions).
    pub(super) fn allows(&self, command: u8) -> bool {
        match command {
            0xf1..=0xf4 | 0xf6 if !self.is_supported || self.is_frozen() => false,
            0xf5 => self.is_supported && self.state != State::Locked,
            0xf1 | 0xf6 => self.state != State::Locked,
            // User data, and what would change where it is. SANITIZE DEVICE: its status is told, see there.
            0x24 | 0x25 | 0x34 | 0x35 | 0x06 | 0x37 | 0xf9 | 0xe7 | 0xea => {
                self.state != State::Locked
            }
            _ => true,
        }
    }

    /// Whether a locked disk keeps a sanitize from starting.
    pub(super) fn is_locked(&self) -> bool {
        self.state == State::Locked
    }

    /// Compares a password; the first word says whose it is (ACS-4, SECURITY UNLOCK data content).
    fn knows(&self, data: &[u8]) -> bool {
        let given: [u8; 32] = bytes(data, 2);
        if is_master(data) { given == self.master } else { Some(given) == self.user }
    }
}

fn is_master(data: &[u8]) -> bool {
    data.first().is_some_and(|byte| byte & 1 == 1)
}

impl Disk {
    /// All security commands but ERASE UNIT.
    pub(super) fn secure(&mut self, command: u8, data: &[u8]) -> Result<Output, Abort> {
        let security = &mut self.security;
        match command {
            0xf1 => {
                let password = bytes(data, 2);
                if is_master(data) {
                    security.master = password;
                    let identifier = u16::from_le_bytes(bytes(data, 34));
                    if !matches!(identifier, 0x0000 | 0xffff) {
                        security.master_identifier = identifier;
                    }
                } else {
                    // Bit 8 of word 0: the master password's capability.
                    security.is_maximum = data.get(1).is_some_and(|byte| byte & 1 == 1);
                    security.user = Some(password);
                    security.state = State::Unlocked;
                }
            }
            0xf2 => {
                if security.attempts == 0 {
                    return Err(Abort::PLAIN);
                }
                if !security.knows(data) || is_master(data) && security.is_maximum {
                    if security.state == State::Locked {
                        security.attempts -= 1;
                    }
                    return Err(Abort::PLAIN);
                }
                if security.state == State::Locked {
                    security.state = State::Unlocked;
                }
            }
            0xf3 => {}
            0xf5 => security.freeze(),
            0xf6 => {
                if !security.knows(data) || is_master(data) && security.is_maximum {
                    return Err(Abort::PLAIN);
                }
                security.user = None;
                security.state = State::Disabled;
            }
            _ => return Err(Abort::PLAIN),
        }
        Ok(Output { transferred: data.len(), ..Output::default() })
    }

    /// SECURITY ERASE UNIT (ACS-4): right after ERASE PREPARE, with a password, however long it takes.
    pub(super) fn erase_unit(
        &mut self,
        previous: u8,
        data: &[u8],
    ) -> Result<Result<Output, Abort>, NoAnswer> {
        let Some(can) = &self.config.security else { return Ok(Err(Abort::PLAIN)) };
        let is_enhanced = data.first().is_some_and(|byte| byte & 2 == 2);
        let is_refused = previous != 0xf3 || self.security.attempts == 0;
        if is_refused || !self.security.knows(data) || is_enhanced && !can.enhanced_erase {
            return Ok(Err(Abort::PLAIN));
        }
        let minutes = if is_enhanced { can.enhanced_minutes } else { can.erase_minutes };
        let time = std::time::Duration::from_mins(u64::from(minutes));
        let pages = self.user_pages(is_enhanced);
        let effect = if is_enhanced && self.is_flash() {
            Effect::Erase(pages)
        } else {
            Effect::Overwrite { pages, pattern: vec![0], passes: 1, inversion: Inversion::Never }
        };
        if let Some(at) = self.cut_at.take() {
            Erasure::new(effect, Course::SticksAt(at), time).advance(time, &mut self.medium);
            self.now += time * u32::from(at) / 0x1_0000;
            self.start(self.config.freezing != Freezing::Never);
            return Err(NoAnswer);
        }
        let course = self.config.erase_course;
        Erasure::new(effect, course, time).advance(time, &mut self.medium);
        self.now += time;
        self.took = time;
        match course {
            Course::Finishes | Course::Lies => {
                if is_enhanced && self.is_flash() && course == Course::Finishes {
                    self.medium.unmap_all();
                }
                self.security.user = None;
                self.security.state = State::Disabled;
                Ok(Ok(Output { transferred: data.len(), ..Output::default() }))
            }
            Course::FailsAt(_) => Ok(Err(Abort::PLAIN)),
            Course::SticksAt(_) => {
                self.is_silent = true;
                Err(NoAnswer)
            }
        }
    }
}
