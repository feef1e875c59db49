//! An NVMe controller that is made up, with its namespaces as disks.

use std::{io, sync::Mutex, time::Duration};

use devices::nvme::{Config, Controller, Failure};
use disk::{
    Medium, Zeroing,
    command::{Data, NvmeCommand, NvmeController, NvmeFailure},
};
use protocol::{
    Bytes,
    order::DiskIdentity,
    wipe::{DiskReport, Wipe, WipeStepKind},
};
use wipe::{
    Gate, Handling, Opening, Part,
    firmware::{Device, Reach},
    plan::MediumKind,
    unit::{self, Terms},
};

use crate::watcher::{Clocked, Watcher};

/// What was on it before.
const SECRET: u8 = 0x5a;
const SECTOR: u32 = 512;

/// A controller whose namespaces are full of what was on them before.
#[derive(Debug)]
pub(crate) struct Simulated {
    controller: Mutex<Controller>,
    journal: Mutex<Vec<WipeStepKind>>,
    has_server: bool,
    takes_writes: bool,
    serial: String,
}

#[derive(Debug)]
struct Space<'d> {
    of: &'d Simulated,
    nsid: u32,
    size: u64,
}

impl Simulated {
    pub(crate) fn new(config: Config) -> Self {
        let serial = config.serial.clone();
        let mut controller = Controller::new(config);
        for (nsid, namespace) in controller.namespaces().clone() {
            let bytes = usize::try_from(namespace.bytes).unwrap();
            controller.write(nsid, 0, &vec![SECRET; bytes]).unwrap();
        }
        let journal = Mutex::default();
        Self {
            controller: Mutex::new(controller),
            journal,
            has_server: true,
            takes_writes: true,
            serial,
        }
    }

    pub(crate) fn without_server(self) -> Self {
        Self { has_server: false, ..self }
    }

    /// A worn out disk: it reads, and takes no write.
    pub(crate) fn worn_out(self) -> Self {
        Self { takes_writes: false, ..self }
    }

    /// A controller that answers nothing any more.
    pub(crate) fn go_silent(&self) {
        self.with(|controller| controller.go_silent_after(0));
    }

    pub(crate) fn journal(&self) -> Vec<WipeStepKind> {
        self.journal.lock().unwrap().clone()
    }

    /// How many sectors of what was there before are on the medium.
    pub(crate) fn left(&self) -> usize {
        let medium = self.with(|controller| controller.medium());
        medium.chunks(512).filter(|page| page.iter().all(|byte| *byte == SECRET)).count()
    }

    /// How many sectors were there before.
    pub(crate) fn held(&self) -> usize {
        let namespaces = self.with(|controller| controller.namespaces().clone());
        let bytes: u64 = namespaces.values().map(|namespace| namespace.bytes).sum();
        usize::try_from(bytes / 512).unwrap()
    }

    /// How many sectors of what was there before the host can read.
    pub(crate) fn readable_left(&self) -> usize {
        let nsids: Vec<u32> =
            self.with(|controller| controller.namespaces().keys().copied().collect());
        let of = |nsid: u32| {
            let bytes = self.bytes_of(nsid);
            bytes.chunks(512).filter(|page| page.iter().all(|byte| *byte == SECRET)).count()
        };
        nsids.into_iter().map(of).sum()
    }

    pub(crate) fn bytes_of(&self, nsid: u32) -> Vec<u8> {
        let size = self.with(|controller| controller.namespaces()[&nsid].bytes);
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        Space { of: self, nsid, size }.read(0, &mut bytes).unwrap();
        bytes
    }

    /// Wipes all namespaces, as one unit.
    pub(crate) fn wipe(&self, wipe: &Wipe) -> Vec<DiskReport> {
        let nsids: Vec<u32> =
            self.with(|controller| controller.namespaces().keys().copied().collect());
        self.wipe_some(&nsids, Reach::Everything, wipe)
    }

    /// Wipes the first namespace, where no other was ordered.
    pub(crate) fn wipe_first_alone(&self, wipe: &Wipe) -> Vec<DiskReport> {
        self.wipe_some(&[1], Reach::Addressed, wipe)
    }

    fn wipe_some(&self, nsids: &[u32], may: Reach, wipe: &Wipe) -> Vec<DiskReport> {
        let watch = Watcher {
            device: self,
            has_server: self.has_server,
            journal: &self.journal,
            now: Mutex::default(),
        };
        let spaces: Vec<Space<'_>> = nsids
            .iter()
            .map(|nsid| {
                let size = self.with(|controller| controller.namespaces()[nsid].bytes);
                Space { of: self, nsid: *nsid, size }
            })
            .collect();
        let parts: Vec<Part<'_>> = spaces
            .iter()
            .zip(0..)
            .map(|(space, number)| Part {
                number,
                identity: DiskIdentity {
                    serial: Some(self.serial.clone()),
                    size_bytes: Bytes(space.size),
                    logical_sector_bytes: Some(SECTOR),
                    ..DiskIdentity::default()
                },
                name: format!("nvme0n{}", space.nsid),
                transport: Some("nvme".to_owned()),
                medium: space,
                kind: MediumKind::Flash,
                device: Device::Nvme { controller: self, nsid: space.nsid },
                may,
                withheld: None,
                opal: None,
                filesystems: None,
                handling: space,
                watch: &watch,
            })
            .collect();
        let (gate, now) = (Gate::new(1), || 1_700_000_000_000);
        gate.open(Opening::Go);
        unit::wipe(&parts, Terms { wipe, gate: &gate, now: &now })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Controller) -> T) -> T {
        work(&mut self.controller.lock().unwrap())
    }
}

impl Clocked for Simulated {
    fn advance(&self, by: Duration) {
        self.with(|controller| controller.advance(by));
    }
}

impl NvmeController for Simulated {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        _: Duration,
    ) -> Result<u32, NvmeFailure> {
        let NvmeCommand { opcode, nsid, dwords } = *command;
        self.with(|controller| {
            let result = match data {
                Data::None => controller.admin(opcode, nsid, dwords, &mut []),
                Data::In(buffer) => controller.admin(opcode, nsid, dwords, buffer),
                Data::Out(bytes) => controller.admin(opcode, nsid, dwords, &mut bytes.to_vec()),
            };
            result.map_err(|failure| match failure {
                Failure::Status(status) => NvmeFailure::Status(status),
                Failure::NoAnswer => NvmeFailure::NoAnswer(io::ErrorKind::TimedOut.into()),
            })
        })
    }
}

fn lba(offset: u64) -> u64 {
    offset / u64::from(SECTOR)
}

fn failed(_: Failure) -> io::Error {
    io::Error::other("the device refused")
}

impl Medium for Space<'_> {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn sector_bytes(&self) -> u32 {
        SECTOR
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (piece, number) in buffer.chunks_mut(512).zip(0..) {
            let read =
                self.of.with(|controller| controller.read(self.nsid, lba(offset) + number, 1));
            piece.copy_from_slice(&read.map_err(failed)?);
        }
        Ok(())
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        if !self.of.takes_writes {
            return Err(io::Error::other("the device refused"));
        }
        self.of.with(|controller| controller.write(self.nsid, lba(offset), buffer)).map_err(failed)
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<Zeroing> {
        Ok(Zeroing::Unsupported)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Handling for Space<'_> {
    fn discards(&self) -> bool {
        false
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn refresh(&self) -> io::Result<()> {
        Ok(())
    }
}
