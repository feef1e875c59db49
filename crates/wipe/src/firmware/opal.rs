//! TCG Opal: reverting a self-encrypting disk makes new media keys, so that nothing of what it holds can be read.
//!
//! A wrong credential changes nothing but the count of attempts; an answer that does not come leaves everything open.

use disk::command::{OpalDevice, OpalFailure, OpalStatus};
use protocol::wipe::{Expected, Technique};

use super::tape::Tape;
use super::{Ending, Examined, Obstacle, Offered, Reach, Settings};
use crate::Watch;

// `OPAL_FL_…` of <linux/sed-opal.h>.
const SUPPORTED: u32 = 1 << 0;
const LOCKING_SUPPORTED: u32 = 1 << 1;
const LOCKING_ENABLED: u32 = 1 << 2;
const LOCKED: u32 = 1 << 3;

/// What a disk says that a revert erases.
const ERASES: u32 = SUPPORTED | LOCKING_SUPPORTED | LOCKING_ENABLED;

/// Asks how a disk stands, and adds that to what its other side says. A locked disk is reverted first, since it refuses
/// reads and writes; an open one last. What the SID is nobody can ask: who has its password offers that revert.
///
/// Where locking was never set up, or was taken down, a revert keeps the media keys and erases nothing (Opal SSC §5.1.2;
/// Linux, commit 5c82efc1aee8, which relies on it to keep data): then none is offered.
pub(super) fn examine(opal: &dyn OpalDevice, examined: &mut Examined) {
    let Ok(OpalStatus { flags }) = opal.status() else { return };
    examined.says("OPAL_FL", flags, 8);
    if flags & ERASES != ERASES {
        return;
    }
    let revert = Offered {
        technique: Technique::OpalPsidRevert,
        estimate: None,
        reach: Reach::Everything,
        expected: Expected::NoCanary,
    };
    if flags & LOCKED == 0 {
        examined.techniques.push(revert);
    } else {
        examined.obstacles.push(Obstacle::OpalLocked);
        examined.techniques.insert(0, revert);
    }
}

impl Examined {
    /// Offers to revert a self-encrypting disk with its owner's password, for who has that: nobody can ask a disk whether it
    /// is the right one. Before the PSID, which may be absent.
    pub fn offer_owner(&mut self) {
        let is_revert = |one: &Offered| one.technique == Technique::OpalPsidRevert;
        if let Some(place) = self.techniques.iter().position(is_revert) {
            let technique = Technique::OpalSidRevert;
            self.techniques.insert(place, Offered { technique, ..self.techniques[place] });
        }
    }
}

/// Reverts a disk.
pub(super) fn apply(
    opal: &dyn OpalDevice,
    technique: Technique,
    settings: &Settings,
    watch: &dyn Watch,
    tape: &mut Tape,
) -> Ending {
    let (name, credential) = match technique {
        Technique::OpalSidRevert => ("Revert, SID", settings.sid.as_deref()),
        _ => ("Revert, PSID", settings.psid.as_deref()),
    };
    let Some(credential) = credential else {
        return Ending::failed("not begun: the order has no credential of this disk");
    };
    match status(opal, tape) {
        Ok(flags) if flags & ERASES == ERASES => {}
        Ok(_) => return Ending::failed("the disk says that it cannot do this"),
        Err(words) => return Ending::failed(format!("not begun: {words}")),
    }
    if let Err(stopped) = watch.check() {
        return Ending::failed(format!("not begun: {stopped}"));
    }
    let result = match technique {
        Technique::OpalSidRevert => opal.revert_with_sid(credential),
        _ => opal.revert_with_psid(credential),
    };
    // The credential is nobody's business: what is kept is who it was.
    let said = match &result {
        Ok(()) => "00".to_owned(),
        Err(OpalFailure::Status(status)) => format!("{status:02x}"),
        Err(OpalFailure::NoAnswer(error)) => format!("no answer: {error}"),
    };
    tape.record(name, String::new(), said);
    match result {
        Err(OpalFailure::Status(status)) => {
            Ending::failed(format!("the disk refused the credential, method status {status:#04x}"))
        }
        Err(OpalFailure::NoAnswer(error)) => {
            Ending::unknown(format!("reverting may be done or not: {error}"))
        }
        Ok(()) => match status(opal, tape) {
            Ok(flags) if flags & (LOCKED | LOCKING_ENABLED) == 0 => Ending::done(),
            Ok(flags) => Ending::failed(format!(
                "the revert was accepted, but locking is on still, {flags:#x}"
            )),
            Err(words) => Ending::unknown(format!("the revert was accepted, and then: {words}")),
        },
    }
}

fn status(opal: &dyn OpalDevice, tape: &mut Tape) -> Result<u32, String> {
    let status = opal.status();
    let said = match &status {
        Ok(OpalStatus { flags }) => format!("{flags:08x}"),
        Err(error) => format!("no answer: {error}"),
    };
    tape.record("Level 0 discovery", String::new(), said);
    status.map(|OpalStatus { flags }| flags).map_err(|error| error.to_string())
}
