//! An erasure that takes its time, and the ways in which it goes wrong.

use std::time::Duration;

use crate::{layout::count, medium::Medium};

/// What becomes of an erasure that the device has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Course {
    /// It does what it says.
    #[default]
    Finishes,
    /// It comes so far, in 65,536ths, and no further, for ever.
    SticksAt(u16),
    /// It comes so far, in 65,536ths, and fails.
    FailsAt(u16),
    /// It says that it is done and has changed nothing.
    Lies,
}

/// Whether a pattern is inverted from pass to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inversion {
    /// It never is.
    Never,
    /// The first pass writes the pattern.
    AfterFirst,
    /// The last pass writes the pattern.
    BeforeLast,
}

/// What an erasure does to the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Erases these pages as flash does.
    Erase(Vec<usize>),
    /// Overwrites these pages so many times.
    Overwrite { pages: Vec<usize>, pattern: Vec<u8>, passes: u32, inversion: Inversion },
    /// Changes all media keys, when it is done.
    Keys,
    /// Changes the media keys of these spaces, when it is done.
    KeysOf(Vec<u32>),
}

impl Effect {
    fn steps(&self) -> u64 {
        match self {
            Self::Erase(pages) => count(pages.len()),
            Self::Overwrite { pages, passes, .. } => count(pages.len()) * u64::from(*passes),
            Self::Keys | Self::KeysOf(_) => 1,
        }
    }

    fn step(&self, step: u64, medium: &mut Medium) {
        match self {
            Self::Erase(pages) => medium.erase_page(pages[crate::layout::index(step)]),
            Self::Overwrite { pages, pattern, passes, inversion } => {
                let pass = step / count(pages.len());
                let page = pages[crate::layout::index(step % count(pages.len()))];
                let mask = match inversion {
                    Inversion::Never => 0,
                    Inversion::AfterFirst => pass % 2,
                    Inversion::BeforeLast => (u64::from(*passes) - 1 - pass) % 2,
                };
                let mask = if mask == 1 { 0xff } else { 0 };
                let pattern: Vec<u8> = pattern.iter().map(|byte| byte ^ mask).collect();
                medium.fill_page(page, &pattern);
            }
            Self::Keys => medium.change_keys(),
            Self::KeysOf(spaces) => spaces.iter().for_each(|space| medium.change_key(*space)),
        }
    }
}

/// How an erasure stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Done,
    Failed,
}

/// An erasure on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erasure {
    effect: Effect,
    course: Course,
    duration: Duration,
    elapsed: Duration,
    steps_done: u64,
}

impl Erasure {
    pub(crate) fn new(effect: Effect, course: Course, duration: Duration) -> Self {
        Self { effect, course, duration, elapsed: Duration::ZERO, steps_done: 0 }
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, by: Duration, medium: &mut Medium) -> Standing {
        self.elapsed = self.elapsed.saturating_add(by);
        let steps = self.effect.steps();
        let done = steps * self.share() / 0x1_0000;
        while self.steps_done < done && self.course != Course::Lies {
            self.effect.step(self.steps_done, medium);
            self.steps_done += 1;
        }
        match self.course {
            Course::FailsAt(limit) if self.share() >= u64::from(limit) => Standing::Failed,
            Course::Finishes | Course::Lies if self.share() == 0x1_0000 => Standing::Done,
            _ => Standing::Running,
        }
    }

    /// How far it is, in 65,536ths: less than all of them while it runs.
    pub(crate) fn progress(&self) -> u16 {
        u16::try_from(self.share()).unwrap_or(u16::MAX)
    }

    /// How many whole passes are done.
    pub(crate) fn passes_done(&self) -> u32 {
        match &self.effect {
            Effect::Overwrite { passes, .. } => {
                u32::try_from(self.share() * u64::from(*passes) / 0x1_0000).unwrap_or(*passes)
            }
            _ => 0,
        }
    }

    fn share(&self) -> u64 {
        let whole = self.duration.as_millis().max(1);
        let share = (self.elapsed.as_millis() * 0x1_0000 / whole).min(0x1_0000);
        let share = u64::try_from(share).expect("at most 65,536");
        match self.course {
            Course::SticksAt(limit) | Course::FailsAt(limit) => share.min(u64::from(limit)),
            Course::Finishes | Course::Lies => share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medium() -> Medium {
        let mut medium = Medium::flash(16, 4, false);
        for unit in 0..4 {
            medium.write(0, unit, &[0x5a; 16]);
        }
        medium
    }

    fn run(course: Course, seconds: u64) -> (Standing, u16, usize) {
        let mut medium = medium();
        let effect = Effect::Erase((0..4).collect());
        let mut erasure = Erasure::new(effect, course, Duration::from_secs(100));
        let standing = erasure.advance(Duration::from_secs(seconds), &mut medium);
        let contents = medium.contents();
        let left = contents.chunks(16).filter(|page| **page == [0x5a; 16]).count();
        (standing, erasure.progress(), left)
    }

    #[test]
    fn an_erasure_goes_the_course_that_was_set() {
        assert_eq!(run(Course::Finishes, 50), (Standing::Running, 0x8000, 2));
        assert_eq!(run(Course::Finishes, 100), (Standing::Done, 0xffff, 0));
        assert_eq!(run(Course::SticksAt(655), 1_000_000), (Standing::Running, 655, 4));
        assert_eq!(run(Course::FailsAt(0x8000), 20), (Standing::Running, 0x3333, 4));
        assert_eq!(run(Course::FailsAt(0x8000), 60), (Standing::Failed, 0x8000, 2));
        assert_eq!(run(Course::Lies, 100), (Standing::Done, 0xffff, 4));
    }

    #[test]
    fn a_pattern_is_inverted_between_passes() {
        let mut medium = medium();
        let effect = Effect::Overwrite {
            pages: vec![0],
            pattern: vec![1, 2, 3, 4],
            passes: 2,
            inversion: Inversion::AfterFirst,
        };
        let mut erasure = Erasure::new(effect, Course::Finishes, Duration::from_secs(10));
        erasure.advance(Duration::from_secs(5), &mut medium);
        assert_eq!(medium.contents()[..4], [1, 2, 3, 4]);
        assert_eq!(erasure.passes_done(), 1);
        erasure.advance(Duration::from_secs(5), &mut medium);
        assert_eq!(medium.contents()[..4], [254, 253, 252, 251]);
    }
}
