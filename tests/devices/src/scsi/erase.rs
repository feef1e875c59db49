//! SANITIZE and FORMAT UNIT (SBC-4), and what the disk executes meanwhile.
//!
//! ```text
//!         SANITIZE               it is done
//!  Ready ──────────► Sanitizing ────────────► Ready
//!    ▲                  └─ it fails ─► SanitizeFailed ── SANITIZE; EXIT FAILURE MODE where AUSE was set
//!    └─ it is done ── Formatting ◄── FORMAT UNIT ── Corrupted ◄── a format failed, or lost power
//! ```

use std::time::Duration;

use super::{BLOCK_LENGTHS, Disk, Kind, Protection, SanitizeCapabilities};
use crate::{
    Course,
    answer::Sense,
    course::{Effect, Erasure, Inversion, Standing},
    layout::{bytes, count, index},
};

/// Service actions of SANITIZE.
const OVERWRITE: u8 = 0x01;
const BLOCK_ERASE: u8 = 0x02;
const CRYPTOGRAPHIC_ERASE: u8 = 0x03;
const EXIT_FAILURE_MODE: u8 = 0x1f;

/// What the disk is about.
#[derive(Debug, Clone)]
pub(super) enum State {
    Ready,
    Sanitizing {
        erasure: Erasure,
        /// AUSE: its failure may be left without another sanitize.
        is_unrestricted: bool,
        /// Blocks are given up when it is done.
        unmaps: bool,
    },
    SanitizeFailed {
        is_unrestricted: bool,
    },
    Formatting {
        erasure: Erasure,
        block_bytes: u32,
    },
    /// A format failed or was cut.
    Corrupted,
}

impl State {
    /// How far an operation is, in 65,536ths.
    pub(super) fn progress(&self) -> Option<u16> {
        match self {
            Self::Sanitizing { erasure, .. } | Self::Formatting { erasure, .. } => {
                Some(erasure.progress())
            }
            _ => None,
        }
    }

    /// What commands are refused with.
    pub(super) fn condition(&self) -> Option<Sense> {
        match self {
            Self::Ready => None,
            Self::Sanitizing { .. } => Some(Sense::SANITIZING),
            Self::SanitizeFailed { .. } => Some(Sense::SANITIZE_FAILED),
            Self::Formatting { .. } => Some(Sense::FORMATTING),
            Self::Corrupted => Some(Sense::CORRUPTED),
        }
    }

    pub(super) fn lose_power(&mut self) {
        if matches!(self, Self::Formatting { .. }) {
            *self = Self::Corrupted;
        }
    }
}

impl Disk {
    /// Why a command is not executed, whatever it says.
    pub(super) fn refusal(&self, cdb: &[u8; 16]) -> Option<Sense> {
        let opcode = cdb[0];
        // INQUIRY, REPORT LUNS, REQUEST SENSE always are.
        if matches!(opcode, 0x12 | 0xa0 | 0x03) {
            return None;
        }
        let is_executed = match &self.state {
            State::Ready => true,
            State::Sanitizing { .. } | State::Formatting { .. } => false,
            State::SanitizeFailed { .. } => opcode == 0x48,
            // MODE SELECT, MODE SENSE, FORMAT UNIT, SANITIZE, capacity, operation codes.
            State::Corrupted => {
                matches!(opcode, 0x04 | 0x15 | 0x1a | 0x25 | 0x48 | 0x55 | 0x5a | 0x9e | 0xa3)
            }
        };
        if !is_executed {
            return self.state.condition();
        }
        let writes = matches!(opcode, 0x04 | 0x2a | 0x41 | 0x42 | 0x48 | 0x8a | 0x93);
        match self.config.protection {
            Protection::Software if writes => Some(Sense::SOFTWARE_PROTECTED),
            Protection::Hardware if writes => Some(Sense::HARDWARE_PROTECTED),
            _ => None,
        }
    }

    pub(super) fn sanitize(&mut self, cdb: &[u8; 16], data: &[u8]) -> Result<usize, Sense> {
        let can = self.config.sanitize.ok_or(Sense::INVALID_OPCODE)?;
        let action = cdb[1] & 0x1f;
        let is_unrestricted = cdb[1] & 1 << 5 != 0;
        let is_immediate = cdb[1] & 1 << 7 != 0;
        let length = usize::from(u16::from_be_bytes([cdb[7], cdb[8]]));
        let failed = match self.state {
            State::SanitizeFailed { is_unrestricted } => Some(is_unrestricted),
            _ => None,
        };
        if action == EXIT_FAILURE_MODE {
            if length != 0 || failed == Some(false) {
                return Err(Sense::INVALID_FIELD);
            }
            self.state = State::Ready;
            return Ok(0);
        }
        let (effect, passes) = self.effect(can, action, length, data)?;
        if failed == Some(false) && is_unrestricted {
            return Err(Sense::INVALID_FIELD);
        }
        let time = can.time * passes;
        let course = self.config.sanitize_course;
        let unmaps =
            self.config.kind == Kind::Flash && action != OVERWRITE && course != Course::Lies;
        let erasure = Erasure::new(effect, course, time);
        self.state = State::Sanitizing { erasure, is_unrestricted, unmaps };
        self.wait(is_immediate, time)?;
        Ok(length)
    }

    fn effect(
        &self,
        can: SanitizeCapabilities,
        action: u8,
        length: usize,
        data: &[u8],
    ) -> Result<(Effect, u32), Sense> {
        let pages = (0..self.medium.page_count()).collect();
        match action {
            BLOCK_ERASE if can.block_erase && length == 0 => Ok((Effect::Erase(pages), 1)),
            CRYPTOGRAPHIC_ERASE if can.cryptographic_erase && length == 0 => Ok((Effect::Keys, 1)),
            OVERWRITE if can.overwrite => {
                // INVERT bit 7, TEST bits 6:5, OVERWRITE COUNT bits 4:0; the pattern's length; the pattern.
                let block = index(u64::from(self.block_bytes));
                if length < 5 || length > block + 4 || data.len() != length {
                    return Err(Sense::INVALID_FIELD);
                }
                let pattern = usize::from(u16::from_be_bytes(bytes(data, 2)));
                let passes = u32::from(data[0] & 0x1f);
                if passes == 0 || data[0] & 0x60 != 0 || pattern == 0 || pattern + 4 != length {
                    return Err(Sense::INVALID_PARAMETER);
                }
                // INVERT: an even number of passes begins with the inverted pattern (table of the OVERWRITE service action).
                let inversion =
                    if data[0] & 0x80 == 0 { Inversion::Never } else { Inversion::BeforeLast };
                let pattern = data[4..].to_vec();
                Ok((Effect::Overwrite { pages, pattern, passes, inversion }, passes))
            }
            _ => Err(Sense::INVALID_FIELD),
        }
    }

    /// FORMAT UNIT: with the block length that MODE SELECT has asked for; reaches what the host can, not what was
    /// replaced.
    pub(super) fn format_unit(&mut self, cdb: &[u8; 16], data: &[u8]) -> Result<usize, Sense> {
        let has_list = cdb[1] & 1 << 4 != 0;
        let header = if cdb[1] & 1 << 5 == 0 { 4 } else { 8 };
        // FMTPINFO: no protection information; LONGLIST and CMPLST only with a list.
        if cdb[1] & 0xc0 != 0 || !has_list && cdb[1] & 0x28 != 0 {
            return Err(Sense::INVALID_FIELD);
        }
        if has_list && data.len() < header {
            return Err(Sense::LIST_LENGTH);
        }
        let flags = if has_list { data[1] } else { 0 };
        let is_immediate = flags & 1 << 1 != 0;
        // Without FOV (bit 7) the bits that it makes valid are zero; initialization patterns and defect lists are not
        // taken.
        let has_options = flags & 0x78 != 0 && flags & 0x80 == 0;
        let defects = has_list && data[header - 2..header] != [0, 0];
        if has_options || flags & 1 << 3 != 0 || defects || has_list && data[0] & 7 != 0 {
            return Err(Sense::INVALID_PARAMETER);
        }
        let course = self.config.format_course;
        if course == Course::Lies {
            return Ok(data.len());
        }
        let pages = self.medium.seen(0, 0..self.accessible);
        let effect =
            Effect::Overwrite { pages, pattern: vec![0], passes: 1, inversion: Inversion::Never };
        let time = self.config.format_time;
        let erasure = Erasure::new(effect, course, time);
        self.state = State::Formatting { erasure, block_bytes: self.next_block_bytes };
        self.wait(is_immediate, time)?;
        Ok(data.len())
    }

    /// Waits for the operation, where the command was not to be answered at once.
    fn wait(&mut self, is_immediate: bool, time: Duration) -> Result<(), Sense> {
        if is_immediate {
            return Ok(());
        }
        self.took = time;
        self.advance(time);
        match self.state {
            State::Ready => Ok(()),
            State::Corrupted => Err(Sense::FORMAT_FAILED),
            State::SanitizeFailed { .. } => Err(Sense::SANITIZE_FAILED),
            State::Sanitizing { .. } | State::Formatting { .. } => {
                self.is_silent = true;
                Ok(())
            }
        }
    }

    pub(super) fn advance_operation(&mut self, by: Duration) {
        let (State::Sanitizing { erasure, .. } | State::Formatting { erasure, .. }) =
            &mut self.state
        else {
            return;
        };
        let standing = erasure.advance(by, &mut self.medium);
        if standing == Standing::Running {
            return;
        }
        let is_done = standing == Standing::Done;
        let ended = std::mem::replace(&mut self.state, State::Ready);
        match ended {
            State::Sanitizing { unmaps, .. } if is_done => {
                if unmaps {
                    self.medium.unmap_all();
                    self.was_sanitized = true;
                }
            }
            State::Sanitizing { is_unrestricted, .. } => {
                self.state = State::SanitizeFailed { is_unrestricted };
            }
            State::Formatting { block_bytes, .. } if is_done => self.take_format(block_bytes),
            _ => self.state = State::Corrupted,
        }
    }

    /// The format is done: blocks are as long as they were to be.
    fn take_format(&mut self, block_bytes: u32) {
        if block_bytes == self.block_bytes {
            return;
        }
        debug_assert!(BLOCK_LENGTHS.contains(&block_bytes), "MODE SELECT takes no others");
        self.medium.divide_into(index(u64::from(block_bytes)), self.config.spare_blocks);
        self.blocks = count(self.medium.page_count()) - self.config.spare_blocks;
        self.accessible = self.blocks;
        self.block_bytes = block_bytes;
        self.next_block_bytes = block_bytes;
    }
}
