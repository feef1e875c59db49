//! Whole wipes of an ATA disk that is made up, where it does not do what it should.

use std::{io, sync::Mutex, time::Duration};

use devices::ata::{Config, Disk};
use disk::{
    Medium, Zeroing,
    command::{Data, ScsiAnswer, ScsiDevice},
};
use protocol::{
    Bytes,
    order::DiskIdentity,
    wipe::{PowerLevel, Verdict, WipeStep},
};

mod opal;
mod reached;

use super::*;
use crate::{
    Handling, Watch,
    firmware::{Device, Hiding},
    plan::MediumKind,
};

/// What was on it before.
const SECRET: u8 = 0x5a;

/// A disk that is full of what was on it before. It watches over its own wipe, too.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct Simulated {
    disk: Mutex<Disk>,
    serial: String,
    /// How many sectors the kernel addresses.
    sectors: Mutex<u64>,
    /// Whether the kernel sees that the disk grew.
    is_seen_to_grow: bool,
    /// Whether it answers commands; reads and writes it takes all the same.
    is_deaf: bool,
    /// What it answers when it is asked how sanitizing stands, where that is not the truth.
    standing: Option<Vec<u8>>,
    /// Whether it is spoken to as a SCSI disk, which it is not.
    is_taken_for_scsi: bool,
    /// Whether it is known where it takes commands.
    takes_commands: bool,
    /// Whether it takes no write but at the start of a zone.
    is_zoned: bool,
    journal: Mutex<Vec<WipeStepKind>>,
    /// How long a read takes that meets the first sectors, and then fails.
    stutter: Duration,
    /// When it was heard of last, and the longest time in which it was not.
    heard: Mutex<(Duration, Duration)>,
    now: Mutex<Duration>,
}

impl Simulated {
    fn new(config: Config) -> Self {
        let serial = config.serial.clone();
        let mut disk = Disk::new(config);
        let sectors = disk.accessible_sectors();
        let bytes = usize::try_from(sectors * 512).unwrap();
        disk.write(0, &vec![SECRET; bytes]).unwrap();
        Self {
            disk: Mutex::new(disk),
            serial,
            sectors: Mutex::new(sectors),
            is_seen_to_grow: true,
            is_deaf: false,
            standing: None,
            is_taken_for_scsi: false,
            takes_commands: true,
            is_zoned: false,
            journal: Mutex::default(),
            stutter: Duration::ZERO,
            heard: Mutex::default(),
            now: Mutex::default(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Disk) -> T) -> T {
        work(&mut self.disk.lock().unwrap())
    }

    /// How many sectors of what was there before are on the medium.
    fn left(&self) -> usize {
        let medium = self.with(|disk| disk.medium());
        medium.chunks(512).filter(|page| page.iter().all(|byte| *byte == SECRET)).count()
    }

    fn part(&self) -> Part<'_> {
        Part {
            number: 0,
            identity: DiskIdentity {
                serial: Some(self.serial.clone()),
                size_bytes: Bytes(self.size_bytes()),
                logical_sector_bytes: Some(512),
                ..DiskIdentity::default()
            },
            name: "sda".to_owned(),
            transport: Some("sata".to_owned()),
            medium: self,
            kind: MediumKind::Magnetic,
            device: match (self.takes_commands, self.is_taken_for_scsi) {
                (false, _) => Device::None,
                (true, true) => Device::Scsi { device: self },
                (true, false) => Device::Ata { device: self },
            },
            may: Reach::Everything,
            withheld: None,
            opal: None,
            filesystems: None,
            handling: self,
            watch: self,
        }
    }

    fn wipe(&self, wipe: &Wipe) -> DiskReport {
        let (gate, now) = (Gate::new(1), || 1_700_000_000_000);
        gate.open(Opening::Go);
        let terms = Terms { wipe, gate: &gate, now: &now };
        super::wipe(&[self.part()], terms).remove(0)
    }
}

impl Watch for Simulated {
    fn check(&self) -> Result<(), Stopped> {
        Ok(())
    }

    fn wait(&self, time: Duration) -> Result<(), Stopped> {
        self.with(|disk| disk.advance(time));
        *self.now.lock().unwrap() += time;
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn journal(&self, step: WipeStepKind) -> Result<(), Stopped> {
        self.journal.lock().unwrap().push(step);
        Ok(())
    }

    fn note(&self, step: WipeStepKind) {
        self.journal.lock().unwrap().push(step);
    }

    fn phase(&self, _: WipePhase, _: Option<Technique>) {
        self.heard();
    }

    fn heard(&self) {
        let (now, mut heard) = (self.elapsed(), self.heard.lock().unwrap());
        *heard = (now, heard.1.max(now.saturating_sub(heard.0)));
    }

    fn progress(&self, _: u64, _: u64, _: u32) {}
}

impl ScsiDevice for Simulated {
    fn execute(&self, command: &[u8], data: Data<'_>, _: Duration) -> io::Result<ScsiAnswer> {
        if self.is_deaf {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if let (0x85, Some(0xb4), Some(sense)) = (command[0], command.get(14), &self.standing) {
            return Ok(ScsiAnswer { status: 2, sense: sense.clone(), transferred: 0 });
        }
        let answer = self.with(|disk| match data {
            Data::None => disk.execute(command, &mut []),
            Data::In(buffer) => disk.execute(command, buffer),
            Data::Out(bytes) => disk.execute(command, &mut bytes.to_vec()),
        });
        let answer = answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        Ok(ScsiAnswer {
            status: answer.status,
            sense: answer.sense,
            transferred: answer.transferred,
        })
    }
}

fn refused(_: devices::ata::Abort) -> io::Error {
    io::Error::other("the disk refused")
}

impl Medium for Simulated {
    fn size_bytes(&self) -> u64 {
        *self.sectors.lock().unwrap() * 512
    }

    fn sector_bytes(&self) -> u32 {
        512
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset < 4096 && !self.stutter.is_zero() {
            *self.now.lock().unwrap() += self.stutter;
            return Err(io::Error::other("a bad sector"));
        }
        for (piece, lba) in buffer.chunks_mut(512).zip(offset / 512..) {
            piece.copy_from_slice(&self.with(|disk| disk.read(lba, 1)).map_err(refused)?);
        }
        Ok(())
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        assert!(!self.is_zoned, "a zone was written to at {offset}");
        self.with(|disk| disk.write(offset / 512, buffer)).map_err(refused)
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<Zeroing> {
        Ok(Zeroing::Unsupported)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Handling for Simulated {
    fn discards(&self) -> bool {
        false
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_zoned(&self) -> bool {
        self.is_zoned
    }

    fn grow(&self, bytes: u64, hidden_by: &[Hiding]) -> io::Result<()> {
        assert!(!hidden_by.is_empty());
        if self.is_seen_to_grow {
            let sectors = self.with(|disk| disk.accessible_sectors());
            assert_eq!(bytes, sectors * 512);
            *self.sectors.lock().unwrap() = sectors;
        }
        Ok(())
    }

    fn refresh(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An order of a level, with what an earlier boot journaled.
fn order(level: PowerLevel, steps: &[WipeStepKind]) -> Wipe {
    let digits = "7".repeat(64);
    let level = serde_json::to_string(&level).unwrap();
    let text = format!(
        r#"{{"order": {{"id": "00000000000000000000000000000001", "by": "a", "machine": {{}}, "disks": [],
            "deadlineUnixMilliseconds": 1, "inventory": "{digits}"}},
            "level": {level}, "seed": "{digits}", "finish": "stay"}}"#
    );
    let mut wipe: Wipe = serde_json::from_str(&text).unwrap();
    wipe.journal = steps.iter().map(|kind| WipeStep { disk: 0, kind: kind.clone() }).collect();
    wipe
}

fn codes(report: &DiskReport) -> Vec<&str> {
    report.exceptions.iter().map(|one| one.code.as_str()).collect()
}

#[test]
fn a_disk_that_cannot_be_asked_is_written_to_at_every_level_and_its_report_says_so() {
    let full = ["notExamined"];
    let redline = ["notExamined", "purgeNotReached"];
    for (level, reached, expected) in [
        (PowerLevel::Working, Outcome::Signatures, &full[..]),
        (PowerLevel::Full, Outcome::Clear, &full),
        (PowerLevel::Redline, Outcome::Clear, &redline),
    ] {
        let disk = Simulated { is_deaf: true, ..Simulated::new(Config::default()) };
        let report = disk.wipe(&order(level, &[]));
        let came = (report.verdict, report.reached);
        assert_eq!(came, (Verdict::ErasedWithExceptions, reached), "{report:#?}");
        assert_eq!(codes(&report), expected);
        assert_eq!(disk.left(), 0, "{level:?}");
    }
    for level in [PowerLevel::Idle, PowerLevel::Harbour] {
        let disk = Simulated { is_deaf: true, ..Simulated::new(Config::default()) };
        let report = disk.wipe(&order(level, &[]));
        assert_eq!(report.verdict, Verdict::NotErased);
        assert_eq!(codes(&report)[0], "notExamined");
        assert_eq!(disk.left(), 128, "{level:?}");
    }
}

#[test]
fn a_disk_behind_a_usb_bridge_is_told_so_at_idle() {
    for (transport, is_told) in [("usb", true), ("virtio", false)] {
        let disk = Simulated { takes_commands: false, ..Simulated::new(Config::default()) };
        let part = Part { transport: Some(transport.to_owned()), ..disk.part() };
        let (gate, now, wipe) = (Gate::new(1), || 0, order(PowerLevel::Idle, &[]));
        gate.open(Opening::Go);
        let terms = Terms { wipe: &wipe, gate: &gate, now: &now };
        let forecast = super::wipe(&[part], terms).remove(0).forecast.unwrap();
        let tells = |why: &String| why.starts_with("what the disk can itself: it is behind a USB");
        assert_eq!(forecast.not_asked.iter().any(tells), is_told, "{forecast:#?}");
    }
}

/// Each way in which nobody can say what the disk does: it does not answer, something else answers, it is not known where
/// to ask it.
#[test]
fn what_an_earlier_boot_began_is_never_followed_by_a_pass_where_the_disk_cannot_be_asked() {
    let begun = [WipeStepKind::Begin { technique: Technique::AtaSanitizeOverwrite }];
    let unknown = WipeStepKind::Over { verdict: Verdict::UnknownStillRunning };
    for steps in [&begun[..], &[begun[0].clone(), unknown]] {
        let disks = [
            Simulated { is_deaf: true, ..Simulated::new(Config::default()) },
            Simulated { serial: "OTHER".to_owned(), ..Simulated::new(Config::default()) },
            Simulated { takes_commands: false, ..Simulated::new(Config::default()) },
        ];
        for disk in disks {
            for level in [PowerLevel::Full, PowerLevel::Redline] {
                let report = disk.wipe(&order(level, steps));
                let came = (report.verdict, report.reached);
                assert_eq!(came, (Verdict::UnknownStillRunning, Outcome::None), "{report:#?}");
                assert!(codes(&report).contains(&"stillRunning"));
                assert_eq!((report.techniques.len(), disk.left()), (0, 128));
            }
        }
    }
}

/// An aborted command, with a reason in the task file that says neither that a sanitize failed nor that it is frozen.
fn odd_reason() -> Vec<u8> {
    vec![0x72, 0x0b, 0, 0, 0, 0, 0, 14, 9, 12, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0, 0x40, 0x51]
}

/// What answers, and does not say whether it sanitizes itself.
fn vague() -> [Simulated; 4] {
    let new = || Simulated::new(Config::default());
    let bridge = Config { bridge: devices::ata::Bridge::OtherSize, ..Config::default() };
    [
        Simulated { standing: Some(odd_reason()), ..new() },
        Simulated { standing: Some(Vec::new()), ..new() },
        Simulated { is_taken_for_scsi: true, ..new() },
        Simulated::new(bridge),
    ]
}

#[test]
fn what_an_earlier_boot_began_is_unknown_where_the_disk_does_not_say_whether_it_runs() {
    for technique in [Technique::AtaSanitizeOverwrite, Technique::ScsiFormatUnit] {
        for disk in vague() {
            let report = disk.wipe(&order(PowerLevel::Full, &[WipeStepKind::Begin { technique }]));
            let came = (report.verdict, report.reached);
            assert_eq!(came, (Verdict::UnknownStillRunning, Outcome::None), "{report:#?}");
            assert_eq!(codes(&report)[0], "notExamined");
            assert_eq!((report.techniques.len(), disk.left()), (0, 128));
            assert!(disk.elapsed() >= Duration::from_mins(1), "it was not asked again");
        }
    }
    // What does not go on by itself after a power cut, and a wipe that begins.
    let security = WipeStepKind::Begin { technique: Technique::AtaSecurityErase };
    for steps in [&[][..], &[WipeStepKind::Begin { technique: Technique::Zeros }], &[security]] {
        for disk in vague() {
            let report = disk.wipe(&order(PowerLevel::Full, steps));
            assert_eq!((report.reached, disk.left()), (Outcome::Clear, 0), "{report:#?}");
        }
    }
}

#[test]
fn a_disk_that_nothing_was_begun_on_is_overwritten_where_something_else_answers_for_it() {
    for disk in [
        Simulated { serial: "OTHER".to_owned(), ..Simulated::new(Config::default()) },
        Simulated { takes_commands: false, ..Simulated::new(Config::default()) },
    ] {
        let report = disk.wipe(&order(PowerLevel::Redline, &[]));
        assert_eq!(report.reached, Outcome::Clear, "{report:#?}");
        assert!(codes(&report).contains(&"purgeNotReached"));
        assert_eq!(disk.left(), 0);
    }
}

#[test]
fn a_zoned_disk_is_never_written_to_and_only_its_own_erasure_counts() {
    let zoned = |config| Simulated { is_zoned: true, ..Simulated::new(config) };
    let unable = Config { sanitize: None, security: None, ..Config::default() };
    for level in [PowerLevel::Harbour, PowerLevel::Working, PowerLevel::Full, PowerLevel::Redline] {
        let disk = zoned(unable.clone());
        let report = disk.wipe(&order(level, &[]));
        assert_eq!((report.verdict, codes(&report)), (Verdict::NotErased, vec!["zoned"]));
        assert_eq!((report.techniques.len(), disk.left()), (0, 128));
    }
    let disk = zoned(Config::default());
    let report = disk.wipe(&order(PowerLevel::Redline, &[]));
    assert_eq!((report.verdict, report.reached), (Verdict::Erased, Outcome::Purge), "{report:#?}");
    assert_eq!(disk.left(), 0);
}

/// A disk of 128 sectors, and what hides those from the 100th on. There is something in them.
fn with_hidden(config: Config) -> Simulated {
    let disk = Simulated::new(config);
    disk.with(|disk| {
        for lba in 100..128 {
            disk.write_hidden(lba, &[SECRET; 512]);
        }
    });
    assert_eq!((disk.size_bytes(), disk.left()), (100 * 512, 128));
    disk
}

#[test]
fn what_was_hidden_is_lifted_written_over_and_read_back_and_the_order_keeps_its_disk() {
    let no_erasure = Config { sanitize: None, security: None, ..Config::default() };
    let area = Config { maximum_address: Some(99), ..no_erasure.clone() };
    let overlay = Config { overlay_address: Some(99), ..no_erasure.clone() };
    for config in [area, overlay] {
        for level in [PowerLevel::Full, PowerLevel::Redline] {
            let mut wipe = order(level, &[]);
            let disk = with_hidden(config.clone());
            let report = disk.wipe(&wipe);
            assert_eq!(report.verdict, Verdict::ErasedWithExceptions);
            assert!(codes(&report).contains(&"hiddenSectors"), "{report:#?}");
            assert_eq!(report.accessible_bytes, Bytes(100 * 512));
            assert_eq!((report.native_bytes, disk.left()), (Some(Bytes(128 * 512)), 28));

            wipe.options.lift_hidden = true;
            let disk = with_hidden(config.clone());
            let report = disk.wipe(&wipe);
            assert_eq!(report.reached, Outcome::Clear, "{report:#?}");
            assert!(!codes(&report).contains(&"hiddenSectors"), "{report:#?}");
            assert_eq!(report.disk.size_bytes, Bytes(100 * 512), "as ordered");
            assert_eq!(report.accessible_bytes, Bytes(128 * 512));
            assert_eq!(report.native_bytes, Some(report.accessible_bytes));
            let seen = report.verification.as_ref().unwrap();
            assert_eq!((seen.bytes_read, disk.left()), (Bytes(128 * 512), 0));
            if level == PowerLevel::Full {
                assert_eq!(report.verdict, Verdict::Erased, "{report:#?}");
            }
        }
    }
}

#[test]
fn what_is_hidden_no_more_and_still_not_addressed_is_an_exception() {
    let config = Config { overlay_address: Some(99), sanitize: None, ..Config::default() };
    let disk = Simulated { is_seen_to_grow: false, ..with_hidden(config) };
    let mut wipe = order(PowerLevel::Full, &[]);
    wipe.options.lift_hidden = true;
    let report = disk.wipe(&wipe);
    assert_eq!(report.verdict, Verdict::ErasedWithExceptions, "{report:#?}");
    assert_eq!(codes(&report), ["hiddenSectors"]);
    assert_eq!(report.accessible_bytes, Bytes(100 * 512));
    assert_eq!((report.native_bytes, disk.left()), (Some(Bytes(128 * 512)), 28));
}

#[test]
fn passes_of_an_earlier_boot_that_ended_before_what_was_hidden_are_done_again() {
    let steps = [
        WipeStepKind::Begin { technique: Technique::KeyedStream },
        WipeStepKind::Watermark { pass: 2, bytes: Bytes(50 * 512) },
    ];
    let mut wipe = order(PowerLevel::Redline, &steps);
    wipe.options.lift_hidden = true;
    let config =
        Config { maximum_address: Some(99), sanitize: None, security: None, ..Config::default() };
    let disk = with_hidden(config);
    disk.with(|disk| disk.write(0, &vec![0; 50 * 512])).unwrap();
    let report = disk.wipe(&wipe);
    assert_eq!((report.reached, disk.left()), (Outcome::Clear, 0), "{report:#?}");
    let passes: Vec<_> = report.techniques.iter().map(|one| (one.pass, &one.reason)).collect();
    assert_eq!(passes, [(0, &None), (1, &None), (2, &None)]);
}

#[test]
fn a_disk_that_takes_long_for_its_tables_is_heard_at_every_level() {
    let stutter = Duration::from_mins(3);
    for level in [PowerLevel::Working, PowerLevel::Full, PowerLevel::Redline] {
        let disk = Simulated { stutter, ..Simulated::new(Config::default()) };
        let report = disk.wipe(&order(level, &[]));
        assert_ne!(report.verdict, Verdict::Erased, "{level:?}: not all can be read");
        disk.heard();
        let (_, silence) = *disk.heard.lock().unwrap();
        assert_eq!(silence, stutter, "{level:?}: {} in all", disk.elapsed().as_secs());
    }
}
