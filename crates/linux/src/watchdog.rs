//! Hardware watchdogs: they reset the machine unless they are fed.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::AsRawFd,
    path::Path,
    time::Duration,
};

mod raw {
    use nix::libc::c_int;

    nix::ioctl_read!(keep_alive, b'W', 5, c_int);
    nix::ioctl_readwrite!(set_timeout, b'W', 6, c_int);
    nix::ioctl_read!(timeout, b'W', 7, c_int);
}

/// A watchdog that runs: armed by opening it, and still armed after it was dropped.
///
/// Linux, `Documentation/watchdog/watchdog-api.rst`.
#[derive(Debug)]
pub struct Watchdog(File);

impl Watchdog {
    /// Arms a watchdog, for example `/dev/watchdog0`.
    pub fn arm(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().write(true).open(path)?))
    }

    /// Asks for a time after which the machine is reset, and returns what the hardware made of it (`WDIOC_SETTIMEOUT`).
    /// A watchdog that cannot be set says what it has (`WDIOC_GETTIMEOUT`).
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<Duration> {
        let mut seconds = i32::try_from(timeout.as_secs()).map_err(io::Error::other)?;
        // SAFETY: `WDIOC_SETTIMEOUT` reads and writes exactly one `int`, and `seconds` is one.
        if unsafe { raw::set_timeout(self.0.as_raw_fd(), &raw mut seconds) }.is_err() {
            // SAFETY: `WDIOC_GETTIMEOUT` writes exactly one `int`, and `seconds` is one.
            unsafe { raw::timeout(self.0.as_raw_fd(), &raw mut seconds) }?;
        }
        Ok(Duration::from_secs(u64::try_from(seconds).map_err(io::Error::other)?))
    }

    /// Starts the watchdog's time again (`WDIOC_KEEPALIVE`).
    pub fn feed(&self) -> io::Result<()> {
        let mut unused = 0;
        // SAFETY: `WDIOC_KEEPALIVE` takes no argument; declared as reading one `int`, it gets room for one.
        unsafe { raw::keep_alive(self.0.as_raw_fd(), &raw mut unused) }?;
        Ok(())
    }

    /// Stops the watchdog by its magic close. Some hardware cannot be stopped once it runs; the kernel's log says so then.
    pub fn disarm(mut self) -> io::Result<()> {
        self.0.write_all(b"V")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Arming a real one would reset this machine; `tests/qemu` sees the true answers.
    #[test]
    fn a_file_is_no_watchdog() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let watchdog = Watchdog::arm(file.path()).unwrap();
        assert!(watchdog.feed().is_err());
        assert!(watchdog.set_timeout(Duration::from_mins(1)).is_err());
        watchdog.disarm().unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"V");
    }
}
