//! Commands to eMMC and SD cards (`MMC_IOC_CMD`). Layout: `<linux/mmc/ioctl.h>`.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use crate::{nvme::milliseconds, transfer::Data};

/// A command to an MMC card (JESD84-B51, section 6.10), as the kernel takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MmcCommand {
    /// The command's index: 6 is SWITCH, 8 is `SEND_EXT_CSD`.
    pub index: u32,
    /// Its argument.
    pub argument: u32,
    /// The kind of answer, as `<linux/mmc/ioctl.h>` has it.
    pub flags: u32,
    /// Whether the card is written to.
    pub is_write: bool,
}

/// The most that goes along with one command (`MMC_IOC_MAX_BYTES`).
const MOST_BYTES: usize = 512 << 10;

/// The size of a card's block.
const BLOCK_BYTES: usize = 512;

/// `struct mmc_ioc_cmd`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Passed {
    write_flag: i32,
    is_application: i32,
    index: u32,
    argument: u32,
    response: [u32; 4],
    flags: u32,
    block_bytes: u32,
    blocks: u32,
    sleep_least_microseconds: u32,
    sleep_most_microseconds: u32,
    data_timeout_nanoseconds: u32,
    command_timeout_milliseconds: u32,
    padding: u32,
    data: u64,
}

mod raw {
    // 179 is `MMC_BLOCK_MAJOR`.
    nix::ioctl_readwrite!(command, 179, 0, super::Passed);
}

/// Sends a command and waits at most `limit` (`MMC_IOC_CMD`). Returns the answer's four words.
///
/// Through a whole card's descriptor; needs `CAP_SYS_RAWIO`. Data is at most 512 KiB, in blocks of 512 bytes. An error
/// does not say whether the card carried it out.
pub fn command(
    card: impl AsFd,
    command: &MmcCommand,
    data: Data<'_>,
    limit: Duration,
) -> io::Result<[u32; 4]> {
    let invalid = |why: &'static str| io::Error::new(io::ErrorKind::InvalidInput, why);
    let length = data.length();
    if length > MOST_BYTES || !length.is_multiple_of(BLOCK_BYTES) {
        return Err(invalid("a card's data is in blocks of 512 bytes, 512 KiB at most"));
    }
    let address = match (data, command.is_write) {
        (Data::None, _) => 0,
        (Data::In(bytes), false) => bytes.as_mut_ptr().expose_provenance(),
        (Data::Out(bytes), true) => bytes.as_ptr().expose_provenance(),
        (Data::In(_), true) | (Data::Out(_), false) => {
            return Err(invalid("the data goes the other way than the command"));
        }
    };
    let blocks = u32::try_from(length / BLOCK_BYTES).map_err(io::Error::other)?;
    let mut passed = Passed {
        write_flag: i32::from(command.is_write),
        index: command.index,
        argument: command.argument,
        flags: command.flags,
        block_bytes: if blocks == 0 { 0 } else { 512 },
        blocks,
        command_timeout_milliseconds: milliseconds(limit),
        data: u64::try_from(address).map_err(io::Error::other)?,
        ..Passed::default()
    };
    // SAFETY: `MMC_IOC_CMD` reads and writes one `mmc_ioc_cmd`, which `passed` is, and `block_bytes * blocks` bytes at
    // `data`, which is the borrowed length: it writes them only where `write_flag` is 0, and then they were borrowed to
    // be written. Both outlive the call.
    unsafe { raw::command(card.as_fd().as_raw_fd(), &raw mut passed) }?;
    Ok(passed.response)
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use nix::libc;

    use super::*;

    #[test]
    fn the_kernels_structure_has_the_kernels_layout() {
        assert_eq!(size_of::<Passed>(), 72);
        assert_eq!(offset_of!(Passed, index), 8);
        assert_eq!(offset_of!(Passed, response), 16);
        assert_eq!(offset_of!(Passed, flags), 32);
        assert_eq!(offset_of!(Passed, blocks), 40);
        assert_eq!(offset_of!(Passed, data_timeout_nanoseconds), 52);
        assert_eq!(offset_of!(Passed, command_timeout_milliseconds), 56);
        assert_eq!(offset_of!(Passed, data), 64);
    }

    #[test]
    fn only_data_that_goes_the_commands_way_reaches_the_kernel() {
        let file = tempfile::tempfile().unwrap();
        let error = |is_write, data: Data<'_>| {
            let sent = MmcCommand { index: 8, is_write, ..MmcCommand::default() };
            command(&file, &sent, data, Duration::from_secs(1)).unwrap_err()
        };
        for error in [
            error(true, Data::None),
            error(false, Data::In(&mut [0; 512])),
            error(true, Data::Out(&[0; 1024])),
        ] {
            assert_eq!(error.raw_os_error(), Some(libc::ENOTTY), "{error}");
        }
        for error in [
            error(false, Data::Out(&[0; 512])),
            error(true, Data::In(&mut [0; 512])),
            error(false, Data::In(&mut [0; 511])),
            error(true, Data::Out(&vec![0; MOST_BYTES + 512])),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
    }
}
