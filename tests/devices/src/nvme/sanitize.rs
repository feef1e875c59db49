//! Sanitize (Base, sections 5.24 and 8.21).
//!
//! ```text
//!          Sanitize, AUSE 0                      it fails
//!  Idle ───────────────────► Restricted ──────────────────► RestrictedFailure
//!   ▲ ◄───── it is done ──────┘   ▲ └── Sanitize with AUSE 0 ──┘   (nothing else leads out)
//!   │      Sanitize, AUSE 1       │                it fails
//!   ├──────────────────────► Unrestricted ──────────────────► UnrestrictedFailure
//!   └── exit failure mode ────────────────────────────────────┘  or any Sanitize
//! ```

use std::time::Duration;

use super::{Controller, SanitizeCapabilities, status};
use crate::{
    course::{Effect, Erasure, Inversion, Standing},
    layout::{bits, put},
};

/// Sanitize Action (Base, section 5.24).
const EXIT_FAILURE_MODE: u32 = 1;
const BLOCK_ERASE: u32 = 2;
const OVERWRITE: u32 = 3;
const CRYPTO_ERASE: u32 = 4;

/// The state, and what the log remembers of the last operation.
#[derive(Debug, Clone, Default)]
pub(super) struct Sanitizing {
    state: State,
    running: Option<Erasure>,
    /// Command dword 10 of the last one that was started.
    dword: u32,
    outcome: Outcome,
    passes_done: u32,
    /// `SSTAT` bit 8: something was written since the last success, or since the factory.
    was_written: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Idle,
    Restricted,
    Unrestricted,
    RestrictedFailure,
    UnrestrictedFailure,
}

/// `SSTAT` bits 2:0 (Base, section 5.16.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Outcome {
    #[default]
    Never = 0,
    Succeeded = 1,
    Running = 2,
    Failed = 3,
    SucceededButDeallocated = 4,
}

impl Sanitizing {
    /// Fails where a sanitize runs or has failed.
    pub(super) fn check(&self) -> Result<(), u16> {
        match self.state {
            State::Idle => Ok(()),
            State::Restricted | State::Unrestricted => Err(status::SANITIZE_IN_PROGRESS),
            State::RestrictedFailure | State::UnrestrictedFailure => Err(status::SANITIZE_FAILED),
        }
    }

    /// User data was written.
    pub(super) fn note_write(&mut self) {
        self.was_written = true;
    }
}

/// Whether an admin command is executed while a sanitize runs or has failed (Base, figure 139): queues, Abort,
/// asynchronous events, features, Identify, Keep Alive, some log pages. Sanitize decides for itself.
pub(super) fn is_allowed(opcode: u8, dword: u32) -> bool {
    match opcode {
        // Errors, health, changed namespaces, reservations, sanitize status.
        0x02 => matches!(bits(dword, 0, 7), 0x01 | 0x02 | 0x04 | 0x80 | 0x81),
        0x00 | 0x01 | 0x04 | 0x05 | 0x06 | 0x08 | 0x09 | 0x0a | 0x0c | 0x18 | 0x84 => true,
        _ => false,
    }
}

impl Controller {
    pub(super) fn sanitize(&mut self, dwords: [u32; 6]) -> Result<u32, u16> {
        let can = self.config.sanitize.ok_or(status::INVALID_OPCODE)?;
        let action = bits(dwords[0], 0, 2);
        let is_unrestricted = bits(dwords[0], 3, 3) == 1;
        let state = self.sanitizing.state;
        if matches!(state, State::Restricted | State::Unrestricted) {
            return Err(status::SANITIZE_IN_PROGRESS);
        }
        if action == EXIT_FAILURE_MODE {
            if state == State::RestrictedFailure {
                return Err(status::SANITIZE_FAILED);
            }
            self.sanitizing.state = State::Idle;
            return Ok(0);
        }
        let effect = self.effect(can, dwords)?;
        let forbids_deallocation = bits(dwords[0], 9, 9) == 1;
        if forbids_deallocation && can.no_deallocate_inhibited && !self.warns_of_no_deallocate {
            return Err(status::INVALID_FIELD);
        }
        if state == State::RestrictedFailure && is_unrestricted {
            return Err(status::SANITIZE_FAILED);
        }
        let passes = if action == OVERWRITE { passes(dwords[0]) } else { 1 };
        let duration = self.config.sanitize_time * passes;
        let sanitizing = &mut self.sanitizing;
        sanitizing.running = Some(Erasure::new(effect, self.config.sanitize_course, duration));
        sanitizing.state = if is_unrestricted { State::Unrestricted } else { State::Restricted };
        sanitizing.dword = dwords[0];
        sanitizing.outcome = Outcome::Running;
        sanitizing.passes_done = 0;
        Ok(0)
    }

    fn effect(&self, can: SanitizeCapabilities, dwords: [u32; 6]) -> Result<Effect, u16> {
        let pages = || (0..self.medium.page_count()).collect();
        match bits(dwords[0], 0, 2) {
            BLOCK_ERASE if can.block_erase => Ok(Effect::Erase(pages())),
            OVERWRITE if can.overwrite => Ok(Effect::Overwrite {
                pages: pages(),
                pattern: dwords[1].to_le_bytes().to_vec(),
                passes: passes(dwords[0]),
                // The specification says nothing of an even number of passes: the first has the pattern.
                inversion: match bits(dwords[0], 8, 8) {
                    0 => Inversion::Never,
                    _ => Inversion::AfterFirst,
                },
            }),
            CRYPTO_ERASE if can.crypto_erase => Ok(Effect::Keys),
            _ => Err(status::INVALID_FIELD),
        }
    }

    pub(super) fn advance_sanitize(&mut self, by: Duration) {
        let Some(running) = &mut self.sanitizing.running else { return };
        let standing = running.advance(by, &mut self.medium);
        self.sanitizing.passes_done = running.passes_done();
        match standing {
            Standing::Running => return,
            Standing::Failed => {
                self.sanitizing.outcome = Outcome::Failed;
                self.sanitizing.state = match self.sanitizing.state {
                    State::Unrestricted => State::UnrestrictedFailure,
                    _ => State::RestrictedFailure,
                };
            }
            Standing::Done => {
                let asked_to_keep = bits(self.sanitizing.dword, 9, 9) == 1;
                let is_inhibited =
                    self.config.sanitize.is_some_and(|can| can.no_deallocate_inhibited);
                self.sanitizing.outcome = match (asked_to_keep, is_inhibited) {
                    (true, true) => Outcome::SucceededButDeallocated,
                    _ => Outcome::Succeeded,
                };
                if (!asked_to_keep || is_inhibited)
                    && self.config.sanitize_course != crate::Course::Lies
                {
                    self.medium.unmap_all();
                }
                self.sanitizing.state = State::Idle;
                self.sanitizing.was_written = false;
            }
        }
        self.sanitizing.running = None;
    }

    /// The Sanitize Status log page (Base, section 5.16.1).
    pub(super) fn sanitize_status(&self) -> Vec<u8> {
        let sanitizing = &self.sanitizing;
        let mut page = vec![0; 512];
        let progress = sanitizing.running.as_ref().map_or(0xffff, Erasure::progress);
        put(&mut page, 0, &progress.to_le_bytes()); // SPROG
        let passes = u16::try_from(sanitizing.passes_done).expect("at most 16 passes");
        let outcome = match sanitizing.outcome {
            Outcome::Never => 0,
            Outcome::Succeeded => 1,
            Outcome::Running => 2,
            Outcome::Failed => 3,
            Outcome::SucceededButDeallocated => 4,
        };
        let sstat: u16 = outcome | passes << 3 | u16::from(!sanitizing.was_written) << 8;
        put(&mut page, 2, &sstat.to_le_bytes());
        put(&mut page, 4, &sanitizing.dword.to_le_bytes()); // SCDW10
        let can = self.config.sanitize.filter(|_| self.config.estimates);
        let seconds = u32::try_from(self.config.sanitize_time.as_secs()).unwrap_or(u32::MAX - 1);
        let estimate = |is_supported: bool, passes: u32| {
            let seconds = is_supported.then(|| seconds.saturating_mul(passes));
            seconds.unwrap_or(u32::MAX) // not reported
        };
        // With and without deallocation: overwrite (of 16 passes), block erase, crypto erase.
        for (place, is_supported, passes) in [
            (8, can.is_some_and(|can| can.overwrite), 16),
            (12, can.is_some_and(|can| can.block_erase), 1),
            (16, can.is_some_and(|can| can.crypto_erase), 1),
        ] {
            put(&mut page, place, &estimate(is_supported, passes).to_le_bytes());
            put(&mut page, place + 12, &estimate(is_supported, passes).to_le_bytes());
        }
        page
    }
}

/// Overwrite Pass Count: 0 is 16 (Base, section 5.24).
fn passes(dword: u32) -> u32 {
    match bits(dword, 4, 7) {
        0 => 16,
        passes => passes,
    }
}
