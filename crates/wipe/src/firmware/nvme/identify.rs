//! What NVMe controllers say of themselves, their namespaces and their sanitizing. NVM Express Base Specification 2.0,
//! figures 275 and 264, NVM Command Set Specification 1.0, figure 97; offsets as in libnvme's `src/nvme/types.h`.

use std::time::Duration;

use protocol::wipe::{Expected, Technique};

use super::super::bytes::{byte, little, little16, little32, little64, text};
use super::command::Action;

/// What a controller says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Controller {
    pub(super) serial: Option<String>,
    pub(super) model: Option<String>,
    pub(super) firmware: Option<String>,
    /// Controller multi-path: bit 1 is more than one controller in the subsystem.
    pub(super) cmic: u8,
    /// Optional admin commands: bit 1 is FORMAT NVM, bit 3 namespace management.
    pub(super) oacs: u16,
    /// The subsystem's room, and what of it is in no namespace, in bytes.
    pub(super) total_bytes: u128,
    pub(super) unallocated_bytes: u128,
    /// Replay protected memory: bits 2:0 are the number of units.
    pub(super) rpmbs: u32,
    /// Sanitize capabilities: bit 0 crypto erase, bit 1 block erase, bit 2 overwrite.
    pub(super) sanicap: u32,
    /// Optional NVM commands.
    pub(super) oncs: u16,
    /// Format attributes: bits 0 and 1, formats and erasures reach all namespaces; bit 2 crypto erase.
    pub(super) fna: u8,
    /// Volatile write cache.
    pub(super) vwc: u8,
}

/// How a namespace's sectors are formatted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Formatting {
    /// The LBA format's number, 0 to 63.
    pub(super) index: u8,
    pub(super) is_metadata_extended: bool,
    /// The type of protection information, 0 to 3.
    pub(super) protection: u8,
    pub(super) is_protection_first: bool,
}

/// What a controller says of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Namespace {
    pub(super) sectors: u64,
    pub(super) flbas: u8,
    pub(super) dps: u8,
    /// Bit 0: other controllers may reach it too.
    pub(super) nmic: u8,
    /// Format progress: bit 7 supported, bits 6:0 percent that remain.
    pub(super) fpi: u8,
    /// Bits 2:0: what deallocated sectors read as.
    pub(super) dlfeat: u8,
    /// Bit 0: write protected.
    pub(super) nsattr: u8,
    pub(super) formatting: Formatting,
    pub(super) sector_bytes: u32,
    pub(super) metadata_bytes: u32,
}

/// The sanitize status log, 81h (figure 268).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SanitizeLog {
    pub(super) progress: u16,
    pub(super) status: u16,
    /// The last SANITIZE's dword 10.
    pub(super) dword: u32,
    /// The state, since specification 2.1; 0 before.
    pub(super) state: u8,
    pub(super) overwrite: Option<Duration>,
    pub(super) block: Option<Duration>,
    pub(super) crypto: Option<Duration>,
}

/// How the last sanitize stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Never,
    Succeeded,
    Running,
    Failed,
    /// It came through, and waits for somebody to look at the medium before it deallocates.
    Verifying,
    /// A number that says nothing.
    Unclear,
}

impl Controller {
    /// Reads IDENTIFY CONTROLLER.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let string = |range| bytes.get(range).and_then(text);
        Self {
            serial: string(4..24),
            model: string(24..64),
            firmware: string(64..72),
            cmic: byte(bytes, 76),
            oacs: little16(bytes, 256),
            total_bytes: little(bytes, 280, 16),
            unallocated_bytes: little(bytes, 296, 16),
            rpmbs: little32(bytes, 312),
            sanicap: little32(bytes, 328),
            oncs: little16(bytes, 520),
            fna: byte(bytes, 524),
            vwc: byte(bytes, 525),
        }
    }

    /// Says whether it has a sanitize action.
    pub(super) fn can_sanitize(&self, action: Action) -> bool {
        match action {
            Action::Crypto => self.sanicap & 1 != 0,
            Action::Block => self.sanicap & 2 != 0,
            Action::Overwrite => self.sanicap & 4 != 0,
            Action::ExitFailure | Action::ExitVerification => self.sanicap & 7 != 0,
        }
    }

    /// Says whether it has FORMAT NVM.
    pub(super) fn can_format(&self) -> bool {
        self.oacs & 1 << 1 != 0
    }

    /// Says whether it has namespace management.
    pub(super) fn manages_namespaces(&self) -> bool {
        self.oacs & 1 << 3 != 0
    }

    /// Says whether a format erases cryptographically.
    pub(super) fn can_format_crypto(&self) -> bool {
        self.can_format() && self.fna & 1 << 2 != 0
    }

    /// Says whether formatting one namespace erases all of them.
    pub(super) fn formats_all(&self) -> bool {
        self.fna & 0b11 != 0
    }
}

impl Namespace {
    /// Reads IDENTIFY NAMESPACE.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let (flbas, dps) = (byte(bytes, 26), byte(bytes, 29));
        // NLBAF counts from 0. The upper bits mean something only where there are more than 16.
        let formats = u16::from(byte(bytes, 25)) + 1 + u16::from(byte(bytes, 82));
        let upper = if formats > 16 { flbas >> 5 & 3 } else { 0 };
        let index = flbas & 0xf | upper << 4;
        let at = 128 + usize::from(index) * 4;
        Self {
            sectors: little64(bytes, 0),
            flbas,
            dps,
            nmic: byte(bytes, 30),
            fpi: byte(bytes, 32),
            dlfeat: byte(bytes, 33),
            nsattr: byte(bytes, 99),
            formatting: Formatting {
                index,
                is_metadata_extended: flbas & 1 << 4 != 0,
                protection: dps & 7,
                is_protection_first: dps & 1 << 3 != 0,
            },
            sector_bytes: 1_u32.checked_shl(u32::from(byte(bytes, at + 2))).unwrap_or(0),
            metadata_bytes: u32::from(little16(bytes, at)),
        }
    }

    /// Returns what deallocated sectors read as; absent where it is not promised.
    pub(super) fn deallocated(&self) -> Option<Expected> {
        match self.dlfeat & 7 {
            1 => Some(Expected::Zeros),
            2 => Some(Expected::Ones),
            _ => None,
        }
    }

    /// Returns how far a format that is running is, in 65,536ths.
    pub(super) fn format_progress(&self) -> Option<u16> {
        let remaining = self.fpi & 0x7f;
        let is_running = self.fpi & 0x80 != 0 && (1..=100).contains(&remaining);
        is_running.then(|| (100 - u16::from(remaining)) * 655)
    }
}

impl SanitizeLog {
    /// Reads the log.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let estimate = |at| {
            let seconds = little32(bytes, at);
            (seconds != u32::MAX).then(|| Duration::from_secs(u64::from(seconds)))
        };
        Self {
            progress: little16(bytes, 0),
            status: little16(bytes, 2),
            dword: little32(bytes, 4),
            state: byte(bytes, 36),
            // Of 16 passes; one is made.
            overwrite: estimate(8).map(|sixteen: Duration| sixteen / 16),
            block: estimate(12),
            crypto: estimate(16),
        }
    }

    /// Returns how the last sanitize stands.
    pub(super) fn operation(&self) -> Operation {
        match (self.status & 7, self.state & 0xf) {
            // Restricted and unrestricted processing, deallocation after verification.
            (2, _) | (_, 1 | 3 | 6) => Operation::Running,
            (_, 5) => Operation::Verifying,
            (0, _) => Operation::Never,
            // Of the two, 4 left the sectors allocated.
            (1 | 4, _) => Operation::Succeeded,
            (3, _) => Operation::Failed,
            _ => Operation::Unclear,
        }
    }

    /// Says whether nothing was written since the last sanitize that succeeded.
    pub(super) fn is_global_data_erased(&self) -> bool {
        self.status & 1 << 8 != 0
    }

    /// Says whether the last sanitize was one that may be left after a failure.
    pub(super) fn is_unrestricted(&self) -> bool {
        self.dword & 1 << 3 != 0
    }

    /// Returns what the last sanitize did.
    pub(super) fn technique(&self) -> Option<Technique> {
        match self.dword & 7 {
            2 => Some(Technique::NvmeSanitizeBlock),
            3 => Some(Technique::NvmeSanitizeOverwrite),
            4 => Some(Technique::NvmeSanitizeCrypto),
            _ => None,
        }
    }
}

/// Reads a list of namespaces: numbers until the first zero.
pub(super) fn namespaces(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|number| little32(number, 0))
        .take_while(|number| *number != 0)
        .collect()
}

#[cfg(test)]
mod tests;
