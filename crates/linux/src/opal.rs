//! Self-encrypting disks that speak TCG Opal, through the kernel (`<linux/sed-opal.h>`).

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// What the kernel says of a self-encrypting disk (`IOC_OPAL_GET_STATUS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpalStatus {
    /// The kernel's `OPAL_FL_…` bits (`<linux/sed-opal.h>`).
    pub flags: u32,
}

/// How a self-encrypting disk refused.
#[derive(Debug, thiserror::Error)]
pub enum OpalFailure {
    /// The disk answered with a TCG method status (TCG Storage Architecture Core Specification 2.01, table 166).
    #[error("method status {0:#04x}")]
    Status(u8),
    /// The kernel could not speak to it.
    #[error("no answer")]
    NoAnswer(#[source] io::Error),
}

/// `OPAL_KEY_MAX`; the length is a byte.
const KEY_BYTES: usize = 256;

/// `struct opal_key`. What is zero here is "a key that the caller brings" to newer kernels.
#[repr(C)]
struct Key {
    locking_range: u8,
    length: u8,
    alignment: [u8; 6],
    bytes: [u8; KEY_BYTES],
}

/// `struct opal_status`.
#[repr(C)]
#[derive(Default)]
struct Status {
    flags: u32,
    reserved: u32,
}

mod raw {
    nix::ioctl_write_ptr!(revert, b'p', 226, super::Key);
    nix::ioctl_write_ptr!(psid_revert, b'p', 232, super::Key);
    nix::ioctl_read!(status, b'p', 236, super::Status);
}

/// Asks how a disk stands (`IOC_OPAL_GET_STATUS`); needs `CAP_SYS_ADMIN`. `ENOTTY`, `EOPNOTSUPP` or 524 where it does not
/// speak Opal; Linux before 6.1 does not know the question.
pub fn status(disk: impl AsFd) -> io::Result<OpalStatus> {
    let mut status = Status::default();
    // SAFETY: `IOC_OPAL_GET_STATUS` writes one `struct opal_status`, which `status` is.
    unsafe { raw::status(disk.as_fd().as_raw_fd(), &raw mut status) }?;
    Ok(OpalStatus { flags: status.flags })
}

/// Reverts a disk with the identifier on its label (`IOC_OPAL_PSID_REVERT_TPR`): all that it holds is gone. Needs
/// `CAP_SYS_ADMIN`.
pub fn revert_with_psid(disk: impl AsFd, psid: &[u8]) -> Result<(), OpalFailure> {
    let key = key(psid)?;
    // SAFETY: `IOC_OPAL_PSID_REVERT_TPR` reads one `struct opal_key`, which `key` is and which outlives the call.
    method_status(unsafe { raw::psid_revert(disk.as_fd().as_raw_fd(), &raw const key) })
}

/// Reverts a disk with its owner's credential (`IOC_OPAL_REVERT_TPR`): all that it holds is gone. Needs `CAP_SYS_ADMIN`.
pub fn revert_with_sid(disk: impl AsFd, sid: &[u8]) -> Result<(), OpalFailure> {
    let key = key(sid)?;
    // SAFETY: `IOC_OPAL_REVERT_TPR` reads one `struct opal_key`, which `key` is and which outlives the call.
    method_status(unsafe { raw::revert(disk.as_fd().as_raw_fd(), &raw const key) })
}

fn key(bytes: &[u8]) -> Result<Key, OpalFailure> {
    let invalid = || {
        let why = "a credential has 1 to 255 bytes";
        OpalFailure::NoAnswer(io::Error::new(io::ErrorKind::InvalidInput, why))
    };
    let length = u8::try_from(bytes.len()).ok().filter(|length| *length != 0);
    let length = length.ok_or_else(invalid)?;
    let mut key = Key { locking_range: 0, length, alignment: [0; 6], bytes: [0; KEY_BYTES] };
    key.bytes[..bytes.len()].copy_from_slice(bytes);
    Ok(key)
}

/// Reads what the call returned: where it is positive, it is what the disk answered.
fn method_status(returned: nix::Result<i32>) -> Result<(), OpalFailure> {
    match returned {
        Ok(0) => Ok(()),
        Ok(status) => Err(OpalFailure::Status(u8::try_from(status).unwrap_or(u8::MAX))),
        Err(error) => Err(OpalFailure::NoAnswer(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    #[test]
    fn the_kernels_structures_have_the_kernels_layout() {
        assert_eq!(size_of::<Key>(), 264);
        assert_eq!(std::mem::offset_of!(Key, bytes), 8);
        assert_eq!(size_of::<Status>(), 8);
    }

    #[test]
    fn a_disks_answer_is_not_the_kernels() {
        assert!(method_status(Ok(0)).is_ok());
        assert!(matches!(method_status(Ok(1)), Err(OpalFailure::Status(1))));
        let failed = method_status(Err(nix::errno::Errno::ENOTTY));
        assert!(matches!(failed, Err(OpalFailure::NoAnswer(_))));
    }

    #[test]
    fn a_file_encrypts_nothing() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(status(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        for failure in [revert_with_psid(&file, &[b'A'; 32]), revert_with_sid(&file, b"sid")] {
            let Err(OpalFailure::NoAnswer(error)) = failure else { panic!("a file reverted") };
            assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        }
        for wrong in [&[][..], &[0; 256]] {
            let Err(OpalFailure::NoAnswer(error)) = revert_with_psid(&file, wrong) else {
                panic!("{} bytes", wrong.len())
            };
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
