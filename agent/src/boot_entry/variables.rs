//! The firmware's boot variables as files of efivarfs.

use std::{
    fs,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use linux::filesystem::{self, Mutability};
use startup::entry::Variables;

use super::BootEntryError;

/// The vendor of the variables that the specification names. UEFI 2.10 §3.3, `EFI_GLOBAL_VARIABLE`.
const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Kept over restarts, to be seen by firmware and system. UEFI 2.10 §8.2.1.
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];
/// More than this is no boot entry.
const LENGTH_LIMIT: u64 = 64 << 10;

/// Returns the name of a variable's file.
pub(super) fn file_name(name: &str) -> String {
    format!("{name}-{VENDOR}")
}

/// Returns the name of an entry's variable.
pub(super) fn option_name(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// Reads all boot variables. An entry that cannot be read is there all the same; without the order nothing is done.
pub(super) fn read(directory: &Path) -> Result<Variables, BootEntryError> {
    let mut variables = Variables::default();
    let failed = |source| BootEntryError::Read { name: "Boot####".to_owned(), source };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(number) = name.to_str().and_then(option_number) else { continue };
        let content = content(&directory.join(&name)).ok().flatten();
        variables.options.insert(number, content);
    }
    let numbers = |name: &str| -> Result<Option<Vec<u16>>, BootEntryError> {
        let failed = |source| BootEntryError::Read { name: name.to_owned(), source };
        let bytes = content(&directory.join(file_name(name))).map_err(failed)?;
        let pairs =
            |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|p| u16::from_le_bytes(*p)).collect();
        Ok(bytes.map(pairs))
    };
    variables.order = numbers("BootOrder")?.unwrap_or_default();
    variables.next = numbers("BootNext")?.and_then(|numbers| numbers.first().copied());
    Ok(variables)
}

/// Returns an entry's number; the specification writes it in capital letters.
fn option_number(file: &str) -> Option<u16> {
    let number = file.strip_prefix("Boot")?.strip_suffix(VENDOR)?.strip_suffix('-')?;
    let is_number = number.len() == 4 && number.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_number.then(|| u16::from_str_radix(number, 16).ok()).flatten()
}

/// Returns a variable's content without its attributes; nothing where it does not exist.
fn content(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(LENGTH_LIMIT).read_to_end(&mut bytes)?;
    let (_attributes, content) =
        bytes.split_at_checked(ATTRIBUTES.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Some(content.to_vec()))
}

/// Writes a variable as a whole.
pub(super) fn write(directory: &Path, name: &str, content: &[u8]) -> Result<(), BootEntryError> {
    let path = directory.join(file_name(name));
    let is_new = !path.exists();
    let written = unlocked(&path, || store(&path, content));
    written.map_err(|source| {
        if is_new {
            // What was begun and not written has no content, and would stand in the way.
            fs::remove_file(&path).ok();
        }
        match source.kind() {
            io::ErrorKind::StorageFull => BootEntryError::Full { name: name.to_owned() },
            _ => BootEntryError::Write { name: name.to_owned(), source },
        }
    })
}

/// Removes a variable; one that is not there is removed already.
pub(super) fn remove(directory: &Path, name: &str) -> Result<(), BootEntryError> {
    let path = directory.join(file_name(name));
    if !path.exists() {
        return Ok(());
    }
    let failed = |source| BootEntryError::Write { name: name.to_owned(), source };
    let protected = File::open(&path).ok().filter(|file| {
        filesystem::mutability(file).is_ok_and(|found| found == Mutability::Immutable)
    });
    if let Some(file) = &protected {
        filesystem::set_mutability(file, Mutability::Mutable).map_err(failed)?;
    }
    let removed = fs::remove_file(&path).map_err(failed);
    if let (Some(file), Err(_)) = (&protected, &removed) {
        filesystem::set_mutability(file, Mutability::Immutable).map_err(failed)?;
    }
    removed
}

/// Does something to a file that may be protected from root, and protects it again.
fn unlocked(path: &Path, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let locked = match File::open(path) {
        Ok(file) => {
            // Where there are no such flags nothing is protected by them.
            let is =
                filesystem::mutability(&file).is_ok_and(|found| found == Mutability::Immutable);
            is.then_some(file)
        }
        Err(_) => None,
    };
    let Some(file) = locked else { return change() };
    filesystem::set_mutability(&file, Mutability::Mutable)?;
    let changed = change();
    filesystem::set_mutability(&file, Mutability::Immutable)?;
    changed
}

/// Writes attributes and content in one call: each is a call of the firmware.
fn store(path: &Path, content: &[u8]) -> io::Result<()> {
    let bytes = [&ATTRIBUTES[..], content].concat();
    // Not cut before: a variable without content is deleted.
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    if file.write(&bytes)? != bytes.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_are_entries() {
        assert_eq!(option_number(&file_name(&option_name(0x1a))), Some(0x1a));
        for name in ["BootOrder", "Boot+001", "Boot001", "Boot00001", "Bootäö"] {
            assert_eq!(option_number(&file_name(name)), None, "{name}");
        }
        assert_eq!(option_number("Boot0001-00000000-0000-0000-0000-000000000000"), None);
    }

    #[test]
    fn a_variable_that_is_too_short_for_its_attributes_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        assert_eq!(content(&path).unwrap(), None);
        fs::write(&path, [7, 0, 0]).unwrap();
        assert!(content(&path).is_err());
        fs::write(&path, [7, 0, 0, 0, 1]).unwrap();
        assert_eq!(content(&path).unwrap(), Some(vec![1]));
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("none");
        let error = write(&nowhere, "BootNext", &[1, 0]).unwrap_err();
        assert!(matches!(error, BootEntryError::Write { .. }));
        assert!(!nowhere.exists());
    }
}
