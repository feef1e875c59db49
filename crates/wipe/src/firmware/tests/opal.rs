//! TCG Opal: reverting.

mod transcripts;

use std::io;

use devices::{
    Course,
    opal::{Config, Disk, Failure},
};
use disk::command::{OpalDevice, OpalFailure, OpalStatus};

use super::*;

#[derive(Debug)]
struct Simulated(Mutex<Disk>);

const LABEL: &[u8] = b"0123456789ABCDEF0123456789ABCDEF";

impl Simulated {
    /// A disk that is full of what was on it before, and locked.
    fn new(config: Config) -> Self {
        let mut disk = Disk::new(config);
        disk.set_locked(false);
        assert!(disk.write(0, &vec![SECRET; 128 * 512]));
        disk.set_locked(true);
        Self(Mutex::new(disk))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Disk) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    fn left(&self) -> usize {
        let medium = self.with(|disk| disk.medium());
        medium.chunks(512).filter(|page| page.iter().all(|byte| *byte == SECRET)).count()
    }

    fn examine(&self) -> Examined {
        examine(&Device::None, Some(self), &Bench::new(self)).unwrap()
    }

    fn revert(&self, technique: Technique, credential: Option<&[u8]>) -> TechniqueOutcome {
        let credential = credential.map(<[u8]>::to_vec);
        let settings = match technique {
            Technique::OpalSidRevert => Settings { sid: credential, ..settings() },
            _ => Settings { psid: credential, ..settings() },
        };
        apply(&Device::None, Some(self), technique, &settings, &Bench::new(self))
    }
}

impl Clocked for Simulated {
    fn advance(&self, by: Duration) {
        self.with(|disk| disk.advance(by));
    }
}

fn failure(failure: Failure) -> OpalFailure {
    match failure {
        Failure::Status(status) => OpalFailure::Status(status),
        Failure::NoAnswer => OpalFailure::NoAnswer(io::ErrorKind::TimedOut.into()),
    }
}

impl OpalDevice for Simulated {
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

#[test]
fn a_locked_disk_is_an_obstacle_that_its_label_or_its_owner_lifts() {
    for (technique, credential) in
        [(Technique::OpalPsidRevert, LABEL), (Technique::OpalSidRevert, &b"owner"[..])]
    {
        let disk = Simulated::new(Config::default());
        let examined = disk.examine();
        assert_eq!(examined.obstacles, [Obstacle::OpalLocked]);
        assert_eq!(offered(&examined), [Technique::OpalPsidRevert]);
        let outcome = disk.revert(technique, Some(credential));
        assert_eq!((outcome.ended, disk.left()), (Ended::Done, 0));
        assert!(disk.examine().obstacles.is_empty());
        let kept = format!("{outcome:?}");
        assert!(!kept.contains("owner") && !kept.contains("0123456789"), "{kept}");
    }
}

#[test]
fn a_revert_that_would_erase_nothing_is_not_offered_and_not_begun() {
    let config = Config { sid: None, global_is_locked: false, ..Config::default() };
    let mut disk = Disk::new(config);
    assert!(disk.write(0, &vec![SECRET; 128 * 512]));
    let disk = Simulated(Mutex::new(disk));
    let examined = disk.examine();
    assert_eq!((offered(&examined), examined.obstacles.len()), (Vec::new(), 0));
    let outcome = disk.revert(Technique::OpalPsidRevert, Some(LABEL));
    assert_eq!((outcome.ended, disk.left()), (Ended::Failed, 128));
    assert_eq!(sent(&outcome, "Revert, PSID"), 0);
}

#[test]
fn a_wrong_credential_or_none_changes_nothing() {
    let disk = Simulated::new(Config::default());
    for technique in [Technique::OpalPsidRevert, Technique::OpalSidRevert] {
        for credential in [None, Some(&b"OTHER"[..])] {
            assert_eq!(disk.revert(technique, credential).ended, Ended::Failed);
        }
    }
    assert_eq!(disk.examine().obstacles, [Obstacle::OpalLocked]);
    assert_eq!(disk.left(), 128);
    let unable = Config { is_supported: false, global_is_locked: false, ..Config::default() };
    let unable = Simulated(Mutex::new(Disk::new(unable)));
    assert_eq!(unable.examine().techniques, []);
    assert_eq!(unable.revert(Technique::OpalPsidRevert, Some(LABEL)).ended, Ended::Failed);
}

#[test]
fn a_revert_that_fails_is_over_and_silence_is_unknown_and_a_lie_is_found_by_reading() {
    for (course, ended) in [
        (Course::FailsAt(0), Ended::Failed),
        (Course::SticksAt(0), Ended::Unknown),
        (Course::Lies, Ended::Done),
    ] {
        let disk = Simulated::new(Config { course, ..Config::default() });
        let outcome = disk.revert(Technique::OpalPsidRevert, Some(LABEL));
        assert_eq!(outcome.ended, ended, "{course:?}");
        // FAIL, as the core specification's table of status codes has it.
        assert_eq!(reason(&outcome).contains("0x3f"), ended == Ended::Failed, "{course:?}");
        assert!(disk.left() >= 128);
    }
}

#[test]
fn credentials_are_not_in_what_settings_print() {
    let text = format!("{:?}", Settings { psid: Some(LABEL.to_vec()), ..settings() });
    assert!(!text.contains("48, 49") && !text.contains("0123"), "{text}");
}

/// A disk that says this of itself.
#[derive(Debug)]
struct Flagged(u32);

impl OpalDevice for Flagged {
    fn status(&self) -> io::Result<OpalStatus> {
        Ok(OpalStatus { flags: self.0 })
    }

    fn revert_with_psid(&self, _: &[u8]) -> Result<(), OpalFailure> {
        Err(OpalFailure::Status(0x3f))
    }

    fn revert_with_sid(&self, _: &[u8]) -> Result<(), OpalFailure> {
        Err(OpalFailure::Status(0x3f))
    }
}

/// Linux, `include/uapi/linux/sed-opal.h`: supported, locking supported, locking enabled, locked; what else there is says nothing here.
#[test]
fn a_revert_is_offered_where_three_flags_are_set_and_an_obstacle_is_a_fourth() {
    for flags in 0..1 << 10 {
        let clock = Simulated::new(Config::default());
        let examined = examine(&Device::None, Some(&Flagged(flags)), &Bench::new(&clock)).unwrap();
        let erases = flags & 7 == 7;
        assert_eq!(examined.techniques.len(), usize::from(erases), "{flags:#x}");
        let is_locked = erases && flags & 8 == 8;
        assert_eq!(examined.obstacles.contains(&Obstacle::OpalLocked), is_locked, "{flags:#x}");
    }
}
