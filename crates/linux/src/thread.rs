//! How much of the processor a thread gets.

use nix::libc;

/// Before whom a thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Before ordinary threads: nice value -10.
    First,
    /// Before those, too: nice value -19.
    BeforeAll,
}

/// Has the calling thread run before others (`setpriority`); without the right to that (`CAP_SYS_NICE`) nothing changes.
pub fn go(turn: Turn) {
    let nice = match turn {
        Turn::First => -10,
        Turn::BeforeAll => -19,
    };
    // SAFETY: `setpriority` takes three numbers; 0 is the calling thread, which is all that is changed.
    let _denied = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_the_thread_that_asks_goes_first() {
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            fields.split(' ').nth(16).unwrap().parse::<i32>().unwrap()
        };
        let before = nice();
        let other = std::thread::spawn(move || {
            go(Turn::BeforeAll);
            let all = nice();
            go(Turn::First);
            (all, nice())
        });
        let after = other.join().unwrap();
        assert!(after == (-19, -10) || after == (before, before), "{after:?}");
        assert_eq!(nice(), before);
    }
}
