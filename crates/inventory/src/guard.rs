//! Work whose faults cost what it was about, and nothing more: probes, and installs.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Holds on a thread whose panic is seen by who waits for its work: for panic hooks, which hear of every panic and
/// cannot see that it is caught.
pub fn is_on() -> bool {
    GUARDED.get()
}

/// Runs a probe; nothing where it panicked, a fault of ours that some machine brings out.
pub fn run<T>(probe: impl FnOnce() -> T) -> Option<T> {
    catch(probe).ok()
}

/// Does some work; what was given to `panic!` where it panicked.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    result.map_err(|payload| words(payload.as_ref()).to_owned())
}

/// Returns what was given to `panic!`.
pub fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
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

    #[test]
    fn the_words_of_a_panic_are_kept() {
        let number = 7;
        assert_eq!(catch(|| panic!("plainly")), Err::<(), _>("plainly".to_owned()));
        assert_eq!(catch(|| panic!("number {number}")), Err::<(), _>("number 7".to_owned()));
        assert_eq!(catch(|| panic::panic_any(7)), Err::<(), _>("without words".to_owned()));
        assert_eq!(catch(|| number), Ok(7));
    }
}
