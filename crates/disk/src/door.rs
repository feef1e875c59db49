//! Where a disk that is held takes commands. Each door borrows the disk: no command reaches one without a permit, and
//! none reaches it after it was let go.
//!
//! What the kernel's own read-only flag forbids, commands do all the same; so nothing here passes a command that
//! touches more than the held disk. That an NVMe namespace's descriptor leads to its whole controller is the reason why
//! its door is narrow: what touches other namespaces goes through a [`Controller`](crate::Controller).

use std::{fs::File, io, time::Duration};

use linux::nvme::opcode;

use crate::{
    command::{
        Data, MmcCommand, MmcDevice, NvmeCommand, NvmeController, NvmeFailure, OpalDevice,
        OpalFailure, OpalStatus, ScsiAnswer, ScsiDevice,
    },
    nvme::{self, Devices, Identity},
};

/// An NVMe namespace's way to its controller: asks whatever is asked, and formats the namespace alone.
#[derive(Debug, Clone, Copy)]
pub struct NamespaceDoor<'h> {
    disk: &'h File,
    devices: &'h dyn Devices,
}

/// A SCSI or ATA disk's own descriptor. What erases the device, and not only the one logical unit of it, goes through
/// only where it is the only one, or the others are held too: SANITIZE, FORMAT UNIT, SECURITY PROTOCOL OUT.
#[derive(Debug, Clone, Copy)]
pub struct ScsiDoor<'h> {
    pub(crate) disk: &'h File,
    /// Whether all that such a command touches is held.
    pub(crate) may_erase: bool,
}

/// An eMMC's or SD card's own descriptor.
#[derive(Debug, Clone, Copy)]
pub struct MmcDoor<'h>(pub(crate) &'h File);

/// A self-encrypting disk's own descriptor. That of an NVMe disk is opened by its [`Controller`](crate::Controller):
/// to revert it is to revert all its namespaces. A SCSI disk with several units is not reverted.
#[derive(Debug, Clone, Copy)]
pub struct OpalDoor<'h> {
    pub(crate) disk: &'h File,
    /// Whether all that a revert touches is held.
    pub(crate) may_revert: bool,
}

impl<'h> NamespaceDoor<'h> {
    pub(crate) fn new(disk: &'h File, devices: &'h dyn Devices) -> Self {
        Self { disk, devices }
    }

    /// Returns the namespace's identifier (`NVME_IOCTL_ID`); `ENOTTY` where the disk is no NVMe namespace.
    pub fn namespace(&self) -> io::Result<u32> {
        self.devices.namespace(self.disk)
    }

    /// Refuses a command that may touch another namespace.
    fn allow(&self, command: &NvmeCommand) -> Result<(), NvmeFailure> {
        match command.opcode {
            opcode::IDENTIFY
            | opcode::GET_LOG_PAGE
            | opcode::GET_FEATURES
            | opcode::SECURITY_RECEIVE => Ok(()),
            opcode::FORMAT => {
                let own = self.devices.namespace(self.disk).map_err(NvmeFailure::NoAnswer)?;
                if command.nsid != own {
                    return Err(refused("another namespace than the held one"));
                }
                let controller = Identity::ask(self.devices, self.disk)?;
                if !controller.formats_all(command) {
                    return Ok(());
                }
                // Where it is the only one, all are one.
                let all = nvme::namespaces(self.devices, self.disk, &controller)?;
                if all.iter().all(|one| *one == own) && !controller.may_be_shared() {
                    return Ok(());
                }
                Err(refused("this controller formats all its namespaces at once"))
            }
            _ => Err(refused("a command for the whole controller")),
        }
    }
}

fn refused(why: &'static str) -> NvmeFailure {
    NvmeFailure::NoAnswer(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

impl NvmeController for NamespaceDoor<'_> {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        self.allow(command)?;
        self.devices.admin(self.disk, command, data, limit)
    }
}

impl ScsiDevice for ScsiDoor<'_> {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        // FORMAT UNIT and SANITIZE of SBC-4, SECURITY PROTOCOL OUT of SPC-5.
        if matches!(command.first(), Some(0x04 | 0x48 | 0xb5)) && !self.may_erase {
            let why = "other units of the same device are not held";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        linux::scsi::execute(self.disk, command, data, limit)
    }
}

impl MmcDevice for MmcDoor<'_> {
    fn command(
        &self,
        command: &MmcCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> io::Result<[u32; 4]> {
        linux::mmc::command(self.0, command, data, limit)
    }

    fn secure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        linux::block::secure_discard(self.0, offset, length)
    }
}

impl OpalDoor<'_> {
    fn allow(&self) -> Result<(), OpalFailure> {
        if self.may_revert {
            return Ok(());
        }
        let why = "a revert touches all that the device holds";
        Err(OpalFailure::NoAnswer(io::Error::new(io::ErrorKind::PermissionDenied, why)))
    }
}

impl OpalDevice for OpalDoor<'_> {
    fn status(&self) -> io::Result<OpalStatus> {
        linux::opal::status(self.disk)
    }

    fn revert_with_psid(&self, psid: &[u8]) -> Result<(), OpalFailure> {
        self.allow()?;
        linux::opal::revert_with_psid(self.disk, psid)
    }

    fn revert_with_sid(&self, sid: &[u8]) -> Result<(), OpalFailure> {
        self.allow()?;
        linux::opal::revert_with_sid(self.disk, sid)
    }
}

#[cfg(test)]
mod tests {
    use linux::{block::Access, loop_device::Attached};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    #[test]
    fn a_disk_that_takes_no_commands_says_so_and_keeps_its_bytes() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[7; 4096], 0).unwrap();
        let below = match Attached::attach(&file, 0, 1 << 20, 512, Access::Writable) {
            Ok(below) => below,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "loop devices are needed: {error}");
                return;
            }
        };
        let disk = linux::direct::claim(below.path()).unwrap();
        // ENOTTY, or what loop devices say to all that they do not know: EINVAL.
        let is_unknown = |error: io::Error| matches!(error.raw_os_error(), Some(25 | 22));
        let scsi = ScsiDoor { disk: &disk, may_erase: true };
        let scsi = scsi.execute(&[0x48, 1, 0, 0, 0, 0, 0, 0, 0, 0], Data::None, LIMIT);
        assert!(is_unknown(scsi.unwrap_err()));
        let mmc = MmcDoor(&disk).command(&MmcCommand::default(), Data::None, LIMIT);
        assert!(is_unknown(mmc.unwrap_err()));
        let erased = MmcDoor(&disk).secure_discard(0, 4096);
        assert_eq!(erased.unwrap_err().raw_os_error(), Some(95), "EOPNOTSUPP");
        let opal = OpalDoor { disk: &disk, may_revert: true };
        assert!(is_unknown(opal.status().unwrap_err()));
        let Err(OpalFailure::NoAnswer(error)) = opal.revert_with_psid(&[b'A'; 32]) else {
            panic!("a file was reverted")
        };
        assert!(is_unknown(error));
        let door = NamespaceDoor::new(&disk, &nvme::Live);
        assert!(is_unknown(door.namespace().unwrap_err()));
        for opcode in [opcode::FORMAT, opcode::GET_FEATURES] {
            let command = NvmeCommand { opcode, dwords: [6, 0, 0, 0, 0, 0], nsid: 1 };
            let Err(NvmeFailure::NoAnswer(error)) = door.admin(&command, Data::None, LIMIT) else {
                panic!("a file answered")
            };
            assert!(is_unknown(error));
        }
        let mut first = [0; 4096];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut first, 0).unwrap();
        assert_eq!(first, [7; 4096]);
    }
    #[test]
    fn one_of_several_units_does_not_erase_the_device() {
        let file = tempfile::tempfile().unwrap();
        let door = ScsiDoor { disk: &file, may_erase: false };
        let code = |opcode| {
            let sent = door.execute(&[opcode, 0, 0, 0, 0, 0], Data::None, LIMIT);
            sent.unwrap_err().kind()
        };
        for erases in [0x04, 0x48, 0xb5] {
            assert_eq!(code(erases), io::ErrorKind::PermissionDenied, "{erases:#x}");
        }
        // INQUIRY, WRITE(10), SECURITY PROTOCOL IN go to the kernel, which says that a file is no disk.
        for other in [0x12, 0x2a, 0xa2] {
            assert_ne!(code(other), io::ErrorKind::PermissionDenied, "{other:#x}");
        }
    }
}
