//! SCSI commands as bytes. SPC-5 and SBC-4; service actions and parameter lists as in `src/sg_sanitize.c` and
//! `src/sg_format.c` of `sg3_utils`.

use std::time::Duration;

use super::super::bytes::{big16, big32, byte};

/// What SANITIZE does (SBC-4, section 5.30).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sanitize {
    /// Overwrites once, with zeros.
    Overwrite,
    Block,
    Crypto,
    /// Leaves the failure mode.
    ExitFailure,
}

impl Sanitize {
    /// The service action.
    pub(super) fn action(self) -> u8 {
        match self {
            Self::Overwrite => 0x01,
            Self::Block => 0x02,
            Self::Crypto => 0x03,
            Self::ExitFailure => 0x1f,
        }
    }
}

/// Whether a command is supported as standards have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Support {
    No,
    Yes {
        /// How long it takes, where that is said.
        estimate: Option<Duration>,
    },
}

/// A command and what is sent with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) data: Vec<u8>,
}

/// The operation code of FORMAT UNIT.
pub(super) const FORMAT_UNIT: u8 = 0x04;
/// The operation code of SANITIZE.
pub(super) const SANITIZE: u8 = 0x48;

/// TEST UNIT READY.
pub(super) const TEST_UNIT_READY: [u8; 6] = [0; 6];
/// REQUEST SENSE, of 252 bytes in fixed format.
pub(super) const REQUEST_SENSE: [u8; 6] = [0x03, 0, 0, 0, 252, 0];
/// INQUIRY, of 96 bytes.
pub(super) const INQUIRY: [u8; 6] = [0x12, 0, 0, 0, 96, 0];
/// READ CAPACITY (16), of 32 bytes.
pub(super) const READ_CAPACITY: [u8; 16] = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
/// MODE SENSE (6) of all pages without block descriptors, of 252 bytes.
pub(super) const MODE_SENSE: [u8; 6] = [0x1a, 0x08, 0x3f, 0, 252, 0];

/// Builds INQUIRY of a page of vital product data, of 64 bytes.
pub(super) fn vital_page(page: u8) -> [u8; 6] {
    [0x12, 1, page, 0, 64, 0]
}

/// Builds REPORT SUPPORTED OPERATION CODES for one command, with its timeouts.
pub(super) fn supported(operation: u8, service_action: Option<u8>) -> [u8; 12] {
    // RCTD; 1 is a command without, 2 one with service action.
    let options = 0x80 | if service_action.is_some() { 2 } else { 1 };
    let action = service_action.unwrap_or(0);
    [0xa3, 0x0c, options, operation, 0, action, 0, 0, 0, 64, 0, 0]
}

/// Reads its answer.
pub(super) fn support(answer: &[u8]) -> Support {
    if byte(answer, 1) & 7 != 3 {
        return Support::No;
    }
    // CTDP: a descriptor of timeouts, ten bytes long, after the command's own bytes.
    let at = 4 + usize::from(big16(answer, 2));
    let seconds = big32(answer, at + 8);
    let is_said = byte(answer, 1) & 0x80 != 0 && big16(answer, at) == 10 && seconds != 0;
    Support::Yes { estimate: is_said.then(|| Duration::from_secs(u64::from(seconds))) }
}

/// Builds SANITIZE, which is answered at once. An unrestricted one may be left after a failure.
pub(super) fn sanitize(what: Sanitize, is_unrestricted: bool) -> Command {
    let (name, data) = match what {
        // Count 1, a pattern of four bytes.
        Sanitize::Overwrite => ("SANITIZE, overwrite", vec![1, 0, 0, 4, 0, 0, 0, 0]),
        Sanitize::Block => ("SANITIZE, block erase", Vec::new()),
        Sanitize::Crypto => ("SANITIZE, cryptographic erase", Vec::new()),
        Sanitize::ExitFailure => ("SANITIZE, exit failure mode", Vec::new()),
    };
    // IMMED, AUSE.
    let flags = match what {
        Sanitize::ExitFailure => 0,
        _ => 0x80 | if is_unrestricted { 0x20 } else { 0 },
    };
    let length = if data.is_empty() { 0 } else { 8 };
    let bytes = vec![SANITIZE, flags | what.action(), 0, 0, 0, 0, 0, 0, length, 0];
    Command { name, bytes, data }
}

/// Builds FORMAT UNIT, which is answered at once and keeps the protection information, 0 to 3.
pub(super) fn format_unit(protection: u8) -> Command {
    // FMTPINFO and PROTECTION FIELD USAGE (SBC-4, table 40).
    let (information, usage) = match protection {
        0 => (0, 0),
        1 => (2, 0),
        2 => (3, 0),
        _ => (3, 1),
    };
    Command {
        name: "FORMAT UNIT",
        // FMTDATA: a parameter list of four bytes, with IMMED and without a list of defects.
        bytes: vec![FORMAT_UNIT, information << 6 | 0x10, 0, 0, 0, 0],
        data: vec![usage, 0x02, 0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_keeps_the_protection_information() {
        let bits = |protection| {
            let command = format_unit(protection);
            (command.bytes[1], command.data[0])
        };
        assert_eq!(
            [bits(0), bits(1), bits(2), bits(3)],
            [(0x10, 0), (0x90, 0), (0xd0, 0), (0xd0, 1)]
        );
    }

    #[test]
    fn an_overwrite_says_how_long_its_list_is() {
        let command = sanitize(Sanitize::Overwrite, true);
        assert_eq!(command.bytes, [0x48, 0xa1, 0, 0, 0, 0, 0, 0, 8, 0]);
        assert_eq!(command.data, [1, 0, 0, 4, 0, 0, 0, 0]);
        assert_eq!(sanitize(Sanitize::Crypto, false).bytes[..2], [0x48, 0x83]);
        assert_eq!(sanitize(Sanitize::Block, false).bytes[..2], [0x48, 0x82]);
        assert_eq!(sanitize(Sanitize::ExitFailure, true).bytes[..2], [0x48, 0x1f]);
    }

    #[test]
    fn support_is_what_standards_have_and_may_say_how_long() {
        let takes = |seconds| Support::Yes { estimate: Some(Duration::from_secs(seconds)) };
        assert_eq!(support(&[0, 1, 0, 0]), Support::No);
        assert_eq!(support(&[0, 5, 0, 0]), Support::No, "the vendor's own way");
        assert_eq!(support(&[0, 3, 0, 2, 0x48, 0xff]), Support::Yes { estimate: None });
        let unsaid = [0, 0x03, 0, 2, 0x48, 0xff, 0, 10, 0, 0, 0, 0, 0, 9, 0, 0, 1, 0];
        assert_eq!(support(&unsaid), Support::Yes { estimate: None }, "CTDP is not set");
        let answer = [0, 0x83, 0, 2, 0x48, 0xff, 0, 10, 0, 0, 0, 0, 0, 9, 0, 0, 1, 0];
        assert_eq!(support(&answer), takes(256));
        let with = |seconds| support(&[&answer[..14], &[0, 0, 0, seconds]].concat());
        assert_eq!((with(0), with(1)), (Support::Yes { estimate: None }, takes(1)));
        for length in 0..answer.len() {
            support(&answer[..length]);
        }
    }
}
