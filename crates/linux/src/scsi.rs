//! SCSI commands, and through SAT those of ATA, as the kernel passes them on (`SG_IO`).
//!
//! What the host adapter or the driver says is wrong is an error, never an answer: a tool that forgot to look there
//! reported erasures that no disk had heard of. Layout: `<scsi/sg.h>`.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    ptr,
    time::Duration,
};

use nix::libc;

use crate::{nvme::milliseconds, transfer::Data};

/// The answer to a SCSI command that reached its device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScsiAnswer {
    /// The status byte (SAM-5, section 5.3.1): 0 is GOOD, 2 CHECK CONDITION.
    pub status: u8,
    /// Sense data as the device returned it; empty where it returned none.
    pub sense: Vec<u8>,
    /// How many bytes of data were transferred.
    pub transferred: usize,
}

/// Says that a command got no answer from its device. What became of it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host adapter says {host:#04x} ({word}), the driver {driver:#04x}", word = host_word(*host))]
pub struct HostFailure {
    /// `DID_…` (Linux, `include/scsi/scsi_status.h`).
    pub host: u16,
    /// The driver's byte.
    pub driver: u16,
}

/// The longest sense data there is (SPC-5, §4.4.1).
const SENSE_BYTES: u8 = 252;

/// How long a disk may take to say what it is: it needs no medium for that, but may be resetting.
const INQUIRY_PATIENCE: Duration = Duration::from_secs(20);

/// What the driver's byte is where nothing is wrong but that there is sense data (`DRIVER_SENSE`).
const DRIVER_SENSE: u16 = 0x08;

/// `struct sg_io_hdr`.
#[repr(C)]
struct Header {
    interface: libc::c_int,
    direction: libc::c_int,
    command_length: u8,
    sense_limit: u8,
    vectors: u16,
    data_length: u32,
    data: *mut libc::c_void,
    command: *const u8,
    sense: *mut u8,
    timeout_milliseconds: u32,
    flags: u32,
    pack_id: libc::c_int,
    user: *mut libc::c_void,
    status: u8,
    masked_status: u8,
    message_status: u8,
    sense_length: u8,
    host_status: u16,
    driver_status: u16,
    residual: libc::c_int,
    duration_milliseconds: u32,
    info: u32,
}

mod raw {
    nix::ioctl_readwrite_bad!(scsi, 0x2285, super::Header);
}

/// Sends a command of at most 32 bytes and waits at most `limit` for its answer; the kernel makes it seven seconds at
/// least. Needs `CAP_SYS_RAWIO`.
///
/// `ENOTTY` where the device takes no SCSI commands. An error that is a [`HostFailure`] says nothing of what the device
/// did; so do all others but those of a command that cannot be sent: `EINVAL`, `EMSGSIZE`, `EPERM`.
pub fn execute(
    device: impl AsFd,
    command: &[u8],
    data: Data<'_>,
    limit: Duration,
) -> io::Result<ScsiAnswer> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let mut sense = [0_u8; 252];
    let (direction, address, length) = match data {
        Data::None => (-1, ptr::null_mut(), 0),
        Data::In(bytes) => (-3, bytes.as_mut_ptr().cast(), bytes.len()),
        // The kernel only reads it: the direction says so.
        Data::Out(bytes) => (-2, bytes.as_ptr().cast_mut().cast(), bytes.len()),
    };
    let mut header = Header {
        interface: libc::c_int::from(b'S'),
        direction,
        command_length: u8::try_from(command.len()).map_err(invalid)?,
        sense_limit: SENSE_BYTES,
        vectors: 0,
        data_length: u32::try_from(length).map_err(invalid)?,
        data: address,
        command: command.as_ptr(),
        sense: sense.as_mut_ptr(),
        timeout_milliseconds: milliseconds(limit),
        flags: 0,
        pack_id: 0,
        user: ptr::null_mut(),
        status: 0,
        masked_status: 0,
        message_status: 0,
        sense_length: 0,
        host_status: 0,
        driver_status: 0,
        residual: 0,
        duration_milliseconds: 0,
        info: 0,
    };
    // SAFETY: `SG_IO` reads `command_length` bytes at `command`, and by `direction` reads or writes at most `data_length`
    // bytes at `data`: it writes only for -3, where they were borrowed to be written. It writes at most `sense_limit`
    // bytes at `sense`, and the header itself. All four outlive the call and are as long as they say.
    unsafe { raw::scsi(device.as_fd().as_raw_fd(), &raw mut header) }?;
    answer(&header, &sense, length)
}

/// Asks a disk for a page of vital product data (INQUIRY; SPC-5 §6.7.2): at most so many bytes of it.
/// Unlike what stands in sysfs, it is what the disk says now.
pub fn vital_page(device: impl AsFd, page: u8, length: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(length)];
    let answer =
        execute(device, &[0x12, 1, page, 0, length, 0], Data::In(&mut bytes), INQUIRY_PATIENCE)?;
    if answer.status != 0 {
        let words = format!("the disk answers INQUIRY with status {:#04x}", answer.status);
        return Err(io::Error::other(words));
    }
    bytes.truncate(answer.transferred);
    Ok(bytes)
}

/// Reads what came back.
fn answer(header: &Header, sense: &[u8], length: usize) -> io::Result<ScsiAnswer> {
    // The upper half of the driver's byte is advice, of kernels before 5.14.
    let driver = header.driver_status & 0x0f;
    if header.host_status != 0 || (driver != 0 && driver != DRIVER_SENSE) {
        let failure = HostFailure { host: header.host_status, driver: header.driver_status };
        return Err(io::Error::new(host_kind(header.host_status), failure));
    }
    let left = usize::try_from(header.residual).unwrap_or(0);
    Ok(ScsiAnswer {
        status: header.status,
        sense: sense.iter().copied().take(usize::from(header.sense_length)).collect(),
        transferred: length.saturating_sub(left),
    })
}

/// Linux, `include/scsi/scsi_status.h`, `enum scsi_host_status`.
fn host_word(host: u16) -> &'static str {
    match host {
        0x00 => "nothing wrong",
        0x01 => "no connection",
        0x02 => "bus busy",
        0x03 => "time out",
        0x04 => "bad target",
        0x05 => "aborted",
        0x06 => "parity error",
        0x07 => "internal error",
        0x08 => "reset",
        0x0b => "soft error",
        0x0e | 0x0f => "transport disrupted",
        _ => "an error",
    }
}

fn host_kind(host: u16) -> io::ErrorKind {
    match host {
        0x01 | 0x04 => io::ErrorKind::NotConnected,
        0x03 => io::ErrorKind::TimedOut,
        0x05 | 0x08 | 0x0e | 0x0f => io::ErrorKind::ConnectionAborted,
        _ => io::ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            interface: 0,
            direction: 0,
            command_length: 0,
            sense_limit: 0,
            vectors: 0,
            data_length: 0,
            data: ptr::null_mut(),
            command: ptr::null(),
            sense: ptr::null_mut(),
            timeout_milliseconds: 0,
            flags: 0,
            pack_id: 0,
            user: ptr::null_mut(),
            status: 0,
            masked_status: 0,
            message_status: 0,
            sense_length: 0,
            host_status: 0,
            driver_status: 0,
            residual: 0,
            duration_milliseconds: 0,
            info: 0,
        }
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_kernels_structure_has_the_kernels_layout() {
        use std::mem::offset_of;
        assert_eq!(size_of::<Header>(), 88);
        assert_eq!(offset_of!(Header, command_length), 8);
        assert_eq!(offset_of!(Header, data_length), 12);
        assert_eq!(offset_of!(Header, data), 16);
        assert_eq!(offset_of!(Header, command), 24);
        assert_eq!(offset_of!(Header, sense), 32);
        assert_eq!(offset_of!(Header, timeout_milliseconds), 40);
        assert_eq!(offset_of!(Header, user), 56);
        assert_eq!(offset_of!(Header, status), 64);
        assert_eq!(offset_of!(Header, host_status), 68);
        assert_eq!(offset_of!(Header, residual), 72);
        assert_eq!(offset_of!(Header, info), 80);
    }

    #[test]
    fn what_the_adapter_says_is_never_an_answer() {
        for host in 1..=0x20 {
            let error = answer(&Header { host_status: host, ..header() }, &[], 0).unwrap_err();
            let failure: &HostFailure = error.get_ref().unwrap().downcast_ref().unwrap();
            assert_eq!(failure.host, host);
            assert!(error.to_string().contains("the host adapter says"), "{error}");
        }
        for driver in [1, 2, 3, 4, 5, 6, 7] {
            let failed = Header { driver_status: driver, status: 2, ..header() };
            assert!(answer(&failed, &[], 0).is_err(), "{driver}");
        }
        let time_out = answer(&Header { host_status: 3, ..header() }, &[], 0).unwrap_err();
        assert_eq!(time_out.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_the_device_says_is_handed_on_as_it_is() {
        let sense = [0x72, 5, 0x20, 0, 0, 0, 0, 0, 9, 9];
        let said = Header {
            status: 2,
            driver_status: DRIVER_SENSE,
            sense_length: 8,
            residual: 500,
            ..header()
        };
        let expected = ScsiAnswer { status: 2, sense: sense[..8].to_vec(), transferred: 12 };
        assert_eq!(answer(&said, &sense, 512).unwrap(), expected);
    }

    #[test]
    fn a_file_takes_no_commands() {
        let file = tempfile::tempfile().unwrap();
        let execute = |command: &[u8], data: Data<'_>| {
            execute(&file, command, data, Duration::from_secs(1)).unwrap_err()
        };
        let error = execute(&[0; 6], Data::None);
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        let error = execute(&[0; 16], Data::In(&mut [0; 512]));
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(execute(&[0; 256], Data::None).kind(), io::ErrorKind::InvalidInput);
    }
}
