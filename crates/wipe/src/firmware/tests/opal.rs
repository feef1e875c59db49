//! TCG Opal: reverting.

use std::io;

use disk::command::{OpalDevice, OpalFailure, OpalStatus};

use super::*;

/// A self-encrypting disk as the kernel shows it.
#[derive(Debug)]
struct Encrypting {
    flags: Mutex<u32>,
    psid: &'static [u8],
    is_silent: bool,
    ignores: bool,
}

impl Clocked for Encrypting {
    fn advance(&self, _: Duration) {}
}

impl OpalDevice for Encrypting {
    fn status(&self) -> io::Result<OpalStatus> {
        Ok(OpalStatus { flags: *self.flags.lock().unwrap() })
    }

    fn revert_with_psid(&self, psid: &[u8]) -> Result<(), OpalFailure> {
        if self.is_silent {
            return Err(OpalFailure::NoAnswer(io::ErrorKind::TimedOut.into()));
        }
        if psid != self.psid {
            return Err(OpalFailure::Status(0x01));
        }
        if !self.ignores {
            *self.flags.lock().unwrap() = 0x03;
        }
        Ok(())
    }

    fn revert_with_sid(&self, sid: &[u8]) -> Result<(), OpalFailure> {
        self.revert_with_psid(sid)
    }
}

// Supported, with locking; enabled and locked.
const LOCKED: u32 = 0x0f;
const OPEN: u32 = 0x03;

fn disk(flags: u32) -> Encrypting {
    Encrypting { flags: Mutex::new(flags), psid: b"LABEL", is_silent: false, ignores: false }
}

fn revert(disk: &Encrypting, psid: Option<&[u8]>) -> TechniqueOutcome {
    let settings = Settings { psid: psid.map(<[u8]>::to_vec), ..settings() };
    apply(&Device::None, Some(disk), Technique::OpalPsidRevert, &settings, &Bench::new(disk))
}

#[test]
fn a_locked_disk_is_an_obstacle_that_its_label_lifts() {
    let disk = disk(LOCKED);
    let examined = examine(&Device::None, Some(&disk), &Bench::new(&disk)).unwrap();
    assert_eq!(examined.obstacles, [Obstacle::OpalLocked]);
    assert_eq!(offered(&examined), [Technique::OpalPsidRevert]);
    let outcome = revert(&disk, Some(b"LABEL"));
    assert_eq!(outcome.ended, Ended::Done);
    assert!(!format!("{outcome:?}").contains("4c4142454c"), "the label is kept to itself");
    assert_eq!(*disk.flags.lock().unwrap(), OPEN);
}

#[test]
fn a_wrong_label_or_none_changes_nothing() {
    let disk = disk(LOCKED);
    for psid in [None, Some(&b"OTHER"[..])] {
        assert_eq!(revert(&disk, psid).ended, Ended::Failed);
    }
    assert_eq!(*disk.flags.lock().unwrap(), LOCKED);
}

#[test]
fn an_accepted_revert_that_did_nothing_is_none_and_silence_is_unknown() {
    let ignoring = Encrypting { ignores: true, ..disk(LOCKED) };
    assert_eq!(revert(&ignoring, Some(b"LABEL")).ended, Ended::Failed);
    let silent = Encrypting { is_silent: true, ..disk(LOCKED) };
    assert_eq!(revert(&silent, Some(b"LABEL")).ended, Ended::Unknown);
}

#[test]
fn credentials_are_not_in_what_settings_print() {
    let settings = Settings { psid: Some(b"LABEL".to_vec()), ..settings() };
    let text = format!("{settings:?}");
    assert!(!text.contains("76") && !text.contains("LABEL"), "{text}");
}
