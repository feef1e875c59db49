//! Disks that are made up, all behind one face: sectors, time, power, and what is really stored.

use std::time::Duration;

use devices::{ata, mmc, nvme, opal, scsi};
use wipe::plan::MediumKind;

/// Bytes of a sector.
pub(crate) const SECTOR: usize = 512;

/// What was on a disk before.
pub(crate) const SECRET: u8 = 0x5a;

/// What is on an eMMC's boot partitions, which nobody ordered to be erased.
pub(crate) const BOOT: u8 = 0xb0;

/// The identifier on the label of a self-encrypting disk.
pub(crate) const LABEL: &str = "0123456789ABCDEF0123456789ABCDEF";

/// A disk of one of the kinds that there are.
#[derive(Debug, Clone)]
pub(crate) enum Drive {
    Nvme(nvme::Controller),
    Ata(ata::Disk),
    Scsi(scsi::Disk),
    Mmc(mmc::Card),
    Opal(opal::Disk),
    /// One that takes no command, and is overwritten.
    Plain(Vec<u8>),
}

/// The disk refused, or did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

fn number(lba: usize) -> u64 {
    u64::try_from(lba).expect("64 bits")
}

impl Drive {
    /// Returns the NVMe controller's disk, full of what was on it before.
    pub(crate) fn nvme(config: nvme::Config) -> Self {
        Self::Nvme(nvme::Controller::new(config)).filled()
    }

    /// As a disk behind a translation layer, one of whose sectors was replaced.
    pub(crate) fn ata(config: ata::Config) -> Self {
        let Self::Ata(mut disk) = Self::Ata(ata::Disk::new(config)).filled() else {
            unreachable!("it is what it was")
        };
        disk.reallocate(3);
        Self::Ata(disk).filled()
    }

    /// As a SCSI disk, one of whose blocks was replaced.
    pub(crate) fn scsi(config: scsi::Config) -> Self {
        let Self::Scsi(mut disk) = Self::Scsi(scsi::Disk::new(config)).filled() else {
            unreachable!("it is what it was")
        };
        disk.reallocate(3);
        Self::Scsi(disk).filled()
    }

    /// As a card, some of whose sectors were written twice.
    pub(crate) fn mmc(config: mmc::Config) -> Self {
        let mut card = mmc::Card::new(config);
        card.write_boot(1, 0, &[BOOT; SECTOR]);
        let mut drive = Self::Mmc(card).filled();
        for lba in 0..8 {
            drive.write(lba, &[SECRET; SECTOR]).expect("it takes writes");
        }
        drive
    }

    /// As a self-encrypting disk.
    pub(crate) fn opal(config: opal::Config) -> Self {
        let is_locked = config.global_is_locked;
        let mut disk = opal::Disk::new(config);
        disk.set_locked(false);
        let Self::Opal(mut disk) = Self::Opal(disk).filled() else {
            unreachable!("it is what it was")
        };
        disk.set_locked(is_locked);
        Self::Opal(disk)
    }

    fn filled(mut self) -> Self {
        for lba in 0..self.sectors() {
            self.write(lba, &[SECRET; SECTOR]).expect("it takes writes");
        }
        self
    }

    /// How many sectors the host sees.
    pub(crate) fn sectors(&self) -> usize {
        match self {
            Self::Nvme(controller) => {
                let bytes = controller.namespaces()[&1].bytes;
                usize::try_from(bytes).expect("small") / SECTOR
            }
            Self::Ata(disk) => usize::try_from(disk.accessible_sectors()).expect("small"),
            Self::Scsi(_) | Self::Opal(_) => 128,
            Self::Mmc(card) => card.user_sectors(),
            Self::Plain(bytes) => bytes.len() / SECTOR,
        }
    }

    pub(crate) fn read(&mut self, lba: usize) -> Result<Vec<u8>, Refused> {
        let at = number(lba);
        match self {
            Self::Nvme(controller) => controller.read(1, at, 1).map_err(|_| Refused),
            Self::Ata(disk) => disk.read(at, 1).map_err(|_| Refused),
            Self::Scsi(disk) => disk.read(at, 1).map_err(|_| Refused),
            Self::Mmc(card) => card.read(at, 1).map_err(|_| Refused),
            Self::Opal(disk) => disk.read(at, 1).ok_or(Refused),
            Self::Plain(bytes) => Ok(bytes[lba * SECTOR..][..SECTOR].to_vec()),
        }
    }

    pub(crate) fn write(&mut self, lba: usize, sector: &[u8]) -> Result<(), Refused> {
        let at = number(lba);
        match self {
            Self::Nvme(controller) => controller.write(1, at, sector).map_err(|_| Refused),
            Self::Ata(disk) => disk.write(at, sector).map_err(|_| Refused),
            Self::Scsi(disk) => disk.write(at, sector).map_err(|_| Refused),
            Self::Mmc(card) => card.write(at, sector).map_err(|_| Refused),
            Self::Opal(disk) => disk.write(at, sector).then_some(()).ok_or(Refused),
            Self::Plain(bytes) => {
                bytes[lba * SECTOR..][..SECTOR].copy_from_slice(sector);
                Ok(())
            }
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        match self {
            Self::Nvme(controller) => controller.advance(by),
            Self::Ata(disk) => disk.advance(by),
            Self::Scsi(disk) => disk.advance(by),
            Self::Mmc(card) => card.advance(by),
            Self::Opal(disk) => disk.advance(by),
            Self::Plain(_) => {}
        }
    }

    pub(crate) fn power_cut(&mut self) {
        match self {
            Self::Nvme(controller) => controller.power_cut(),
            Self::Ata(disk) => disk.power_cut(),
            Self::Scsi(disk) => disk.power_cut(),
            Self::Mmc(card) => card.power_cut(),
            Self::Opal(disk) => disk.power_cut(),
            Self::Plain(_) => {}
        }
    }

    /// Has power fail within the next command that is answered only when it is over, after so many 65,536ths of it.
    pub(crate) fn cut_in_command(&mut self, at: u16) {
        match self {
            Self::Nvme(controller) => controller.cut_power_in_format(at),
            Self::Ata(disk) => disk.cut_power_in_erase(at),
            Self::Mmc(card) => card.cut_power_in_erase(at),
            Self::Scsi(_) | Self::Opal(_) | Self::Plain(_) => {}
        }
    }

    /// How many sectors of what was there before are stored anywhere, out of reach or not.
    pub(crate) fn stored(&self) -> usize {
        let medium = match self {
            Self::Nvme(controller) => controller.medium(),
            Self::Ata(disk) => disk.medium(),
            Self::Scsi(disk) => disk.medium(),
            Self::Mmc(card) => card.medium(),
            Self::Opal(disk) => disk.medium(),
            Self::Plain(bytes) => bytes.clone(),
        };
        medium.chunks(SECTOR).filter(|sector| **sector == [SECRET; SECTOR]).count()
    }

    /// How many sectors of what was there before the host can read; a locked disk is opened for that.
    pub(crate) fn readable(&self) -> usize {
        let mut copy = self.clone();
        if let Self::Opal(disk) = &mut copy {
            disk.set_locked(false);
        }
        let read = (0..copy.sectors()).filter_map(|lba| copy.read(lba).ok());
        read.filter(|sector| **sector == [SECRET; SECTOR]).count()
    }

    /// How the ATA security of a disk stands: whether a password is set, and whether it keeps everybody out.
    pub(crate) fn security(&self) -> (bool, bool) {
        let Self::Ata(disk) = &mut self.clone() else { return (false, false) };
        // IDENTIFY DEVICE, through ATA PASS-THROUGH (16): word 128.
        let mut page = [0; 512];
        let command = [0x85, 8, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0];
        let answer = disk.execute(&command, &mut page).expect("it answers");
        assert_eq!(answer.transferred, 512);
        (page[256] & 2 != 0, page[256] & 4 != 0)
    }

    /// Holds when a password takes its lock off: tried on a copy.
    pub(crate) fn opens_with(&self, password: &[u8; 32]) -> bool {
        let mut copy = self.clone();
        let Self::Ata(disk) = &mut copy else { return false };
        let mut data = [0; 512];
        data[2..34].copy_from_slice(password);
        // SECURITY UNLOCK, SECURITY DISABLE PASSWORD.
        for command in [0xf2, 0xf6] {
            let envelope = [0x85, 10, 0x26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, command, 0];
            disk.execute(&envelope, &mut data).expect("it answers");
        }
        copy.security() == (false, false)
    }

    /// What lies behind its addresses.
    pub(crate) fn kind(&self) -> MediumKind {
        match self {
            Self::Nvme(_) | Self::Mmc(_) | Self::Opal(_) => MediumKind::Flash,
            Self::Ata(_) | Self::Scsi(_) | Self::Plain(_) => MediumKind::Magnetic,
        }
    }

    /// The serial number that it says itself; absent where it says none.
    pub(crate) fn serial(&self) -> &'static str {
        match self {
            Self::Nvme(_) => "NVME0001",
            Self::Ata(_) => "ATA0001",
            Self::Scsi(_) => "SAS0001",
            Self::Mmc(_) => "MMC0001",
            Self::Opal(_) => "OPAL0001",
            Self::Plain(_) => "PLAIN0001",
        }
    }
}
