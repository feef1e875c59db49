//! What ATA disks say of themselves in IDENTIFY DEVICE. ACS-3, section 7.12.7; words as in Linux's `include/linux/ata.h`
//! and opensea-operations' `src/ata_Security.c`, `src/set_max_lba.c`.

use std::time::Duration;

use protocol::wipe::Expected;

use super::super::bytes::{little16, little32, little64, text};
use super::passthrough::{Sanitize, is_checksum_right};

/// How long a security erase takes whose time is said to be beyond what can be said.
const LONGEST: Duration = Duration::from_hours(48);

/// IDENTIFY DEVICE's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    bytes: Vec<u8>,
}

impl Identity {
    /// Reads an answer.
    pub(super) fn new(bytes: &[u8; 512]) -> Self {
        Self { bytes: bytes.to_vec() }
    }

    /// Returns a word.
    pub(super) fn word(&self, number: usize) -> u16 {
        little16(&self.bytes, number * 2)
    }

    fn has(&self, word: usize, bit: u32) -> bool {
        // What does not exist is all zeros or all ones.
        let word = self.word(word);
        word != u16::MAX && word & 1 << bit != 0
    }

    /// Words that say by their upper two bits whether they mean anything.
    fn is_valid(&self, word: usize) -> bool {
        self.word(word) & 0xc000 == 0x4000
    }

    /// Letters stand in the upper half of a word first.
    fn string(&self, words: std::ops::Range<usize>) -> Option<String> {
        let bytes: Vec<u8> = words.flat_map(|word| self.word(word).to_be_bytes()).collect();
        text(&bytes)
    }

    pub(super) fn serial(&self) -> Option<String> {
        self.string(10..20)
    }

    pub(super) fn firmware(&self) -> Option<String> {
        self.string(23..27)
    }

    pub(super) fn model(&self) -> Option<String> {
        self.string(27..47)
    }

    /// Says whether this can be a disk's answer at all.
    pub(super) fn is_plausible(&self) -> bool {
        is_checksum_right(&self.bytes)
            && self.word(0) & 1 << 15 == 0
            && self.serial().is_some()
            && self.model().is_some()
            && self.sectors() != 0
    }

    pub(super) fn has_48_bits(&self) -> bool {
        self.is_valid(83) && self.has(83, 10)
    }

    /// How many sectors can be addressed.
    pub(super) fn sectors(&self) -> u64 {
        if self.has(69, 3) {
            little64(&self.bytes, 230 * 2)
        } else if self.has_48_bits() {
            little64(&self.bytes, 100 * 2)
        } else {
            u64::from(little32(&self.bytes, 60 * 2))
        }
    }

    /// The size of a sector in bytes.
    pub(super) fn sector_bytes(&self) -> u32 {
        if self.is_valid(106) && self.has(106, 12) {
            little32(&self.bytes, 117 * 2).saturating_mul(2)
        } else {
            512
        }
    }

    /// Turns sectors into bytes.
    pub(super) fn bytes_of(&self, sectors: u64) -> u64 {
        sectors.saturating_mul(u64::from(self.sector_bytes()))
    }

    /// Says whether it turns; absent where it does not say.
    pub(super) fn is_rotating(&self) -> Option<bool> {
        match self.word(217) {
            1 => Some(false),
            0x0401..=0xfffe => Some(true),
            _ => None,
        }
    }

    pub(super) fn can_sanitize(&self, what: Sanitize) -> bool {
        let bit = match what {
            Sanitize::Crypto => 13,
            Sanitize::Overwrite => 14,
            Sanitize::Block => 15,
        };
        self.has_sanitize() && self.has(59, bit)
    }

    pub(super) fn has_sanitize(&self) -> bool {
        self.has(59, 12)
    }

    pub(super) fn has_security(&self) -> bool {
        self.has(128, 0)
    }

    pub(super) fn is_password_set(&self) -> bool {
        self.has_security() && self.has(128, 1)
    }

    pub(super) fn is_locked(&self) -> bool {
        self.has_security() && self.has(128, 2)
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.has_security() && self.has(128, 3)
    }

    /// Says whether too many wrong passwords were tried.
    pub(super) fn is_expired(&self) -> bool {
        self.has_security() && self.has(128, 4)
    }

    pub(super) fn has_enhanced_erase(&self) -> bool {
        self.has_security() && self.has(128, 5)
    }

    /// How long SECURITY ERASE UNIT takes; absent where it does not say.
    pub(super) fn erase_time(&self, is_enhanced: bool) -> Option<Duration> {
        let word = self.word(if is_enhanced { 90 } else { 89 });
        // Bit 15 is the format with fifteen bits instead of eight; units of two minutes.
        let (units, beyond) =
            if word & 1 << 15 == 0 { (word & 0xff, 0xff) } else { (word & 0x7fff, 0x7fff) };
        match units {
            0 => None,
            units if units == beyond => Some(LONGEST),
            units => Some(Duration::from_mins(u64::from(units) * 2)),
        }
    }

    /// What trimmed sectors read as; absent where it is not promised.
    pub(super) fn trimmed(&self) -> Option<Expected> {
        (self.has(169, 0) && self.has(69, 14) && self.has(69, 5)).then_some(Expected::Zeros)
    }

    pub(super) fn has_hpa(&self) -> bool {
        self.is_valid(83) && self.has(82, 10)
    }

    pub(super) fn has_dco(&self) -> bool {
        self.is_valid(83) && self.has(83, 11)
    }

    pub(super) fn has_ama(&self) -> bool {
        self.has(86, 15) && self.is_valid(119) && self.has(119, 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(words: &[(usize, u16)]) -> Identity {
        let mut bytes = [0; 512];
        for (number, word) in words {
            bytes[number * 2..number * 2 + 2].copy_from_slice(&word.to_le_bytes());
        }
        Identity::new(&bytes)
    }

    #[test]
    fn times_of_erasure_have_two_formats() {
        let minutes =
            |word| identity(&[(89, word)]).erase_time(false).map(|time| time.as_secs() / 60);
        assert_eq!(minutes(0), None);
        assert_eq!(minutes(30), Some(60));
        assert_eq!(minutes(0x812c), Some(600));
        assert_eq!(minutes(255), Some(48 * 60));
        assert_eq!(minutes(0xffff), Some(48 * 60));
    }

    #[test]
    fn a_word_of_ones_is_a_word_that_does_not_exist() {
        let absent = identity(&[(59, 0xffff), (128, 0xffff)]);
        assert!(!absent.has_sanitize() && !absent.has_security() && !absent.is_frozen());
        let disk = identity(&[(59, 0xb000), (128, 0x0029)]);
        assert!(disk.can_sanitize(Sanitize::Block) && disk.can_sanitize(Sanitize::Crypto));
        assert!(!disk.can_sanitize(Sanitize::Overwrite));
        assert!(disk.is_frozen() && disk.has_enhanced_erase() && !disk.is_password_set());
    }

    /// ACS-4, IDENTIFY DEVICE data: word 217 is a rate, or 1 for what does not turn.
    #[test]
    fn a_disk_turns_where_it_says_how_fast() {
        for rate in 0..=u16::MAX {
            let expected = match rate {
                1 => Some(false),
                0x0401..=0xfffe => Some(true),
                _ => None,
            };
            assert_eq!(identity(&[(217, rate)]).is_rotating(), expected, "{rate:#x}");
        }
    }

    /// ACS-4, IDENTIFY DEVICE data: words 230 to 233 where word 69 bit 3 says so, else 100 to 103, else 60 and 61.
    #[test]
    fn sectors_are_counted_where_the_disk_says() {
        let short = [(60, 1), (61, 2)];
        let long = [(83, 1 << 14 | 1 << 10), (100, 3), (101, 4), (102, 5), (103, 6)];
        let extended = [(69, 1 << 3), (230, 7), (231, 8), (232, 9), (233, 10)];
        let mut words = Vec::from(short);
        assert_eq!(identity(&words).sectors(), 0x0002_0001);
        words.extend(long);
        assert_eq!(identity(&words).sectors(), 0x0006_0005_0004_0003);
        words.extend(extended);
        assert_eq!(identity(&words).sectors(), 0x000a_0009_0008_0007);
    }

    #[test]
    fn letters_are_swapped_and_a_wrong_checksum_is_seen() {
        let words = [(10, 0x5345), (11, 0x5249), (27, 0x4d4f), (60, 8), (61, 1)];
        let disk = identity(&words);
        assert_eq!((disk.serial().as_deref(), disk.model().as_deref()), (Some("SERI"), Some("MO")));
        assert_eq!(disk.sectors(), 0x1_0008);
        assert!(disk.is_plausible());
        let sized = |sectors| identity(&[words[0], words[2], (60, sectors)]).is_plausible();
        assert!(sized(1) && !sized(0), "a disk has sectors");
        let mut bytes: [u8; 512] = disk.bytes.try_into().unwrap();
        bytes[510] = 0xa5;
        assert!(!Identity::new(&bytes).is_plausible());
        let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        bytes[511] = 0_u8.wrapping_sub(sum);
        assert!(Identity::new(&bytes).is_plausible());
    }

    #[test]
    fn sectors_may_be_larger() {
        let disk = identity(&[(106, 0x5000), (117, 2048), (83, 0x4400), (100, 9)]);
        assert_eq!((disk.sector_bytes(), disk.bytes_of(disk.sectors())), (4096, 9 * 4096));
    }
}
