//! Persistent reservations: other machines that share a disk leave their keys on it. Asked for, never changed.
//!
//! The kernel's own calls for this only make and break reservations (`include/uapi/linux/pr.h`, Linux 6.12), so the
//! disk is asked in its own language.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use crate::{
    nvme,
    scsi::{self, ScsiAnswer},
    transfer::Data,
};

/// How long a disk may take to answer.
const PATIENCE: Duration = Duration::from_secs(10); // A disk that has to wake up answers this one without its medium.

/// As much of an answer as is asked for; how many keys there are stands at its start.
const ANSWER_BYTES: usize = 4096;

/// A buffer that the kernel can hand to a device without a copy.
#[repr(C, align(4096))]
struct Answer([u8; ANSWER_BYTES]);

/// Linux, `include/uapi/linux/nvme_ioctl.h`, `struct nvme_passthru_cmd`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct NvmeCommand {
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
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    timeout_milliseconds: u32,
    result: u32,
}

mod raw {
    use super::NvmeCommand;

    nix::ioctl_readwrite!(nvme_admin, b'N', 0x41, NvmeCommand);
    nix::ioctl_readwrite!(nvme_io, b'N', 0x43, NvmeCommand);
}

/// Returns how many keys are registered with a SCSI disk: none where it knows no reservations (`SG_IO` with
/// PERSISTENT RESERVE IN, READ KEYS; SPC-5 §6.17). A disk can be reserved only by who has a key there.
/// Needs `CAP_SYS_RAWIO`.
pub fn scsi(disk: impl AsFd) -> io::Result<u64> {
    // A disk tells of a reset, or of another's change, in place of the first answer after it.
    for _ in 0..3 {
        let (answer, keys) = read_keys(disk.as_fd())?;
        if let Some(keys) = scsi_keys(&answer, &keys.0[..answer.transferred])? {
            return Ok(keys);
        }
    }
    Err(io::Error::other("the disk answers with nothing but unit attentions"))
}

fn read_keys(disk: BorrowedFd<'_>) -> io::Result<(ScsiAnswer, Box<Answer>)> {
    let mut keys = Box::new(Answer([0; ANSWER_BYTES]));
    let [.., high, low] = ANSWER_BYTES.to_be_bytes();
    let command = [0x5e, 0, 0, 0, 0, 0, 0, high, low, 0];
    let answer = scsi::execute(disk, &command, Data::In(&mut keys.0), PATIENCE)?;
    Ok((answer, keys))
}

/// Returns the number of keys; `None` where the disk is to be asked again.
fn scsi_keys(answer: &ScsiAnswer, data: &[u8]) -> io::Result<Option<u64>> {
    match answer.status {
        0 => {
            let field = data.get(4..8).and_then(|field| field.try_into().ok());
            let length =
                field.map(u32::from_be_bytes).ok_or_else(|| io::Error::other("a short answer"))?;
            Ok(Some(u64::from(length).div_ceil(8)))
        }
        // RESERVATION CONFLICT: somebody has it so firmly that nothing may be asked.
        0x18 => Ok(Some(1)),
        2 => match sense(&answer.sense) {
            // ILLEGAL REQUEST, and it is the command or its service action that the disk does not know.
            Some((5, 0x20 | 0x24)) => Ok(Some(0)),
            Some((6, _)) => Ok(None),
            Some((key, code)) => {
                Err(io::Error::other(format!("the disk says {key:#x}/{code:#04x}")))
            }
            None => Err(io::Error::other("the disk does not say what is wrong")),
        },
        status => Err(io::Error::other(format!("the disk's status is {status:#04x}"))),
    }
}

/// Returns sense key and additional code, of fixed or descriptor format (SPC-5 §4.4).
fn sense(sense: &[u8]) -> Option<(u8, u8)> {
    let at = |index: usize| sense.get(index).copied();
    match at(0)? & 0x7f {
        0x70 | 0x71 => Some((at(2)? & 0x0f, at(12)?)),
        0x72 | 0x73 => Some((at(1)? & 0x0f, at(2)?)),
        _ => None,
    }
}

/// Returns how many controllers are registered with an NVMe namespace: none where its controller knows no
/// reservations (`NVME_IOCTL_ADMIN_CMD` with Identify, `NVME_IOCTL_IO_CMD` with Reservation Report; NVM Command Set
/// Specification 1.0 §3, Base Specification 2.0 §7.8). Needs `CAP_SYS_ADMIN`.
pub fn nvme(disk: impl AsFd) -> io::Result<u64> {
    let namespace = nvme::namespace(disk.as_fd())?;
    let disk = disk.as_fd().as_raw_fd();
    let identify = NvmeCommand { opcode: 0x06, cdw10: 1, ..NvmeCommand::default() };
    let (status, controller) = nvme_command(disk, Queue::Admin, identify)?;
    if status != 0 {
        return Err(nvme_failure("Identify", status));
    }
    if !knows_reservations(&controller) {
        return Ok(0);
    }
    for extended in [0, 1] {
        let report = NvmeCommand {
            opcode: 0x0e,
            namespace,
            cdw10: 1023, // Words of the answer, less one.
            cdw11: extended,
            ..NvmeCommand::default()
        };
        match nvme_command(disk, Queue::Io, report)? {
            (0, answer) => return Ok(registered(&answer)),
            // Host Identifier Inconsistent Format: it has to be the other form of the answer.
            (0x18, _) => {}
            (status, _) => return Err(nvme_failure("Reservation Report", status)),
        }
    }
    Err(nvme_failure("Reservation Report", 0x18))
}

#[derive(Clone, Copy)]
enum Queue {
    Admin,
    Io,
}

fn nvme_command(disk: RawFd, queue: Queue, command: NvmeCommand) -> io::Result<(u16, Box<Answer>)> {
    let mut answer = Box::new(Answer([0; ANSWER_BYTES]));
    let address = u64::try_from(answer.0.as_mut_ptr().expose_provenance());
    let mut command = NvmeCommand {
        data: address.map_err(io::Error::other)?,
        data_length: 4096,
        timeout_milliseconds: nvme::milliseconds(PATIENCE),
        ..command
    };
    let returned = match queue {
        // SAFETY: `NVME_IOCTL_ADMIN_CMD` reads and writes one `nvme_passthru_cmd`, and writes at most `data_length`
        // bytes at `data`; both outlive the call, and the buffer is that long.
        Queue::Admin => unsafe { raw::nvme_admin(disk, &raw mut command) },
        // SAFETY: as above, of `NVME_IOCTL_IO_CMD`.
        Queue::Io => unsafe { raw::nvme_io(disk, &raw mut command) },
    }?;
    // What is not negative is the device's status: type and code in the low 11 bits.
    let status = u16::try_from(returned & 0x7ff).map_err(io::Error::other)?;
    Ok((status, answer))
}

/// Optional NVM Command Support, bit 5.
fn knows_reservations(controller: &Answer) -> bool {
    controller.0[520] & 0x20 != 0
}

/// Bytes 5 and 6 of either form: the number of registered controllers.
fn registered(report: &Answer) -> u64 {
    u64::from(u16::from_le_bytes([report.0[5], report.0[6]]))
}

fn nvme_failure(command: &str, status: u16) -> io::Error {
    io::Error::other(format!("{command} ended with status {status:#05x}"))
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    fn keys(status: u8, sense: &[u8], data: &[u8]) -> io::Result<Option<u64>> {
        let answer = ScsiAnswer { status, sense: sense.to_vec(), transferred: data.len() };
        scsi_keys(&answer, data)
    }

    #[test]
    fn the_kernels_structures_have_the_kernels_size() {
        assert_eq!(size_of::<NvmeCommand>(), 72);
    }

    #[test]
    fn every_key_counts() {
        let two_keys = [&[0, 0, 0, 9, 0, 0, 0, 16][..], &[7; 16]].concat();
        assert_eq!(keys(0, &[], &two_keys).unwrap(), Some(2));
        assert_eq!(keys(0, &[], &[0; 8]).unwrap(), Some(0));
        assert_eq!(keys(0x18, &[], &[]).unwrap(), Some(1));
        let mut report = Answer([0; ANSWER_BYTES]);
        assert_eq!(registered(&report), 0);
        report.0[4..8].copy_from_slice(&[1, 2, 1, 0]);
        assert_eq!(registered(&report), 258);
    }

    #[test]
    fn a_disk_that_does_not_know_the_question_has_no_keys() {
        let mut fixed = [0; 18];
        (fixed[0], fixed[2], fixed[12]) = (0x70, 5, 0x20);
        assert_eq!(keys(2, &fixed, &[]).unwrap(), Some(0));
        assert_eq!(keys(2, &[0x72, 5, 0x24, 0], &[]).unwrap(), Some(0));
        let mut controller = Answer([0; ANSWER_BYTES]);
        assert!(!knows_reservations(&controller));
        controller.0[520] = 0x20;
        assert!(knows_reservations(&controller));
    }

    #[test]
    fn what_is_no_answer_is_never_taken_for_none() {
        for (status, sense, data) in [
            (0, &[][..], &[][..]),
            (0, &[], &[0; 7]),
            (2, &[], &[]),
            (2, &[0x70], &[]),
            (2, &[0x72, 4, 0x44, 0], &[]),
            (8, &[], &[0; 8]),
        ] {
            assert!(keys(status, sense, data).is_err(), "{status}");
        }
        assert_eq!(keys(2, &[0x72, 6, 0x29, 0], &[]).unwrap(), None);
    }

    #[test]
    fn a_file_has_no_reservations_to_tell_of() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(scsi(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(nvme(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}
