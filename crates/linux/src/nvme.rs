//! NVMe admin commands, as the kernel passes them on: through a controller's own device or through a namespace's.
//!
//! Through a namespace's descriptor the whole controller is reached: whoever calls this decides what a command may
//! touch. Layouts: Linux, `include/uapi/linux/nvme_ioctl.h`.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    time::Duration,
};

use nix::{
    libc,
    sys::stat::{SFlag, fstat, major, minor},
};

use crate::{block::Number, transfer::Data};

/// An NVMe admin command (NVM Express Base Specification 2.0, section 3.3.3.1). Reserved fields are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NvmeCommand {
    /// What is to be done.
    pub opcode: u8,
    /// On which namespace; `0xffff_ffff` is all.
    pub nsid: u32,
    /// Command dwords 10 to 15.
    pub dwords: [u32; 6],
}

/// How an NVMe command failed.
#[derive(Debug, thiserror::Error)]
pub enum NvmeFailure {
    /// The controller answered so: status code type and status code, `SCT << 8 | SC`, without Do Not Retry and More.
    #[error("status {0:#05x}")]
    Status(u16),
    /// The command did not reach the controller, or its answer did not come in time. What became of it is not known,
    /// but for [`InvalidInput`](io::ErrorKind::InvalidInput) and
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied): then it was not sent.
    #[error("no answer")]
    NoAnswer(#[source] io::Error),
}

/// Admin commands that are passed on (Base Specification 2.0, figure 138). All others are refused here: firmware
/// downloads and the like are nobody's business, and a command of unknown transfer length could have the controller
/// write beyond the buffer.
pub mod opcode {
    /// Get Log Page.
    pub const GET_LOG_PAGE: u8 = 0x02;
    /// Identify.
    pub const IDENTIFY: u8 = 0x06;
    /// Set Features.
    pub const SET_FEATURES: u8 = 0x09;
    /// Get Features.
    pub const GET_FEATURES: u8 = 0x0a;
    /// Namespace Management.
    pub const NAMESPACE_MANAGEMENT: u8 = 0x0d;
    /// Namespace Attachment.
    pub const NAMESPACE_ATTACHMENT: u8 = 0x15;
    /// Format NVM.
    pub const FORMAT: u8 = 0x80;
    /// Security Send.
    pub const SECURITY_SEND: u8 = 0x81;
    /// Security Receive.
    pub const SECURITY_RECEIVE: u8 = 0x82;
    /// Sanitize.
    pub const SANITIZE: u8 = 0x84;
}

/// `struct nvme_passthru_cmd`.
///
/// Not the 64-bit form (`NVME_IOCTL_ADMIN64_CMD`): that adds completion dword 1, which no admin command here uses, and
/// older kernels do not know it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Passthru {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    data: u64,
    metadata_length: u32,
    data_length: u32,
    dwords: [u32; 6],
    timeout_milliseconds: u32,
    result: u32,
}

mod raw {
    use super::Passthru;

    nix::ioctl_none_bad!(namespace, nix::request_code_none!(b'N', 0x40));
    nix::ioctl_readwrite!(admin, b'N', 0x41, Passthru);
    nix::ioctl_none_bad!(rescan, nix::request_code_none!(b'N', 0x46));
}

/// Which way a command's data goes, and how much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    None,
    In(u64),
    Out(u64),
}

/// Sends an admin command and waits at most `limit` for its completion (`NVME_IOCTL_ADMIN_CMD`). Returns completion
/// dword 0. Needs `CAP_SYS_ADMIN`.
///
/// When the time is over the kernel resets the controller, and all commands under way fail: choose it long.
pub fn admin(
    device: impl AsFd,
    command: &NvmeCommand,
    data: Data<'_>,
    limit: Duration,
) -> Result<u32, NvmeFailure> {
    fits(command, &data).map_err(NvmeFailure::NoAnswer)?;
    let (address, length) = match data {
        Data::None => (0, 0),
        Data::In(bytes) => (bytes.as_mut_ptr().expose_provenance(), bytes.len()),
        Data::Out(bytes) => (bytes.as_ptr().expose_provenance(), bytes.len()),
    };
    let wide = |error| NvmeFailure::NoAnswer(io::Error::new(io::ErrorKind::InvalidInput, error));
    let mut passed = Passthru {
        opcode: command.opcode,
        namespace: command.nsid,
        data: u64::try_from(address).map_err(wide)?,
        data_length: u32::try_from(length).map_err(wide)?,
        dwords: command.dwords,
        timeout_milliseconds: milliseconds(limit),
        ..Passthru::default()
    };
    // SAFETY: `NVME_IOCTL_ADMIN_CMD` reads and writes one `nvme_passthru_cmd`, which `passed` is. By the opcode's lowest
    // bit the kernel reads or has the controller write `data_length` bytes at `data`: `fits` proved that the bit agrees
    // with what was borrowed, and that the command transfers no more. All of it outlives the call.
    let returned = unsafe { raw::admin(device.as_fd().as_raw_fd(), &raw mut passed) }
        .map_err(|error| NvmeFailure::NoAnswer(error.into()))?;
    status(returned).map(|()| passed.result)
}

/// Returns the identifier of the namespace behind a block device (`NVME_IOCTL_ID`); `ENOTTY` for any other device.
pub fn namespace(device: impl AsFd) -> io::Result<u32> {
    // SAFETY: `NVME_IOCTL_ID` takes no argument and returns a number.
    let namespace = unsafe { raw::namespace(device.as_fd().as_raw_fd()) }?;
    u32::try_from(namespace).map_err(io::Error::other)
}

/// Opens a controller's own device, such as `/dev/nvme0`, and returns its number with it, as `/sys/class/nvme/…/dev`
/// spells it. `ENOTTY` where it is no character device, `ELOOP` where it is a symbolic link.
pub fn open_controller(path: &Path) -> io::Result<(File, Number)> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let status = fstat(&file)?;
    if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT != SFlag::S_IFCHR {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    }
    let number = Number { major: major(status.st_rdev), minor: minor(status.st_rdev) };
    Ok((file, number))
}

/// Has the kernel look again which namespaces a controller has (`NVME_IOCTL_RESCAN`), by the controller's own device;
/// needs `CAP_SYS_ADMIN`. Returns before it is done.
pub fn rescan(controller: impl AsFd) -> io::Result<()> {
    // SAFETY: `NVME_IOCTL_RESCAN` takes no argument.
    unsafe { raw::rescan(controller.as_fd().as_raw_fd()) }?;
    Ok(())
}

/// Returns a limit as the kernel takes it: never 0, which would be its own default of a minute, and never so large that
/// it is taken for none at all (`msecs_to_jiffies`).
pub(crate) fn milliseconds(limit: Duration) -> u32 {
    let longest = i32::MAX.unsigned_abs();
    u32::try_from(limit.as_millis()).unwrap_or(longest).clamp(1, longest)
}

/// Refuses what is not known to transfer exactly what was borrowed for it.
fn fits(command: &NvmeCommand, data: &Data<'_>) -> io::Result<()> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    let opcode = command.opcode;
    let wanted = length(command)
        .ok_or_else(|| invalid(format!("admin command {opcode:#04x} is not passed on")))?;
    let count = u64::try_from(data.length()).unwrap_or(u64::MAX);
    let given = match data {
        Data::None => Length::None,
        Data::In(_) => Length::In(count),
        Data::Out(_) => Length::Out(count),
    };
    // A Security command that transfers nothing is one without data.
    let nothing = [Length::In(0), Length::Out(0), Length::None];
    if wanted == given || (nothing.contains(&wanted) && nothing.contains(&given)) {
        return Ok(());
    }
    Err(invalid(format!("admin command {opcode:#04x} transfers {wanted:?}, not {given:?}")))
}

/// Returns what a command transfers by its own dwords; `None` for one that is not passed on.
fn length(command: &NvmeCommand) -> Option<Length> {
    let [ten, eleven, ..] = command.dwords;
    match command.opcode {
        // §5.16.1: NUMDL in dword 10, NUMDU in dword 11: words of four bytes, less one.
        opcode::GET_LOG_PAGE => {
            let words = u64::from(ten >> 16) | u64::from(eleven & 0xffff) << 16;
            Some(Length::In(4 * (words + 1)))
        }
        opcode::IDENTIFY => Some(Length::In(4096)),
        // Features whose value is dword 11 alone (§5.27.1): write cache, Sanitize Config, namespace write protection.
        opcode::SET_FEATURES | opcode::GET_FEATURES => {
            matches!(ten & 0xff, 0x06 | 0x17 | 0x84).then_some(Length::None)
        }
        // §5.23: SEL 0 creates, by a page; 1 deletes.
        opcode::NAMESPACE_MANAGEMENT => match ten & 0xf {
            0 => Some(Length::Out(4096)),
            1 => Some(Length::None),
            _ => None,
        },
        // §5.22: a controller list.
        opcode::NAMESPACE_ATTACHMENT => Some(Length::Out(4096)),
        opcode::FORMAT | opcode::SANITIZE => Some(Length::None),
        // §5.25 and §5.26: the transfer's and the allocation's length are dword 11.
        opcode::SECURITY_SEND => Some(Length::Out(u64::from(eleven))),
        opcode::SECURITY_RECEIVE => Some(Length::In(u64::from(eleven))),
        _ => None,
    }
}

/// Reads what the call returned where it did not fail: 0, or status code and type in the low 11 bits.
fn status(returned: i32) -> Result<(), NvmeFailure> {
    match u16::try_from(returned & 0x7ff).unwrap_or(u16::MAX) {
        0 => Ok(()),
        // Command Abort Requested, Aborted due to SQ Deletion: somebody, the kernel for one, gave it up half done.
        // Path related statuses from 0x370 on are the kernel's own: no controller said them.
        lost @ (0x007 | 0x008 | 0x370..=0x37f) => {
            let text = format!("the command was given up ({lost:#05x})");
            Err(NvmeFailure::NoAnswer(io::Error::new(io::ErrorKind::ConnectionAborted, text)))
        }
        status => Err(NvmeFailure::Status(status)),
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn the_kernels_structure_has_the_kernels_layout() {
        assert_eq!(size_of::<Passthru>(), 72);
        assert_eq!(offset_of!(Passthru, namespace), 4);
        assert_eq!(offset_of!(Passthru, data), 24);
        assert_eq!(offset_of!(Passthru, data_length), 36);
        assert_eq!(offset_of!(Passthru, dwords), 40);
        assert_eq!(offset_of!(Passthru, timeout_milliseconds), 64);
        assert_eq!(offset_of!(Passthru, result), 68);
    }

    fn failure(command: NvmeCommand, data: Data<'_>) -> io::Error {
        let file = tempfile::tempfile().unwrap();
        match admin(&file, &command, data, Duration::from_secs(1)).unwrap_err() {
            NvmeFailure::NoAnswer(error) => error,
            status @ NvmeFailure::Status(_) => panic!("{status}"),
        }
    }

    fn log(words: u32) -> NvmeCommand {
        let opcode = opcode::GET_LOG_PAGE;
        NvmeCommand { opcode, dwords: [words << 16 | 0x81, 0, 0, 0, 0, 0], ..Default::default() }
    }

    #[test]
    fn only_what_transfers_what_was_borrowed_reaches_the_kernel() {
        let mut page = [0; 4096];
        let plain = |opcode: u8| NvmeCommand { opcode, ..Default::default() };
        // To the kernel, which says that a file is no such device.
        for error in [
            failure(plain(opcode::IDENTIFY), Data::In(&mut page)),
            failure(log(127), Data::In(&mut page[..512])),
            failure(plain(opcode::SANITIZE), Data::None),
            failure(plain(opcode::FORMAT), Data::None),
            failure(plain(opcode::NAMESPACE_ATTACHMENT), Data::Out(&[0; 4096])),
            failure(plain(opcode::SECURITY_SEND), Data::Out(&[])),
        ] {
            assert_eq!(error.raw_os_error(), Some(libc::ENOTTY), "{error}");
        }
        // Not to the kernel: too short, the wrong way, or unknown.
        for error in [
            failure(plain(opcode::IDENTIFY), Data::In(&mut page[..512])),
            failure(plain(opcode::IDENTIFY), Data::None),
            failure(plain(opcode::IDENTIFY), Data::Out(&[0; 4096])),
            failure(log(128), Data::In(&mut page[..512])),
            failure(log(0xffff), Data::In(&mut page)),
            failure(plain(opcode::NAMESPACE_ATTACHMENT), Data::In(&mut page)),
            failure(plain(opcode::SANITIZE), Data::In(&mut page)),
            failure(plain(0x10), Data::None),
            failure(plain(0x11), Data::Out(&[0; 4096])),
            failure(plain(0xc0), Data::None),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
    }

    #[test]
    fn what_the_controller_says_and_what_nobody_says_are_two_things() {
        assert!(status(0).is_ok());
        for (returned, expected) in [(0x4001, 0x001), (0x001d, 0x01d), (0x610b, 0x10b)] {
            let Err(NvmeFailure::Status(found)) = status(returned) else { panic!("{returned:#x}") };
            assert_eq!(found, expected);
        }
        for lost in [0x007, 0x008, 0x370, 0x371, 0x4371] {
            assert!(matches!(status(lost), Err(NvmeFailure::NoAnswer(_))), "{lost:#x}");
        }
    }

    #[test]
    fn a_limit_is_never_taken_for_the_kernels_own_or_for_none() {
        assert_eq!(milliseconds(Duration::ZERO), 1);
        assert_eq!(milliseconds(Duration::from_hours(1)), 3_600_000);
        assert_eq!(milliseconds(Duration::MAX), i32::MAX.unsigned_abs());
        assert_eq!(milliseconds(Duration::from_hours(1200)), i32::MAX.unsigned_abs());
    }

    #[test]
    fn only_a_character_device_is_opened_for_a_controller() {
        let (_file, number) = open_controller(Path::new("/dev/null")).unwrap();
        assert_eq!(number.to_string(), "1:3");
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = open_controller(file.path()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
        let link = file.path().with_extension("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let error = open_controller(&link).unwrap_err();
        std::fs::remove_file(&link).unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn a_file_has_no_namespace() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(namespace(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(rescan(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}
