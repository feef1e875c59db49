//! The installed system's kernel, started without the firmware.
//!
//! [`load`] reads it from the disk that was installed, without mounting anything, and has the kernel keep it;
//! an agent that goes down with [`End::Kexec`](crate::session::End::Kexec) starts it.

use std::{
    ffi::{CString, NulError},
    fs::File,
    io::{self, Write as _},
};

use linux::link::Links;
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
/// Kernel and initramfs are in memory twice while it runs. Nothing of this system is changed when it fails.
pub fn load(disk: &Disk) -> Result<String, KexecError> {
    let firmware = if boot::is_efi() { Firmware::Uefi } else { Firmware::Bios };
    let start = menu::find(disk, firmware)?;
    let command_line = CString::new(start.command_line.as_str())?;
    let kernel = copy(disk, std::slice::from_ref(&start.kernel))?;
    let initramfs = if start.initrds.is_empty() { None } else { Some(copy(disk, &start.initrds)?) };
    linux::kexec::load(&kernel, initramfs.as_ref(), &command_line).map_err(refusal)?;
    // Not its command line: there may be secrets in it.
    info!(from = start.from, "the installed kernel is loaded");
    Ok(start.from)
}

/// Copies parts of the disk into one file in memory.
fn copy(disk: &Disk, parts: &[Part]) -> Result<File, KexecError> {
    let failed = |source| KexecError::Memory { source };
    let mut file = linux::kexec::memory_file(c"installed system").map_err(failed)?;
    let mut length: u64 = 0;
    for part in parts {
        // The kernel finds the next archive at a multiple of four bytes. Linux, `init/initramfs.c`.
        let rest = usize::try_from(length.next_multiple_of(4) - length).unwrap_or(0);
        file.write_all(&[0; 4][..rest]).map_err(failed)?;
        length = disk.copy(part, &mut file)?;
    }
    Ok(file)
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
    fn refusals_are_told_apart() {
        let of = |number| refusal(io::Error::from_raw_os_error(number));
        assert!(matches!(of(1), KexecError::LockedDown { .. }));
        assert!(matches!(of(129), KexecError::Untrusted { .. }));
        assert!(matches!(of(8), KexecError::Load { .. }));
    }
}
