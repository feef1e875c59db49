//! Watermarks on their way to the server: how far each disk's wipe has come.
//!
//! While the server is gone they would push out what matters: one of each disk waits, and the latest of those that came since
//! is held back until that one was told.

use std::collections::BTreeMap;

use protocol::wipe::{WipeStep, WipeStepKind};

/// The watermarks of all disks. `T` stands for a step that was put on its way.
#[derive(Debug)]
pub(super) struct Marks<T>(BTreeMap<u32, Mark<T>>);

/// The last watermark of a disk that was put on its way, and the one that is to follow it.
#[derive(Debug)]
struct Mark<T> {
    put: T,
    next: Option<WipeStep>,
}

impl<T> Default for Marks<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Copy> Marks<T> {
    /// Puts a step on its way, or holds it back where it is a watermark and another one of its disk still waits.
    pub(super) fn note(
        &mut self,
        step: WipeStep,
        waits: impl Fn(T) -> bool,
        put: impl Fn(WipeStep) -> T,
    ) {
        if !matches!(step.kind, WipeStepKind::Watermark { .. }) {
            self.step(step, put);
            return;
        }
        if let Some(last) = self.0.get_mut(&step.disk)
            && waits(last.put)
        {
            last.next = Some(step);
            return;
        }
        let disk = step.disk;
        let put = put(step);
        self.0.insert(disk, Mark { put, next: None });
    }

    /// Puts a step on its way that is no watermark, behind the one of its disk that is held back: told later, that would
    /// be taken for one of what this step begins.
    pub(super) fn step(&mut self, step: WipeStep, put: impl Fn(WipeStep) -> T) -> T {
        if let Some(mark) = self.0.get_mut(&step.disk)
            && let Some(held) = mark.next.take()
        {
            mark.put = put(held);
        }
        put(step)
    }

    /// Puts what was held back on its way, where nothing waits before it any more.
    pub(super) fn go_on(&mut self, waits: impl Fn(T) -> bool, put: impl Fn(WipeStep) -> T) {
        for mark in self.0.values_mut().filter(|mark| !waits(mark.put)) {
            if let Some(step) = mark.next.take() {
                mark.put = put(step);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use protocol::Bytes;

    use super::*;

    /// Marks, and what was put on its way; the server has taken the first so many of it.
    #[derive(Default)]
    struct Way {
        marks: Marks<usize>,
        steps: RefCell<Vec<WipeStep>>,
        told: usize,
    }

    impl Way {
        fn act(
            &mut self,
            act: impl FnOnce(&mut Marks<usize>, &dyn Fn(usize) -> bool, &dyn Fn(WipeStep) -> usize),
        ) {
            let (steps, told) = (&self.steps, self.told);
            let put = |step| {
                steps.borrow_mut().push(step);
                steps.borrow().len() - 1
            };
            act(&mut self.marks, &|ticket| ticket >= told, &put);
        }

        fn reaches(&mut self, disk: u32, bytes: u64) {
            let kind = WipeStepKind::Watermark { pass: 1, bytes: Bytes(bytes) };
            self.act(|marks, waits, put| marks.note(step(disk, kind), waits, put));
        }

        fn goes_on(&mut self) {
            self.act(|marks, waits, put| marks.go_on(waits, put));
        }

        /// What was put on its way of a disk; 0 stands for anything but a watermark.
        fn put(&self, disk: u32) -> Vec<u64> {
            let bytes = |step: &WipeStep| match step.kind {
                WipeStepKind::Watermark { bytes, .. } => bytes.0,
                _ => 0,
            };
            self.steps.borrow().iter().filter(|step| step.disk == disk).map(bytes).collect()
        }
    }

    fn step(disk: u32, kind: WipeStepKind) -> WipeStep {
        WipeStep { disk, kind }
    }

    #[test]
    fn the_latest_watermark_is_told_once_the_server_is_back() {
        let mut way = Way::default();
        way.reaches(0, 10);
        way.reaches(1, 11);
        for bytes in [20, 30, 40] {
            way.reaches(0, bytes);
            way.goes_on();
        }
        assert_eq!((way.put(0), way.put(1)), (vec![10], vec![11]), "one of each waits");
        // The server is back, and the disk hangs: nothing more is noted of it.
        way.told = 2;
        way.goes_on();
        way.goes_on();
        assert_eq!((way.put(0), way.put(1)), (vec![10, 40], vec![11]));
        way.reaches(1, 12);
        assert_eq!(way.put(1), [11, 12], "nothing of it waits");
    }

    #[test]
    fn what_begins_a_pass_comes_behind_the_watermarks_of_the_one_before() {
        let mut way = Way::default();
        way.reaches(0, 10);
        way.reaches(0, 20);
        way.reaches(1, 11);
        way.reaches(1, 21);
        way.act(|marks, waits, put| marks.note(step(0, WipeStepKind::Verify {}), waits, put));
        assert_eq!((way.put(0), way.put(1)), (vec![10, 20, 0], vec![11]));
        way.told = 4;
        way.goes_on();
        assert_eq!((way.put(0), way.put(1)), (vec![10, 20, 0], vec![11, 21]));
    }
}
