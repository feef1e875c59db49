//! What a device accepts and does not do must not be believed: on disks that QEMU makes, in the workshop machine.
//!
//! ```text
//! distrust scsi DISK    its FORMAT UNIT is answered with GOOD and does nothing
//! distrust nvme DISK    its Format NVM takes any way to erase, also those that the controller does not have
//! ```
//! Destroys what is on the disk. Fails where something was believed that must not be.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

use std::{
    error::Error,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use disk::{
    Medium, Zeroing,
    command::{Data, NvmeCommand, NvmeController, NvmeFailure, ScsiAnswer, ScsiDevice},
};
use protocol::{
    Bytes, InventoryDigest, Order, OrderId,
    order::{DiskIdentity, MachineEvidence},
    wipe::{
        DiskReport, Ended, Outcome, PowerLevel, Seed, Technique, Verdict, Wipe, WipeFinish,
        WipeOptions,
    },
};
use wipe::{
    Gate, Handling, Opening, Part, Unwatched,
    firmware::{self, Device, Reach, Settings},
    plan::MediumKind,
    unit::{self, Terms},
};

/// FORMAT UNIT (SBC-4, section 5.4), MODE SENSE (6), REPORT SUPPORTED OPERATION CODES (SPC-5).
const FORMAT_UNIT: u8 = 0x04;
const MODE_SENSE: u8 = 0x1a;
const MAINTENANCE_IN: u8 = 0xa3;
/// Format NVM and Identify (NVM Express Base Specification 2.0, figure 138).
const FORMAT_NVM: u8 = 0x80;
const IDENTIFY: u8 = 0x06;
/// Where a namespace says that it is write protected: bit 0 of NSATTR.
const NSATTR: usize = 99;

type Outcomes = Result<(), Box<dyn Error>>;

fn main() -> Outcomes {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["scsi", disk] => scsi(&Disk::open(disk)?),
        ["nvme", disk] => nvme(&Disk::open(disk)?),
        _ => Err("distrust scsi|nvme DISK".into()),
    }
}

/// A disk that accepts FORMAT UNIT, and reads as before.
fn scsi(disk: &Disk) -> Outcomes {
    let watch = Unwatched::new();
    let honest = Device::Scsi { device: disk };
    let offered = firmware::examine(&honest, None, &watch)?.techniques;
    must(offered.is_empty(), &format!("it is asked, and offers {offered:?}"))?;
    let settings = Settings::with_password([0; 32]);
    let technique = Technique::ScsiFormatUnit;
    let outcome = firmware::apply(&honest, None, technique, &settings, &watch);
    must(outcome.ended == Ended::Failed, &format!("what it does not offer: {outcome:?}"))?;
    must(disk.sent(FORMAT_UNIT).is_empty(), "what it does not offer was sent")?;
    println!("what a disk does not say that it can is not tried");

    let boaster = Boaster { disk, swallows: AtomicBool::new(false) };
    let report = disk.wiped(&Device::Scsi { device: &boaster })?;
    must(disk.sent(FORMAT_UNIT) == ["GOOD"], "FORMAT UNIT is to be answered with GOOD")?;
    not_believed(&report, technique)
}

/// A controller that takes any Format NVM.
fn nvme(disk: &Disk) -> Outcomes {
    let watch = Unwatched::new();
    let nsid = linux::nvme::namespace(&disk.file)?;
    let honest = Device::Nvme { controller: disk, nsid };
    let offered = firmware::examine(&honest, None, &watch)?.techniques;
    let offered: Vec<Technique> = offered.iter().map(|one| one.technique).collect();
    must(offered == [Technique::NvmeFormatErase], &format!("it offers {offered:?}"))?;
    let settings = Settings::with_password([0; 32]);
    let crypto = Technique::NvmeFormatCrypto;
    let outcome = firmware::apply(&honest, None, crypto, &settings, &watch);
    must(outcome.ended == Ended::Failed, &format!("what it does not offer: {outcome:?}"))?;
    must(disk.sent(FORMAT_NVM).is_empty(), "what it does not offer was sent")?;
    // SES is 2: a cryptographic erase, which this controller does not have (FNA, bit 2).
    let command = NvmeCommand { opcode: FORMAT_NVM, nsid, dwords: [2 << 9, 0, 0, 0, 0, 0] };
    disk.admin(&command, Data::None, Duration::from_mins(1))?;
    must(disk.sent(FORMAT_NVM) == ["GOOD"], "it is to accept what it does not have")?;
    println!("what a controller would accept, and does not say that it can, is not tried");

    let boaster = Boaster { disk, swallows: AtomicBool::new(true) };
    let claimed = Device::Nvme { controller: &boaster, nsid };
    let report = disk.wiped(&claimed)?;
    not_believed(&report, Technique::NvmeFormatErase)?;
    boaster.swallows.store(false, Ordering::Relaxed);
    let report = disk.wiped(&claimed)?;
    let verification = report.verification.as_ref().ok_or("nothing was read back")?;
    let is_seen = verification.canaries > 0 && verification.canaries_found == 0;
    let is = report.verdict == Verdict::ErasedWithExceptions && report.reached == Outcome::Clear;
    must(is && is_seen, &format!("what was formatted: {report:?}"))?;
    println!(
        "a Format that was carried out is seen by {} marks that are gone",
        verification.canaries
    );
    Ok(())
}

/// Fails unless it was seen that a technique did nothing, and nothing else is claimed.
fn not_believed(report: &DiskReport, technique: Technique) -> Outcomes {
    let tried: Vec<_> = report.techniques.iter().map(|one| (one.technique, one.ended)).collect();
    must(tried == [(technique, Ended::Done)], &format!("it was not sent alone: {tried:?}"))?;
    let is = report.verdict == Verdict::NotErased && report.reached == Outcome::None;
    must(is, &format!("it was believed: {report:?}"))?;
    let found = report.verification.as_ref().map_or(0, |seen| seen.canaries_found);
    must(found > 0, &format!("no mark was found again: {report:?}"))?;
    let codes: Vec<&str> = report.exceptions.iter().map(|one| one.code.as_str()).collect();
    must(codes.contains(&"deviceWrong"), &format!("it says only {codes:?}"))?;
    println!("{technique:?} was accepted, and {found} marks are still there: {:?}", report.verdict);
    Ok(())
}

fn must(is: bool, words: &str) -> Outcomes {
    if is { Ok(()) } else { Err(words.into()) }
}

/// A disk, and what was sent to it.
#[derive(Debug)]
struct Disk {
    file: File,
    name: String,
    size: u64,
    sector: u32,
    log: Mutex<Vec<(u8, String)>>,
}

impl Disk {
    fn open(path: &str) -> io::Result<Self> {
        let file = linux::direct::claim(Path::new(path))?;
        let (size, sector) = (linux::block::size(&file)?, linux::block::logical_sector(&file)?);
        Ok(Self { file, name: path.to_owned(), size, sector, log: Mutex::default() })
    }

    /// Returns how commands with an operation code were answered.
    fn sent(&self, code: u8) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|(sent, _)| *sent == code).map(|(_, answer)| answer.clone()).collect()
    }

    fn note(&self, code: u8, answer: &str) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push((code, answer.to_owned()));
    }

    /// Wipes it at `redline`, with the ways that a device claims to have.
    fn wiped(&self, device: &Device<'_>) -> Result<DiskReport, Box<dyn Error>> {
        let wipe = order();
        let watch = Unwatched::new();
        let part = Part {
            number: 0,
            identity: DiskIdentity {
                size_bytes: Bytes(self.size),
                logical_sector_bytes: Some(self.sector),
                ..DiskIdentity::default()
            },
            name: self.name.clone(),
            transport: None,
            medium: self,
            kind: MediumKind::Flash,
            device: *device,
            may: Reach::Everything,
            withheld: None,
            opal: None,
            filesystems: None,
            handling: self,
            watch: &watch,
        };
        let (gate, now) = (Gate::new(1), || 0);
        gate.open(Opening::Go);
        let reports = unit::wipe(&[part], Terms { wipe: &wipe, gate: &gate, now: &now });
        Ok(reports.into_iter().next().ok_or("no report")?)
    }
}

impl Medium for Disk {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn sector_bytes(&self) -> u32 {
        self.sector
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        self.file.write_all_at(buffer, offset)
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<Zeroing> {
        Ok(Zeroing::Unsupported)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Handling for Disk {
    fn discards(&self) -> bool {
        false
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn refresh(&self) -> io::Result<()> {
        linux::block::drop_cache(&self.file)
    }
}

impl ScsiDevice for Disk {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        let answer = linux::scsi::execute(&self.file, command, data, limit)?;
        let words = match answer.status {
            0 => "GOOD".to_owned(),
            status => format!("status {status:#04x}"),
        };
        self.note(command.first().copied().unwrap_or_default(), &words);
        Ok(answer)
    }
}

impl NvmeController for Disk {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        let result = linux::nvme::admin(&self.file, command, data, limit);
        let words = result.as_ref().map_or_else(ToString::to_string, |_| "GOOD".to_owned());
        self.note(command.opcode, &words);
        result
    }
}

/// The same disk, but it says that it can erase itself, and that nobody else can write to it; so its own way is the only
/// one.
#[derive(Debug)]
struct Boaster<'d> {
    disk: &'d Disk,
    /// Whether it keeps a Format to itself, and says that it is done.
    swallows: AtomicBool,
}

impl ScsiDevice for Boaster<'_> {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        match (command.first(), data) {
            (Some(&MAINTENANCE_IN), Data::In(answer)) => {
                answer.fill(0);
                // Supported as the standard has it, of six bytes.
                if command.get(3) == Some(&FORMAT_UNIT) {
                    (answer[1], answer[3]) = (3, 6);
                }
                Ok(ScsiAnswer { transferred: answer.len(), ..ScsiAnswer::default() })
            }
            (Some(&MODE_SENSE), Data::In(answer)) => {
                let said = self.disk.execute(command, Data::In(&mut *answer), limit);
                // Write protected: bit 7 of the header's third byte.
                answer[2] |= 0x80;
                said
            }
            (_, data) => self.disk.execute(command, data, limit),
        }
    }
}

impl NvmeController for Boaster<'_> {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        match (command.opcode, data) {
            (FORMAT_NVM, _) if self.swallows.load(Ordering::Relaxed) => Ok(0),
            (IDENTIFY, Data::In(answer)) => {
                let said = self.disk.admin(command, Data::In(&mut *answer), limit);
                // Of a namespace, not of the controller.
                if command.dwords[0] == 0 {
                    answer[NSATTR] |= 1;
                }
                said
            }
            (_, data) => self.disk.admin(command, data, limit),
        }
    }
}

/// An order as a server makes it, of which only the level and the seed are looked at here.
fn order() -> Wipe {
    Wipe {
        order: Order {
            id: OrderId([1; 16]),
            by: "a test".to_owned(),
            machine: MachineEvidence::default(),
            disks: Vec::new(),
            deadline_unix_milliseconds: 0,
            inventory: InventoryDigest([0; 32]),
        },
        level: PowerLevel::Redline,
        options: WipeOptions::default(),
        seed: Seed([7; 32]),
        missing: Vec::new(),
        extras: Vec::new(),
        journal: Vec::new(),
        finish: WipeFinish::Stay,
    }
}
