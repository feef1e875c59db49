//! Who was heard, and who was silent for long enough: a boot that may be at the disks still is waited for, and one of which
//! nothing was heard while anybody could hear it is lost.

use std::time::Duration;

use protocol::EventKind;

use super::{ALIVE, Effects, Fleet, Now};
use crate::machine::{DiskOrder, Machine, Session, disk_order::OrderState};

/// Why a wipe that was interrupted waits.
pub(super) const STILL_HEARD: &str = "the boot that had it was heard a moment ago: it is continued when nothing was heard of that \
                           one for 90 s, for it may run still";

/// Why an order waits that follows one which ended without a word of its boot.
const BEFORE_STILL_HEARD: &str = "the boot that had the order before was heard a moment ago, and may be at the disks \
                                             still: this one is handed out when nothing was heard of that one for 90 s";

/// Says why an order waits until others were silent.
pub(super) fn words(order: &DiskOrder) -> &'static str {
    match order.state {
        OrderState::Interrupted { .. } => STILL_HEARD,
        _ => BEFORE_STILL_HEARD,
    }
}

impl Fleet {
    /// Returns how long a session still waits for the wipe that another boot had, or for an order after one that ended without
    /// a word of the boot that had it; nothing where it need not.
    ///
    /// Who announces itself as a machine need not be it (SAFETY.md 4): the boot that is at the disks would be heard within this
    /// time if it ran, and both are held then. What was heard before the server started, nobody knows.
    pub(in crate::machine) fn until_silent(&self, session: Session, now: Now) -> Option<Duration> {
        let machine = self.of_session(session)?;
        let order = machine.open_order().filter(|order| order.is_to_be_given())?;
        let had = order.wipe().into_iter().flat_map(|wipe| wipe.boots.iter().copied());
        let abandoned = machine.orders.iter().filter_map(|order| order.abandoned);
        let others = had.chain(abandoned).filter(|boot| *boot != session);
        let heard = others.map(|boot| self.heard.get(&boot).copied().unwrap_or_default()).max()?;
        let left = heard.saturating_add(ALIVE).saturating_sub(now.uptime);
        (!left.is_zero()).then_some(left)
    }

    /// Notes that the server runs, and hears of orders whatever there is to hear.
    pub(in crate::machine) fn watch_orders(&mut self, now: Now, effects: &mut Effects) {
        for machine in self.machines.values_mut() {
            machine.is_watched(now, effects);
        }
    }

    /// The same of one machine, before anything is decided by when its order ends: the server may have slept until a moment ago.
    pub(super) fn watch_order(&mut self, name: &str, now: Now, effects: &mut Effects) {
        if let Some(machine) = self.machines.get_mut(name) {
            machine.is_watched(now, effects);
        }
    }

    /// Notes that a boot is done with an order that ended without its word, or goes down: nobody needs to wait for it.
    pub(super) fn hear_end(&mut self, session: Session, kind: &EventKind, effects: &mut Effects) {
        let ended = match kind {
            EventKind::OrderFailed { order, .. } | EventKind::Installed { order, .. } => {
                Some(order)
            }
            EventKind::Leaves { .. } => None,
            _ => return,
        };
        let Some(name) = self.of_session(session).map(|machine| machine.name.clone()) else {
            return;
        };
        let Some(machine) = self.machines.get_mut(name.as_str()) else { return };
        let is_meant = |order: &&mut DiskOrder| {
            order.abandoned == Some(session) && ended.is_none_or(|ended| *ended == order.id)
        };
        for order in machine.orders.iter_mut().filter(is_meant) {
            order.abandoned = None;
            effects.touched.insert(name.clone());
        }
    }
}

impl Machine {
    fn is_watched(&mut self, now: Now, effects: &mut Effects) {
        let order = self.open_order_mut();
        if order.is_some_and(|order| order.watched(now.unix_milliseconds, now.uptime)) {
            effects.touched.insert(self.name.clone());
        }
    }
}
