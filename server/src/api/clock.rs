//! Whether the server's clock is fit to set other clocks by.

use std::time::{SystemTime, UNIX_EPOCH};

/// 2026-01-01: a clock before it was never set.
const EARLIEST: i64 = 1_767_225_600_000;

/// The server's clock, with what is known of its past.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    not_before: i64,
}

impl Clock {
    /// Returns the clock of a server whose newest journal entry is of this moment: milliseconds since 1970.
    pub fn not_before(newest_entry: Option<i64>) -> Self {
        Self { not_before: newest_entry.unwrap_or(EARLIEST).max(EARLIEST) }
    }

    /// Returns the milliseconds since 1970; nothing when the clock was never set or has gone backwards.
    ///
    /// Whether a time server stands behind it is not asked: most machines of this kind have a battery and no time service.
    pub fn unix_milliseconds(self) -> Option<i64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let now = i64::try_from(now.as_millis()).ok()?;
        (now >= self.not_before).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_its_own_journal_sets_no_other() {
        let now = Clock::not_before(None).unix_milliseconds().unwrap();
        assert!(Clock::not_before(Some(now - 1)).unix_milliseconds().is_some());
        assert_eq!(Clock::not_before(Some(now + 3_600_000)).unix_milliseconds(), None);
    }
}
