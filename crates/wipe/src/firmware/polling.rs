//! Waits for a device that erases itself, and notices when it got stuck.

use std::time::Duration;

use super::Ending;
use crate::Watch;

/// What a device says while it erases itself.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is at it.
    Running {
        /// How far, in 65,536ths, where it says.
        progress: Option<u16>,
    },
    /// It is over.
    Over(Ending),
    /// It did not answer, or not what can be understood.
    Silent(String),
}

/// How long a device may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without progress, where the device says how far it is.
    pub(super) still: Duration,
    /// Altogether, where it does not.
    pub(super) whole: Duration,
}

// Controllers are gone for minutes while they reset.
const SILENCE: Duration = Duration::from_mins(15);
// An overwrite of a large disk that says nothing of its progress takes days.
const WITHOUT_PROGRESS: Duration = Duration::from_hours(72);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LATER_PAUSE: Duration = Duration::from_secs(10);
// Short erasures are over by then.
const FIRST_POLLS: u32 = 60;
// Back at the beginning is another pass; a device that is there again and again makes progress up.
const MOST_PASSES: u32 = 64;
/// What one whole is in progress.
pub(super) const WHOLE: u64 = 65_536;

impl Patience {
    /// Returns the patience with a device that announced how long it takes, or did not.
    pub(super) fn new(least: Duration, estimate: Option<Duration>) -> Self {
        let twice = estimate.unwrap_or_default().saturating_mul(2);
        Self { still: least.max(twice), whole: WITHOUT_PROGRESS.max(twice) }
    }
}

/// Asks until it is over, or until nobody can tell any more. A person who cancels stops the waiting, not the device.
pub(super) fn until_over(
    patience: Patience,
    watch: &dyn Watch,
    mut ask: impl FnMut() -> Answer,
) -> Ending {
    let begun = watch.elapsed();
    let (mut best, mut moved, mut silent, mut passes) = (None, begun, None, 0);
    for poll in 0_u32.. {
        let answer = ask();
        let now = watch.elapsed();
        match answer {
            Answer::Over(ending) => return ending,
            Answer::Running { progress } => {
                silent = None;
                if let Some(progress) = progress {
                    watch.progress(u64::from(progress), WHOLE, 0);
                    let is_farther = best.is_none_or(|best| progress > best);
                    let is_back =
                        best.is_some_and(|best| progress < best / 2) && passes < MOST_PASSES;
                    if is_farther || is_back {
                        (best, moved) = (Some(progress), now);
                        passes += u32::from(is_back);
                    }
                }
                let (limit, since) =
                    if best.is_some() { (patience.still, moved) } else { (patience.whole, begun) };
                if now.saturating_sub(since) >= limit {
                    return stuck(best, now.saturating_sub(since));
                }
            }
            Answer::Silent(words) => {
                let since = *silent.get_or_insert(now);
                if now.saturating_sub(since) >= SILENCE {
                    return Ending::unknown(format!(
                        "the erasure was begun, and then the device could not be asked any more: {words}"
                    ));
                }
            }
        }
        let pause = if poll < FIRST_POLLS { FIRST_PAUSE } else { LATER_PAUSE };
        if let Err(stopped) = watch.wait(pause) {
            return Ending::unknown(format!(
                "still running: a device cannot be told to stop erasing itself ({stopped})"
            ));
        }
    }
    Ending::unknown("still running")
}

fn stuck(best: Option<u16>, waited: Duration) -> Ending {
    let minutes = waited.as_secs() / 60;
    let at = best.map_or_else(
        || "says nothing of its progress".to_owned(),
        |best| format!("stands at {best} of {WHOLE}"),
    );
    Ending::unknown(format!(
        "still running as it says, but it {at} for {minutes} minutes: leave it powered for a day and look again, then \
         update its firmware or destroy it; what it holds is not known to be gone"
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use protocol::wipe::{Ended, WipeStepKind};

    use super::*;
    use crate::Stopped;

    #[derive(Debug, Default)]
    struct Clock {
        now: Mutex<Duration>,
        stops_at: Option<Duration>,
    }

    impl Watch for Clock {
        fn check(&self) -> Result<(), Stopped> {
            let is_over = self.stops_at.is_some_and(|at| self.elapsed() >= at);
            if is_over { Err(Stopped::Cancelled) } else { Ok(()) }
        }

        fn wait(&self, time: Duration) -> Result<(), Stopped> {
            *self.now.lock().unwrap() += time;
            self.check()
        }

        fn elapsed(&self) -> Duration {
            *self.now.lock().unwrap()
        }

        fn journal(&self, _: WipeStepKind) -> Result<(), Stopped> {
            Ok(())
        }

        fn note(&self, _: WipeStepKind) {}

        fn progress(&self, _: u64, _: u64, _: u32) {}
    }

    const HOUR: Duration = Duration::from_hours(1);

    fn patience() -> Patience {
        Patience::new(2 * HOUR, None)
    }

    #[test]
    fn a_device_that_stands_still_is_given_up_and_one_that_moves_is_not() {
        let clock = Clock::default();
        let ending = until_over(patience(), &clock, || Answer::Running { progress: Some(655) });
        assert_eq!(ending.ended, Ended::Unknown);
        assert!(ending.reason.unwrap().contains("655 of 65536"));
        assert!(clock.elapsed() >= 2 * HOUR && clock.elapsed() < 3 * HOUR);

        let clock = Clock::default();
        let ending = until_over(patience(), &clock, || {
            let hours = u16::try_from(clock.elapsed().as_secs() / 3600).unwrap();
            if hours == 90 {
                Answer::Over(Ending::done())
            } else {
                Answer::Running { progress: Some(hours) }
            }
        });
        assert_eq!((ending.ended, clock.elapsed() >= 90 * HOUR), (Ended::Done, true));
    }

    #[test]
    fn a_device_that_makes_progress_up_is_given_up_too() {
        let clock = Clock::default();
        let mut at = 0_u16;
        let ending = until_over(patience(), &clock, || {
            at = at.wrapping_add(40_000);
            Answer::Running { progress: Some(at) }
        });
        assert_eq!(ending.ended, Ended::Unknown);
    }

    #[test]
    fn what_the_device_announced_lengthens_the_patience() {
        let patience = Patience::new(2 * HOUR, Some(40 * HOUR));
        assert_eq!((patience.still, patience.whole), (80 * HOUR, 80 * HOUR));
        let patience = Patience::new(2 * HOUR, Some(Duration::from_mins(1)));
        assert_eq!((patience.still, patience.whole), (2 * HOUR, 72 * HOUR));
    }

    #[test]
    fn a_short_silence_is_borne_and_a_long_one_is_unknown() {
        let clock = Clock::default();
        let mut polls = 0;
        let ending = until_over(patience(), &clock, || {
            polls += 1;
            match polls {
                40.. => Answer::Over(Ending::done()),
                _ => Answer::Silent("reset".to_owned()),
            }
        });
        assert_eq!(ending.ended, Ended::Done);
        let ending = until_over(patience(), &clock, || Answer::Silent("gone".to_owned()));
        assert_eq!(ending.ended, Ended::Unknown);
    }

    #[test]
    fn whoever_cancels_is_told_that_the_device_goes_on() {
        let clock = Clock { stops_at: Some(HOUR), ..Clock::default() };
        let ending = until_over(patience(), &clock, || Answer::Running { progress: None });
        assert_eq!(ending.ended, Ended::Unknown);
        assert!(ending.reason.unwrap().starts_with("still running"));
    }
}
