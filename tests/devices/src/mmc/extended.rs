//! The extended register (JESD84-B51, section 7.4) and SWITCH (section 6.6.1).

use super::{Card, Error, status};
use crate::layout::{bits, index, put};

/// Bytes of the register.
const SANITIZE_START: usize = 165;
const ERASE_GROUP_DEF: usize = 175;
const PARTITION_CONFIG: usize = 179;

impl Card {
    pub(super) fn extended_register(&self) -> Vec<u8> {
        let config = &self.config;
        let mut register = vec![0; 512];
        register[160] = 0x07; // PARTITION_SUPPORT
        register[168] = config.replay_protected_units; // RPMB_SIZE_MULT
        register[ERASE_GROUP_DEF] = u8::from(self.large_groups);
        register[PARTITION_CONFIG] = u8::try_from(self.partition).expect("three bits");
        register[181] = u8::from(config.erases_to_ones); // ERASED_MEM_CONT
        register[192] = config.revision; // EXT_CSD_REV
        let sectors = u32::try_from(self.user_sectors()).expect("a small card");
        put(&mut register, 212, &sectors.to_le_bytes()); // SEC_COUNT
        register[223] = 1; // ERASE_TIMEOUT_MULT: 300 ms a group
        register[224] = 1; // HC_ERASE_GRP_SIZE: 512 KiB
        register[226] = config.boot_units; // BOOT_SIZE_MULT
        register[229] = 2; // SEC_TRIM_MULT
        register[230] = 3; // SEC_ERASE_MULT
        // SEC_FEATURE_SUPPORT: SECURE_ER_EN bit 0, SEC_GB_CL_EN bit 4, SEC_SANITIZE bit 6.
        register[231] = u8::from(config.secure_erase)
            | u8::from(config.trim) << 4
            | u8::from(config.sanitize) << 6;
        register[232] = 1; // TRIM_MULT
        register
    }

    /// SWITCH: access in bits 25:24 (1 sets bits, 2 clears bits, 3 writes the byte), byte in 23:16, value in 15:8.
    pub(super) fn switch(&mut self, argument: u32) -> Result<(), Error> {
        let (byte, value) = (index(u64::from(bits(argument, 16, 23))), bits(argument, 8, 15));
        let before = match byte {
            ERASE_GROUP_DEF => u32::from(self.large_groups),
            PARTITION_CONFIG => self.partition,
            _ => 0,
        };
        let value = match bits(argument, 24, 25) {
            1 => before | value,
            2 => before & !value,
            3 => value,
            // Another command set: there is none.
            _ => {
                self.errors |= status::SWITCH_ERROR;
                return Ok(());
            }
        };
        match byte {
            ERASE_GROUP_DEF if value <= 1 => self.large_groups = value == 1,
            PARTITION_CONFIG => self.partition = value & 7,
            // Any value starts it.
            SANITIZE_START if self.config.sanitize => return self.sanitize(),
            _ => self.errors |= status::SWITCH_ERROR,
        }
        Ok(())
    }
}
