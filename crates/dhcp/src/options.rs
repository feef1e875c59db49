//! Options as an ordered map from code to raw bytes.

use crate::code;

/// Options in the order in which they first appeared, each code once.
///
/// A value longer than 255 bytes is split on the wire and joined again when read. RFC 3396.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options(Vec<(u8, Vec<u8>)>);

/// Says that bytes are no options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedOptions {
    /// An option says that it is longer than what is left.
    #[error("option {code} is cut off")]
    CutOff {
        /// The option.
        code: u8,
    },
    /// The bytes stop without the end option.
    #[error("options without an end")]
    NoEnd,
}

/// What may stand behind the last option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The end option, always.
    Required,
    /// The end option, or nothing.
    Optional,
}

impl Options {
    /// Holds no option.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads options that stand inside another option (43, 175), with or without an end option.
    pub fn parse_encapsulated(bytes: &[u8]) -> Result<Self, MalformedOptions> {
        let mut options = Self::new();
        options.read(bytes, Ending::Optional)?;
        Ok(options)
    }

    /// Returns the raw value.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == code).map(|(_, value)| value.as_slice())
    }

    /// Holds when the option is there, even without a value.
    pub fn contains(&self, code: u8) -> bool {
        self.get(code).is_some()
    }

    /// Replaces the option's value in its place, or puts it last. Pad (0) and end (255) have no value and are ignored.
    pub fn set(&mut self, code: u8, value: impl Into<Vec<u8>>) {
        if matches!(code, code::PAD | code::END) {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == code) {
            Some((_, known)) => *known = value.into(),
            None => self.0.push((code, value.into())),
        }
    }

    /// Takes the option out.
    pub fn remove(&mut self, code: u8) -> Option<Vec<u8>> {
        let index = self.0.iter().position(|(known, _)| *known == code)?;
        Some(self.0.remove(index).1)
    }

    /// Yields codes and raw values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(code, value)| (*code, value.as_slice()))
    }

    /// Writes the options for the inside of another option, without an end option.
    pub fn encapsulate(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (code, value) in self.iter() {
            write(&mut bytes, code, value);
        }
        bytes
    }

    /// Reads options behind those that are there already, joining values of one code. RFC 3396 clause 7.
    pub(crate) fn read(&mut self, bytes: &[u8], ending: Ending) -> Result<(), MalformedOptions> {
        let mut rest = bytes;
        while let Some((&code, after_code)) = rest.split_first() {
            match code {
                code::PAD => rest = after_code,
                code::END => return Ok(()),
                code => {
                    let cut_off = MalformedOptions::CutOff { code };
                    let (&length, after_length) = after_code.split_first().ok_or(cut_off)?;
                    let (value, after_value) =
                        after_length.split_at_checked(usize::from(length)).ok_or(cut_off)?;
                    match self.0.iter_mut().find(|(known, _)| *known == code) {
                        Some((_, known)) => known.extend_from_slice(value),
                        None => self.0.push((code, value.to_vec())),
                    }
                    rest = after_value;
                }
            }
        }
        match ending {
            Ending::Required => Err(MalformedOptions::NoEnd),
            Ending::Optional => Ok(()),
        }
    }
}

/// Returns how many bytes the option takes on the wire.
pub(crate) fn wire_size(value: &[u8]) -> usize {
    value.len() + 2 * value.len().div_ceil(255).max(1)
}

/// Writes one option, in several pieces where it is longer than 255 bytes.
pub(crate) fn write(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    if value.is_empty() {
        bytes.extend([code, 0]);
    }
    for piece in value.chunks(255) {
        let length = u8::try_from(piece.len()).expect("chunks(255) yields at most 255 bytes");
        bytes.extend([code, length]);
        bytes.extend(piece);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn split_values_are_joined_in_order() {
        let mut options = Options::new();
        let read =
            options.read(&[43, 2, 1, 2, 0, 60, 1, 9, 43, 1, 3, 255, 99, 99], Ending::Required);
        assert_eq!(read, Ok(()));
        assert_eq!(options.get(43), Some(&[1, 2, 3][..]));
        assert_eq!(options.iter().map(|(code, _)| code).collect::<Vec<_>>(), [43, 60]);
    }

    #[test]
    fn a_value_replaces_its_forerunner_in_place() {
        let mut options = Options::new();
        options.set(53, [1]);
        options.set(54, [10, 0, 0, 1]);
        options.set(53, [2]);
        options.set(code::END, [1]);
        assert_eq!(options.encapsulate(), [53, 1, 2, 54, 4, 10, 0, 0, 1]);
        assert_eq!(options.remove(53), Some(vec![2]));
        assert_eq!(options.remove(53), None);
    }

    #[test]
    fn an_option_without_a_value_is_there() {
        let mut options = Options::new();
        options.set(80, []);
        assert_eq!(options.encapsulate(), [80, 0]);
        assert!(Options::parse_encapsulated(&[80, 0]).unwrap().contains(80));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        for bytes in [&[43][..], &[43, 1], &[43, 3, 1, 2]] {
            assert_eq!(
                Options::parse_encapsulated(bytes),
                Err(MalformedOptions::CutOff { code: 43 }),
                "{bytes:?}"
            );
        }
        let mut options = Options::new();
        assert_eq!(options.read(&[53, 1, 1], Ending::Required), Err(MalformedOptions::NoEnd));
    }

    proptest! {
        #[test]
        fn written_and_read_are_inverse(values in prop::collection::vec((1_u8..255, prop::collection::vec(any::<u8>(), 0..600)), 0..8)) {
            let mut options = Options::new();
            for (code, value) in values {
                options.set(code, value);
            }
            let bytes = options.encapsulate();
            prop_assert_eq!(bytes.len(), options.iter().map(|(_, value)| wire_size(value)).sum::<usize>());
            prop_assert_eq!(Options::parse_encapsulated(&bytes), Ok(options));
        }
    }
}
