//! `modules.store`: the files that are not in the image but on the server, with what proves that they are the right ones.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::line::{self, Fault, ListError};

/// More than any module or firmware has: 64 MiB. What is longer is no line of ours.
pub const LONGEST_FILE: u64 = 64 << 20;

/// How a line looks.
const SHAPE: &str = "SHA256 LENGTH PATH [network-storage]";

/// What stands behind the path of a driver of storage on a network.
const NETWORK_STORAGE: &str = "network-storage";

/// The files of the store, by their paths.
///
/// One line for each file: `SHA256 LENGTH PATH`, and for drivers of storage on a network a fourth word, `network-storage`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    files: BTreeMap<Place, Entry>,
}

/// Where a file of the store belongs: `kernel/…` below `/lib/modules/RELEASE/`, or `firmware/…` below `/lib/`.
/// Never leads elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(String);

/// A file of the store, as it is stored and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Of the file's bytes; what it is asked for by.
    pub digest: Digest,
    /// In bytes; from 1 to [`LONGEST_FILE`].
    pub length: u64,
    /// Whether it drives storage on a network, which nobody loads unless somebody orders it.
    pub network_storage: bool,
}

/// A SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Store {
    /// Returns the file with this path, and what is known of it; nothing where it is not in the store.
    pub fn get(&self, path: &str) -> Option<(&Place, &Entry)> {
        self.files.get_key_value(path)
    }

    /// Returns the file of a firmware, by the name that a driver asks for it with: compressed, or as it is.
    pub fn firmware(&self, name: &str) -> Option<(&Place, &Entry)> {
        let compressed = self.get(&format!("firmware/{name}.xz"));
        compressed.or_else(|| self.get(&format!("firmware/{name}")))
    }

    /// Adds a file. Refuses a length that no line could say, a mark on what is no driver, and a path that is in already.
    pub fn insert(&mut self, place: Place, entry: Entry) -> Result<(), Fault> {
        if !(1..=LONGEST_FILE).contains(&entry.length) {
            return Err(Fault::Length(entry.length.to_string()));
        }
        if entry.network_storage && place.is_firmware() {
            return Err(Fault::Mark(NETWORK_STORAGE.to_owned()));
        }
        if self.files.contains_key(&place) {
            return Err(Fault::Twice(place.0));
        }
        self.files.insert(place, entry);
        Ok(())
    }

    /// Returns all files, by their paths.
    pub fn files(&self) -> impl Iterator<Item = (&Place, &Entry)> {
        self.files.iter()
    }

    /// Returns how many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Holds where the image has everything itself.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl FromStr for Store {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        let mut store = Self::default();
        line::each(text, |line| {
            let words: Vec<&str> = line.splitn(5, ' ').collect();
            let (digest, length, path, mark) = match words[..] {
                [digest, length, path] => (digest, length, path, None),
                [digest, length, path, mark] => (digest, length, path, Some(mark)),
                _ => return Err(Fault::Shape(SHAPE)),
            };
            if let Some(unknown) = mark.filter(|mark| *mark != NETWORK_STORAGE) {
                return Err(Fault::Mark(unknown.to_owned()));
            }
            let entry = Entry {
                digest: digest.parse()?,
                // Digits only: a number's own parser would take a sign.
                length: Some(length)
                    .filter(|length| length.bytes().all(|byte| byte.is_ascii_digit()))
                    .and_then(|length| length.parse().ok())
                    .ok_or_else(|| Fault::Length(length.to_owned()))?,
                network_storage: mark.is_some(),
            };
            store.insert(path.parse()?, entry)
        })?;
        Ok(store)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Entry { digest, length, network_storage }) in &self.files {
            let mark = if *network_storage { " network-storage" } else { "" };
            writeln!(formatter, "{digest} {length} {place}{mark}")?;
        }
        Ok(())
    }
}

impl Place {
    /// Holds for firmware, which belongs below `/lib/`; what is none is a module.
    pub fn is_firmware(&self) -> bool {
        self.0.starts_with("firmware/")
    }

    /// As the list writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Place {
    type Err = Fault;

    fn from_str(path: &str) -> Result<Self, Fault> {
        let known = path.starts_with("kernel/") || path.starts_with("firmware/");
        if known && line::is_tame(path) {
            Ok(Self(path.to_owned()))
        } else {
            Err(Fault::Path(path.to_owned()))
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

// So that a map of places can be asked with a text. `Ord` is derived from the text's own.
impl std::borrow::Borrow<str> for Place {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let bad = || Fault::Digest(text.to_owned());
        let digits = text.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(bad());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (nibble(pair[0]).ok_or_else(bad)? << 4) | nibble(pair[1]).ok_or_else(bad)?;
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "00ffab00000000000000000000000000000000000000000000000000000000e1";

    #[test]
    fn a_list_is_written_as_it_was_read() {
        let text = format!(
            "{DIGEST} 1234 firmware/rtl_nic/rtl8168h-2.fw\n\
             {DIGEST} 1 firmware/tigon/tg3.bin.xz\n\
             {DIGEST} 67108864 kernel/drivers/net/ethernet/realtek/r8169.ko.xz\n\
             {DIGEST} 9 kernel/drivers/scsi/qla2xxx/qla2xxx.ko.xz network-storage\n"
        );
        let store: Store = text.parse().unwrap();
        assert_eq!(store.to_string(), text);
        assert_eq!(store.len(), 4);
        let entry = |path| store.get(path).map(|(_, entry)| *entry);
        assert!(entry("kernel/drivers/scsi/qla2xxx/qla2xxx.ko.xz").unwrap().network_storage);
        assert_eq!(entry("kernel/drivers/net/ethernet/realtek/r8169.ko"), None);
        let place = |name| store.firmware(name).map(|(place, _)| place.as_str());
        assert_eq!(place("tigon/tg3.bin"), Some("firmware/tigon/tg3.bin.xz"));
        assert_eq!(place("rtl_nic/rtl8168h-2.fw"), Some("firmware/rtl_nic/rtl8168h-2.fw"));
        assert_eq!(place("other"), None);
        assert!("".parse::<Store>().unwrap().is_empty());
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = "kernel/a.ko";
        for (line, reason) in [
            (String::new(), "not of this shape: SHA256 LENGTH PATH [network-storage]"),
            (format!("{DIGEST} 1"), "not of this shape: SHA256 LENGTH PATH [network-storage]"),
            (
                format!("{DIGEST} 1 {good} network-storage x"),
                "not of this shape: SHA256 LENGTH PATH [network-storage]",
            ),
            (format!("{DIGEST} 1 {good} sometimes"), "unknown mark: \"sometimes\""),
            (format!("{DIGEST} 1 firmware/x network-storage"), "unknown mark: \"network-storage\""),
            (format!("{DIGEST} 0 {good}"), "no length of a file: \"0\""),
            (format!("{DIGEST} +1 {good}"), "no length of a file: \"+1\""),
            (format!("{DIGEST} -1 {good}"), "no length of a file: \"-1\""),
            (format!("{DIGEST}  {good}"), "no length of a file: \"\""),
            (format!("{DIGEST} 67108865 {good}"), "no length of a file: \"67108865\""),
            (
                format!("{DIGEST} 99999999999999999999 {good}"),
                "no length of a file: \"99999999999999999999\"",
            ),
            (format!("00 1 {good}"), "no SHA-256: \"00\""),
            (format!("{DIGEST} 1 /etc/a"), "no path of the store's: \"/etc/a\""),
            (format!("{DIGEST} 1 etc/a"), "no path of the store's: \"etc/a\""),
            (format!("{DIGEST} 1 kernel"), "no path of the store's: \"kernel\""),
            (format!("{DIGEST} 1 kernel/"), "no path of the store's: \"kernel/\""),
            (format!("{DIGEST} 1 kernel//a"), "no path of the store's: \"kernel//a\""),
            (format!("{DIGEST} 1 kernel/./a"), "no path of the store's: \"kernel/./a\""),
            (
                format!("{DIGEST} 1 firmware/../../etc/a"),
                "no path of the store's: \"firmware/../../etc/a\"",
            ),
            (format!("{DIGEST} 1 kernel/a\tb"), "no path of the store's: \"kernel/a\\tb\""),
            (format!("{DIGEST} 2 kernel/b.ko"), "named twice: kernel/b.ko"),
        ] {
            let text = format!("{DIGEST} 1 kernel/b.ko\n{line}\n");
            let error = text.parse::<Store>().unwrap_err();
            assert_eq!(error.to_string(), format!("line 2: {reason}"), "{line}");
        }
        for digest in [DIGEST.to_uppercase(), DIGEST.replace('e', "g"), format!("{DIGEST}0")] {
            let error = format!("{digest} 1 kernel/a.ko").parse::<Store>().unwrap_err();
            assert_eq!(error.to_string(), format!("line 1: no SHA-256: {digest:?}"));
        }
    }

    #[test]
    fn every_truncation_is_read_or_refused_without_panic() {
        let text = format!("{DIGEST} 12 kernel/a.ko network-storage\n");
        for n in 0..text.len() {
            let _read = text[..n].parse::<Store>();
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_elsewhere(path in "(kernel|firmware|/|\\.|a|\\\\| ){0,6}") {
            if let Ok(place) = path.parse::<Place>() {
                prop_assert!(place.as_str().starts_with("kernel/") || place.is_firmware());
                prop_assert!(!place.as_str().split('/').any(|part| part == ".." || part.is_empty()));
            }
        }

        #[test]
        fn a_digest_survives_its_text(bytes: [u8; 32]) {
            prop_assert_eq!(Digest(bytes).to_string().parse::<Digest>(), Ok(Digest(bytes)));
        }
    }
}
