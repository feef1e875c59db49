//! Who still waits for the thread of a unit, and for which of its disks.

use super::UnitDisk;
use crate::Watch as _;

/// The disks of a unit, as they are reported one after the other by one thread.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Those without a report.
    open: Vec<UnitDisk>,
    /// Those with one.
    over: Vec<UnitDisk>,
    /// Whether the thread is waited for.
    is_waited_for: bool,
}

impl Waiting {
    pub(super) fn new(disks: Vec<UnitDisk>) -> Self {
        Self { open: disks, over: Vec::new(), is_waited_for: true }
    }

    /// Holds until the thread is over, or given up.
    pub(super) fn is_waited_for(&self) -> bool {
        self.is_waited_for
    }

    /// Takes the report of a disk. Returns whether it counts: not a second one, and not after it was given up.
    pub(super) fn take(&mut self, number: u32) -> bool {
        let Some(place) = self.open.iter().position(|disk| disk.number == number) else {
            return false;
        };
        self.over.push(self.open.remove(place));
        // Those that waited for their turn were not silent.
        self.open.iter().for_each(|disk| disk.watch.heard());
        true
    }

    /// Waits no longer. Returns the disks without a report.
    pub(super) fn end(&mut self) -> Vec<UnitDisk> {
        self.is_waited_for = false;
        std::mem::take(&mut self.open)
    }

    /// Holds where the thread hangs. It works on one disk at a time, and the others wait: so it hangs where nothing is
    /// heard of any disk that is not over; after that, where nothing is heard of any that it is to let go.
    pub(super) fn is_silent(&self) -> bool {
        let disks = if self.open.is_empty() { &self.over } else { &self.open };
        self.is_waited_for && disks.iter().all(|disk| disk.watch.is_silent())
    }

    /// Returns the disks that nothing was left to do for but to let them go; none while another one is worked on.
    pub(super) fn reported(&self) -> Vec<UnitDisk> {
        if self.open.is_empty() { self.over.clone() } else { Vec::new() }
    }
}
