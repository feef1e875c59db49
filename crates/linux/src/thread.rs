//! How much of the processor a thread gets.

use nix::libc;

/// Has the calling thread run mostly when others do not want to (`setpriority`, nice value 10).
pub fn give_way() {
    // SAFETY: `setpriority` takes three numbers; 0 is the calling thread, which is all that is changed.
    // It fails only for values and threads that do not exist.
    let _always_0 = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_thread_that_asks_gives_way() {
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            fields.split(' ').nth(16).unwrap().parse::<i32>().unwrap()
        };
        let before = nice();
        let other = std::thread::spawn(move || {
            give_way();
            nice()
        });
        assert_eq!(other.join().unwrap(), 10.max(before));
        assert_eq!(nice(), before);
    }
}
