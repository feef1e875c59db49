//! The kernel's clocks.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    libc,
    sys::time::TimeSpec,
    time::{ClockId, clock_gettime, clock_settime},
};

/// Returns the time since the kernel started, sleep included (`CLOCK_BOOTTIME`).
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Returns the time since 1970 by the machine's clock, in milliseconds; negative before.
pub fn unix_milliseconds() -> i64 {
    let milliseconds = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => milliseconds(since),
        Err(before) => -milliseconds(before.duration()),
    }
}

/// Whether anything keeps the machine's clock right, as far as the kernel was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronisation {
    /// A time service has set it, and says that it still holds.
    Synchronised,
    /// None has since the kernel started, or none for long (`STA_UNSYNC`).
    Unsynchronised,
}

/// Asks the kernel whether the machine's clock (`CLOCK_REALTIME`) is synchronised (`adjtimex`); needs no privilege.
///
/// The kernel believes its time service. It takes the word back when the service has not spoken for some hours.
pub fn synchronisation() -> io::Result<Synchronisation> {
    // SAFETY: `struct timex` is numbers only, for which all bits zero is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: with `modes` of 0 `adjtimex` changes nothing, and writes exactly one `struct timex`, which `state` is.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(if answer == libc::TIME_ERROR || state.status & libc::STA_UNSYNC != 0 {
        Synchronisation::Unsynchronised
    } else {
        Synchronisation::Synchronised
    })
}

/// Sets the machine's clock to a time since 1970 (`CLOCK_REALTIME`); needs `CAP_SYS_TIME`.
pub fn set_unix_milliseconds(milliseconds: i64) -> io::Result<()> {
    // `TimeSpec::milliseconds` panics where the nanoseconds would not fit.
    let (seconds, rest) = (milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000));
    let time = TimeSpec::new(seconds, rest * 1_000_000);
    Ok(clock_settime(ClockId::CLOCK_REALTIME, time)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_boot_rises() {
        let before = since_boot();
        assert!(before > Duration::ZERO);
        assert!(since_boot() >= before);
    }

    #[test]
    fn a_time_that_no_clock_can_show_is_refused() {
        // Not `EPERM`: the kernel looks at the number first.
        for nonsense in [i64::MAX, i64::MIN] {
            let error = set_unix_milliseconds(nonsense).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{nonsense}");
        }
    }

    #[test]
    fn the_kernel_says_whether_the_clock_is_synchronised() {
        // What it says depends on this machine; asking twice must not change it.
        let said = synchronisation().unwrap();
        assert_eq!(synchronisation().unwrap(), said);
    }

    #[test]
    fn the_clock_is_past_the_day_this_was_written() {
        assert!(unix_milliseconds() > 1_750_000_000_000);
    }
}
