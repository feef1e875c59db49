//! ATA commands in SCSI's ATA PASS-THROUGH (16) and the task file that comes back. SAT-4, sections 12.2.2.3 and 12.2.7;
//! commands of ACS-3, section 7; positions as in Linux's `drivers/ata/libata-scsi.c` and in opensea-transport.

use super::super::bytes::{byte, little16};

/// How a command moves data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Not at all.
    NonData,
    /// 512 bytes from the device.
    In,
    /// 512 bytes to the device.
    Out,
}

/// An ATA command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) opcode: u8,
    pub(super) features: u16,
    pub(super) count: u16,
    pub(super) lba: u64,
    pub(super) device: u8,
    pub(super) is_extended: bool,
    pub(super) protocol: Protocol,
}

/// What the device's registers hold after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taskfile {
    pub(super) error: u8,
    pub(super) status: u8,
    pub(super) count: u16,
    pub(super) lba: u64,
}

/// What a SANITIZE command does (ACS-3, section 7.36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sanitize {
    /// CRYPTO SCRAMBLE EXT.
    Crypto,
    /// BLOCK ERASE EXT.
    Block,
    /// OVERWRITE EXT, once, with zeros.
    Overwrite,
}

/// What a password is for (ACS-3, sections 7.38 to 7.43).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    SetPassword,
    Unlock,
    EraseUnit,
    EraseUnitEnhanced,
    DisablePassword,
}

const SHORT: Command = Command {
    name: "",
    opcode: 0,
    features: 0,
    count: 0,
    lba: 0,
    device: 0,
    is_extended: false,
    protocol: Protocol::NonData,
};
const EXTENDED: Command = Command { is_extended: true, ..SHORT };
// The LBA bit of the device register.
const BY_ADDRESS: u8 = 0x40;

/// IDENTIFY DEVICE.
pub(super) const IDENTIFY: Command =
    Command { name: "IDENTIFY DEVICE", opcode: 0xec, count: 1, protocol: Protocol::In, ..SHORT };
/// SANITIZE STATUS EXT.
pub(super) const SANITIZE_STATUS: Command =
    Command { name: "SANITIZE STATUS EXT", opcode: 0xb4, ..EXTENDED };
/// SANITIZE STATUS EXT with CLEAR SANITIZE OPERATION FAILED.
pub(super) const SANITIZE_CLEAR: Command =
    Command { name: "SANITIZE STATUS EXT, clear failure", count: 1, ..SANITIZE_STATUS };
/// SECURITY ERASE PREPARE.
pub(super) const ERASE_PREPARE: Command =
    Command { name: "SECURITY ERASE PREPARE", opcode: 0xf3, ..SHORT };
/// READ NATIVE MAX ADDRESS EXT.
pub(super) const READ_NATIVE_MAX: Command =
    Command { name: "READ NATIVE MAX ADDRESS EXT", opcode: 0x27, device: BY_ADDRESS, ..EXTENDED };
/// DEVICE CONFIGURATION IDENTIFY.
pub(super) const DCO_IDENTIFY: Command = Command {
    name: "DEVICE CONFIGURATION IDENTIFY",
    opcode: 0xb1,
    features: 0xc2,
    count: 1,
    protocol: Protocol::In,
    ..SHORT
};
/// DEVICE CONFIGURATION RESTORE.
pub(super) const DCO_RESTORE: Command =
    Command { name: "DEVICE CONFIGURATION RESTORE", opcode: 0xb1, features: 0xc0, ..SHORT };
/// GET NATIVE MAX ADDRESS EXT.
pub(super) const AMA_NATIVE: Command =
    Command { name: "GET NATIVE MAX ADDRESS EXT", opcode: 0x78, ..EXTENDED };

/// Builds a SANITIZE command, which may be left after a failure or not.
pub(super) fn sanitize(what: Sanitize, may_be_left: bool) -> Command {
    // FAILURE MODE.
    let failure_mode = u16::from(may_be_left) << 4;
    let (name, features, lba, passes) = match what {
        Sanitize::Crypto => {
            ("CRYPTO SCRAMBLE EXT", 0x11, u64::from(u32::from_be_bytes(*b"Cryp")), 0)
        }
        Sanitize::Block => ("BLOCK ERASE EXT", 0x12, u64::from(u32::from_be_bytes(*b"BkEr")), 0),
        // The pattern is in the lower four bytes. No passes would be 16.
        Sanitize::Overwrite => {
            ("OVERWRITE EXT", 0x14, u64::from(u16::from_be_bytes(*b"OW")) << 32, 1)
        }
    };
    Command { name, opcode: 0xb4, features, count: failure_mode | passes, lba, ..EXTENDED }
}

/// Builds a security command and what is sent with it. The password is the user's, the level high: the master password
/// goes on unlocking.
pub(super) fn security(what: Security, password: &[u8; 32]) -> (Command, [u8; 512]) {
    let (name, opcode, control) = match what {
        Security::SetPassword => ("SECURITY SET PASSWORD", 0xf1, 0),
        Security::Unlock => ("SECURITY UNLOCK", 0xf2, 0),
        Security::EraseUnit => ("SECURITY ERASE UNIT", 0xf4, 0),
        Security::EraseUnitEnhanced => ("SECURITY ERASE UNIT, enhanced", 0xf4, 1 << 1),
        Security::DisablePassword => ("SECURITY DISABLE PASSWORD", 0xf6, 0),
    };
    let mut data = [0; 512];
    data[0] = control;
    data[2..34].copy_from_slice(password);
    (Command { name, opcode, count: 1, protocol: Protocol::Out, ..SHORT }, data)
}

/// Builds SET MAX ADDRESS EXT, which outlasts the power. Has to follow [`READ_NATIVE_MAX`] at once.
pub(super) fn set_max(lba: u64) -> Command {
    Command {
        name: "SET MAX ADDRESS EXT",
        opcode: 0x37,
        count: 1,
        lba,
        device: BY_ADDRESS,
        ..EXTENDED
    }
}

/// Builds SET ACCESSIBLE MAX ADDRESS EXT.
pub(super) fn set_accessible_max(lba: u64) -> Command {
    Command { name: "SET ACCESSIBLE MAX ADDRESS EXT", opcode: 0x78, features: 1, lba, ..EXTENDED }
}

/// Returns a command in ATA PASS-THROUGH (16), asking for the task file.
pub(super) fn envelope(command: &Command) -> [u8; 16] {
    // CK_COND 20h; T_DIR from the device 08h, BYT_BLOK 04h, T_LENGTH in the count 02h.
    let (protocol, transfer) = match command.protocol {
        Protocol::NonData => (3, 0x20),
        Protocol::In => (4, 0x2e),
        Protocol::Out => (5, 0x26),
    };
    let [features_high, features] = command.features.to_be_bytes();
    let [count_high, count] = command.count.to_be_bytes();
    let [lba0, lba1, lba2, lba3, lba4, lba5, ..] = command.lba.to_le_bytes();
    let extended = u8::from(command.is_extended);
    [
        0x85,
        protocol << 1 | extended,
        transfer,
        features_high,
        features,
        count_high,
        count,
        lba3,
        lba0,
        lba4,
        lba1,
        lba5,
        lba2,
        command.device,
        command.opcode,
        0,
    ]
}

/// Reads the task file out of sense data. Fixed sense data lacks the upper halves, so that nothing can be read out of a
/// success in it; a failure can.
pub(super) fn taskfile(sense: &[u8]) -> Option<Taskfile> {
    match byte(sense, 0) & 0x7f {
        0x72 => descriptor(sense),
        0x70 => {
            let low = |at| u64::from(byte(sense, at));
            let taskfile = Taskfile {
                error: byte(sense, 3),
                status: byte(sense, 4),
                count: u16::from(byte(sense, 6)),
                lba: low(9) | low(10) << 8 | low(11) << 16,
            };
            (sense.len() >= 12 && taskfile.is_error()).then_some(taskfile)
        }
        _ => None,
    }
}

/// The ATA Status Return descriptor, type 9.
fn descriptor(sense: &[u8]) -> Option<Taskfile> {
    let mut rest = sense.get(8..)?;
    while let [kind, length, ..] = *rest {
        let whole = usize::from(length) + 2;
        if let (0x09, 12, Some(found)) = (kind, length, rest.get(..whole)) {
            let low = |at: usize| u64::from(byte(found, at));
            return Some(Taskfile {
                error: found[3],
                status: found[13],
                count: u16::from_be_bytes([found[4], found[5]]),
                lba: low(7)
                    | low(9) << 8
                    | low(11) << 16
                    | low(6) << 24
                    | low(8) << 32
                    | low(10) << 40,
            });
        }
        rest = rest.get(whole..)?;
    }
    None
}

impl Taskfile {
    /// Says whether the device gave the command up: ERR or DEVICE FAULT.
    pub(super) fn is_error(&self) -> bool {
        self.status & 0x21 != 0
    }

    /// Says whether the device is done with the command: neither busy nor waiting for data, and ready.
    pub(super) fn is_success(&self) -> bool {
        self.status & 0xe9 == 0x40
    }
}

/// Returns the highest address that DEVICE CONFIGURATION IDENTIFY names (ATA8-ACS, section 7.12.3).
pub(super) fn dco_max(bytes: &[u8; 512]) -> Option<u64> {
    is_checksum_right(bytes).then(|| super::super::bytes::little64(bytes, 6))
}

/// Says whether the checksum of 512 bytes is right, where there is one (ACS-3, section 7.12.7, word 255).
pub(super) fn is_checksum_right(bytes: &[u8]) -> bool {
    let [indicator, _] = little16(bytes, 510).to_le_bytes();
    indicator != 0xa5 || bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: Command, expected: [u8; 16]) {
        assert_eq!(envelope(&command), expected, "{}", command.name);
    }

    #[test]
    fn commands_stand_in_their_envelope_with_upper_halves_beside_lower_ones() {
        let ck = 0x20;
        check(
            sanitize(Sanitize::Block, true),
            [0x85, 7, ck, 0, 0x12, 0, 0x10, 0x42, 0x72, 0, 0x45, 0, 0x6b, 0, 0xb4, 0],
        );
        check(
            sanitize(Sanitize::Overwrite, true),
            [0x85, 7, ck, 0, 0x14, 0, 0x11, 0, 0, 0x57, 0, 0x4f, 0, 0, 0xb4, 0],
        );
        check(IDENTIFY, [0x85, 8, 0x2e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0]);
        check(
            set_max(0x0605_0403_0201),
            [0x85, 7, ck, 0, 0, 0, 1, 4, 1, 5, 2, 6, 3, 0x40, 0x37, 0],
        );
    }

    #[test]
    fn passwords_stand_behind_their_control_word() {
        let (command, data) = security(Security::EraseUnitEnhanced, &[0x41; 32]);
        assert_eq!(envelope(&command)[..3], [0x85, 10, 0x26]);
        assert_eq!((data[0], data[1], &data[2..34], data[34]), (2, 0, &[0x41; 32][..], 0));
        let (_, data) = security(Security::SetPassword, &[0x41; 32]);
        assert_eq!(data[..3], [0, 0, 0x41]);
    }

    /// SPC-5, table 28: only what is of this command, with bit 7 of the byte the vendor's.
    #[test]
    fn a_task_file_is_read_out_of_two_formats() {
        for code in 0..=u8::MAX {
            let mut sense = [0; 22];
            (sense[0], sense[4], sense[8], sense[9]) = (code, 0x51, 9, 12);
            let is_read = matches!(code & 0x7f, 0x70 | 0x72);
            assert_eq!(taskfile(&sense).is_some(), is_read, "{code:#x}");
        }
    }

    /// ACS-4, 6.2: BSY, DRDY, DF, an old one, DRQ, two old ones, ERR.
    #[test]
    fn each_bit_of_the_status_counts_as_it_should() {
        let with = |status| Taskfile { error: 0, status, count: 0, lba: 0 };
        let is = |test: fn(&Taskfile) -> bool| {
            let set = (0..8).filter(|bit| test(&with(1 << bit)));
            set.collect::<Vec<u8>>()
        };
        assert_eq!(is(Taskfile::is_error), [0, 5]);
        assert_eq!(is(Taskfile::is_success), [6]);
        let spoilt = (0..8).filter(|bit| !with(0x40 | 1 << bit).is_success());
        assert_eq!(spoilt.collect::<Vec<u8>>(), [0, 3, 5, 7]);
    }

    /// SAT-4, fixed format sense data: error, status, device, count, then the lower half of the LBA from byte 9 on.
    #[test]
    fn a_failure_is_read_from_fixed_sense_data_too() {
        let sense = [0x70, 0, 0x0b, 4, 0x51, 0xe0, 7, 10, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0];
        let expected = Taskfile { error: 4, status: 0x51, count: 7, lba: 0x03_0201 };
        assert_eq!(taskfile(&sense), Some(expected));
        assert_eq!(taskfile(&sense[..12]), Some(expected));
        assert_eq!(taskfile(&sense[..11]), None);
        let success = [0x70, 0, 1, 0, 0x50, 0xe0, 7, 10, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0];
        assert_eq!(taskfile(&success), None, "its upper halves are not there");
    }

    #[test]
    fn a_task_file_is_found_behind_other_descriptors() {
        let mut sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 20, 0, 4, 1, 2, 3, 4];
        sense.extend([9, 12, 1, 0, 0x40, 0x10, 4, 1, 5, 2, 6, 3, 0, 0x50]);
        let found = taskfile(&sense).unwrap();
        assert_eq!((found.count, found.lba, found.status), (0x4010, 0x0605_0403_0201, 0x50));
        assert!(found.is_success() && !found.is_error());
        for length in 0..sense.len() {
            assert_eq!(taskfile(&sense[..length]), None);
        }
    }

    #[test]
    fn fixed_sense_data_tells_of_failures_only() {
        let mut sense = vec![0x70, 0, 0x0b, 4, 0x51, 0, 0, 10, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let found = taskfile(&sense).unwrap();
        assert_eq!((found.error, found.lba, found.is_error()), (4, 1, true));
        sense[4] = 0x50;
        assert_eq!(taskfile(&sense), None);
    }
}
