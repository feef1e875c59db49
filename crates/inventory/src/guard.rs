//! Probes whose faults cost what they looked at, and nothing more.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Holds on a thread that runs a probe, whose panic ends as a gap in the inventory: for panic hooks,
/// which hear of every panic and cannot see that it is caught.
pub fn is_on() -> bool {
    GUARDED.get()
}

/// Runs a probe; nothing where it panicked, a fault of ours that some machine brings out.
pub fn run<T>(probe: impl FnOnce() -> T) -> Option<T> {
    let before = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(probe)).ok();
    GUARDED.set(before);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_on_as_long_as_its_probe_runs() {
        assert!(!is_on());
        assert_eq!(run(is_on), Some(true));
        assert_eq!(run(|| run(|| panic!("on purpose")).or(Some(is_on()))), Some(Some(true)));
        assert!(!is_on());
    }
}
