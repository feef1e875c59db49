//! The ways that a level takes, each with what it reads back.

use protocol::{
    Bytes,
    wipe::{
        Ended, Expected, Technique, TechniqueOutcome, Unwritten, Verification, VerificationPlan,
        WipePhase, WipeStepKind,
    },
};

use super::{Run, Standing, examined::chain};
use crate::{
    harbour,
    part::password,
    pass::{self, BadRanges, Gear, Key, Offload, Pass, PassOutcome, Pattern},
    plan::Way,
    verdict::says_enough,
    verification::{self, Content, Marking, Reading},
    working::{self, BadReason, source::Source},
};

/// One byte of so many may be left unwritten, where it is known which, and the disk still count as erased with exceptions.
const LARGEST_BAD_SHARE: u64 = 1000;

/// How much is discarded between two looks whether to stop.
const DISCARD_STEP: u64 = 8 << 30;

impl Run<'_> {
    fn verification_plan(&self) -> verification::Plan {
        let reading = match self.plan.read_back {
            VerificationPlan::Whole {} => Reading::Whole,
            VerificationPlan::Sample { .. } => Reading::TenThousandth,
            VerificationPlan::Probe {} => Reading::Thousandth,
        };
        let marking = if self.marks_all { Marking::EverySample } else { Marking::Known };
        verification::Plan {
            seed: self.terms.wipe.seed,
            disk: self.part.number,
            reading,
            marking,
            gear: Gear::default(),
        }
    }

    /// Plants canaries, unless an erasure was begun already: what they would mark is gone.
    pub(super) fn mark(&mut self, marks_all: bool) {
        let is_marked = self.planted > 0 && (self.marks_all || !marks_all);
        if self.is_over() || is_marked || self.part.handling.is_zoned() {
            return;
        }
        self.marks_all = marks_all;
        let watch = self.part.watch;
        if let Err(stopped) = watch.journal(WipeStepKind::Canaries {}) {
            return self.halt(stopped);
        }
        watch.phase(WipePhase::Marking, None);
        let planted = verification::plant(self.part.medium, &self.verification_plan(), watch);
        (self.planted, self.refused) = (planted.canaries, planted.refused);
        if planted.lost {
            return self.lose();
        }
        if let Some(stopped) = planted.stopped {
            self.halt(stopped);
        }
    }

    /// Takes what came of a device's own erasure.
    pub(super) fn erased(&mut self, technique: Technique, outcome: TechniqueOutcome) {
        let ended = outcome.ended;
        self.techniques.push(outcome);
        self.taken = Some((Way::Device(technique), ended));
        match ended {
            Ended::Done => {
                let expected = self.offered(technique).map(|one| one.expected);
                self.device_done(technique, expected.unwrap_or(Expected::NoCanary));
            }
            Ended::Failed if is_security(technique) => {
                // The password may still be set: it is journaled, and comes off.
                let password = password(&self.terms.wipe.seed, self.part.number);
                self.journal.passwords.insert(0, password);
                self.examine();
                self.recover();
                self.plan();
            }
            Ended::Failed => {}
            Ended::Unknown => {
                self.standing = Standing::Unknown;
            }
        }
    }

    /// Reads back after a device's own erasure.
    pub(super) fn device_done(&mut self, technique: Technique, expected: Expected) {
        self.taken = Some((Way::Device(technique), Ended::Done));
        if let Err(error) = self.part.handling.refresh() {
            let words = format!("the kernel could not look at the disk again: {}", chain(&error));
            self.except("notRefreshed", &words);
        }
        let content = match expected {
            Expected::Zeros => Content::Zeros,
            Expected::Ones => Content::Ones,
            Expected::KeyedStream | Expected::NoCanary | Expected::NoSignature => Content::NoCanary,
        };
        let can_tell = self.can_tell(content);
        let is_clean = self.read_back(content, &BadRanges::default());
        if !can_tell && !self.is_over() {
            self.is_untold = true;
            // What was locked may be open now.
            self.examine();
            self.plan();
        } else if !is_clean && !self.is_over() {
            let words = format!(
                "the device says that {technique:?} is done, and what is read back says that it is not: another way was \
                 taken"
            );
            self.except("deviceWrong", &words);
        }
        // What was there before is not there any more, wherever it was gone.
        (self.planted, self.refused) = (0, 0);
    }

    /// Holds where reading back can tell something. Where only canaries do, next to all places must have taken theirs: a
    /// range that was locked has a key of its own, and those beside it say nothing of it.
    fn can_tell(&self, content: Content) -> bool {
        content.expected() != Expected::NoCanary
            || self.planted > 0 && self.refused.saturating_mul(1000) <= self.planted
    }

    /// Reads back and compares. Returns whether nothing was left.
    fn read_back(&mut self, content: Content, left_out: &BadRanges) -> bool {
        let watch = self.part.watch;
        watch.note(WipeStepKind::Verify {});
        watch.phase(WipePhase::Verifying, None);
        let plan = self.verification_plan();
        let look =
            verification::look(self.part.medium, &plan, content, self.planted, left_out, watch);
        let can_tell = self.can_tell(content);
        let seen = &look.verification;
        let is_clean = look.is_complete && can_tell && seen.differing == 0 && says_enough(seen);
        if look.lost {
            self.lose();
        } else if let Some(stopped) = look.stopped {
            self.halt(stopped);
        } else if !look.is_complete {
            let why = look.reason.as_deref().unwrap_or("the disk does not answer");
            self.except("notReadBack", &format!("not everything could be read back: {why}"));
        }
        // What tells nothing is no verification.
        self.verification = (can_tell && look.is_complete).then_some(look.verification);
        if is_clean {
            self.standing = Standing::Good;
        }
        is_clean
    }

    /// Writes over everything.
    pub(super) fn passes(&mut self, count: u8) {
        let (first, from) = self.journal.passes();
        let count = u32::from(count);
        // Marks of this boot are everywhere, also where an earlier one had written.
        let is_resumed = first < count && self.planted == 0 && self.techniques.is_empty();
        let (first, from) = if is_resumed { (first, from) } else { (0, 0) };
        if (first, from) == (0, 0) {
            self.mark(false);
        }
        self.verification = None;
        for number in 0..first {
            let reason = "by an earlier boot, as it journaled".to_owned();
            let outcome = TechniqueOutcome {
                reason: Some(reason),
                ..done(pattern_of(number, count), number)
            };
            self.techniques.push(outcome);
        }
        let mut bad = BadRanges::default();
        for number in first..count {
            let technique = pattern_of(number, count);
            self.begin(technique, number == first);
            if self.is_over() {
                return;
            }
            let from = if number == first { from } else { 0 };
            bad = match self.pass(number, technique, from) {
                Some(bad) => bad,
                None => return,
            };
        }
        let way = Way::Passes(u8::try_from(count).unwrap_or(u8::MAX));
        if !bad.ranges.is_empty() {
            let words = format!(
                "{} bytes in {} places could not be written{}",
                bad.bytes,
                bad.ranges.len(),
                if bad.exact { "" } else { ", or lie beside such places" }
            );
            self.except("badRanges", &words);
            let ranges = u64::try_from(bad.ranges.len()).unwrap_or(u64::MAX);
            self.unwritten = Some(Unwritten { bytes: Bytes(bad.bytes), ranges });
            // Some sectors are an exception; a part of the disk is no erasure.
            if !bad.exact || bad.bytes > self.part.medium.size_bytes() / LARGEST_BAD_SHARE {
                self.taken = Some((way, Ended::Failed));
                self.standing = Standing::Over;
                return;
            }
        }
        self.taken = Some((way, Ended::Done));
        if !self.read_back(Content::Zeros, &bad) {
            self.standing = Standing::Over;
        }
    }

    /// Writes one pass. Returns what could not be written; nothing where the wipe does not go on.
    fn pass(&mut self, number: u32, technique: Technique, from: u64) -> Option<BadRanges> {
        let (part, begun) = (self.part, self.part.watch.elapsed());
        let pattern = match technique {
            Technique::KeyedStream => {
                Pattern::Stream(Key::of(&self.terms.wipe.seed, part.number, number))
            }
            _ => Pattern::Zeros,
        };
        let pass = Pass { pattern, number, from, gear: Gear::default() };
        let outcome = pass::write(part.medium, &pass, part.watch);
        let took = part.watch.elapsed().saturating_sub(begun);
        let resumed = (from > 0).then(|| {
            format!("from byte {from} on; before that by an earlier boot, as it journaled")
        });
        self.techniques.push(TechniqueOutcome {
            ended: if outcome.is_over() { Ended::Done } else { Ended::Failed },
            reason: outcome.reason.clone().or(resumed),
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            ..done(technique, number)
        });
        self.went_through(&outcome, Way::Passes(1)).then_some(outcome.bad)
    }

    /// Says whether writing came to its end; where it did not, the wipe is over.
    fn went_through(&mut self, outcome: &PassOutcome, way: Way) -> bool {
        if outcome.is_over() {
            return true;
        }
        self.taken = Some((way, Ended::Failed));
        let why = outcome.reason.as_deref().unwrap_or("the disk does not take it");
        match outcome.stopped {
            _ if outcome.lost => self.lose(),
            Some(stopped) => self.halt(stopped),
            None => {
                self.except("notWritten", &format!("writing did not come to its end: {why}"));
                self.standing = Standing::Over;
            }
        }
        false
    }

    /// Has the device zero everything by itself.
    pub(super) fn offload(&mut self) {
        self.mark(false);
        self.verification = None;
        self.begin(Technique::WriteZeroes, true);
        if self.is_over() {
            return;
        }
        let begun = self.part.watch.elapsed();
        let offload = pass::offload(self.part.medium, self.part.watch);
        let took = self.part.watch.elapsed().saturating_sub(begun);
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let outcome = match offload {
            Offload::Unsupported => {
                let reason =
                    Some("the device does not zero by itself, or was seen not to".to_owned());
                let failed = TechniqueOutcome {
                    ended: Ended::Failed,
                    reason,
                    milliseconds,
                    ..done(Technique::WriteZeroes, 0)
                };
                self.techniques.push(failed);
                self.taken = Some((Way::Offload, Ended::Failed));
                return;
            }
            Offload::Done(outcome) => outcome,
        };
        let ended = if outcome.is_whole() { Ended::Done } else { Ended::Failed };
        let reason = outcome.reason.clone();
        self.techniques.push(TechniqueOutcome {
            ended,
            reason,
            milliseconds,
            ..done(Technique::WriteZeroes, 0)
        });
        self.taken = Some((Way::Offload, ended));
        if ended == Ended::Done {
            self.read_back(Content::Zeros, &BadRanges::default());
        } else if outcome.lost || outcome.stopped.is_some() {
            self.went_through(&outcome, Way::Offload);
        }
    }

    /// Clears tables and signatures.
    pub(super) fn signatures(&mut self, discard: bool) {
        let part = self.part;
        self.verification = None;
        self.begin(Technique::Signatures, true);
        if self.is_over() {
            return;
        }
        let way = Way::Signatures { discard };
        let places = match working::plan(part.medium) {
            Ok(places) => places,
            Err(error) => {
                self.taken = Some((way, Ended::Failed));
                return self.except("notPlanned", &chain(&error));
            }
        };
        let Some(mut wrong) = self.clear(&places, &way) else { return };
        if !places.unreadable.is_empty() || places.is_cut {
            let words = "not all of the old tables could be read, so that places which they lead to may not be known";
            self.except("unreadable", words);
        }
        let mut left = None;
        if discard && self.discard() {
            let seen = working::probe(part.medium, &places);
            // What is discarded may read as anything: then zeros are written again.
            if !seen.is_nothing() {
                let Some(again) = self.clear(&places, &way) else { return };
                wrong = again;
            }
            left = seen.is_nothing().then_some(seen);
        }
        part.watch.phase(WipePhase::Verifying, None);
        let left = left.unwrap_or_else(|| working::probe(part.medium, &places));
        if let Err(error) = part.handling.refresh() {
            let words = format!("the kernel could not look at the disk again: {}", chain(&error));
            self.except("notRefreshed", &words);
        }
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let ranges = places.ranges();
        self.verification = Some(Verification {
            plan: VerificationPlan::Probe {},
            expected: Expected::NoSignature,
            seed: self.terms.wipe.seed,
            places_read: count(ranges.len()).saturating_sub(wrong.unread),
            bytes_read: Bytes(wrong.cleared_bytes),
            canaries: 0,
            canaries_found: 0,
            differing: count(left.found.len()).saturating_add(wrong.not_zero),
            unreadable: count(left.unreadable.len()),
            first_offsets: Vec::new(),
        });
        self.taken = Some((way, Ended::Done));
        let is_clear = left.found.is_empty() && wrong.not_zero == 0;
        self.standing = if is_clear { Standing::Good } else { Standing::Over };
    }

    /// Clears places. Returns what is not as it should be; nothing where it does not go on.
    fn clear(&mut self, places: &working::Places, way: &Way) -> Option<Wrong> {
        let (watch, begun) = (self.part.watch, self.part.watch.elapsed());
        let cleared = working::clear(self.part.medium, places, watch);
        let took = watch.elapsed().saturating_sub(begun);
        let is_through = cleared.stopped.is_none() && !cleared.is_gone;
        self.techniques.push(TechniqueOutcome {
            ended: if is_through { Ended::Done } else { Ended::Failed },
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            ..done(Technique::Signatures, 0)
        });
        if !cleared.bad.is_empty() {
            let bytes: u64 = cleared.bad.iter().map(|bad| bad.length).sum();
            let words = format!("{bytes} bytes in {} places are not clear", cleared.bad.len());
            self.except("badRanges", &words);
        }
        if !is_through {
            self.taken = Some((way.clone(), Ended::Failed));
        }
        if cleared.is_gone {
            self.lose();
        } else if let Some(stopped) = cleared.stopped {
            self.halt(stopped);
        }
        let of = |reasons: &[BadReason]| {
            let bad = cleared.bad.iter().filter(|bad| reasons.contains(&bad.reason));
            u64::try_from(bad.count()).unwrap_or(u64::MAX)
        };
        is_through.then(|| Wrong {
            not_zero: of(&[BadReason::NotZero]),
            unread: of(&[BadReason::Unreadable, BadReason::Unwritable, BadReason::Unflushed]),
            cleared_bytes: cleared.bytes,
        })
    }

    /// Has the disk discard all of itself. No erasure, so that it fails nothing.
    fn discard(&mut self) -> bool {
        let part = self.part;
        self.begin(Technique::Discard, false);
        let (size, begun) = (part.medium.size_bytes(), part.watch.elapsed());
        let (mut at, mut failure) = (0, None);
        while at < size && failure.is_none() {
            if let Err(stopped) = part.watch.check() {
                failure = Some(stopped.to_string());
                break;
            }
            let step = (size - at).min(DISCARD_STEP);
            failure = part.handling.discard(at, step).err().map(|error| error.to_string());
            at += step;
            part.watch.progress(at, size, 0);
        }
        let took = part.watch.elapsed().saturating_sub(begun);
        self.techniques.push(TechniqueOutcome {
            ended: if failure.is_none() { Ended::Done } else { Ended::Failed },
            reason: failure,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            ..done(Technique::Discard, 0)
        });
        true
    }

    /// Removes ephemeral files.
    pub(super) fn ephemeral(&mut self) {
        let part = self.part;
        let Some(filesystems) = part.filesystems else {
            self.taken = Some((Way::Ephemeral, Ended::Failed));
            return self.except("notMounted", "nothing here mounts filesystems of this disk");
        };
        self.begin(Technique::EphemeralFiles, true);
        if self.is_over() {
            return;
        }
        let (size, begun) = (part.medium.size_bytes(), part.watch.elapsed());
        let mut source = Source::new(part.medium);
        let content = signature::probe(&mut source, size, part.medium.sector_bytes());
        let report = harbour::run(&content, size, filesystems, harbour::Mode::Remove, part.watch);
        let took = part.watch.elapsed().saturating_sub(begun);
        let outcome = report.technique(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.taken = Some((Way::Ephemeral, outcome.ended));
        let is_done = outcome.ended == Ended::Done;
        self.standing = if is_done { Standing::Good } else { Standing::Over };
        self.techniques.push(outcome);
        self.filesystems = report.filesystems();
        self.exceptions.extend(report.exceptions());
    }
}

/// What of the places that were to be cleared is not clear.
#[derive(Debug, Clone, Copy)]
struct Wrong {
    /// How many read as something else.
    not_zero: u64,
    /// How many could not be written or read.
    unread: u64,
    /// How much is clear.
    cleared_bytes: u64,
}

fn is_security(technique: Technique) -> bool {
    matches!(technique, Technique::AtaSecurityErase | Technique::AtaSecurityEraseEnhanced)
}

/// Returns what a pass writes: zeros last.
fn pattern_of(number: u32, count: u32) -> Technique {
    if number + 1 == count { Technique::Zeros } else { Technique::KeyedStream }
}

fn done(technique: Technique, pass: u32) -> TechniqueOutcome {
    let (reason, commands) = (None, Vec::new());
    TechniqueOutcome { technique, pass, ended: Ended::Done, reason, commands, milliseconds: 0 }
}
