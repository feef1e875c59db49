//! The report of a disk.

use protocol::{
    Bytes,
    wipe::{DiskReport, Outcome, PowerLevel, Validation, WipePhase, WipeStepKind},
};

use super::{Run, Standing};
use crate::{
    firmware::{Hiding, Obstacle},
    plan::{MediumKind, Way},
    verdict::{Judgement, Seen, judge},
};

impl Run<'_> {
    pub(super) fn report(mut self) -> DiskReport {
        self.name_obstacles();
        let wipe = self.terms.wipe;
        let seen = Seen {
            level: wipe.level,
            medium: self.part.kind,
            way: self.taken.as_ref().map(|(way, ended)| (way, *ended)),
            is_unknown: self.standing == Standing::Unknown,
            verification: self.verification.as_ref(),
            exceptions: &self.exceptions,
        };
        let Judgement { verdict, reached, exceptions } = judge(&seen);
        self.exceptions.extend(exceptions);
        self.part.watch.note(WipeStepKind::Over { verdict });
        self.part.watch.phase(WipePhase::Over, None);
        let accessible = self.part.medium.size_bytes();
        DiskReport {
            disk: self.part.identity.clone(),
            name: self.part.name.clone(),
            transport: self.part.transport.clone(),
            firmware: self.examined.firmware,
            verdict,
            asked: wipe.level.asked(),
            reached,
            accessible_bytes: Bytes(accessible),
            native_bytes: self.examined.native_bytes.map(Bytes),
            capabilities: self.examined.capabilities,
            techniques: self.techniques,
            verification: self.verification,
            filesystems: self.filesystems,
            forecast: self.forecast,
            unwritten: self.unwritten,
            exceptions: self.exceptions,
            out_of_scope: self.examined.out_of_scope,
            validation: Validation::EmulatedOnly,
            begun_unix_milliseconds: self.begun,
            ended_unix_milliseconds: (self.terms.now)(),
        }
    }

    /// Says what stood in the way, where it kept something from being erased.
    fn name_obstacles(&mut self) {
        let level = self.terms.wipe.level;
        if level != PowerLevel::Idle && !self.is_good() && self.part.handling.is_zoned() {
            let words = "its zones can only be written from their start on, which nothing here does: only an erasure of its own \
                         could have erased it";
            self.except("zoned", words);
        }
        let asked = level.asked();
        if asked < Outcome::Clear {
            return;
        }
        let is_whole = matches!(&self.taken, Some((Way::Device(technique), _))
            if self.offered(*technique).is_some_and(|one| one.reach == crate::firmware::Reach::Everything));
        if let Some(why) =
            self.part.withheld.as_ref().filter(|_| asked == Outcome::Purge && !is_whole)
        {
            let words = format!("the device was not told to erase all of itself: {why}");
            self.except("notWholeDevice", &words);
        }
        // By what the way itself reaches: of a virtual disk nothing more would come in any other.
        let is_reached = self.is_good()
            && self.taken.as_ref().is_some_and(|(way, _)| way.reaches(MediumKind::Flash) >= asked);
        if self.is_untold && !is_reached {
            let words = "the device says that it erased itself, but not all of it could be marked before, so that reading back \
                         does not tell";
            self.except("notMarked", words);
        }
        let obstacles = std::mem::take(&mut self.examined.obstacles);
        for obstacle in &obstacles {
            if let Some((code, words)) = words(obstacle, is_whole, is_reached, asked) {
                self.except(code, &words);
            }
        }
        self.examined.obstacles = obstacles;
    }
}

/// Says what is left because of an obstacle; nothing where nothing is.
fn words(
    obstacle: &Obstacle,
    is_whole: bool,
    is_reached: bool,
    asked: Outcome,
) -> Option<(&'static str, String)> {
    let purges = asked == Outcome::Purge;
    Some(match obstacle {
        Obstacle::Hidden { by, native_bytes, accessible_bytes } if !is_whole => {
            let by = match by {
                Hiding::Hpa => "the host protected area",
                Hiding::Dco => "the device configuration overlay",
                Hiding::Ama => "the accessible maximum address",
            };
            let hidden = native_bytes.saturating_sub(*accessible_bytes);
            ("hiddenSectors", format!("{hidden} bytes are hidden by {by}, and were not reached"))
        }
        Obstacle::Unallocated { bytes } if !is_whole => {
            ("unallocated", format!("{bytes} bytes belong to no namespace, and were not reached"))
        }
        Obstacle::Locked if !is_reached => {
            ("locked", "the disk is locked with an ATA password".to_owned())
        }
        Obstacle::OpalLocked if !is_reached => (
            "locked",
            "the disk is locked by TCG Opal: order it with the PSID on its label, or its owner's password".to_owned(),
        ),
        Obstacle::WriteProtected if !is_reached => {
            ("writeProtected", "the disk refuses to be written to".to_owned())
        }
        Obstacle::Frozen if purges && !is_reached => {
            ("frozen", "ATA security is frozen: order it with --unfreeze".to_owned())
        }
        Obstacle::SanitizeFrozen if purges && !is_reached => {
            ("frozen", "ATA SANITIZE is frozen until the next power cycle".to_owned())
        }
        Obstacle::Bridge { words } if !is_reached => {
            ("bridge", format!("what stands between passes no erasure of its own on: {words}"))
        }
        Obstacle::PasswordAttemptsExpired if !is_reached => (
            "locked",
            "too many wrong passwords were tried: switch the machine off and on".to_owned(),
        ),
        Obstacle::PasswordSet => ("passwordSet", "an ATA password is set".to_owned()),
        _ => return None,
    })
}
