//! How long to wait before trying again.

use std::time::Duration;

/// The first wait: a server that is just restarting is back soon.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest wait: a server that comes back has all its machines within this time.
const LONGEST: Duration = Duration::from_secs(15);

/// Waits that double, with chance in them so that a hundred machines do not knock at once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patience {
    failures: u32,
}

impl Patience {
    /// Returns the next wait, from a random number: between half of it and all.
    pub(super) fn next(&mut self, random: u32) -> Duration {
        let doubled = SHORTEST.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let longest = doubled.min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        longest / 2 + (longest / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Begins anew after something worked; returns whether anything had failed before.
    pub(super) fn reset(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }

    /// Holds for the first failures and then now and again: what is worth a line on the console.
    pub(super) fn is_worth_a_line(self) -> bool {
        self.failures == 3 || self.failures.is_multiple_of(20)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_grow_and_stay_below_fifteen_seconds(randoms in prop::collection::vec(any::<u32>(), 1..60)) {
            let mut patience = Patience::default();
            for (n, random) in randoms.into_iter().enumerate() {
                let wait = patience.next(random);
                prop_assert!(wait >= SHORTEST / 2 && wait <= LONGEST);
                prop_assert!(n < 9 || wait >= LONGEST / 2);
            }
        }
    }
}
