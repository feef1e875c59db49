//! How much of the processor a thread gets.

use nix::libc;

/// Has the calling thread run before others (`setpriority`, nice value -10); without the right to that
/// (`CAP_SYS_NICE`) nothing changes.
pub fn go_first() {
    // SAFETY: `setpriority` takes three numbers; 0 is the calling thread, which is all that is changed.
    let _denied = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) };
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
            go_first();
            nice()
        });
        let after = other.join().unwrap();
        assert!(after == -10 || after == before, "{after}");
        assert_eq!(nice(), before);
    }
}
