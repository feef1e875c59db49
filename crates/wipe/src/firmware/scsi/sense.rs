//! Sense data. SPC-5, section 4.4; codes of SBC-4's SANITIZE and FORMAT UNIT, as in `lib/sg_lib.c` of `sg3_utils`.

use super::super::bytes::{big16, byte};

/// What a device says of how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sense {
    pub(super) key: u8,
    pub(super) code: u8,
    pub(super) qualifier: u8,
    /// In 65,536ths, where it says.
    pub(super) progress: Option<u16>,
}

/// What that means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing is to be said.
    Well,
    Sanitizing,
    Formatting,
    SanitizeFailed,
    /// A format failed, or was cut.
    Corrupted,
    /// Something happened meanwhile: ask again.
    Attention,
    /// The command is not taken.
    Illegal,
    WriteProtected,
    Other,
}

impl Sense {
    /// Reads fixed and descriptor sense data. What is neither says nothing.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        match byte(bytes, 0) & 0x7f {
            0x70 | 0x71 if bytes.len() >= 3 => {
                let is_progress = byte(bytes, 15) & 0x80 != 0 && bytes.len() >= 18;
                Some(Self {
                    key: byte(bytes, 2) & 0xf,
                    code: byte(bytes, 12),
                    qualifier: byte(bytes, 13),
                    progress: is_progress.then(|| big16(bytes, 16)),
                })
            }
            0x72 | 0x73 if bytes.len() >= 4 => Some(Self {
                key: byte(bytes, 1) & 0xf,
                code: byte(bytes, 2),
                qualifier: byte(bytes, 3),
                progress: described_progress(bytes),
            }),
            _ => None,
        }
    }

    /// Says what it means.
    pub(super) fn condition(self) -> Condition {
        match (self.key, self.code, self.qualifier) {
            (_, 0x04, 0x1b) => Condition::Sanitizing,
            (_, 0x04, 0x04) => Condition::Formatting,
            (_, 0x31, 0x03) => Condition::SanitizeFailed,
            (_, 0x31, _) => Condition::Corrupted,
            (0x0 | 0x1, ..) => Condition::Well,
            (0x6, ..) => Condition::Attention,
            (0x5, ..) => Condition::Illegal,
            (0x7, ..) => Condition::WriteProtected,
            _ => Condition::Other,
        }
    }
}

/// Progress stands in the descriptor of the sense key, type 2, or in one of its own, type 0Ah.
fn described_progress(bytes: &[u8]) -> Option<u16> {
    let mut rest = bytes.get(8..)?;
    while let [kind, length, ..] = *rest {
        let whole = usize::from(length) + 2;
        match (kind, length, rest.get(..whole)) {
            (0x02, 6, Some(found)) if found[4] & 0x80 != 0 => return Some(big16(found, 5)),
            (0x0a, 6, Some(found)) => return Some(big16(found, 6)),
            _ => rest = rest.get(whole..)?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_found_in_both_formats() {
        let mut fixed = vec![0x70, 0, 2, 0, 0, 0, 0, 10, 0, 0, 0, 0, 4, 0x1b, 0, 0x80, 0x40, 0x01];
        let sense = Sense::parse(&fixed).unwrap();
        assert_eq!((sense.condition(), sense.progress), (Condition::Sanitizing, Some(0x4001)));
        // The other bits point at a field, and there is no progress without SKSV.
        for byte in 0..0x80 {
            fixed[15] = byte;
            assert_eq!(Sense::parse(&fixed).unwrap().progress, None);
        }
        let described = [0x72, 2, 4, 4, 0, 0, 0, 12, 0, 2, 0, 0, 2, 6, 0, 0, 0x80, 0x12, 0x34, 0];
        let sense = Sense::parse(&described).unwrap();
        assert_eq!((sense.condition(), sense.progress), (Condition::Formatting, Some(0x1234)));
        let mut invalid = described;
        for byte in 0..0x80 {
            invalid[16] = byte;
            assert_eq!(Sense::parse(&invalid).unwrap().progress, None, "not without SKSV");
        }
        for length in 0..described.len() {
            Sense::parse(&described[..length]);
        }
        // Another progress indication, behind a descriptor of something else.
        let another = [0x72, 2, 4, 4, 0, 0, 0, 12, 3, 2, 7, 7, 0x0a, 6, 2, 4, 4, 0, 0x56, 0x78];
        assert_eq!(Sense::parse(&another).unwrap().progress, Some(0x5678));
    }

    /// SPC-5, table 28: what is of a command before is read as what is of this one.
    #[test]
    fn each_response_code_has_its_format() {
        for code in 0..0x80 {
            let mut bytes = [0; 18];
            bytes[0] = code;
            let found = Sense::parse(&bytes);
            assert_eq!(found.is_some(), (0x70..=0x73).contains(&code), "{code:#x}");
            bytes[if code < 0x72 { 2 } else { 1 }] = 0xf5;
            let key = Sense::parse(&bytes).map(|sense| sense.key);
            assert_eq!(key, found.map(|_| 5), "{code:#x}");
        }
        for (code, least) in [(0x70, 3), (0x71, 3), (0x72, 4), (0x73, 4)] {
            let read = |length| Sense::parse(&[code, 0, 0, 0][..length]).is_some();
            assert_eq!((read(least - 1), read(least)), (false, true), "{code:#x}");
        }
    }

    #[test]
    fn conditions_follow_from_the_codes() {
        let condition =
            |key, code, qualifier| Sense { key, code, qualifier, progress: None }.condition();
        assert_eq!(condition(3, 0x31, 3), Condition::SanitizeFailed);
        assert_eq!(condition(3, 0x31, 1), Condition::Corrupted);
        assert_eq!(condition(6, 0x29, 0), Condition::Attention);
        assert_eq!(condition(5, 0x20, 0), Condition::Illegal);
        assert_eq!(condition(2, 0x04, 1), Condition::Other);
        assert_eq!(condition(0, 0, 0), Condition::Well);
    }

    /// SPC-5, table 49: all sixteen.
    #[test]
    fn every_sense_key_means_what_it_is() {
        for key in 0..16 {
            let expected = match key {
                // NO SENSE, RECOVERED ERROR.
                0 | 1 => Condition::Well,
                5 => Condition::Illegal,
                6 => Condition::Attention,
                7 => Condition::WriteProtected,
                _ => Condition::Other,
            };
            let sense = Sense { key, code: 0x29, qualifier: 0, progress: None };
            assert_eq!(sense.condition(), expected, "{key}");
        }
    }
}
