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
    /// Nothing to say.
    pub(crate) const NONE: Self = Self(0x00, 0x00, 0x00);
    /// LOGICAL UNIT NOT READY, FORMAT IN PROGRESS.
    pub(crate) const FORMATTING: Self = Self(0x02, 0x04, 0x04);
    /// LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS.
    pub(crate) const SANITIZING: Self = Self(0x02, 0x04, 0x1b);
    /// WRITE AFTER SANITIZE REQUIRED.
    pub(crate) const UNWRITTEN: Self = Self(0x03, 0x11, 0x15);
    /// MEDIUM FORMAT CORRUPTED.
    pub(crate) const CORRUPTED: Self = Self(0x03, 0x31, 0x00);
    /// FORMAT COMMAND FAILED.
    pub(crate) const FORMAT_FAILED: Self = Self(0x03, 0x31, 0x01);
    /// SANITIZE COMMAND FAILED.
    pub(crate) const SANITIZE_FAILED: Self = Self(0x03, 0x31, 0x03);
    /// PARAMETER LIST LENGTH ERROR.
    pub(crate) const LIST_LENGTH: Self = Self(0x05, 0x1a, 0x00);
    /// INVALID COMMAND OPERATION CODE.
    pub(crate) const INVALID_OPCODE: Self = Self(0x05, 0x20, 0x00);
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    pub(crate) const OUT_OF_RANGE: Self = Self(0x05, 0x21, 0x00);
    /// INVALID FIELD IN CDB.
    pub(crate) const INVALID_FIELD: Self = Self(0x05, 0x24, 0x00);
    /// INVALID FIELD IN PARAMETER LIST.
    pub(crate) const INVALID_PARAMETER: Self = Self(0x05, 0x26, 0x00);
    /// HARDWARE WRITE PROTECTED.
    pub(crate) const HARDWARE_PROTECTED: Self = Self(0x07, 0x27, 0x01);
    /// LOGICAL UNIT SOFTWARE WRITE PROTECTED.
    pub(crate) const SOFTWARE_PROTECTED: Self = Self(0x07, 0x27, 0x02);

    /// Descriptor format (section 4.4.2): response code 0x72.
    pub(crate) fn descriptor(self, descriptors: &[u8]) -> Vec<u8> {
        let length = u8::try_from(descriptors.len()).expect("a few descriptors");
        let mut sense = vec![0x72, self.0, self.1, self.2, 0, 0, 0, length];
        sense.extend_from_slice(descriptors);
        sense
    }

    /// Descriptor format with how far an operation is, in 65,536ths: the sense key specific descriptor.
    pub(crate) fn descriptor_with(self, progress: Option<u16>) -> Vec<u8> {
        let Some(progress) = progress else { return self.descriptor(&[]) };
        let [high, low] = progress.to_be_bytes();
        self.descriptor(&[0x02, 0x06, 0, 0, 0x80, high, low, 0])
    }

    /// Fixed format (section 4.4.3): response code 0x70.
    pub(crate) fn fixed_with(self, progress: Option<u16>) -> Vec<u8> {
        let mut sense = vec![0; 18];
        (sense[0], sense[2], sense[7], sense[12], sense[13]) = (0x70, self.0, 10, self.1, self.2);
        if let Some(progress) = progress {
            sense[15] = 0x80; // SKSV
            sense[16..18].copy_from_slice(&progress.to_be_bytes());
        }
        sense
    }
}
