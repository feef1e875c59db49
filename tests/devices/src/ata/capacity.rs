//! What is hidden: host protected area (ATA8-ACS), accessible maximum address (ACS-4) and
//! device configuration overlay (ATA8-ACS).

use super::{
    Abort, Config, Disk, NOT_FOUND, Output,
    identify::{put_u64, with_checksum},
    pass_through::Task,
};
use crate::layout::answer;

/// Addresses; each is the highest one.
#[derive(Debug, Clone)]
pub(super) struct Capacity {
    /// What the factory made.
    factory: u64,
    /// What the overlay leaves of it.
    pub(super) native: u64,
    /// What the host can reach.
    pub(super) maximum: u64,
    /// What it can reach after power was off.
    persistent: u64,
    /// A persistent change was made since power came: a second one is refused.
    was_set: bool,
    maximum_is_frozen: bool,
    overlay_is_frozen: bool,
}

impl Capacity {
    pub(super) fn new(config: &Config) -> Self {
        let factory = config.sectors - 1;
        let native = config.overlay_address.unwrap_or(factory).min(factory);
        let maximum = config.maximum_address.unwrap_or(native).min(native);
        Self {
            factory,
            native,
            maximum,
            persistent: maximum,
            was_set: false,
            maximum_is_frozen: false,
            overlay_is_frozen: false,
        }
    }

    pub(super) fn start(&mut self) {
        self.maximum = self.persistent;
        self.was_set = false;
        self.maximum_is_frozen = false;
        self.overlay_is_frozen = false;
    }
}

impl Disk {
    /// READ NATIVE MAX ADDRESS (0xf8), READ NATIVE MAX ADDRESS EXT (0x27).
    pub(super) fn read_native_maximum(&self, task: Task) -> Output {
        let native = self.capacity.native;
        let lba = if task.command == 0x27 { native } else { native.min(0x0fff_ffff) };
        Output { lba, ..Output::default() }
    }

    /// SET MAX ADDRESS (0xf9), SET MAX ADDRESS EXT (0x37): right after the READ NATIVE MAX of the same size. COUNT bit 0:
    /// the change outlasts power, once.
    pub(super) fn set_maximum(&mut self, task: Task, previous: u8) -> Result<Output, Abort> {
        let capacity = &mut self.capacity;
        let follows = matches!((task.command, previous), (0x37, 0x27) | (0xf9, 0xf8));
        // Otherwise FEATURES says what: 4 is SET MAX FREEZE LOCK.
        if task.command == 0xf9 && !follows && task.features == 4 {
            capacity.maximum_is_frozen = true;
            return Ok(Output::default());
        }
        if !follows || capacity.maximum_is_frozen {
            return Err(Abort::PLAIN);
        }
        let lba = if task.command == 0x37 {
            task.lba
        } else {
            task.lba & 0x00ff_ffff | u64::from(task.device & 0x0f) << 24
        };
        let is_persistent = task.count & 1 == 1;
        if lba > capacity.native || is_persistent && capacity.was_set {
            return Err(Abort { error: NOT_FOUND, lba: 0 });
        }
        capacity.maximum = lba;
        if is_persistent {
            capacity.persistent = lba;
            capacity.was_set = true;
        }
        Ok(Output { lba, ..Output::default() })
    }

    /// ACCESSIBLE MAX ADDRESS CONFIGURATION (ACS-4): 0 get native, 1 set, 2 freeze.
    pub(super) fn configure_accessible_maximum(&mut self, task: Task) -> Result<Output, Abort> {
        let is_locked = self.security.is_locked();
        let capacity = &mut self.capacity;
        match task.features {
            0 => Ok(Output { lba: capacity.native, ..Output::default() }),
            1 if !capacity.maximum_is_frozen && !capacity.was_set && !is_locked => {
                if task.lba > capacity.native {
                    return Err(Abort { error: NOT_FOUND, lba: 0 });
                }
                capacity.maximum = task.lba;
                capacity.persistent = task.lba;
                capacity.was_set = true;
                Ok(Output::default())
            }
            2 => {
                capacity.maximum_is_frozen = true;
                Ok(Output::default())
            }
            _ => Err(Abort::PLAIN),
        }
    }

    /// DEVICE CONFIGURATION: 0xc0 restore, 0xc1 freeze lock, 0xc2 identify.
    pub(super) fn configure_overlay(
        &mut self,
        task: Task,
        data: &mut [u8],
    ) -> Result<Output, Abort> {
        let is_locked = self.security.is_locked();
        let capacity = &mut self.capacity;
        if capacity.overlay_is_frozen {
            return Err(Abort::PLAIN);
        }
        match task.features & 0xff {
            // Not while a protected area hides something.
            0xc0 if capacity.maximum == capacity.native && !is_locked => {
                capacity.native = capacity.factory;
                capacity.maximum = capacity.factory;
                capacity.persistent = capacity.factory;
                Ok(Output::default())
            }
            0xc1 => {
                capacity.overlay_is_frozen = true;
                Ok(Output::default())
            }
            0xc2 => {
                let mut words = [0; 256];
                words[0] = 2; // revision
                put_u64(&mut words[3..7], capacity.factory);
                words[7] = 1 << 3 | 1 << 7 | 1 << 8; // security, protected area, 48-bit addresses can be changed
                Ok(Output {
                    transferred: answer(data, &with_checksum(&words)),
                    ..Output::default()
                })
            }
            _ => Err(Abort::PLAIN),
        }
    }
}
