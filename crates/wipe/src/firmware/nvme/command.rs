//! NVMe admin commands as dwords. NVM Express Base Specification 2.0, section 5; bit positions as in libnvme's
//! `src/nvme/ioctl.h`.

use disk::command::NvmeCommand;

use super::identify::Formatting;

/// The namespace number that stands for all.
const ALL_NAMESPACES: u32 = 0xffff_ffff;

/// How many bytes IDENTIFY answers with.
pub(super) const IDENTIFY_BYTES: usize = 4096;
/// How many bytes of the sanitize log are read: all.
pub(super) const SANITIZE_LOG_BYTES: usize = 512;

/// Generic status 1Dh: a sanitize runs.
pub(super) const STATUS_SANITIZE_IN_PROGRESS: u16 = 0x1d;
/// Generic status 84h: a format runs.
pub(super) const STATUS_FORMAT_IN_PROGRESS: u16 = 0x84;

/// What IDENTIFY is asked for (section 5.17.1, figure 273).
#[derive(Debug, Clone, Copy)]
pub(super) enum Identify {
    /// CNS 00h.
    Namespace(u32),
    /// CNS 01h.
    Controller,
    /// CNS 02h: namespaces that the controller answers for.
    ActiveNamespaces,
    /// CNS 10h: namespaces of the whole subsystem.
    AllocatedNamespaces,
}

/// The sanitize action, SANACT (section 5.24, figure 299).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Leaves the failure mode.
    ExitFailure,
    /// Erases the medium's blocks.
    Block,
    /// Overwrites the medium.
    Overwrite,
    /// Changes the media keys.
    Crypto,
    /// Leaves the media verification state.
    ExitVerification,
}

/// What a format does to user data, SES (section 5.14, figure 189).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecureErase {
    /// 1: user data erase.
    UserData,
    /// 2: cryptographic erase.
    Crypto,
}

/// How a status is to be taken for a command that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The controller is done with the command, and it did not succeed.
    Refused,
    /// Another erasure runs.
    Busy,
    /// The command was given up on the way; the controller may be at it.
    Lost,
}

/// Builds IDENTIFY.
pub(super) fn identify(what: Identify) -> NvmeCommand {
    let (cns, nsid) = match what {
        Identify::Namespace(nsid) => (0x00, nsid),
        Identify::Controller => (0x01, 0),
        Identify::ActiveNamespaces => (0x02, 0),
        Identify::AllocatedNamespaces => (0x10, 0),
    };
    NvmeCommand { opcode: 0x06, nsid, dwords: [cns, 0, 0, 0, 0, 0] }
}

/// Builds GET LOG PAGE of the sanitize status, 81h. The number of dwords is counted from 0.
pub(super) fn sanitize_log() -> NvmeCommand {
    const DWORDS: u32 = 512 / 4 - 1;
    NvmeCommand { opcode: 0x02, nsid: ALL_NAMESPACES, dwords: [DWORDS << 16 | 0x81, 0, 0, 0, 0, 0] }
}

/// Builds SANITIZE. An unrestricted one may be left after a failure. Overwrites once, with zeros.
pub(super) fn sanitize(action: Action, is_unrestricted: bool) -> NvmeCommand {
    let action_bits = match action {
        Action::ExitFailure => 1,
        Action::Block => 2,
        // No passes would be 16.
        Action::Overwrite => 3 | 1 << 4,
        Action::Crypto => 4,
        Action::ExitVerification => 5,
    };
    let erases = !matches!(action, Action::ExitFailure | Action::ExitVerification);
    let unrestricted = if is_unrestricted && erases { 1 << 3 } else { 0 };
    NvmeCommand { opcode: 0x84, nsid: 0, dwords: [action_bits | unrestricted, 0, 0, 0, 0, 0] }
}

/// Builds FORMAT NVM, which leaves the sectors as they are.
pub(super) fn format(nsid: u32, formatting: Formatting, erase: SecureErase) -> NvmeCommand {
    let index = u32::from(formatting.index);
    let erase = match erase {
        SecureErase::UserData => 1,
        SecureErase::Crypto => 2,
    };
    let dword = index & 0xf
        | u32::from(formatting.is_metadata_extended) << 4
        | u32::from(formatting.protection & 7) << 5
        | u32::from(formatting.is_protection_first) << 8
        | erase << 9
        | (index >> 4 & 3) << 12;
    NvmeCommand { opcode: 0x80, nsid, dwords: [dword, 0, 0, 0, 0, 0] }
}

/// Returns a command as it stands in the submission queue, without its pointers.
pub(super) fn entry(command: &NvmeCommand) -> [u8; 64] {
    let mut entry = [0; 64];
    entry[0] = command.opcode;
    entry[4..8].copy_from_slice(&command.nsid.to_le_bytes());
    for (bytes, dword) in entry[40..].chunks_exact_mut(4).zip(command.dwords) {
        bytes.copy_from_slice(&dword.to_le_bytes());
    }
    entry
}

/// Says what a status that is not success means for a command that erases.
pub(super) fn meaning(status: u16) -> Meaning {
    match status {
        STATUS_SANITIZE_IN_PROGRESS | STATUS_FORMAT_IN_PROGRESS => Meaning::Busy,
        // Aborted, its queue deleted; or path related (status code type 3), with which Linux ends what it gives up.
        0x07 | 0x08 | 0x300..=0x3ff => Meaning::Lost,
        _ => Meaning::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatting() -> Formatting {
        Formatting {
            index: 0x2b,
            is_metadata_extended: true,
            protection: 2,
            is_protection_first: true,
        }
    }

    #[test]
    fn a_format_keeps_the_sectors_with_the_upper_bits_of_their_number() {
        let command = format(3, formatting(), SecureErase::Crypto);
        assert_eq!((command.opcode, command.nsid), (0x80, 3));
        // LBAF b, MSET, PI 2, PIL, SES 2, LBAFU 2.
        assert_eq!(command.dwords[0], 0xb | 0x10 | 0x40 | 0x100 | 0x400 | 0x2000);
        let command = format(1, Formatting::default(), SecureErase::UserData);
        assert_eq!(command.dwords, [0x200, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_overwrite_is_one_pass_and_not_sixteen() {
        assert_eq!(sanitize(Action::Overwrite, true).dwords, [0x1b, 0, 0, 0, 0, 0]);
        assert_eq!(sanitize(Action::Block, true).dwords[0], 0x0a);
        assert_eq!(sanitize(Action::Crypto, false).dwords[0], 0x04);
        assert_eq!(sanitize(Action::ExitFailure, true).dwords[0], 0x01);
        assert_eq!(sanitize(Action::ExitVerification, true).dwords[0], 0x05);
    }

    #[test]
    fn a_command_is_kept_as_it_stood_in_the_queue() {
        let entry = entry(&sanitize_log());
        assert_eq!(
            (entry[0], &entry[4..8], &entry[40..44]),
            (2, &[0xff; 4][..], &[0x81, 0, 0x7f, 0][..])
        );
    }

    #[test]
    fn what_linux_gave_up_is_lost_and_not_refused() {
        for lost in [0x07, 0x08, 0x300, 0x371, 0x3ff] {
            assert_eq!(meaning(lost), Meaning::Lost, "{lost:#x}");
        }
        for busy in [0x1d, 0x84] {
            assert_eq!(meaning(busy), Meaning::Busy, "{busy:#x}");
        }
        for refused in [0x01, 0x06, 0x09, 0x1c, 0x83, 0x85, 0x10a, 0x2ff, 0x400] {
            assert_eq!(meaning(refused), Meaning::Refused, "{refused:#x}");
        }
    }
}
