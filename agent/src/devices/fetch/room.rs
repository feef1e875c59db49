//! Memory for files that are on their way: several are fetched at once, and what is free is there once.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::Failure;

/// What the machine keeps free while drivers are put into its memory: the agent with an inventory, and the drivers' own.
const RESERVE_BYTES: u64 = 12 << 20;

/// The room of this machine.
pub(super) static ROOM: Room = Room::new();

/// How many bytes are promised to files on their way.
#[derive(Debug)]
pub(super) struct Room {
    promised: Mutex<u64>,
    changed: Condvar,
}

/// Room for one file, until it is dropped.
#[derive(Debug)]
pub(in super::super) struct Reserved<'r> {
    room: &'r Room,
    bytes: u64,
}

impl Room {
    const fn new() -> Self {
        Self { promised: Mutex::new(0), changed: Condvar::new() }
    }

    /// Makes room for a file of this length, where it fits into memory twice: as it comes, and as it is kept; the kernel
    /// unpacks it then. Blocks while it would fit without others, until then at the latest.
    ///
    /// `meminfo` is `/proc/meminfo`, whose absence hinders nobody.
    pub(super) fn reserve(
        &self,
        length: u64,
        meminfo: impl Fn() -> String,
        deadline: Instant,
    ) -> Result<Reserved<'_>, Failure> {
        let bytes = length.saturating_mul(2);
        let mut promised = self.promised();
        loop {
            let needed = bytes.saturating_add(RESERVE_BYTES);
            // What of a file has come already counts twice: that is too careful for a moment, and never too little.
            match available(&meminfo()) {
                Some(available) if available < needed.saturating_add(*promised) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if *promised == 0 || left.is_zero() {
                        let others = match *promised {
                            0 => String::new(),
                            bytes => format!(", {bytes} of them promised to others"),
                        };
                        return Err(Failure::NoSpace(format!(
                            "{length} bytes, and {available} of memory are available{others}"
                        )));
                    }
                    let waited = self.changed.wait_timeout(promised, left);
                    promised = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => {
                    *promised = promised.saturating_add(bytes);
                    return Ok(Reserved { room: self, bytes });
                }
            }
        }
    }

    fn promised(&self) -> MutexGuard<'_, u64> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut promised = self.room.promised();
        *promised = promised.saturating_sub(self.bytes);
        drop(promised);
        self.room.changed.notify_all();
    }
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes = line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?;
    Some(kilobytes.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn meminfo(kilobytes: u64) -> String {
        format!("MemTotal: 1 kB\nMemAvailable:   {kilobytes} kB\n")
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(100)
    }

    #[test]
    fn a_machine_that_would_have_no_memory_left_does_not_begin() {
        let check = |text: &str, length| {
            let room = Room::new();
            room.reserve(length, || text.to_owned(), soon()).map(drop)
        };
        assert_eq!(check(&meminfo(20_000), MIB), Ok(()));
        let reason = check(&meminfo(12_000), MIB).unwrap_err().to_string();
        assert_eq!(reason, "no space: 1048576 bytes, and 12288000 of memory are available");
        assert_eq!(check("", u64::MAX), Ok(()));
        assert_eq!(check(&meminfo(u64::MAX), u64::MAX / 4), Ok(()));
        assert!(check(&meminfo(20_000), u64::MAX).is_err());
    }

    #[test]
    fn what_one_file_was_promised_another_one_waits_for() {
        let room = Room::new();
        // Three files of 2 MiB fit, and no fourth.
        let free = || meminfo((12 << 10) + 3 * 4096 + 1000);
        let mut held: Vec<_> =
            (0..3).map(|_| room.reserve(2 * MIB, free, soon()).unwrap()).collect();
        assert!(room.reserve(2 * MIB, free, soon()).is_err(), "it is promised to the others");
        let patience = Instant::now() + Duration::from_mins(1);
        thread::scope(|scope| {
            let fourth = scope.spawn(|| room.reserve(2 * MIB, free, patience).map(drop));
            held.pop();
            assert_eq!(fourth.join().unwrap(), Ok(()));
        });
    }

    #[test]
    fn what_would_not_even_fit_alone_is_refused_once_it_is_alone() {
        let room = Room::new();
        let begun = Instant::now();
        let late = begun + Duration::from_mins(10);
        assert!(room.reserve(9 * MIB, || meminfo(20_000), late).is_err());
        assert!(begun.elapsed() < Duration::from_mins(5), "nobody is waited for");
    }
}
