//! Starting another kernel without the firmware.

use std::{ffi::CStr, fs::File, io, os::fd::AsFd, os::fd::AsRawFd as _};

use nix::{
    errno::Errno,
    libc,
    sys::{
        memfd::{MFdFlags, memfd_create},
        reboot::{self, RebootMode},
    },
};

/// Linux, `arch/x86/entry/syscalls/syscall_64.tbl` and `scripts/syscall.tbl`; not every C library has its name.
#[cfg(target_arch = "x86_64")]
const KEXEC_FILE_LOAD: libc::c_long = 320;
#[cfg(not(target_arch = "x86_64"))]
const KEXEC_FILE_LOAD: libc::c_long = 294;

/// Linux, `include/uapi/linux/kexec.h`, `KEXEC_FILE_NO_INITRAMFS`.
const NO_INITRAMFS: libc::c_ulong = 4;

/// Makes a file in memory, which vanishes when it is closed (`memfd_create`).
pub fn memory_file(name: &CStr) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// Has the kernel keep another one ready (`kexec_file_load`), which [`start`] starts. Needs `CAP_SYS_BOOT`.
///
/// `EPERM` where lockdown or `kexec_load_disabled` forbid it, `EKEYREJECTED` and `ENOKEY` where it must be signed and is
/// not by whom this kernel trusts, `ENOEXEC` where it is no kernel, `ENOSYS` where this kernel cannot.
pub fn load(kernel: impl AsFd, initramfs: Option<&File>, command_line: &CStr) -> io::Result<()> {
    let kernel = kernel.as_fd().as_raw_fd();
    let line = command_line.to_bytes_with_nul();
    let (initramfs, flags) =
        initramfs.map_or((-1, NO_INITRAMFS), |file| (file.as_fd().as_raw_fd(), 0));
    // SAFETY: `kexec_file_load` reads as many bytes of a text as it is told, and `line` has as many and outlives the call.
    let answer = unsafe {
        libc::syscall(KEXEC_FILE_LOAD, kernel, initramfs, line.len(), line.as_ptr(), flags)
    };
    Errno::result(answer)?;
    Ok(())
}

/// Starts the kernel that was loaded, at once (`LINUX_REBOOT_CMD_KEXEC`); returns only on failure.
/// Drivers are told to come to rest; nothing else is.
pub fn start() -> io::Error {
    match reboot::reboot(RebootMode::RB_KEXEC) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    #[test]
    fn a_file_in_memory_holds_what_it_is_given() {
        let mut file = memory_file(c"kernel").unwrap();
        file.write_all(b"abc").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
    }

    // Starting a true one would end this machine; `tests/qemu` sees that.
    #[test]
    fn what_is_no_kernel_is_not_loaded() {
        let file = memory_file(c"kernel").unwrap();
        assert!(load(&file, None, c"quiet").is_err());
        assert!(load(&file, Some(&file), c"").is_err());
    }
}
