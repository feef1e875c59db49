//! The kernel's clocks.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
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
            assert_eq!(error.raw_os_error(), Some(nix::libc::EINVAL), "{nonsense}");
        }
    }

    #[test]
    fn the_clock_is_past_the_day_this_was_written() {
        assert!(unix_milliseconds() > 1_750_000_000_000);
    }
}
