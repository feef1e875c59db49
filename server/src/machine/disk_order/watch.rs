//! How long nothing was heard of what a machine carries out, as far as anybody could hear: while the server is off, nobody can.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DiskOrder, OrderState, Work};

/// So long after its last sign of life a wipe that was begun is continued, also beyond its deadline. As long as an order may
/// wait (SAFETY.md 5): who has not brought the machine back by then orders anew.
const CONTINUED_MILLISECONDS: i64 = 24 * 3_600_000;

/// How exactly it is stored when the server looked last.
const STORED_MILLISECONDS: i64 = 600_000;

/// How an order was watched since the last sign of life of its boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// When the server looked last: milliseconds since 1970; in the database it may be some minutes behind.
    pub looked: i64,
    /// How long it did not run since then, or slept.
    pub away_milliseconds: i64,
    /// For how long it ran when it looked last; absent where that was before it started.
    #[serde(skip)]
    uptime: Option<Duration>,
}

impl DiskOrder {
    /// Returns when it is over if nothing happens before: at its deadline, and a wipe that was begun not before a day has
    /// passed since the boot that had it was heard of last, without the time in which the server was off. Milliseconds since
    /// 1970.
    pub fn end(&self) -> i64 {
        let alive = self.wipe().and_then(|wipe| wipe.begun.and(wipe.alive).or(wipe.begun));
        alive.map_or(self.deadline, |alive| self.a_day_after(alive).max(self.deadline))
    }

    /// Returns when an order that runs is given up for lost if nothing is heard of it; nothing for all other orders.
    pub(in crate::machine) fn lost_at(&self) -> Option<i64> {
        let since =
            self.last_sign().filter(|_| matches!(self.state, OrderState::Running { .. }))?;
        Some(self.a_day_after(since))
    }

    fn a_day_after(&self, alive: i64) -> i64 {
        let away = self.signs().1.map_or(0, |watch| watch.away_milliseconds);
        alive.saturating_add(away).saturating_add(CONTINUED_MILLISECONDS)
    }

    /// Returns when an order was heard of last that anybody has, or a wipe that anybody had; nothing for all others.
    fn last_sign(&self) -> Option<i64> {
        let since = match self.state {
            OrderState::Running { since, .. } => Some(since),
            _ => None,
        };
        let begun = self.wipe().map(|wipe| wipe.begun).or(since.map(Some))?;
        [self.signs().0, begun, since].into_iter().flatten().max()
    }

    /// Returns when its boot was last heard of it, and how it was watched since then.
    fn signs(&self) -> (Option<i64>, Option<Watch>) {
        match &self.work {
            Work::Wipe { wipe } => (wipe.alive, wipe.watch),
            Work::Install(install) => (install.alive, install.watch),
        }
    }

    /// Notes a sign of life; returns when the one before it was.
    pub(in crate::machine) fn lives(&mut self, at: i64) -> Option<i64> {
        match &mut self.work {
            Work::Wipe { wipe } => wipe.lives(at),
            Work::Install(install) => {
                install.watch = install.watch.map(|watch| watch.anew(at));
                install.alive.replace(at)
            }
        }
    }

    /// Notes that the server runs, and would hear. Says whether that is to be stored.
    pub(in crate::machine) fn watched(&mut self, at: i64, uptime: Duration) -> bool {
        let Some(since) = self.last_sign() else {
            // For how long the server ran tells how long it slept once there are signs.
            self.set_watch(Watch { looked: at, away_milliseconds: 0, uptime: Some(uptime) });
            return false;
        };
        let before =
            self.signs().1.unwrap_or(Watch { looked: since, away_milliseconds: 0, uptime: None });
        let ran = uptime.saturating_sub(before.uptime.unwrap_or_default());
        let ran = i64::try_from(ran.as_millis()).unwrap_or(i64::MAX);
        // Below zero where the clock was set back: what it was ahead before counts no more. The sum stays at least zero, since
        // of a server that heard a sign of life and looks for the first time then, all its uptime is taken for time since.
        let away = at.saturating_sub(before.looked).saturating_sub(ran);
        let away_milliseconds = before.away_milliseconds.saturating_add(away).max(0);
        self.set_watch(Watch { looked: at, away_milliseconds, uptime: Some(uptime) });
        before.looked.div_euclid(STORED_MILLISECONDS) != at.div_euclid(STORED_MILLISECONDS)
    }

    fn set_watch(&mut self, watch: Watch) {
        match &mut self.work {
            Work::Wipe { wipe } => wipe.watch = Some(watch),
            Work::Install(install) => install.watch = Some(watch),
        }
    }
}

impl Watch {
    /// Begins anew with a sign of life. What the server ran since it looked last is taken for time since, which is no more than
    /// between two looks.
    pub(in crate::machine) fn anew(self, at: i64) -> Self {
        Self { looked: at, away_milliseconds: 0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Session, wipe::tests::order};

    const HOUR: i64 = 3_600_000;

    fn hours(hours: i64) -> Duration {
        Duration::from_hours(u64::try_from(hours).unwrap())
    }

    /// A wipe that runs since hour 0.
    fn running() -> DiskOrder {
        let mut order = order(1);
        let session = Session([1; 32]);
        order.state =
            OrderState::Running { session, sequence: 1, since: 0, progress: None, wiping: None };
        order
    }

    #[test]
    fn a_day_is_one_of_the_server_too() {
        let mut order = running();
        assert_eq!(order.lost_at(), Some(24 * HOUR));
        order.watched(20 * HOUR, hours(20));
        assert_eq!(order.lost_at(), Some(24 * HOUR), "it ran all the time");
        // It was off for thirty hours, and runs for one.
        let json = serde_json::to_string(&order).unwrap();
        let mut order: DiskOrder = serde_json::from_str(&json).unwrap();
        order.watched(51 * HOUR, hours(1));
        assert_eq!(order.lost_at(), Some(54 * HOUR));
        order.watched(53 * HOUR, hours(3));
        assert_eq!(order.lost_at(), Some(54 * HOUR));
        // Its host slept for two hours.
        order.watched(56 * HOUR, hours(4));
        assert_eq!(order.lost_at(), Some(56 * HOUR));
        // It slept for two more; a clock that is set back by one is no time in which it listened twice.
        order.watched(59 * HOUR, hours(5));
        order.watched(59 * HOUR, hours(6));
        assert_eq!(order.lost_at(), Some(57 * HOUR));
    }

    #[test]
    fn a_clock_that_jumps_ahead_and_is_set_back_is_no_time_away() {
        let mut order = running();
        order.watched(HOUR, hours(1));
        order.watched(1002 * HOUR, hours(2));
        order.watched(3 * HOUR, hours(3));
        assert_eq!(order.lost_at(), Some(24 * HOUR));
        // Nor is one that is set back below what it was ever more than a day ahead of the next time away.
        order.watched(-20 * HOUR, hours(4));
        assert_eq!(order.lost_at(), Some(24 * HOUR));
        order.watched(-10 * HOUR, hours(4));
        assert_eq!(order.lost_at(), Some(34 * HOUR), "it slept for ten hours");
    }

    #[test]
    fn a_sleep_right_after_a_sign_of_life_is_no_time_in_which_anybody_listened() {
        let mut install = crate::machine::disk_order::tests::order(2);
        // It was looked at before it began, of a server that runs for long.
        install.watched(-HOUR, hours(99));
        install.state = running().state;
        install.watched(10 * HOUR, hours(100));
        assert_eq!(install.lost_at(), Some(34 * HOUR), "it slept ten of the eleven hours");
        for mut order in [running(), install] {
            order.watched(11 * HOUR, hours(101));
            order.lives(11 * HOUR);
            assert_eq!(order.lost_at(), Some(35 * HOUR));
            order.watched(21 * HOUR, hours(102));
            assert_eq!(order.lost_at(), Some(44 * HOUR), "it slept nine of the ten hours");
        }
    }

    #[test]
    fn a_wipe_of_an_older_server_has_a_day_from_now_on() {
        let mut order = running();
        order.watched(100 * HOUR, Duration::ZERO);
        assert_eq!(order.lost_at(), Some(124 * HOUR));
    }

    #[test]
    fn only_what_runs_can_be_lost() {
        assert_eq!(order(1).lost_at(), None);
        let mut install = crate::machine::disk_order::tests::order(2);
        assert!(!install.watched(HOUR, hours(1)));
        assert_eq!(install.lost_at(), None);
        install.state = running().state;
        install.watched(HOUR, hours(1));
        assert_eq!(install.lost_at(), Some(24 * HOUR));
    }
}
