//! Before anything is destroyed: what the device says, what still runs, what is planned.

use std::{error::Error, time::Duration};

use protocol::wipe::{Ended, Expected, Outcome, Technique};

use super::{Run, Standing};
use crate::{
    firmware::{
        self, Device, Examined, FirmwareError, Hiding, Obstacle, PATIENCE, Reach, Recovered,
        Recovery, Settings,
    },
    part::password,
    plan::{self, Facts, Way, is_devices},
};

/// So often a device that may be erasing itself still, and does not say so clearly, is asked once more.
const STANDING_TRIES: u32 = 6;
const STANDING_PAUSE: Duration = Duration::from_secs(10); // some are busy for a while after they got power

impl Run<'_> {
    pub(super) fn examine(&mut self) {
        let part = self.part;
        part.watch.phase(protocol::wipe::WipePhase::Examining, None);
        match self.ask() {
            Ok(examined) => self.examined = examined,
            Err(error) => {
                self.unasked();
                return match error {
                    FirmwareError::Stopped(stopped) if !self.is_over() => self.halt(stopped),
                    error => {
                        let words = format!("what the disk can is not known: {}", chain(&error));
                        self.except("notExamined", &words);
                    }
                };
            }
        }
        // What answers commands must be what was ordered; a bridge may answer for something else.
        let same = |one: &str, other: &str| one.trim() == other.trim();
        if let (Some(says), Some(ordered)) = (&self.examined.serial, &part.identity.serial)
            && !same(says, ordered)
        {
            let words = format!(
                "what answers commands calls itself {says:?}, not {ordered:?}: none was sent that erases"
            );
            self.examined = Examined::default();
            self.except("otherSerial", &words);
            self.unasked();
        } else if matches!(part.device, Device::None) && !self.was_reverted() {
            self.unasked();
        } else if self.may_go_on(&self.examined) {
            let words =
                "the disk does not say whether the erasure that an earlier boot began is over";
            self.except("notExamined", words);
            self.unasked();
        } else if self.examined.running.is_none() {
            part.watch.at_rest();
        }
        if self.settings().sid.is_some() {
            self.examined.offer_owner();
        }
        if part.may == Reach::Addressed {
            self.examined.techniques.retain(|one| one.reach == Reach::Addressed);
        }
    }

    /// Holds where an earlier boot began to revert a self-encrypting disk: that is over when power was cut, and the disk can
    /// be told once more.
    fn was_reverted(&self) -> bool {
        let is_revert =
            |begun| matches!(begun, Technique::OpalPsidRevert | Technique::OpalSidRevert);
        self.part.opal.is_some() && self.journal.begun.is_some_and(is_revert)
    }

    fn ask(&self) -> Result<Examined, FirmwareError> {
        let part = self.part;
        let mut tries = 0;
        loop {
            let examined = firmware::examine(&part.device, part.opal, part.watch)?;
            if tries == STANDING_TRIES || !self.may_go_on(&examined) {
                return Ok(examined);
            }
            tries += 1;
            part.watch.wait(STANDING_PAUSE).map_err(FirmwareError::Stopped)?;
        }
    }

    /// Holds where an earlier boot began what goes on by itself, and the device does not say how that stands.
    fn may_go_on(&self, examined: &Examined) -> bool {
        examined.is_standing_unknown && self.journal.begun.is_some_and(goes_on)
    }

    /// Takes it that nobody can say what the device does: what an earlier boot began may still run, and then nothing may
    /// be tried, and nothing be said.
    fn unasked(&mut self) {
        if self.journal.begun.is_some_and(is_devices) {
            self.standing = Standing::Unknown;
        }
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.examined
            .obstacles
            .iter()
            .any(|one| matches!(one, Obstacle::Frozen | Obstacle::SanitizeFrozen))
    }

    /// Waits for what runs already, and plans.
    pub(super) fn prepare(&mut self) {
        if self.is_over() {
            return;
        }
        self.rejoin();
        self.recover();
        self.lift();
        if self.is_over() {
            return;
        }
        self.plan();
        self.resume();
    }

    /// Decides what is done, from what the device says now.
    pub(super) fn plan(&mut self) {
        let is_zoned = self.part.handling.is_zoned();
        let facts = Facts {
            medium: self.part.kind,
            offered: self.examined.techniques.iter().map(|one| one.technique).collect(),
            is_writable: !is_zoned && !self.examined.obstacles.iter().any(Obstacle::is_shut),
            discards: self.part.handling.discards(),
        };
        let wipe = self.terms.wipe;
        self.plan = plan::plan(wipe.level, &wipe.options, &facts);
        if is_zoned {
            // Nothing here writes zone by zone, nor mounts what does.
            self.plan.ways.retain(|way| matches!(way, Way::Device(_)));
        }
    }

    fn rejoin(&mut self) {
        let Some(running) = self.examined.running else { return };
        let running = firmware::Running {
            technique: running.technique.or(self.journal.begun.filter(|one| is_devices(*one))),
            ..running
        };
        self.part.watch.phase(protocol::wipe::WipePhase::Erasing, running.technique);
        let outcome = firmware::rejoin(&self.part.device, &running, self.part.watch);
        let ended = outcome.ended;
        self.techniques.push(outcome);
        match ended {
            Ended::Unknown => {
                self.standing = Standing::Unknown;
            }
            Ended::Done | Ended::Failed => self.examine(),
        }
    }

    /// Takes an ATA password off that an earlier boot set, and a power cut left. A password of somebody else is not tried.
    pub(super) fn recover(&mut self) {
        let is_set = |one: &Obstacle| matches!(one, Obstacle::Locked | Obstacle::PasswordSet);
        let passwords = self.journal.passwords.as_slice();
        if passwords.is_empty() || !self.examined.obstacles.iter().any(is_set) {
            return;
        }
        match firmware::recover(&self.part.device, passwords, self.part.watch) {
            Ok(Recovery { state: Recovered::Refused { words }, .. }) => {
                let words =
                    format!("the ATA password of an earlier boot does not come off: {words}");
                self.except("passwordSet", &words);
            }
            Ok(_) => self.examine(),
            Err(error) => self.refused("taking an ATA password off", error),
        }
    }

    /// Makes hidden sectors addressable, where that is ordered: by the disk, then by the kernel. All that follows then
    /// reaches its new end.
    fn lift(&mut self) {
        let wipe = self.terms.wipe;
        let hiding = |one: &Obstacle| match one {
            Obstacle::Hidden { by, .. } => Some(*by),
            _ => None,
        };
        let mut hidden_by: Vec<Hiding> =
            self.examined.obstacles.iter().filter_map(hiding).collect();
        let is_asked = wipe.options.lift_hidden && wipe.level.asked() >= Outcome::Clear;
        if self.is_over() || !is_asked || hidden_by.is_empty() {
            return;
        }
        let lifted = match firmware::lift_hidden(&self.part.device, self.part.watch) {
            Ok(Some(lifted)) => lifted,
            Ok(None) => return,
            Err(error) => return self.refused("lifting hidden sectors", error),
        };
        if let Some(failure) = lifted.failure {
            self.except("hiddenSectors", &format!("hidden sectors could not be lifted: {failure}"));
        }
        if self.examined.native_bytes.is_some_and(|native| lifted.after_bytes > native) {
            // The overlay lay below the protected area, and showed only then.
            hidden_by.push(Hiding::Dco);
        }
        let handling = self.part.handling;
        let before = self.part.medium.size_bytes();
        let is_more = lifted.after_bytes > before;
        let grown = if is_more { handling.grow(lifted.after_bytes, &hidden_by) } else { Ok(()) };
        if let Err(error) = grown.and_then(|()| handling.refresh()) {
            let words = format!("the kernel could not look at the disk again: {}", chain(&error));
            self.except("notRefreshed", &words);
        }
        let seen = self.part.medium.size_bytes();
        if seen != before {
            // Passes of an earlier boot went to the old end.
            self.journal.watermark = None;
        }
        if lifted.after_bytes > seen {
            let words = format!(
                "{} bytes are hidden no more, but this boot does not address them: order the disk again, which now has {} \
                 bytes",
                lifted.after_bytes - seen,
                lifted.after_bytes
            );
            self.except("hiddenSectors", &words);
        }
        self.examine();
    }

    fn refused(&mut self, what: &str, error: FirmwareError) {
        match error {
            FirmwareError::Stopped(stopped) => self.halt(stopped),
            error => self.except("refused", &format!("{what}: {}", chain(&error))),
        }
    }

    /// Reads back what an earlier boot began and this one saw the end of. Where only canaries could tell, that boot's are
    /// not relied on: whether all were planted nobody knows, and it is done again.
    fn resume(&mut self) {
        let Some(last) = self.techniques.last() else { return };
        let (technique, ended) = (last.technique, last.ended);
        let is_ours = self.journal.begun == Some(technique);
        let is_asked = self.plan.ways.contains(&Way::Device(technique));
        if self.is_over() || ended != Ended::Done || !is_ours || !is_asked {
            return;
        }
        let Some(expected) = self.offered(technique).map(|one| one.expected) else { return };
        if matches!(expected, Expected::Zeros | Expected::Ones) {
            self.device_done(technique, expected);
        }
    }

    pub(super) fn settings(&self) -> Settings {
        let wipe = self.terms.wipe;
        let identity = &self.part.identity;
        let psid = wipe.options.psids.iter().find(|psid| disk::permit::names(&psid.disk, identity));
        let sid = wipe.options.sids.iter().find(|sid| disk::permit::names(&sid.disk, identity));
        Settings {
            password: password(&wipe.seed, self.part.number),
            psid: psid.map(|psid| psid.psid.0.clone().into_bytes()),
            sid: sid.map(|sid| sid.sid.0.clone().into_bytes()),
            patience: PATIENCE,
        }
    }
}

/// Holds for what a device goes on with after a power cut, and is asked after by its standing.
fn goes_on(technique: Technique) -> bool {
    use Technique as T;
    matches!(
        technique,
        T::NvmeSanitizeBlock
            | T::NvmeSanitizeCrypto
            | T::NvmeSanitizeOverwrite
            | T::AtaSanitizeBlock
            | T::AtaSanitizeCrypto
            | T::AtaSanitizeOverwrite
            | T::ScsiSanitizeBlock
            | T::ScsiSanitizeCrypto
            | T::ScsiSanitizeOverwrite
            | T::ScsiFormatUnit
    )
}

/// Shows an error with its causes.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
