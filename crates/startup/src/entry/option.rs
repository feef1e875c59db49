//! `EFI_LOAD_OPTION`: what a variable `Boot####` holds (UEFI 2.10 §3.1.3).

/// The firmware may start it. Without this bit it is only for people to choose.
const ACTIVE: u32 = 1;
/// Not shown.
const HIDDEN: u32 = 8;
/// What kind of thing it is; zero for something to boot.
const CATEGORY: u32 = 0x1f00;

/// A boot entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOption {
    /// Flags.
    pub attributes: u32,
    /// What the firmware's menu shows.
    pub label: String,
    /// Device paths, the first of which says where the loader lies.
    pub path: Vec<u8>,
    /// What the loader is handed.
    pub data: Vec<u8>,
}

/// Says why there is no such entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A label that no menu can show.
    #[error("the label is empty or has control characters: {label:?}")]
    Label {
        /// Its first characters.
        label: String,
    },
    /// More than the format can hold.
    #[error("the device path has {bytes} bytes")]
    Path {
        /// How many.
        bytes: usize,
    },
}

impl LoadOption {
    /// Makes an entry that the firmware starts by itself.
    pub fn new(label: &str, path: Vec<u8>) -> Result<Self, OptionError> {
        if label.is_empty() || label.chars().any(char::is_control) {
            return Err(OptionError::Label { label: label.chars().take(80).collect() });
        }
        if u16::try_from(path.len()).is_err() {
            return Err(OptionError::Path { bytes: path.len() });
        }
        Ok(Self { attributes: ACTIVE, label: label.to_owned(), path, data: Vec::new() })
    }

    /// Reads a variable's content; `None` where it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (attributes, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (pairs, _) = rest.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        let end = units.iter().position(|unit| *unit == 0)?;
        let rest = rest.get(2 * (end + 1)..)?;
        let (path, data) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        Some(Self {
            attributes: u32::from_le_bytes(*attributes),
            label: String::from_utf16_lossy(&units[..end]),
            path: path.to_vec(),
            data: data.to_vec(),
        })
    }

    /// Returns a variable's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = u16::try_from(self.path.len()).unwrap_or(u16::MAX);
        let mut bytes = self.attributes.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.label.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        bytes.extend(&self.path);
        bytes.extend(&self.data);
        bytes
    }

    /// Holds when the firmware starts it in its turn, without being asked.
    pub fn starts_by_itself(&self) -> bool {
        self.attributes & (ACTIVE | HIDDEN | CATEGORY) == ACTIVE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_is_as_the_specification_has_it() {
        let option = LoadOption::new("Ab", vec![0x7f, 0xff, 4, 0]).unwrap();
        let bytes = [1, 0, 0, 0, 4, 0, b'A', 0, b'b', 0, 0, 0, 0x7f, 0xff, 4, 0];
        assert_eq!(option.to_bytes(), bytes);
        assert_eq!(LoadOption::parse(&bytes), Some(option));
    }

    #[test]
    fn an_entry_that_ends_early_is_none() {
        let whole = LoadOption::new("Debian", vec![0x7f, 0xff, 4, 0]).unwrap().to_bytes();
        for length in 0..whole.len() {
            assert_eq!(LoadOption::parse(&whole[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn applications_and_what_is_switched_off_do_not_start_by_themselves() {
        let mut option = LoadOption::new("a", Vec::new()).unwrap();
        assert!(option.starts_by_itself());
        for attributes in [0, 9, 0x101] {
            option.attributes = attributes;
            assert!(!option.starts_by_itself(), "{attributes:x}");
        }
    }

    #[test]
    fn a_label_that_no_menu_can_show_is_refused() {
        assert!(LoadOption::new("", Vec::new()).is_err());
        assert!(LoadOption::new("a\0b", Vec::new()).is_err());
        assert!(LoadOption::new("a", vec![0; 65_536]).is_err());
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(
            attributes: u32, label in "[^\\p{Cc}]{1,40}", path: Vec<u8>, data: Vec<u8>
        ) {
            let option = LoadOption { attributes, label, path, data };
            prop_assert_eq!(LoadOption::parse(&option.to_bytes()), Some(option));
        }

        #[test]
        fn whatever_stands_there_is_no_reason_to_panic(bytes: Vec<u8>) {
            LoadOption::parse(&bytes);
        }
    }
}
