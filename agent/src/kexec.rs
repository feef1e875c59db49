//! The installed system's kernel, started without the firmware.
//!
//! [`load`] reads it from the disk that was installed, without mounting anything, and has the kernel keep it;
//! an agent that goes down with [`End::Kexec`](crate::session::End::Kexec) starts it.

use std::{
    ffi::{CString, NulError},
    fs::{self, File},
    io::{self, Write},
};

use linux::link::Links;
use protocol::Bytes;
use startup::{
    disk::{Disk, VolumeError},
    menu,
    menu::{Firmware, MenuError, Part},
};
use tracing::{info, warn};

use crate::{boot, watchdog};

/// Says why the installed system's kernel cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum KexecError {
    /// There is nothing to start.
    #[error("kexec")]
    Menu(#[from] MenuError),
    /// It cannot be read.
    #[error("kexec: reading the installed kernel")]
    Read(#[from] VolumeError),
    /// There is no room for it.
    #[error("kexec: keeping the installed kernel in memory")]
    Memory {
        /// Why.
        source: io::Error,
    },
    /// There would be no room for it where it is needed three times.
    #[error(
        "kexec: kernel and initramfs of the installed system have more than {limit}, a third of the memory that is free"
    )]
    NoRoom {
        /// What they may have.
        limit: Bytes,
    },
    /// The command line has a NUL.
    #[error("kexec: the installed kernel's command line")]
    CommandLine(#[from] NulError),
    /// This kernel starts none.
    #[error(
        "kexec: the running kernel is locked down (Secure Boot) and does not start the installed one"
    )]
    LockedDown {
        /// What it says.
        source: io::Error,
    },
    /// This kernel does not trust who signed the installed one.
    #[error("kexec: the running kernel does not trust the installed one's signature")]
    Untrusted {
        /// What it says.
        source: io::Error,
    },
    /// This kernel refuses for another reason.
    #[error("kexec: the running kernel does not take the installed one")]
    Load {
        /// Why.
        source: io::Error,
    },
}

/// Finds what the installed system's boot loader would load, and has the kernel keep it. Returns which entry that is.
///
/// Kernel and initramfs are in memory three times while it runs: as they are read here, as the kernel reads them, and
/// where it keeps them. So they may have a third of what is free. Nothing of this system is changed when it fails.
pub fn load(disk: &Disk) -> Result<String, KexecError> {
    let firmware = if boot::is_efi() { Firmware::Uefi } else { Firmware::Bios };
    let start = menu::find(disk, firmware)?;
    let command_line = CString::new(start.command_line.as_str())?;
    let limit = free_memory(&fs::read_to_string(MEMORY).unwrap_or_default()).map(|free| free / 3);
    let mut room = Room { left: limit.unwrap_or(u64::MAX), is_over: false };
    let mut copy = |parts: &[Part]| {
        copy(disk, parts, &mut room).map_err(|error| match limit {
            Some(limit) if room.is_over => KexecError::NoRoom { limit: Bytes(limit) },
            _ => error,
        })
    };
    let kernel = copy(std::slice::from_ref(&start.kernel))?;
    let initramfs = if start.initrds.is_empty() { None } else { Some(copy(&start.initrds)?) };
    linux::kexec::load(&kernel, initramfs.as_ref(), &command_line).map_err(refusal)?;
    // Not its command line: there may be secrets in it.
    info!(from = start.from, "the installed kernel is loaded");
    Ok(start.from)
}

/// Where the kernel says what memory is free.
const MEMORY: &str = "/proc/meminfo";

/// Returns how many bytes programs can have without others' losing theirs: `MemAvailable`.
fn free_memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// How much more may be copied.
#[derive(Debug)]
struct Room {
    left: u64,
    is_over: bool,
}

/// Takes no more than there is room for.
struct Bounded<'r, W> {
    inner: W,
    room: &'r mut Room,
}

impl<W: Write> Write for Bounded<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let Some(left) = self.room.left.checked_sub(length) else {
            self.room.is_over = true;
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        self.inner.write_all(bytes)?;
        self.room.left = left;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Copies parts of the disk into one file in memory.
fn copy(disk: &Disk, parts: &[Part], room: &mut Room) -> Result<File, KexecError> {
    let failed = |source| KexecError::Memory { source };
    let inner = linux::kexec::memory_file(c"installed system").map_err(failed)?;
    let mut file = Bounded { inner, room };
    let mut length: u64 = 0;
    for part in parts {
        // The kernel finds the next archive at a multiple of four bytes. Linux, `init/initramfs.c`.
        let rest = usize::try_from(length.next_multiple_of(4) - length).unwrap_or(0);
        file.write_all(&[0; 4][..rest]).map_err(failed)?;
        length = disk.copy(part, &mut file)?;
    }
    Ok(file.inner)
}

fn refusal(source: io::Error) -> KexecError {
    match source.raw_os_error() {
        // EPERM
        Some(1) => KexecError::LockedDown { source },
        // ENOPKG, ENOKEY, EKEYREJECTED, EBADMSG
        Some(65 | 126 | 129 | 74) => KexecError::Untrusted { source },
        _ => KexecError::Load { source },
    }
}

/// Makes ready to start the loaded kernel: watchdogs stop, for nobody feeds them before the installed system does, and
/// ports go down, so that none writes into memory that is the next kernel's.
pub(crate) fn prepare() {
    watchdog::disarm();
    let down = Links::open().and_then(|links| {
        for link in links.all()? {
            if let Err(error) = links.set_down(link.index) {
                warn!(port = link.name, %error, "a port stays up");
            }
        }
        Ok(())
    });
    if let Err(error) = down {
        warn!(%error, "ports stay up");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut room = Room { left: 10, is_over: false };
        let mut kept = Vec::new();
        Bounded { inner: &mut kept, room: &mut room }.write_all(b"kernel").unwrap();
        assert!(!room.is_over);
        // The initramfs has what the kernel left.
        let mut initramfs = Bounded { inner: &mut kept, room: &mut room };
        assert!(initramfs.write_all(b"image").is_err());
        assert!(room.is_over);
        assert_eq!(kept, b"kernel");
    }

    #[test]
    fn free_memory_is_what_the_kernel_says() {
        let text = "MemTotal:        1000 kB\nMemFree:  1 kB\nMemAvailable:     512 kB\n";
        assert_eq!(free_memory(text), Some(512 << 10));
        assert_eq!(free_memory("MemTotal: 1000 kB"), None);
        assert_eq!(free_memory("MemAvailable: lots"), None);
        let limit = Bytes(12 << 20);
        assert!(KexecError::NoRoom { limit }.to_string().contains("12 MiB"));
    }

    #[test]
    fn refusals_are_told_apart() {
        let of = |number| refusal(io::Error::from_raw_os_error(number));
        assert!(matches!(of(1), KexecError::LockedDown { .. }));
        assert!(matches!(of(129), KexecError::Untrusted { .. }));
        assert!(matches!(of(8), KexecError::Load { .. }));
    }
}
