//! The sanitize device feature set (ACS-4, Sanitize Device feature set).
//!
//! ```text
//!  SD0 idle ── CRYPTO SCRAMBLE, BLOCK ERASE, OVERWRITE ──► SD2 running ──► SD4 succeeded ──► like SD0
//!   │                                                        └─ it fails ─► SD3 failed ── the same commands ──► SD2
//!   └── FREEZE LOCK ──► SD1 frozen, until power is off        SD3 ── STATUS, clear, where the command let it ──► SD0
//! ```

use std::time::Duration;

use super::{ABORTED, Abort, Disk, Output, pass_through::Task};
use crate::{
    Course,
    course::{Effect, Erasure, Inversion, Standing},
    medium::Medium,
};

/// The LBA that each command must carry: letters.
const CRYPTO_KEY: u64 = 0x4372_7970;
const BLOCK_KEY: u64 = 0x426b_4572;
const OVERWRITE_KEY: u64 = 0x4f57;
const FREEZE_KEY: u64 = 0x4672_4c6b;
const ANTIFREEZE_KEY: u64 = 0x416e_7469;

/// What is said in the LBA where a sanitize command is aborted (ACS-4, Sanitize Device Error reason).
const LAST_FAILED: u64 = 1;
const UNSUPPORTED: u64 = 2;
const FROZEN: u64 = 3;
const ANTIFROZEN: u64 = 4;

/// What the feature set can (word 59).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bit of the specification's")]
pub struct SanitizeCapabilities {
    /// CRYPTO SCRAMBLE EXT (bit 13).
    pub crypto_scramble: bool,
    /// BLOCK ERASE EXT (bit 15).
    pub block_erase: bool,
    /// OVERWRITE EXT (bit 14).
    pub overwrite: bool,
    /// SANITIZE ANTIFREEZE LOCK EXT (bit 10).
    pub antifreeze: bool,
    /// How long it takes (an overwrite: each pass).
    pub time: Duration,
}

/// The states, but for SD1, which is a lock.
#[derive(Debug, Clone, Default)]
enum State {
    /// SD0.
    #[default]
    Idle,
    /// SD2.
    Running(Erasure),
    /// SD3.
    Failed,
    /// SD4.
    Succeeded,
}

/// What keeps commands from being executed until power was off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Lock {
    #[default]
    None,
    /// SD1: none is started.
    Frozen,
    /// It cannot be frozen.
    Antifrozen,
}

/// The state, which outlasts power, and the lock, which does not.
#[derive(Debug, Clone, Default)]
pub(super) struct Sanitizing {
    state: State,
    lock: Lock,
    /// The last command let the failed state be left without another sanitize.
    may_clear_failure: bool,
    /// Sectors are given up when it is done.
    unmaps: bool,
}

impl Sanitizing {
    pub(super) fn start(&mut self, freezes: bool) {
        self.lock = if freezes && !self.is_busy() { Lock::Frozen } else { Lock::None };
    }

    fn is_busy(&self) -> bool {
        matches!(self.state, State::Running(_) | State::Failed)
    }

    /// A hardware reset ends SD1 too (state machine, transition SD1:SD0).
    pub(super) fn reset(&mut self) {
        if self.lock == Lock::Frozen {
            self.lock = Lock::None;
        }
    }

    /// While one runs or has failed hardly anything is executed: IDENTIFY DEVICE, CHECK POWER MODE, SECURITY UNLOCK, and
    /// the feature set's own.
    pub(super) fn allows(&self, task: Task) -> bool {
        !self.is_busy() || matches!(task.command, 0xec | 0xe5 | 0xf2 | 0xb4)
    }

    pub(super) fn advance(&mut self, by: Duration, medium: &mut Medium) {
        let State::Running(running) = &mut self.state else { return };
        match running.advance(by, medium) {
            Standing::Running => {}
            Standing::Failed => self.state = State::Failed,
            Standing::Done => {
                self.state = State::Succeeded;
                if self.unmaps {
                    medium.unmap_all();
                }
            }
        }
    }

    /// COUNT 15: the last one succeeded, 14: one runs, 13: frozen, 12: antifreeze lock. LBA: how far it is.
    fn report(&self) -> Output {
        let (state, lba) = match &self.state {
            State::Idle | State::Failed => (0, 0xffff),
            State::Running(running) => (1 << 14, running.progress()),
            State::Succeeded => (1 << 15, 0xffff),
        };
        let lock = match self.lock {
            Lock::None => 0,
            Lock::Frozen => 1 << 13,
            Lock::Antifrozen => 1 << 12,
        };
        Output { count: state | lock, lba: u64::from(lba), transferred: 0 }
    }
}

impl Disk {
    pub(super) fn sanitize_device(&mut self, task: Task) -> Result<Output, Abort> {
        let Some(can) = self.config.sanitize.clone() else { return Err(Abort::PLAIN) };
        let refuse = |reason: u64| Err(Abort { error: ABORTED, lba: reason });
        let sanitizing = &mut self.sanitizing;
        // A 28-bit command is none of this feature set's.
        if !task.is_extended {
            return Err(Abort::PLAIN);
        }
        match task.features {
            // SANITIZE STATUS EXT; COUNT bit 0 clears a failure.
            0x0000 => {
                if matches!(sanitizing.state, State::Failed) {
                    if task.count & 1 == 0 || !sanitizing.may_clear_failure {
                        return refuse(LAST_FAILED);
                    }
                    sanitizing.state = State::Idle;
                }
                Ok(sanitizing.report())
            }
            0x0011 | 0x0012 | 0x0014 => self.start_sanitize(task, &can),
            0x0020 if task.lba == FREEZE_KEY => {
                if sanitizing.lock == Lock::Antifrozen {
                    return refuse(ANTIFROZEN);
                }
                if sanitizing.is_busy() {
                    return Err(Abort::PLAIN);
                }
                sanitizing.lock = Lock::Frozen;
                Ok(sanitizing.report())
            }
            0x0040 if can.antifreeze && task.lba == ANTIFREEZE_KEY => {
                if sanitizing.lock == Lock::Frozen {
                    return refuse(FROZEN);
                }
                sanitizing.lock = Lock::Antifrozen;
                Ok(sanitizing.report())
            }
            0x0020 | 0x0040 => Err(Abort::PLAIN),
            _ => refuse(UNSUPPORTED),
        }
    }

    fn start_sanitize(&mut self, task: Task, can: &SanitizeCapabilities) -> Result<Output, Abort> {
        let refuse = |reason: u64| Err(Abort { error: ABORTED, lba: reason });
        let sanitizing = &self.sanitizing;
        if sanitizing.lock == Lock::Frozen {
            return refuse(FROZEN);
        }
        // Where the failed one did not let its failure be cleared, neither may the next.
        let is_laxer = task.count & 1 << 4 != 0 && !sanitizing.may_clear_failure;
        if matches!(sanitizing.state, State::Failed) && is_laxer {
            return Err(Abort::PLAIN);
        }
        if matches!(sanitizing.state, State::Running(_)) || self.security.is_locked() {
            return Err(Abort::PLAIN);
        }
        let pages = (0..self.medium.page_count()).collect();
        let passes = match task.count & 0xf {
            0 => 16,
            passes => u32::from(passes),
        };
        let (effect, time) = match task.features {
            0x0011 if can.crypto_scramble && task.lba == CRYPTO_KEY => (Effect::Keys, can.time),
            0x0012 if can.block_erase && task.lba == BLOCK_KEY => (Effect::Erase(pages), can.time),
            0x0014 if can.overwrite && task.lba >> 32 == OVERWRITE_KEY => {
                let pattern = u32::try_from(task.lba & 0xffff_ffff).expect("32 bits are left");
                // INVERT PATTERN BETWEEN OVERWRITE PASSES, DEFINITIVE ENDING PATTERN.
                let inversion = match (task.count >> 7 & 1, task.count >> 6 & 1) {
                    (0, _) => Inversion::Never,
                    (_, 0) => Inversion::AfterFirst,
                    _ => Inversion::BeforeLast,
                };
                let pattern = pattern.to_le_bytes().to_vec();
                (Effect::Overwrite { pages, pattern, passes, inversion }, can.time * passes)
            }
            0x0011 if !can.crypto_scramble => return refuse(UNSUPPORTED),
            0x0012 if !can.block_erase => return refuse(UNSUPPORTED),
            0x0014 if !can.overwrite => return refuse(UNSUPPORTED),
            _ => return Err(Abort::PLAIN),
        };
        let course = self.config.sanitize_course;
        let unmaps = self.is_flash() && task.features != 0x0014 && course != Course::Lies;
        self.sanitizing = Sanitizing {
            state: State::Running(Erasure::new(effect, course, time)),
            lock: self.sanitizing.lock,
            may_clear_failure: task.count & 1 << 4 != 0,
            unmaps,
        };
        Ok(self.sanitizing.report())
    }
}
