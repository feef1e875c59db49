//! Before anything is destroyed: what the device says, what still runs, what is planned.

use std::error::Error;

use protocol::wipe::Ended;

use super::{Run, Standing};
use crate::{
    firmware::{self, FirmwareError, Obstacle, PATIENCE, Reach, Settings},
    part::password,
    plan::{self, Facts, Way, is_devices},
};

impl Run<'_> {
    pub(super) fn examine(&mut self) {
        let part = self.part;
        part.watch.phase(protocol::wipe::WipePhase::Examining, None);
        match firmware::examine(&part.device, part.opal, part.watch) {
            Ok(examined) => self.examined = examined,
            Err(FirmwareError::Stopped(stopped)) => return self.halt(stopped),
            Err(error) => {
                let words = format!("what the disk can is not known: {}", chain(&error));
                self.except("notExamined", &words);
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
            self.examined.techniques.clear();
            self.examined.running = None;
            self.except("otherSerial", &words);
        }
        if part.may == Reach::Addressed {
            self.examined.techniques.retain(|one| one.reach == Reach::Addressed);
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
        let is_shut = |one: &Obstacle| {
            matches!(one, Obstacle::Locked | Obstacle::WriteProtected | Obstacle::OpalLocked)
        };
        let facts = Facts {
            medium: self.part.kind,
            offered: self.examined.techniques.iter().map(|one| one.technique).collect(),
            is_writable: !self.examined.obstacles.iter().any(is_shut),
            discards: self.part.handling.discards(),
        };
        let wipe = self.terms.wipe;
        self.plan = plan::plan(wipe.level, &wipe.options, &facts);
        self.resume();
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

    /// Reads back what an earlier boot began and this one saw the end of.
    fn resume(&mut self) {
        let Some(last) = self.techniques.last() else { return };
        let (technique, ended) = (last.technique, last.ended);
        let is_ours = self.journal.begun == Some(technique);
        let is_asked = self.plan.ways.contains(&Way::Device(technique));
        if self.is_over() || ended != Ended::Done || !is_ours || !is_asked {
            return;
        }
        let Some(expected) = self.offered(technique).map(|one| one.expected) else { return };
        // Canaries were all in their places before it began: that was journaled in this order.
        self.marks_all = expected == protocol::wipe::Expected::NoCanary;
        self.planted = if self.journal.canaries { self.canaries() } else { 0 };
        self.device_done(technique, expected);
    }

    pub(super) fn settings(&self) -> Settings {
        let wipe = self.terms.wipe;
        let identity = &self.part.identity;
        let psid = wipe.options.psids.iter().find(|psid| disk::permit::names(&psid.disk, identity));
        Settings {
            password: password(&wipe.seed, self.part.number),
            psid: psid.map(|psid| psid.psid.0.clone().into_bytes()),
            sid: None,
            patience: PATIENCE,
        }
    }
}

/// Shows an error with its causes.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
