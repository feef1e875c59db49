//! IDENTIFY DEVICE (ACS-4, IDENTIFY DEVICE, input from the device).

use super::{Disk, Kind, SECTOR, Trimmed};

impl Disk {
    pub(super) fn identify_page(&self) -> Vec<u8> {
        let mut words = [0_u16; 256];
        let bit = |is_set: bool, place: u16| u16::from(is_set) << place;
        let config = &self.config;
        words[0] = 0x0040; // not removable
        put_text(&mut words[10..20], &config.serial);
        put_text(&mut words[23..27], "1.0");
        put_text(&mut words[27..47], &config.model);
        words[47] = 0x8001;
        words[48] = 0x4000;
        words[49] = 1 << 9 | 1 << 8; // LBA, DMA
        words[53] = 0b110;
        if let Some(can) = &config.sanitize {
            words[59] = 1 << 12
                | 1 << 11 // the commands that ACS-3 allows meanwhile
                | bit(can.antifreeze, 10)
                | bit(can.crypto_scramble, 13)
                | bit(can.overwrite, 14)
                | bit(can.block_erase, 15);
        }
        let sectors = self.accessible_sectors();
        put_u64(&mut words[60..62], sectors.min(0x0fff_ffff));
        if let Kind::Flash(Some(trimmed)) = config.kind {
            words[69] = bit(trimmed != Trimmed::Anything, 14) | bit(trimmed == Trimmed::Zeros, 5);
            words[169] = 1;
        }
        words[76] = 1 << 3; // Serial ATA, third generation
        words[78] = 1 << 6; // software settings preservation, supported and enabled
        words[79] = 1 << 6;
        words[80] = 1 << 11 | 1 << 10; // ACS-4, ACS-3
        let has_security = config.security.is_some();
        let (area, overlay) = (config.protected_area, config.overlay);
        words[82] = bit(has_security, 1) | 1 << 5 | bit(area, 10);
        // Bit 14 is one; flush cache and its EXT, overlay, 48-bit addresses, SET MAX security.
        words[83] = 1 << 14 | 1 << 13 | 1 << 12 | bit(overlay, 11) | 1 << 10 | bit(area, 8);
        words[84] = 1 << 14 | 1 << 8; // world wide name
        words[85] = bit(self.security.is_enabled(), 1) | 1 << 5 | bit(area, 10);
        words[86] = 1 << 15 | 1 << 13 | 1 << 12 | bit(overlay, 11) | 1 << 10;
        words[87] = 1 << 14 | 1 << 8;
        words[88] = 0x007f;
        if let Some(can) = &config.security {
            words[89] = minutes(can.erase_minutes);
            words[90] = if can.enhanced_erase { minutes(can.enhanced_minutes) } else { 0 };
            words[92] = self.security.master_identifier();
        }
        put_u64(&mut words[100..104], sectors);
        words[106] = 1 << 14; // one logical sector per physical sector, of 256 words
        for (word, shift) in words[108..112].iter_mut().zip([48, 32, 16, 0]) {
            *word = u16::try_from(config.wwn >> shift & 0xffff).expect("16 bits are left");
        }
        // Words 117 and 118 are valid where word 106 bit 12 is set, which it is not: 512-byte sectors need it not.
        words[119] = 1 << 14 | bit(config.accessible_maximum, 8);
        words[120] = 1 << 14 | bit(config.accessible_maximum, 8);
        words[128] = self.security.status();
        words[217] = if self.is_flash() { 1 } else { 7200 };
        with_checksum(&words)
    }
}

/// Erase time (words 89 and 90): in units of two minutes, 255 is more than 508 minutes.
fn minutes(minutes: u16) -> u16 {
    (minutes / 2).min(255)
}

/// The first byte of a word is its high one.
fn put_text(words: &mut [u16], text: &str) {
    let mut letters = text.bytes().chain(std::iter::repeat(b' '));
    for word in words {
        *word =
            u16::from_be_bytes([letters.next().unwrap_or(b' '), letters.next().unwrap_or(b' ')]);
    }
}

/// The low word comes first.
pub(super) fn put_u64(words: &mut [u16], value: u64) {
    for (number, word) in words.iter_mut().enumerate() {
        *word = u16::try_from(value >> (16 * number) & 0xffff).expect("16 bits are left");
    }
}

/// The signature 0xa5 and a checksum: all bytes together are zero.
pub(super) fn with_checksum(words: &[u16; 256]) -> Vec<u8> {
    let mut page: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    page[510] = 0xa5;
    let sum = page[..511].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    page[511] = sum.wrapping_neg();
    debug_assert!(page.len() == SECTOR, "256 words");
    page
}
