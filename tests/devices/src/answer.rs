//! Answers to SCSI commands, and sense data (SPC-5, section 4.4).

/// The answer to a SCSI command that reached its device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status byte (SAM-5, section 5.3.1): 0 is GOOD, 2 CHECK CONDITION, 0x18 RESERVATION CONFLICT.
    pub status: u8,
    /// Sense data; empty where there is none.
    pub sense: Vec<u8>,
    /// How many bytes were transferred.
    pub transferred: usize,
}

/// CHECK CONDITION.
pub(crate) const CHECK_CONDITION: u8 = 2;

impl Answer {
    pub(crate) fn good(transferred: usize) -> Self {
        Self { transferred, ..Self::default() }
    }

    pub(crate) fn check(sense: Vec<u8>) -> Self {
        Self { status: CHECK_CONDITION, sense, transferred: 0 }
    }
}

/// Sense key, additional sense code and its qualifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sense(pub(crate) u8, pub(crate) u8, pub(crate) u8);

impl Sense {
    /// INVALID COMMAND OPERATION CODE.
    pub(crate) const INVALID_OPCODE: Self = Self(0x05, 0x20, 0x00);
    /// INVALID FIELD IN CDB.
    pub(crate) const INVALID_FIELD: Self = Self(0x05, 0x24, 0x00);

    /// Descriptor format (section 4.4.2): response code 0x72.
    pub(crate) fn descriptor(self, descriptors: &[u8]) -> Vec<u8> {
        let length = u8::try_from(descriptors.len()).expect("a few descriptors");
        let mut sense = vec![0x72, self.0, self.1, self.2, 0, 0, 0, length];
        sense.extend_from_slice(descriptors);
        sense
    }
}
