//! The server's clock: whether other clocks may be set by it, and whether anything may be destroyed by its word (SAFETY.md 12).

use std::io;

use linux::clock::{Synchronisation, synchronisation};
use serde::{Deserialize, Serialize};

use crate::{journal::Journal, moment, text::chain};

/// 2026-01-01: a clock before it was never set.
const EARLIEST: i64 = 1_767_225_600_000;

/// The server's clock, with what is known of its past. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock {
    journal: Journal,
    trust: Trust,
    read: fn() -> Reading,
}

/// Whose word is taken for the clock being right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The kernel's, and the journal's.
    Kernel,
    /// A person's, who said `--trust-clock`.
    Person,
}

/// What a look at the clock shows.
#[derive(Debug)]
struct Reading {
    unix_milliseconds: i64,
    synchronisation: io::Result<Synchronisation>,
}

impl Reading {
    fn take() -> Self {
        Self { unix_milliseconds: moment::now(), synchronisation: synchronisation() }
    }
}

/// Says why nothing is destroyed by the word of this clock: deadlines would mean nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClockDoubt {
    /// It shows a day before this program was written.
    #[error(
        "this machine's clock was never set, it says {now}; set it, or start with --trust-clock",
        now = moment::show(*now)
    )]
    NeverSet {
        /// What it shows: milliseconds since 1970.
        now: i64,
    },
    /// It was later once.
    #[error(
        "this machine's clock says {now}, but its own journal knows {newest} already: one of them is wrong; \
         set the clock, or start with --trust-clock where the journal is wrong",
        now = moment::show(*now), newest = moment::show(*newest)
    )]
    BehindJournal {
        /// What it shows: milliseconds since 1970.
        now: i64,
        /// The newest moment in the journal: milliseconds since 1970.
        newest: i64,
    },
    /// No time service keeps it right.
    #[error(
        "this machine's clock is not synchronised; run a time service (chrony, systemd-timesyncd), \
         or vouch for the clock with --trust-clock"
    )]
    Unsynchronised,
    /// The kernel was asked and did not say.
    #[error(
        "the kernel does not say whether this machine's clock is synchronised; vouch for it with --trust-clock"
    )]
    Unknown(#[source] io::Error),
}

/// What is held of the clock, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Standing {
    /// A time service keeps it, and it never went back.
    Synchronised,
    /// A person vouches for it.
    Trusted,
    /// Nothing destructive is handed out.
    Doubtful {
        /// Why, and what to do.
        reason: String,
    },
}

/// Allows what destroys: wiping, writing. Waiting, restarting and switching off need no clock.
///
/// To be asked at the moment when such an order is handed out, not only when it is taken.
pub fn may_destroy(clock: &Clock) -> Result<(), ClockDoubt> {
    if clock.trust == Trust::Person {
        return Ok(());
    }
    let Reading { synchronisation, .. } = clock.look()?;
    match synchronisation {
        Ok(Synchronisation::Synchronised) => Ok(()),
        Ok(Synchronisation::Unsynchronised) => Err(ClockDoubt::Unsynchronised),
        Err(error) => Err(ClockDoubt::Unknown(error)),
    }
}

impl Clock {
    /// Returns the clock of the machine that this runs on, of which this journal knows the past.
    pub fn new(journal: Journal, trust: Trust) -> Self {
        Self { journal, trust, read: Reading::take }
    }

    /// Returns the milliseconds since 1970; nothing when the clock was never set or has gone backwards.
    ///
    /// Whether a time service stands behind it is not asked: most machines of this kind have a battery and no such service,
    /// and an agent's clock needs to be roughly right only.
    pub fn unix_milliseconds(&self) -> Option<i64> {
        match self.trust {
            Trust::Person => Some((self.read)().unix_milliseconds),
            Trust::Kernel => self.look().ok().map(|reading| reading.unix_milliseconds),
        }
    }

    /// Says what is held of it.
    pub fn standing(&self) -> Standing {
        match may_destroy(self) {
            Ok(()) if self.trust == Trust::Person => Standing::Trusted,
            Ok(()) => Standing::Synchronised,
            Err(doubt) => Standing::Doubtful { reason: chain(&doubt) },
        }
    }

    /// Looks at the clock; refuses one that is earlier than it can be.
    fn look(&self) -> Result<Reading, ClockDoubt> {
        // Before the clock: what another thread records meanwhile is not the past.
        let newest = self.journal.newest();
        let reading = (self.read)();
        let now = reading.unix_milliseconds;
        match newest {
            _ if now < EARLIEST => Err(ClockDoubt::NeverSet { now }),
            Some(newest) if now < newest => Err(ClockDoubt::BehindJournal { now, newest }),
            _ => Ok(reading),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::journal::{Entry, What};

    const NOON: i64 = 1_795_262_400_000;

    /// Returns a clock that a time service keeps, without a past.
    pub(crate) fn synchronised() -> Clock {
        let read =
            || Reading { synchronisation: Ok(Synchronisation::Synchronised), ..Reading::take() };
        Clock { journal: Journal::in_memory(), trust: Trust::Kernel, read }
    }

    /// Returns a clock that no time service keeps.
    pub(crate) fn unsynchronised() -> Clock {
        let read =
            || Reading { synchronisation: Ok(Synchronisation::Unsynchronised), ..Reading::take() };
        Clock { journal: Journal::in_memory(), trust: Trust::Kernel, read }
    }

    fn stopped_at_noon(synchronisation: io::Result<Synchronisation>) -> Reading {
        Reading { unix_milliseconds: NOON, synchronisation }
    }

    fn kept_right() -> Reading {
        stopped_at_noon(Ok(Synchronisation::Synchronised))
    }

    fn left_alone() -> Reading {
        stopped_at_noon(Ok(Synchronisation::Unsynchronised))
    }

    fn forbidden() -> Reading {
        stopped_at_noon(Err(io::ErrorKind::PermissionDenied.into()))
    }

    fn without_battery() -> Reading {
        Reading { unix_milliseconds: 946_684_800_000, ..kept_right() }
    }

    fn clock(read: fn() -> Reading, newest: Option<i64>) -> Clock {
        let journal = Journal::in_memory();
        if let Some(unix_milliseconds) = newest {
            let entry = Entry::about(None, None, What::BootLoop { rounds: 1 });
            journal.record(Entry { unix_milliseconds, ..entry });
        }
        Clock { journal, trust: Trust::Kernel, read }
    }

    #[test]
    fn a_clock_that_is_kept_right_and_never_went_back_may_destroy() {
        for newest in [None, Some(NOON - 1), Some(NOON)] {
            let clock = clock(kept_right, newest);
            may_destroy(&clock).unwrap();
            assert_eq!(clock.unix_milliseconds(), Some(NOON));
            assert_eq!(clock.standing(), Standing::Synchronised);
        }
    }

    #[test]
    fn each_doubt_stops_destruction_says_what_to_do_and_a_persons_word_overrides_it() {
        let doubtful = [
            clock(left_alone, None),
            clock(forbidden, None),
            clock(without_battery, None),
            clock(kept_right, Some(NOON + 3_600_000)),
            // Not even a synchronised clock may be behind by a little: it went back.
            clock(kept_right, Some(NOON + 1)),
        ];
        let reasons: Vec<String> = doubtful
            .iter()
            .map(|clock| {
                may_destroy(clock).unwrap_err();
                let Standing::Doubtful { reason } = clock.standing() else { panic!("{clock:?}") };
                let trusted = Clock { trust: Trust::Person, ..clock.clone() };
                may_destroy(&trusted).unwrap();
                assert_eq!(trusted.standing(), Standing::Trusted);
                assert!(trusted.unix_milliseconds().is_some());
                reason
            })
            .collect();
        insta::assert_snapshot!(reasons.join("\n"), @r"
        this machine's clock is not synchronised; run a time service (chrony, systemd-timesyncd), or vouch for the clock with --trust-clock
        the kernel does not say whether this machine's clock is synchronised; vouch for it with --trust-clock: permission denied
        this machine's clock was never set, it says 2000-01-01 00:00:00 UTC; set it, or start with --trust-clock
        this machine's clock says 2026-11-21 12:00:00 UTC, but its own journal knows 2026-11-21 13:00:00 UTC already: one of them is wrong; set the clock, or start with --trust-clock where the journal is wrong
        this machine's clock says 2026-11-21 12:00:00 UTC, but its own journal knows 2026-11-21 12:00:00 UTC already: one of them is wrong; set the clock, or start with --trust-clock where the journal is wrong
        ");
    }

    #[test]
    fn an_unsynchronised_clock_still_sets_others_and_one_that_went_back_does_not() {
        assert_eq!(clock(left_alone, Some(NOON)).unix_milliseconds(), Some(NOON));
        assert_eq!(clock(forbidden, None).unix_milliseconds(), Some(NOON));
        assert_eq!(clock(kept_right, Some(NOON + 1)).unix_milliseconds(), None);
        assert_eq!(clock(without_battery, None).unix_milliseconds(), None);
    }

    #[test]
    fn a_clock_that_goes_back_while_the_server_runs_is_noticed() {
        let clock = clock(kept_right, None);
        may_destroy(&clock).unwrap();
        let entry = Entry::about(None, None, What::BootLoop { rounds: 1 });
        clock.journal.record(Entry { unix_milliseconds: NOON + 60_000, ..entry });
        assert!(matches!(may_destroy(&clock), Err(ClockDoubt::BehindJournal { .. })));
    }

    #[test]
    fn the_kernel_of_this_machine_is_asked() {
        let clock = Clock::new(Journal::in_memory(), Trust::Kernel);
        let may = may_destroy(&clock).is_ok();
        assert_eq!(may, synchronisation().is_ok_and(|is| is == Synchronisation::Synchronised));
    }
}
