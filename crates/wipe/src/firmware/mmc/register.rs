//! eMMC commands and registers. JESD84-B51, sections 6.10, 6.13 and 7.4; numbers as in Linux's `include/linux/mmc/mmc.h`
//! and `include/linux/mmc/core.h`.

use std::time::Duration;

use disk::command::MmcCommand;
use protocol::wipe::Expected;

use super::super::bytes::{byte, hex, little32, text};

// Kinds of answers: R1 is present, has a checksum and the command's number; R1b keeps the card busy; with data.
const R1: u32 = 1 << 0 | 1 << 2 | 1 << 4;
const R1_BUSY: u32 = R1 | 1 << 3;
const R1_DATA: u32 = R1 | 1 << 5;

// Linux gives the one card of an eMMC's bus this address (`mmc_init_card`).
const CARD: u32 = 1 << 16;

/// Cards up to this many sectors may count addresses in bytes (JESD84-B51, section 7.4.52).
pub(super) const MOST_SECTORS_BY_BYTES: u32 = 4_194_304;

/// `SEND_EXT_CSD`.
pub(super) const EXTENDED_REGISTER: MmcCommand =
    MmcCommand { index: 8, argument: 0, flags: R1_DATA, is_write: false };
/// `SEND_STATUS`.
pub(super) const STATUS: MmcCommand =
    MmcCommand { index: 13, argument: CARD, flags: R1, is_write: false };
/// `ERASE`, of groups.
pub(super) const ERASE: MmcCommand =
    MmcCommand { index: 38, argument: 0, flags: R1_BUSY, is_write: false };
/// `SWITCH` that writes 1 to `SANITIZE_START`, byte 165.
pub(super) const SANITIZE: MmcCommand = MmcCommand {
    index: 6,
    argument: 3 << 24 | 165 << 16 | 1 << 8 | 1,
    flags: R1_BUSY,
    is_write: false,
};

/// Builds `ERASE_GROUP_START`.
pub(super) fn erase_start(address: u32) -> MmcCommand {
    MmcCommand { index: 35, argument: address, flags: R1, is_write: false }
}

/// Builds `ERASE_GROUP_END`.
pub(super) fn erase_end(address: u32) -> MmcCommand {
    MmcCommand { index: 36, argument: address, flags: R1, is_write: false }
}

/// The extended register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Register {
    bytes: Vec<u8>,
}

/// A card's status, R1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) u32);

impl Register {
    /// Reads an answer.
    pub(super) fn new(bytes: &[u8; 512]) -> Self {
        Self { bytes: bytes.to_vec() }
    }

    /// Returns a byte.
    pub(super) fn byte(&self, at: usize) -> u8 {
        byte(&self.bytes, at)
    }

    /// `SEC_COUNT`.
    pub(super) fn sectors(&self) -> u32 {
        little32(&self.bytes, 212)
    }

    /// `SEC_FEATURE_SUPPORT`: bit 0 is secure erase.
    pub(super) fn can_erase_securely(&self) -> bool {
        self.byte(231) & 1 != 0
    }

    /// Bit 6 is sanitize.
    pub(super) fn can_sanitize(&self) -> bool {
        self.byte(231) & 1 << 6 != 0
    }

    /// `ERASED_MEM_CONT`.
    pub(super) fn erased(&self) -> Expected {
        if self.byte(181) & 1 == 0 { Expected::Zeros } else { Expected::Ones }
    }

    /// `FIRMWARE_VERSION`: letters on some cards, a number on others.
    pub(super) fn firmware(&self) -> Option<String> {
        let bytes = self.bytes.get(254..262)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        let is_text = bytes.iter().all(|byte| matches!(byte, 0 | b' '..=b'~'));
        if is_text { text(bytes) } else { Some(hex(bytes)) }
    }

    /// How many bytes a high-capacity erase group has (`HC_ERASE_GRP_SIZE`, in half mebibytes).
    pub(super) fn group_bytes(&self) -> u64 {
        u64::from(self.byte(224).max(1)) << 19
    }

    /// How long erasing everything takes at most (`ERASE_TIMEOUT_MULT`, in 300 ms a group).
    pub(super) fn erase_limit(&self) -> Duration {
        let groups = (u64::from(self.sectors()) * 512).div_ceil(self.group_bytes());
        Duration::from_millis(300 * u64::from(self.byte(223).max(1)) * groups)
    }
}

impl Status {
    /// Says whether something went wrong, with this command or what came before it.
    pub(super) fn is_error(self) -> bool {
        // Bits 31 to 26 and 24 to 19, an erase that skipped what is protected or was left, a switch that failed.
        self.0 & (0xfdf8_0000 | 1 << 15 | 1 << 13 | 1 << 7) != 0
    }

    /// Says whether an address was beyond the end.
    pub(super) fn is_out_of_range(self) -> bool {
        self.0 & (1 << 31 | 1 << 30) != 0
    }

    pub(super) fn is_locked(self) -> bool {
        self.0 & 1 << 25 != 0
    }

    /// Says whether the card is at nothing: in the transfer state, ready for data.
    pub(super) fn is_idle(self) -> bool {
        self.0 >> 9 & 0xf == 4 && self.0 & 1 << 8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_to_sanitize_writes_a_byte() {
        assert_eq!(SANITIZE.argument, 0x03a5_0101);
        assert_eq!((SANITIZE.flags, EXTENDED_REGISTER.flags, STATUS.flags), (0x1d, 0x35, 0x15));
    }

    #[test]
    fn a_status_tells_errors_and_states() {
        let ready = Status(4 << 9 | 1 << 8);
        assert!(ready.is_idle() && !ready.is_error());
        assert!(!Status(7 << 9 | 1 << 8).is_idle(), "it programs");
        assert!(!Status(4 << 9).is_idle(), "it is not ready for data");
        for bit in [31, 28, 27, 26, 24, 22, 19, 15, 13, 7] {
            assert!(Status(1 << bit).is_error(), "{bit}");
        }
        for bit in 0..32 {
            assert_eq!(Status(1 << bit).is_out_of_range(), bit >= 30, "{bit}");
        }
        assert!(!Status(1 << 25).is_error() && Status(1 << 25).is_locked());
    }

    #[test]
    fn a_register_says_what_the_card_can_and_how_long_it_takes() {
        let mut bytes = [0; 512];
        (bytes[231], bytes[181], bytes[224], bytes[223]) = (0x41, 1, 2, 3);
        bytes[212..216].copy_from_slice(&[0, 0, 0x40, 0]);
        bytes[254..257].copy_from_slice(b"\x01\x02\x03");
        let register = Register::new(&bytes);
        assert!(register.can_erase_securely() && register.can_sanitize());
        assert_eq!(
            (register.sectors(), register.erased()),
            (MOST_SECTORS_BY_BYTES, Expected::Ones)
        );
        assert_eq!(register.erase_limit(), Duration::from_millis(900 * 2048));
        assert_eq!(register.firmware().as_deref(), Some("0102030000000000"));
        for (byte, firmware) in [(0, None), (1, Some("0101010101010101"))] {
            bytes[254..262].fill(byte);
            assert_eq!(Register::new(&bytes).firmware().as_deref(), firmware);
        }
        bytes[254..262].copy_from_slice(b"V1.2\0\0\0\0");
        assert_eq!(Register::new(&bytes).firmware().as_deref(), Some("V1.2"));
    }
}
