//! A self-encrypting disk that is reverted with its owner's password.

use devices::opal::{Config, Disk, Failure, LockingRange};
use disk::command::{OpalDevice, OpalFailure, OpalStatus};

use super::*;

/// Whose password is "owner".
#[derive(Debug)]
struct Encrypting(Mutex<Disk>);

impl Encrypting {
    /// A disk that is full of what was on it before.
    fn new(is_locked: bool) -> Self {
        let mut disk = Disk::new(Config::default());
        disk.set_locked(false);
        assert!(disk.write(0, &vec![SECRET; 128 * 512]));
        disk.set_locked(is_locked);
        Self(Mutex::new(disk))
    }

    /// One of which a quarter is locked.
    fn locked_in_part() -> Self {
        let quarter =
            LockingRange { first: 64, blocks: 32, is_locked: false, locks_at_power_on: true };
        let config = Config { ranges: vec![quarter], global_is_locked: false, ..Config::default() };
        let mut disk = Disk::new(config);
        assert!(disk.write(0, &vec![SECRET; 128 * 512]));
        disk.power_cut();
        Self(Mutex::new(disk))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Disk) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    fn left(&self) -> usize {
        let medium = self.with(|disk| disk.medium());
        medium.chunks(512).filter(|page| page.iter().all(|byte| *byte == SECRET)).count()
    }

    fn wipe(&self, wipe: &Wipe) -> DiskReport {
        let watch = Simulated::new(devices::ata::Config::default());
        let identity = DiskIdentity {
            serial: Some("OPAL0001".to_owned()),
            size_bytes: Bytes(128 * 512),
            ..DiskIdentity::default()
        };
        let part = Part {
            identity,
            medium: self,
            kind: MediumKind::Flash,
            device: Device::None,
            opal: Some(self),
            handling: self,
            ..watch.part()
        };
        let (gate, now) = (Gate::new(1), || 1_700_000_000_000);
        gate.open(Opening::Go);
        super::super::wipe(&[part], Terms { wipe, gate: &gate, now: &now }).remove(0)
    }
}

fn failure(failure: Failure) -> OpalFailure {
    match failure {
        Failure::Status(status) => OpalFailure::Status(status),
        Failure::NoAnswer => OpalFailure::NoAnswer(io::ErrorKind::TimedOut.into()),
    }
}

impl OpalDevice for Encrypting {
    fn status(&self) -> io::Result<OpalStatus> {
        let status = self.with(|disk| disk.status());
        status.map(|flags| OpalStatus { flags }).map_err(|_| io::ErrorKind::TimedOut.into())
    }

    fn revert_with_psid(&self, psid: &[u8]) -> Result<(), OpalFailure> {
        self.with(|disk| disk.revert_with_psid(psid)).map_err(failure)
    }

    fn revert_with_sid(&self, sid: &[u8]) -> Result<(), OpalFailure> {
        self.with(|disk| disk.revert_with_sid(sid)).map_err(failure)
    }
}

impl Medium for Encrypting {
    fn size_bytes(&self) -> u64 {
        128 * 512
    }

    fn sector_bytes(&self) -> u32 {
        512
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (piece, lba) in buffer.chunks_mut(512).zip(offset / 512..) {
            let read = self.with(|disk| disk.read(lba, 1));
            piece.copy_from_slice(&read.ok_or(io::ErrorKind::Other)?);
        }
        Ok(())
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        let is_written = self.with(|disk| disk.write(offset / 512, buffer));
        if is_written { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<Zeroing> {
        Ok(Zeroing::Unsupported)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Handling for Encrypting {
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

fn with_password(disk: &str, password: &str) -> Wipe {
    let mut wipe = order(PowerLevel::Redline, &[]);
    let sids = format!(r#"[{{"disk": "{disk}", "sid": "{password}"}}]"#);
    wipe.options.sids = serde_json::from_str(&sids).unwrap();
    wipe
}

fn tried(report: &DiskReport) -> Vec<(Technique, Ended)> {
    report.techniques.iter().map(|one| (one.technique, one.ended)).collect()
}

/// What is said of a revert of which nothing can be seen: that it cannot, and that purge was not reached.
const UNTOLD: [&str; 2] = ["notMarked", "purgeNotReached"];

#[test]
fn whoever_has_the_owners_password_reverts_a_disk_and_without_it_nobody_tries() {
    const REVERT: (Technique, Ended) = (Technique::OpalSidRevert, Ended::Done);
    // A locked one takes no marks, so that only what is written afterwards can be seen.
    let disk = Encrypting::new(true);
    let report = disk.wipe(&with_password("OPAL0001", "owner"));
    assert_eq!(tried(&report)[0], REVERT, "{report:#?}");
    assert_eq!((report.verdict, disk.left()), (Verdict::ErasedWithExceptions, 0));
    assert_eq!((report.reached, codes(&report)), (Outcome::Clear, UNTOLD.to_vec()));
    // An open one is seen to be another disk afterwards.
    let disk = Encrypting::new(false);
    let report = disk.wipe(&with_password("OPAL0001", "owner"));
    assert_eq!(tried(&report), [REVERT]);
    assert_eq!((report.verdict, report.reached), (Verdict::Erased, Outcome::Purge), "{report:#?}");
    assert_eq!(disk.left(), 0);
    assert!(!format!("{report:?}").contains("owner"));

    for wipe in [with_password("OPAL0002", "owner"), order(PowerLevel::Redline, &[])] {
        let disk = Encrypting::new(true);
        let report = disk.wipe(&wipe);
        assert!(tried(&report).iter().all(|(one, _)| *one != Technique::OpalSidRevert));
        assert_eq!((report.verdict, disk.left()), (Verdict::NotErased, 128));
        assert!(codes(&report).contains(&"locked"), "{report:#?}");
    }
    let disk = Encrypting::new(true);
    let report = disk.wipe(&with_password("OPAL0001", "wrong"));
    assert_eq!(tried(&report)[0], (Technique::OpalSidRevert, Ended::Failed));
    assert_eq!((report.verdict, disk.left()), (Verdict::NotErased, 128));
}

/// The ranges have keys of their own: that the marks of one are gone says nothing of another.
#[test]
fn what_was_locked_in_part_is_not_called_purged_for_the_part_that_was_open() {
    let disk = Encrypting::locked_in_part();
    let report = disk.wipe(&with_password("OPAL0001", "owner"));
    assert_eq!(tried(&report)[0], (Technique::OpalSidRevert, Ended::Done), "{report:#?}");
    assert_eq!((report.verdict, disk.left()), (Verdict::ErasedWithExceptions, 0));
    assert_eq!((report.reached, codes(&report)), (Outcome::Clear, UNTOLD.to_vec()));
}

/// A disk that takes ATA commands too: what it holds is behind the lock.
#[derive(Debug)]
struct Both {
    lock: Encrypting,
    disk: Simulated,
}

impl Medium for Both {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        512
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.lock.read(offset, buffer)?;
        self.disk.read(offset, buffer)
    }

    fn write(&self, offset: u64, buffer: &[u8]) -> io::Result<()> {
        self.lock.write(offset, buffer)?;
        self.disk.write(offset, buffer)
    }

    fn zero(&self, _: u64, _: u64) -> io::Result<Zeroing> {
        Ok(Zeroing::Unsupported)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_locked_disk_that_can_sanitize_itself_is_marked_and_purged_once_it_is_open() {
    let both = Both {
        lock: Encrypting::new(true),
        disk: Simulated::new(devices::ata::Config::solid_state()),
    };
    let wipe = with_password("ATA0001", "owner");
    let part = Part { medium: &both, opal: Some(&both.lock), ..both.disk.part() };
    let (gate, now) = (Gate::new(1), || 0);
    gate.open(Opening::Go);
    let report =
        super::super::wipe(&[part], Terms { wipe: &wipe, gate: &gate, now: &now }).remove(0);
    let expected =
        [(Technique::OpalSidRevert, Ended::Done), (Technique::AtaSanitizeBlock, Ended::Done)];
    assert_eq!(tried(&report), expected, "{report:#?}");
    assert_eq!((report.verdict, report.reached), (Verdict::Erased, Outcome::Purge), "{report:#?}");
    assert_eq!(both.disk.left(), 0);
}
