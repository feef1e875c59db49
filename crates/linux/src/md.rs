//! Linux RAID arrays.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

mod raw {
    // Linux, `include/uapi/linux/raid/md_u.h`: `_IO(MD_MAJOR, 0x32)`, and `MD_MAJOR` is 9.
    nix::ioctl_none!(stop_array, 9, 0x32);
}

/// Stops an array (`STOP_ARRAY`): its members are free, and what is on them stays. `EBUSY` while something uses it,
/// `ENOTTY` or `EINVAL` where it is no array.
pub fn stop(array: impl AsFd) -> io::Result<()> {
    // SAFETY: `STOP_ARRAY` takes no argument.
    unsafe { raw::stop_array(array.as_fd().as_raw_fd()) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_array() {
        let error = stop(tempfile::tempfile().unwrap()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::ENOTTY));
    }
}
