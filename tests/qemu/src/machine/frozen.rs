//! Disks whose ATA security firmware has frozen. QEMU's disks know no security, so that nothing of QEMU's own freezes them:
//! what they say of themselves is changed where QEMU keeps it, in its own memory.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
};

use anyhow::{Context as _, Result, ensure};

/// An answer to IDENTIFY DEVICE (ACS-4, 7.13): its first word, where its serial number begins and how long that is, and
/// where word 128, the security status, stands.
const ANSWER_BYTES: usize = 512;
const FIRST_WORD: [u8; 2] = [0x40, 0];
const SERIAL_AT: usize = 20;
const SERIAL_BYTES: usize = 20;
const STATUS_AT: usize = 256;

/// What a disk says of its security.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// It has it, enhanced erasure too, and firmware has frozen it.
    Frozen,
    /// It has all that, and nothing is frozen.
    Supported,
}

/// Has a SATA disk say so from now on, by its serial number. It must have been asked once before.
pub(super) fn set(process: u32, serial: &str, security: Security) -> Result<()> {
    let status: u16 = match security {
        Security::Frozen => 0b10_1001,
        Security::Supported => 0b10_0001,
    };
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).context("mapping QEMU")?;
    let memory = File::options().read(true).write(true).open(format!("/proc/{process}/mem"));
    let memory = memory.context("opening QEMU's memory")?;
    let wanted = swapped(serial);
    let mut changed = 0;
    // What the machine itself remembers is its memory, and that is no part of the heap.
    for line in maps.lines().filter(|line| line.ends_with("[heap]")) {
        let (start, end) = range(line).with_context(|| format!("reading {line}"))?;
        let mut bytes = vec![0; usize::try_from(end - start).context("a heap's size")?];
        memory.read_exact_at(&mut bytes, start).context("reading QEMU's memory")?;
        for place in places(&bytes, &wanted) {
            let at = start + u64::try_from(place + STATUS_AT).context("a place")?;
            memory.write_all_at(&status.to_le_bytes(), at).context("changing QEMU's memory")?;
            changed += 1;
        }
    }
    ensure!(changed > 0, "QEMU keeps no answer of the disk {serial}");
    Ok(())
}

/// A string as ATA has it: padded with blanks, the letters of each pair exchanged.
fn swapped(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(SERIAL_BYTES, b' ');
    bytes.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect()
}

/// Returns where answers of the disk with this serial number begin.
fn places(bytes: &[u8], serial: &[u8]) -> Vec<usize> {
    let is_answer =
        |answer: &[u8]| answer.starts_with(&FIRST_WORD) && answer[SERIAL_AT..].starts_with(serial);
    let windows = bytes.windows(ANSWER_BYTES).enumerate();
    windows.filter(|(_, answer)| is_answer(answer)).map(|(place, _)| place).collect()
}

/// `55d0c8a00000-55d0c9b00000 rw-p …`
fn range(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_by_its_serial_number_and_nothing_else_is() {
        let mut bytes = vec![0; 2048];
        bytes[700..702].copy_from_slice(&FIRST_WORD);
        bytes[720..740].copy_from_slice(&swapped("DISK1234"));
        assert_eq!(bytes[720..730], *b"IDKS2143  ");
        assert_eq!(places(&bytes, &swapped("DISK1234")), [700]);
        assert_eq!(places(&bytes, &swapped("DISK123")), [0; 0]);
        bytes[700] = 0;
        assert_eq!(places(&bytes, &swapped("DISK1234")), [0; 0]);
    }

    #[test]
    fn a_range_of_memory_is_read() {
        let line = "55d0c8a00000-55d0c8a01000 rw-p 00000000 00:00 0   [heap]";
        assert_eq!(range(line), Some((0x55d0_c8a0_0000, 0x55d0_c8a0_1000)));
    }
}
