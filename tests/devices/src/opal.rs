//! A self-encrypting disk (TCG Storage Architecture Core Specification 2.01, Opal SSC 2.01), as the kernel's ioctls show
//! it: how it stands, and reverting it.

#[cfg(test)]
mod tests;

use std::{ops::Range, time::Duration};

use crate::{Course, layout::count, medium::Medium};

/// Bytes of a block.
pub const BLOCK: usize = 512;

/// Bits of what `IOC_OPAL_GET_STATUS` returns (`<linux/sed-opal.h>`).
pub mod flag {
    /// The disk is one of these.
    pub const SUPPORTED: u32 = 0x01;
    /// It can lock.
    pub const LOCKING_SUPPORTED: u32 = 0x02;
    /// It was set up to lock.
    pub const LOCKING_ENABLED: u32 = 0x04;
    /// A range is locked.
    pub const LOCKED: u32 = 0x08;
    /// The shadow MBR is shown after power on.
    pub const SHADOW_ENABLED: u32 = 0x10;
}

/// Method status codes (Core, section 5.1.5, table 166).
pub mod status {
    /// The credential is wrong, or may not do that.
    pub const NOT_AUTHORIZED: u8 = 0x01;
    /// A parameter is not known: an authority that the disk has not.
    pub const INVALID_PARAMETER: u8 = 0x0c;
    /// Too many wrong attempts.
    pub const AUTHORITY_LOCKED_OUT: u8 = 0x12;
    /// Anything else.
    pub const FAIL: u8 = 0x3f;
}

/// How reverting failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The method status.
    Status(u8),
    /// Nothing came back: what became of it is not known.
    NoAnswer,
}

/// Blocks with a media key of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockingRange {
    /// The first block.
    pub first: u64,
    /// How many there are.
    pub blocks: u64,
    /// Neither reading nor writing is allowed.
    pub is_locked: bool,
    /// It is locked each time when power comes.
    pub locks_at_power_on: bool,
}

/// What is simulated. The default is a small disk that an owner has locked, all of it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub struct Config {
    /// Whether the disk can Opal at all.
    pub is_supported: bool,
    /// Whether it encrypts and locks: not all do.
    pub locking_is_supported: bool,
    /// How many blocks there are.
    pub blocks: u64,
    /// Blocks beyond that.
    pub spare_blocks: u64,
    /// The identifier on the label; `None` is a disk that cannot be reverted with one.
    pub psid: Option<Vec<u8>>,
    /// The factory's credential of the owner (MSID).
    pub msid: Vec<u8>,
    /// The owner's credential; `None` is a disk without one, which has the factory's.
    pub sid: Option<Vec<u8>>,
    /// Ranges beside the global one; only where there is an owner.
    pub ranges: Vec<LockingRange>,
    /// Whether all that is in no range is locked.
    pub global_is_locked: bool,
    /// The shadow MBR is enabled.
    pub shadow_is_enabled: bool,
    /// How many wrong attempts an authority takes until power is cut; 0 is no limit.
    pub attempts: u8,
    /// Whether the count outlasts power.
    pub attempts_persist: bool,
    /// The firmware blocks the owner's authority until power is cut (TCG Block SID Authentication).
    pub sid_is_blocked: bool,
    /// What becomes of a revert.
    pub course: Course,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            is_supported: true,
            locking_is_supported: true,
            blocks: 128,
            spare_blocks: 16,
            psid: Some(b"0123456789ABCDEF0123456789ABCDEF".to_vec()),
            msid: b"MSID-FACTORY".to_vec(),
            sid: Some(b"owner".to_vec()),
            ranges: Vec::new(),
            global_is_locked: true,
            shadow_is_enabled: false,
            attempts: 5,
            attempts_persist: false,
            sid_is_blocked: false,
            course: Course::Finishes,
        }
    }
}

/// A disk.
#[derive(Debug, Clone)]
pub struct Disk {
    config: Config,
    medium: Medium,
    wrong_psids: u8,
    wrong_sids: u8,
    now: Duration,
    is_silent: bool,
}

impl Disk {
    /// Returns a disk that has just got power.
    pub fn new(config: Config) -> Self {
        Self {
            medium: Medium::flash(BLOCK, config.blocks + config.spare_blocks, true),
            wrong_psids: 0,
            wrong_sids: 0,
            now: Duration::ZERO,
            is_silent: false,
            config,
        }
    }

    /// How it stands: bits of [`flag`]. An error is a disk that answers nothing.
    pub fn status(&self) -> Result<u32, Failure> {
        if self.is_silent {
            return Err(Failure::NoAnswer);
        }
        if !self.config.is_supported {
            return Ok(0);
        }
        let config = &self.config;
        let can = config.locking_is_supported;
        let is_locked =
            config.global_is_locked || config.ranges.iter().any(|range| range.is_locked);
        let bits = [
            (true, flag::SUPPORTED),
            (can, flag::LOCKING_SUPPORTED),
            (can && config.sid.is_some(), flag::LOCKING_ENABLED),
            (can && is_locked, flag::LOCKED),
            (config.shadow_is_enabled, flag::SHADOW_ENABLED),
        ];
        Ok(bits.into_iter().filter(|(is_set, _)| *is_set).fold(0, |flags, (_, bit)| flags | bit))
    }

    /// Reverts the disk with the identifier on its label (Opal, `PSID` authority).
    pub fn revert_with_psid(&mut self, psid: &[u8]) -> Result<(), Failure> {
        self.answer()?;
        let Some(expected) = &self.config.psid else {
            return Err(Failure::Status(status::INVALID_PARAMETER));
        };
        let is_right = expected == psid;
        let limit = self.config.attempts;
        authenticate(&mut self.wrong_psids, limit, is_right)?;
        self.revert()
    }

    /// Reverts the disk with the owner's credential, or the factory's where there is no owner.
    pub fn revert_with_sid(&mut self, sid: &[u8]) -> Result<(), Failure> {
        self.answer()?;
        if self.config.sid_is_blocked {
            return Err(Failure::Status(status::NOT_AUTHORIZED));
        }
        let is_right = self.config.sid.as_ref().unwrap_or(&self.config.msid) == sid;
        let limit = self.config.attempts;
        authenticate(&mut self.wrong_sids, limit, is_right)?;
        self.revert()
    }

    fn answer(&self) -> Result<(), Failure> {
        if self.is_silent {
            return Err(Failure::NoAnswer);
        }
        if self.config.is_supported { Ok(()) } else { Err(Failure::Status(status::FAIL)) }
    }

    /// As the factory made it (Opal, section 5.1.2): no owner, nothing locked, all media keys new. Where there was no owner,
    /// so that locking was never activated, the keys stay.
    fn revert(&mut self) -> Result<(), Failure> {
        match self.config.course {
            Course::Finishes if self.config.sid.is_none() => {}
            Course::Finishes => {
                self.medium.change_keys();
                self.medium.merge_spaces();
            }
            Course::Lies => {
                let read = |lba| self.medium.read(self.place(lba).0, lba).map(|block| (lba, block));
                let kept: Vec<(u64, Vec<u8>)> = (0..self.config.blocks).filter_map(read).collect();
                self.medium.merge_spaces();
                for (lba, block) in kept {
                    self.medium.write(0, lba, &block);
                }
            }
            Course::FailsAt(_) => return Err(Failure::Status(status::FAIL)),
            Course::SticksAt(_) => {
                self.is_silent = true;
                return Err(Failure::NoAnswer);
            }
        }
        self.config.sid = None;
        self.config.ranges.clear();
        self.config.global_is_locked = false;
        self.config.shadow_is_enabled = false;
        (self.wrong_psids, self.wrong_sids) = (0, 0);
        Ok(())
    }

    /// Reads blocks as the host sees them; `None` where they are locked or not there.
    pub fn read(&self, lba: u64, blocks: u16) -> Option<Vec<u8>> {
        let range = lba..lba + u64::from(blocks);
        let spaces = self.spaces(range.clone())?;
        let found = range.zip(spaces).map(|(lba, space)| self.medium.read(space, lba));
        Some(found.flat_map(|block| block.unwrap_or(vec![0; BLOCK])).collect())
    }

    /// Writes whole blocks. Returns whether they are neither locked nor beyond the end.
    pub fn write(&mut self, lba: u64, data: &[u8]) -> bool {
        let range = lba..lba + count(data.len() / BLOCK);
        let Some(spaces) = self.spaces(range.clone()) else { return false };
        for ((lba, space), piece) in range.zip(spaces).zip(data.chunks(BLOCK)) {
            self.medium.write(space, lba, piece);
        }
        true
    }

    /// Which range each block is in: 0 is the global one. `None` where one of them may not be reached.
    fn spaces(&self, blocks: Range<u64>) -> Option<Vec<u32>> {
        if self.is_silent || blocks.end > self.config.blocks {
            return None;
        }
        blocks
            .map(|lba| Some(self.place(lba)).filter(|place| !place.1).map(|place| place.0))
            .collect()
    }

    /// In which range a block is, and whether that is locked.
    fn place(&self, lba: u64) -> (u32, bool) {
        let is_in = |range: &LockingRange| (range.first..range.first + range.blocks).contains(&lba);
        let found = (1..).zip(&self.config.ranges).find(|(_, range)| is_in(range));
        found.map_or((0, self.config.global_is_locked), |(number, range)| (number, range.is_locked))
    }

    /// Lets the owner lock or unlock everything.
    pub fn set_locked(&mut self, is_locked: bool) {
        self.config.global_is_locked = is_locked;
        for range in &mut self.config.ranges {
            range.is_locked = is_locked;
        }
    }

    /// All that is stored, read with the media keys that the disk has.
    pub fn medium(&self) -> Vec<u8> {
        self.medium.contents()
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.saturating_add(by);
    }

    /// The disk's own clock.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Takes power away and gives it back: attempts may count anew, ranges lock, the shadow MBR is shown again.
    pub fn power_cut(&mut self) {
        self.is_silent = false;
        self.config.sid_is_blocked = false;
        if !self.config.attempts_persist {
            (self.wrong_psids, self.wrong_sids) = (0, 0);
        }
        for range in &mut self.config.ranges {
            range.is_locked |= range.locks_at_power_on;
        }
    }

    /// Resets the link: nothing changes.
    pub fn reset(&mut self) {}

    /// Lets the disk answer nothing more until power was cut.
    pub fn go_silent(&mut self) {
        self.is_silent = true;
    }

    /// Changes what becomes of the reverts to come.
    pub fn set_course(&mut self, course: Course) {
        self.config.course = course;
    }
}

/// Counts wrong attempts (Core, `TryLimit` of `C_PIN`): at the limit even the right one is not taken.
fn authenticate(wrong: &mut u8, limit: u8, is_right: bool) -> Result<(), Failure> {
    if limit != 0 && *wrong >= limit {
        return Err(Failure::Status(status::AUTHORITY_LOCKED_OUT));
    }
    if !is_right {
        *wrong = wrong.saturating_add(1);
        return Err(Failure::Status(status::NOT_AUTHORIZED));
    }
    *wrong = 0;
    Ok(())
}
