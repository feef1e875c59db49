//! The store: every driver and firmware that the core of our systems lacks, as files named by what is in them.

use std::{fs::File, io};

use tracing::info;

use super::Assets;

/// The digits of a SHA-256.
const DIGITS: usize = 64;

/// The name of a file of the store: the SHA-256 of what is in it, in lower-case digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreName(String);

impl StoreName {
    /// Reads a name; nothing where it is none.
    pub fn read(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_name = text.len() == DIGITS && text.bytes().all(is_digit);
        is_name.then(|| Self(text.to_owned()))
    }
}

impl Assets {
    /// Opens a file of the store of any build that is there, and says how long it is; nothing where none has this name. Blocks.
    ///
    /// What is in it is not looked at: the agents know its checksum, from their own image.
    pub fn stored(&self, name: &StoreName) -> io::Result<Option<(File, u64)>> {
        for path in self.everywhere(&format!("store/{}", name.0)) {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let metadata = file.metadata()?;
            return Ok(metadata.is_file().then_some((file, metadata.len())));
        }
        Ok(None)
    }

    /// Says what an older `make image` has not made, which no server needs. Blocks.
    pub fn say_what_is_missing(&self) {
        if !self.has_store() {
            info!(
                "no store beside the images: machines have no drivers but those of image and pack"
            );
        }
        if !self.has_packs() {
            info!(
                "no packs beside the images: machines have no driver for their boot card but the image's"
            );
        }
    }

    fn has_store(&self) -> bool {
        self.directory().join("store").is_dir()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read};

    use super::*;
    use crate::boot::assets::tests::directory;

    #[test]
    fn a_name_is_sixty_four_lower_case_digits() {
        assert!(StoreName::read(&"0a".repeat(32)).is_some());
        for name in
            ["", "..", &"0A".repeat(32), &"0a".repeat(31), &"0a".repeat(33), &"0g".repeat(32)]
        {
            assert_eq!(StoreName::read(name), None, "{name}");
        }
        assert_eq!(StoreName::read(&format!("../{}", "a".repeat(61))), None);
    }

    #[test]
    fn a_file_is_opened_by_its_name_and_what_is_no_file_is_not_there() {
        let directory = directory();
        let assets = Assets::open(directory.path()).unwrap();
        let (there, folder) = ("0a".repeat(32), "0b".repeat(32));
        let open = |name: &str| assets.stored(&StoreName::read(name).unwrap()).unwrap();
        assert!(!assets.has_store() && open(&there).is_none());
        fs::create_dir_all(directory.path().join("store").join(&folder)).unwrap();
        fs::write(directory.path().join("store").join(&there), "driver").unwrap();
        let (mut file, size_bytes) = open(&there).unwrap();
        let mut read = String::new();
        file.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), size_bytes), ("driver", 6));
        assert!(assets.has_store() && open(&folder).is_none());
    }
}
