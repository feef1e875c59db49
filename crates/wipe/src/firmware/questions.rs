//! A device that is only asked: every command that is no question is refused here, whatever else goes wrong.

use std::{io, time::Duration};

use disk::command::{
    Data, MmcCommand, MmcDevice, NvmeCommand, NvmeController, NvmeFailure, OpalDevice, OpalFailure,
    OpalStatus, ScsiAnswer, ScsiDevice,
};

/// NVMe: Identify, Get Log Page, Get Features (NVM Express Base Specification 2.0, figure 138).
const NVME: [u8; 3] = [0x06, 0x02, 0x0a];

/// SCSI: TEST UNIT READY, REQUEST SENSE, INQUIRY, MODE SENSE (6 and 10), READ CAPACITY (10), LOG SENSE (SPC-5, table D.1).
const SCSI: [u8; 7] = [0x00, 0x03, 0x12, 0x1a, 0x5a, 0x25, 0x4d];

/// The same with the service action that makes it a question: READ CAPACITY (16), REPORT SUPPORTED OPERATION CODES.
const SERVICES: [(u8, u8); 2] = [(0x9e, 0x10), (0xa3, 0x0c)];

/// ATA PASS-THROUGH (16) and (12) (SAT-4, 12.2).
const PASS_THROUGH: [u8; 2] = [0x85, 0xa1];

/// ATA: IDENTIFY DEVICE, READ LOG EXT, READ LOG DMA EXT, READ NATIVE MAX ADDRESS and EXT, CHECK POWER MODE (ACS-4, table 31).
const ATA: [u8; 6] = [0xec, 0x2f, 0x47, 0xf8, 0x27, 0xe5];

/// The same with the feature that makes it a question: DCO IDENTIFY, SANITIZE STATUS EXT, GET NATIVE MAX ADDRESS EXT.
const FEATURES: [(u8, u8); 3] = [(0xb1, 0xc2), (0xb4, 0x00), (0x78, 0x00)];

/// eMMC: `SEND_EXT_CSD` and `SEND_STATUS` (JESD84-B51, 6.10.4).
const MMC: [u32; 2] = [8, 13];

/// A device that is only asked.
#[derive(Debug)]
pub(super) struct Questions<'d, D: ?Sized>(pub(super) &'d D);

impl<D: NvmeController + ?Sized> NvmeController for Questions<'_, D> {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        if !NVME.contains(&command.opcode) {
            return Err(NvmeFailure::NoAnswer(io::ErrorKind::PermissionDenied.into()));
        }
        self.0.admin(command, data, limit)
    }
}

impl<D: ScsiDevice + ?Sized> ScsiDevice for Questions<'_, D> {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        if !is_question(command) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.0.execute(command, data, limit)
    }
}

impl<D: MmcDevice + ?Sized> MmcDevice for Questions<'_, D> {
    fn command(
        &self,
        command: &MmcCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> io::Result<[u32; 4]> {
        if !MMC.contains(&command.index) || command.is_write {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.0.command(command, data, limit)
    }

    fn secure_discard(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

impl<D: OpalDevice + ?Sized> OpalDevice for Questions<'_, D> {
    fn status(&self) -> io::Result<OpalStatus> {
        self.0.status()
    }

    fn revert_with_psid(&self, _psid: &[u8]) -> Result<(), OpalFailure> {
        Err(OpalFailure::NoAnswer(io::ErrorKind::PermissionDenied.into()))
    }

    fn revert_with_sid(&self, _sid: &[u8]) -> Result<(), OpalFailure> {
        Err(OpalFailure::NoAnswer(io::ErrorKind::PermissionDenied.into()))
    }
}

fn is_question(command: &[u8]) -> bool {
    let Some((code, rest)) = command.split_first() else { return false };
    if PASS_THROUGH.contains(code) {
        // Feature and command: bytes 4 and 14 of the long form, 3 and 9 of the short one.
        let (feature, ata) = if *code == 0x85 { (4, 14) } else { (3, 9) };
        let (Some(feature), Some(ata)) = (command.get(feature), command.get(ata)) else {
            return false;
        };
        return ATA.contains(ata) || FEATURES.contains(&(*ata, *feature));
    }
    let service = rest.first().map(|byte| byte & 0x1f);
    SCSI.contains(code) || service.is_some_and(|service| SERVICES.contains(&(*code, service)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(ata: u8, feature: u8) -> [u8; 16] {
        let mut command = [0; 16];
        (command[0], command[4], command[14]) = (0x85, feature, ata);
        command
    }

    #[test]
    fn questions_are_asked() {
        for command in [&[0x12, 1, 0x83, 0, 64, 0][..], &[0x9e, 0x10], &[0xa3, 0x0c], &[0x5a]] {
            assert!(is_question(command), "{command:02x?}");
        }
        for (ata, feature) in [(0xec, 0), (0x2f, 0), (0xb1, 0xc2), (0xb4, 0)] {
            assert!(is_question(&long(ata, feature)), "{ata:02x}");
        }
    }

    fn bytes() -> impl Iterator<Item = u8> {
        0..=u8::MAX
    }

    /// Every operation code, with every service action, command and feature there is.
    #[test]
    fn nothing_else_is_a_question() {
        let with_any_action =
            bytes().filter(|code| (0..32).all(|action| is_question(&[*code, action])));
        assert_eq!(with_any_action.collect::<Vec<_>>(), [0x00, 0x03, 0x12, 0x1a, 0x25, 0x4d, 0x5a]);
        let with_one_action: Vec<_> = bytes()
            .flat_map(|code| (0..32).map(move |action| (code, action)))
            .filter(|(code, action)| is_question(&[*code, *action]) && !SCSI.contains(code))
            .collect();
        assert_eq!(with_one_action, [(0x9e, 0x10), (0xa3, 0x0c)]);

        let short = |ata: u8, feature: u8| {
            let mut command = [0; 12];
            (command[0], command[3], command[9]) = (0xa1, feature, ata);
            command
        };
        for is_asked in [
            &(|ata, feature| is_question(&long(ata, feature))) as &dyn Fn(u8, u8) -> bool,
            &|ata, feature| is_question(&short(ata, feature)),
        ] {
            let with_any = bytes().filter(|ata| bytes().all(|feature| is_asked(*ata, feature)));
            let with_any: Vec<_> = with_any.collect();
            assert_eq!(with_any, [0x27, 0x2f, 0x47, 0xe5, 0xec, 0xf8]);
            let with_one: Vec<_> = bytes()
                .flat_map(|ata| bytes().map(move |feature| (ata, feature)))
                .filter(|(ata, feature)| is_asked(*ata, *feature) && !with_any.contains(ata))
                .collect();
            assert_eq!(with_one, [(0x78, 0x00), (0xb1, 0xc2), (0xb4, 0x00)]);
        }
        assert_eq!((NVME, MMC), ([0x06, 0x02, 0x0a], [8, 13]));
    }

    #[test]
    fn whatever_destroys_is_none() {
        // FORMAT UNIT, WRITE, UNMAP, SANITIZE, MODE SELECT, WRITE SAME, SECURITY PROTOCOL OUT, PERSISTENT RESERVE OUT.
        for code in [0x04, 0x0a, 0x2a, 0x8a, 0x42, 0x48, 0x15, 0x55, 0x41, 0x93, 0xb5, 0x5f, 0x9f] {
            assert!(!is_question(&[code, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]), "{code:02x}");
        }
        // SECURITY ERASE UNIT and SET PASSWORD, SANITIZE, SET MAX, DCO RESTORE, WRITE, DATA SET MANAGEMENT.
        for (ata, feature) in [
            (0xf4, 0),
            (0xf1, 0),
            (0xb4, 0x11),
            (0xb4, 0x12),
            (0xb4, 0x14),
            (0xf9, 0),
            (0x37, 0),
            (0xb1, 0xc0),
            (0xb1, 0xc3),
            (0x78, 1),
            (0x35, 0),
            (0x06, 1),
        ] {
            assert!(!is_question(&long(ata, feature)), "{ata:02x} {feature:02x}");
            let mut short = [0; 12];
            (short[0], short[3], short[9]) = (0xa1, feature, ata);
            assert!(!is_question(&short), "{ata:02x} {feature:02x}");
        }
        assert!(!is_question(&[]) && !is_question(&[0x85, 0, 0, 0, 0]));
        for opcode in [0x80, 0x84, 0x0d, 0x15, 0x09, 0x10, 0x11, 0x81] {
            assert!(!NVME.contains(&opcode));
        }
    }
}
