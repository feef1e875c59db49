//! A disk that is asked what it can while others may use it: opened read-only. [`examine`](wipe::firmware::examine), which
//! is all that it is for, lets nothing but questions pass.

use std::{fs::File, io, path::Path, time::Duration};

use disk::command::{
    Data, NvmeCommand, NvmeController, NvmeFailure, OpalDevice, OpalFailure, OpalStatus,
    ScsiAnswer, ScsiDevice,
};
use protocol::inventory::{Disk, Transport};
use wipe::{
    Unwatched,
    firmware::{self, Device, Examined},
    forecast::USB_UNASKED,
};

use crate::{
    chain,
    wipe::{Commands, commands},
};

/// Asks a disk what it can; it may be in use. Says why not, where that is not possible.
pub(super) fn examine(disk: &Disk) -> Result<Examined, String> {
    let open = || Opened::open(&disk.name).map_err(|error| error.to_string());
    let ask = |device: &Device<'_>, door: &Opened| {
        firmware::examine(device, Some(door), &Unwatched::new()).map_err(|error| chain(&error))
    };
    match commands(disk.transport) {
        Commands::Nvme => {
            let door = open()?;
            let nsid = linux::nvme::namespace(&door.0).map_err(|error| error.to_string())?;
            ask(&Device::Nvme { controller: &door, nsid }, &door)
        }
        Commands::Ata => {
            let door = open()?;
            ask(&Device::Ata { device: &door }, &door)
        }
        Commands::Scsi => {
            let door = open()?;
            ask(&Device::Scsi { device: &door }, &door)
        }
        Commands::None if disk.transport == Some(Transport::Usb) => Err(USB_UNASKED.to_owned()),
        Commands::Mmc | Commands::None => Ok(Examined::default()),
    }
}

/// A disk's own descriptor.
#[derive(Debug)]
struct Opened(File);

impl Opened {
    fn open(name: &str) -> io::Result<Self> {
        // A slash in a device's name is an exclamation mark in sysfs.
        File::open(Path::new("/dev").join(name.replace('!', "/"))).map(Self)
    }
}

impl NvmeController for Opened {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        linux::nvme::admin(&self.0, command, data, limit)
    }
}

impl ScsiDevice for Opened {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        linux::scsi::execute(&self.0, command, data, limit)
    }
}

/// How a self-encrypting disk stands is a question; what reverts it goes no further than here.
impl OpalDevice for Opened {
    fn status(&self) -> io::Result<OpalStatus> {
        linux::opal::status(&self.0)
    }

    fn revert_with_psid(&self, _psid: &[u8]) -> Result<(), OpalFailure> {
        Err(OpalFailure::NoAnswer(io::ErrorKind::Unsupported.into()))
    }

    fn revert_with_sid(&self, _sid: &[u8]) -> Result<(), OpalFailure> {
        Err(OpalFailure::NoAnswer(io::ErrorKind::Unsupported.into()))
    }
}
