//! What a disk and a job come to: pure, from what was done and what was seen. Nothing that was only accepted counts.

use protocol::wipe::{Ended, Exception, Outcome, PowerLevel, Verdict, Verification};

use crate::plan::{MediumKind, Way};

/// What was seen of one disk.
#[derive(Debug, Clone)]
pub struct Seen<'s> {
    /// What was ordered.
    pub level: PowerLevel,
    /// What lies behind the disk's addresses.
    pub medium: MediumKind,
    /// The way that was taken last, and how it ended; nothing where none was begun.
    pub way: Option<(&'s Way, Ended)>,
    /// Whether any technique at all ended so that nobody can say how it stands.
    pub is_unknown: bool,
    /// What was read back after that way.
    pub verification: Option<&'s Verification>,
    /// What did not go as it should.
    pub exceptions: &'s [Exception],
}

/// What a disk came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// In a word.
    pub verdict: Verdict,
    /// How far data is gone.
    pub reached: Outcome,
    /// What follows from that for the list of exceptions.
    pub exceptions: Vec<Exception>,
}

/// Judges one disk. The worse is always taken.
pub fn judge(seen: &Seen<'_>) -> Judgement {
    let asked = seen.level.asked();
    let none = |verdict, exceptions| Judgement { verdict, reached: Outcome::None, exceptions };
    if seen.is_unknown {
        return none(Verdict::UnknownStillRunning, vec![still_running()]);
    }
    let Some((way, Ended::Done)) = seen.way else {
        return none(Verdict::NotErased, Vec::new());
    };
    // Nothing is meant to be erased.
    if asked == Outcome::None {
        return none(Verdict::NotErased, Vec::new());
    }
    let Some(verification) = seen.verification else {
        return none(Verdict::NotErased, vec![exception("notReadBack", "nothing was read back")]);
    };
    if verification.canaries_found > 0 || verification.differing > 0 {
        let words = format!(
            "{} marks that were written before are still there, and {} of {} places are not as they should be",
            verification.canaries_found, verification.differing, verification.places_read
        );
        return none(Verdict::NotErased, vec![exception("dataSurvived", &words)]);
    }
    if !says_enough(verification) {
        let words = format!(
            "{} places could be read back, and {} could not",
            verification.places_read, verification.unreadable
        );
        return none(Verdict::NotErased, vec![exception("notReadBack", &words)]);
    }
    let mut exceptions = Vec::new();
    if verification.unreadable > 0 {
        let words = format!("{} places could not be read back", verification.unreadable);
        exceptions.push(exception("unreadable", &words));
    }
    let reached = way.reaches(seen.medium);
    if reached < asked {
        exceptions.push(below(asked, seen.medium));
    }
    // A note about what is out of reach by nature is no exception; everything in the list is one.
    let verdict = match (exceptions.is_empty() && seen.exceptions.is_empty(), reached) {
        (_, Outcome::None) => Verdict::NotErased,
        (true, _) => Verdict::Erased,
        (false, _) => Verdict::ErasedWithExceptions,
    };
    Judgement { verdict, reached, exceptions }
}

/// Holds when what was read back is enough to say anything: at most one place of a thousand may be missing, and no canary
/// was met.
pub(crate) fn says_enough(verification: &Verification) -> bool {
    let Verification { places_read, unreadable, canaries_found, .. } = verification;
    *places_read > 0 && *canaries_found == 0 && unreadable.saturating_mul(1000) <= *places_read
}

fn below(asked: Outcome, medium: MediumKind) -> Exception {
    match (asked, medium) {
        (Outcome::Purge, MediumKind::Magnetic | MediumKind::Flash) => exception(
            "purgeNotReached",
            "purge not reached: the disk has no erasure of its own that worked",
        ),
        (_, MediumKind::Virtual) => exception(
            "logicalOnly",
            "logical only: what lies behind a virtual disk or a RAID volume is not known",
        ),
        _ => exception("logicalOnly", "logical only: the device was left to zero by itself"),
    }
}

/// Says that the device may be erasing itself.
pub(crate) fn still_running() -> Exception {
    let words = "an erasure was begun, and nobody can say how it stands: nothing else was tried";
    exception("stillRunning", words)
}

/// Makes an exception.
pub fn exception(code: &str, words: &str) -> Exception {
    Exception { code: code.to_owned(), words: words.to_owned() }
}

/// Holds when the whole machine is wiped: every disk of its last inventory is erased or listed as missing, and nothing
/// hides any.
pub fn is_complete(verdicts: &[Verdict], untouched: usize, hiding: usize) -> bool {
    untouched == 0
        && hiding == 0
        && !verdicts.is_empty()
        && verdicts.iter().all(|verdict| *verdict == Verdict::Erased)
}

#[cfg(test)]
mod tests {
    use protocol::{
        Bytes,
        wipe::{Expected, Seed, Technique, VerificationPlan},
    };

    use super::*;

    fn verification() -> Verification {
        Verification {
            plan: VerificationPlan::Whole {},
            expected: Expected::Zeros,
            seed: Seed([1; 32]),
            places_read: 10,
            bytes_read: Bytes(40_960),
            canaries: 4,
            canaries_found: 0,
            differing: 0,
            unreadable: 0,
            first_offsets: Vec::new(),
        }
    }

    const SANITIZE: Way = Way::Device(Technique::NvmeSanitizeBlock);

    fn seen<'s>(
        level: PowerLevel,
        way: Option<(&'s Way, Ended)>,
        verification: Option<&'s Verification>,
    ) -> Seen<'s> {
        let medium = MediumKind::Flash;
        Seen { level, medium, way, is_unknown: false, verification, exceptions: &[] }
    }

    fn verdict(seen: &Seen<'_>) -> (Verdict, Outcome) {
        let judgement = judge(seen);
        (judgement.verdict, judgement.reached)
    }

    #[test]
    fn a_disk_is_erased_only_where_it_was_done_and_read_back() {
        let good = verification();
        let done = Some((&SANITIZE, Ended::Done));
        let at = |way, verification| verdict(&seen(PowerLevel::Redline, way, verification));
        assert_eq!(at(done, Some(&good)), (Verdict::Erased, Outcome::Purge));
        let not = (Verdict::NotErased, Outcome::None);
        assert_eq!(at(done, None), not);
        assert_eq!(at(None, Some(&good)), not);
        assert_eq!(at(Some((&SANITIZE, Ended::Failed)), Some(&good)), not);
        let bad = [
            Verification { places_read: 0, ..verification() },
            Verification { canaries_found: 1, ..verification() },
            Verification { differing: 1, ..verification() },
        ];
        for bad in &bad {
            assert_eq!(at(done, Some(bad)), not);
        }
        let unreadable = Verification { unreadable: 1, ..verification() };
        assert_eq!(at(done, Some(&unreadable)), not);
        let unreadable = Verification { unreadable: 1, places_read: 1000, ..verification() };
        assert_eq!(at(done, Some(&unreadable)), (Verdict::ErasedWithExceptions, Outcome::Purge));
    }

    #[test]
    fn what_may_still_run_is_unknown_whatever_else_was_seen() {
        let good = verification();
        let mut seen = seen(PowerLevel::Redline, Some((&SANITIZE, Ended::Done)), Some(&good));
        seen.is_unknown = true;
        assert_eq!(verdict(&seen), (Verdict::UnknownStillRunning, Outcome::None));
    }

    /// Every level, way, medium, and anything that may go wrong.
    #[test]
    fn reached_below_asked_is_never_erased() {
        let good = verification();
        let ways = [
            Way::Ephemeral,
            Way::Signatures { discard: true },
            Way::Offload,
            Way::Passes(3),
            Way::Device(Technique::NvmeFormatErase),
            SANITIZE,
        ];
        let levels = [
            PowerLevel::Idle,
            PowerLevel::Harbour,
            PowerLevel::Working,
            PowerLevel::Full,
            PowerLevel::Redline,
        ];
        let some = [exception("badRanges", "1 place")];
        for level in levels {
            for way in &ways {
                for medium in [MediumKind::Magnetic, MediumKind::Flash, MediumKind::Virtual] {
                    for exceptions in [&[][..], &some] {
                        let way = Some((way, Ended::Done));
                        let seen = Seen { medium, exceptions, ..seen(level, way, Some(&good)) };
                        let (verdict, reached) = verdict(&seen);
                        let is_erased = verdict == Verdict::Erased;
                        let may_be = level.asked() > Outcome::None
                            && reached >= level.asked()
                            && exceptions.is_empty();
                        assert_eq!(is_erased, may_be, "{seen:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn passes_at_redline_say_that_purge_was_not_reached() {
        let good = verification();
        let way = Way::Passes(3);
        let seen = seen(PowerLevel::Redline, Some((&way, Ended::Done)), Some(&good));
        let judgement = judge(&seen);
        assert_eq!(judgement.verdict, Verdict::ErasedWithExceptions);
        assert_eq!(judgement.reached, Outcome::Clear);
        assert_eq!(judgement.exceptions[0].code, "purgeNotReached");
    }

    #[test]
    fn a_machine_is_complete_only_with_every_disk_erased_and_none_hidden() {
        let erased = [Verdict::Erased; 2];
        assert!(is_complete(&erased, 0, 0));
        assert!(!is_complete(&[], 0, 0));
        assert!(!is_complete(&erased, 1, 0));
        assert!(!is_complete(&erased, 0, 1));
        assert!(!is_complete(&[Verdict::Erased, Verdict::ErasedWithExceptions], 0, 0));
    }
}
