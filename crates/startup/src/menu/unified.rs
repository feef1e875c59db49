//! Unified kernel images: a kernel, its initramfs and its command line as sections of one PE file.
//!
//! UAPI Unified Kernel Image specification; PE format, "COFF file header" and "Section table".

/// More sections than this has no such image.
const SECTIONS_LIMIT: u16 = 96;
/// How much of a file's start holds all its headers.
pub(crate) const HEAD_BYTES: usize = 64 << 10;

/// Where a section's bytes are in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unified {
    pub(crate) linux: Section,
    /// Microcode, then the initramfs.
    pub(crate) initrds: Vec<Section>,
    pub(crate) command_line: Option<Section>,
    pub(crate) release: Option<Section>,
}

impl Unified {
    /// Reads the headers; nothing where the file is no unified kernel image.
    pub(crate) fn parse(head: &[u8]) -> Option<Self> {
        if !head.starts_with(b"MZ") {
            return None;
        }
        let coff = usize::try_from(le32(head, 0x3c)?).ok()?;
        if head.get(coff..coff.checked_add(4)?)? != b"PE\0\0" {
            return None;
        }
        let count = le16(head, coff + 6)?;
        let table = coff + 24 + usize::from(le16(head, coff + 20)?);
        if count > SECTIONS_LIMIT {
            return None;
        }
        // Where a name comes twice, what follows belongs to other profiles than the first.
        let find = |name: &[u8; 8]| {
            (0..usize::from(count)).find_map(|index| {
                let entry = head.get(table + 40 * index..table + 40 * (index + 1))?;
                let length = le32(entry, 8)?.min(le32(entry, 16)?);
                let section = Section { offset: le32(entry, 20)?.into(), length: length.into() };
                (entry.starts_with(name) && section.length > 0).then_some(section)
            })
        };
        let initrds = [find(b".ucode\0\0"), find(b".initrd\0")];
        Some(Self {
            linux: find(b".linux\0\0")?,
            initrds: initrds.into_iter().flatten().collect(),
            command_line: find(b".cmdline"),
            release: find(b".osrel\0\0"),
        })
    }
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Makes an image of sections with their content, padded as linkers do.
#[cfg(test)]
pub(crate) fn sample(sections: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut file = b"MZ".to_vec();
    file.resize(0x80, 0);
    file[0x3c] = 0x80;
    file.extend(b"PE\0\0\x64\x86");
    file.extend(u16::try_from(sections.len()).unwrap().to_le_bytes());
    file.extend([0; 12]);
    file.extend([0xf0, 0, 0x22, 0]);
    file.resize(file.len() + 0xf0, 0);
    let mut place = (file.len() + 40 * sections.len()).next_multiple_of(512);
    for (name, content) in sections {
        let size = u32::try_from(content.len()).unwrap();
        let mut entry = name.to_vec();
        entry.resize(8, 0);
        entry.extend(size.to_le_bytes());
        entry.extend([0; 4]);
        entry.extend(size.next_multiple_of(512).to_le_bytes());
        entry.extend(u32::try_from(place).unwrap().to_le_bytes());
        entry.resize(40, 0);
        file.extend(entry);
        place += content.len().next_multiple_of(512);
    }
    for (_, content) in sections {
        file.resize(file.len().next_multiple_of(512), 0);
        file.extend(*content);
    }
    file.resize(file.len().next_multiple_of(512), 0);
    file
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image() -> Vec<u8> {
        sample(&[
            (b".text", &[0x90; 700]),
            (b".osrel", b"ID=arch\n"),
            (b".cmdline", b"root=UUID=aa rw\0"),
            (b".ucode", b"ucode"),
            (b".initrd", &[7; 1000]),
            (b".linux", &[9; 2000]),
        ])
    }

    #[test]
    fn every_section_is_where_it_says() {
        let file = image();
        let unified = Unified::parse(&file).unwrap();
        let content = |section: Section| {
            let at = usize::try_from(section.offset).unwrap();
            &file[at..at + usize::try_from(section.length).unwrap()]
        };
        assert_eq!(content(unified.linux), [9; 2000]);
        assert_eq!(content(unified.initrds[0]), b"ucode");
        assert_eq!(content(unified.initrds[1]), [7; 1000]);
        assert_eq!(content(unified.command_line.unwrap()), b"root=UUID=aa rw\0");
        assert_eq!(content(unified.release.unwrap()), b"ID=arch\n");
    }

    #[test]
    fn a_loader_is_no_kernel() {
        assert_eq!(Unified::parse(&sample(&[(b".text", b"x"), (b".sbat", b"y")])), None);
        assert_eq!(Unified::parse(b"MZ"), None);
    }

    #[test]
    fn every_truncation_of_the_headers_is_none() {
        let file = image();
        let whole = 0x80 + 24 + 0xf0 + 6 * 40;
        for length in 0..whole {
            assert_eq!(Unified::parse(&file[..length]), None, "{length} bytes");
        }
        assert!(Unified::parse(&file[..whole]).is_some());
    }

    proptest! {
        #[test]
        fn a_changed_header_is_no_reason_to_panic(
            changes in prop::collection::vec((0_usize..1000, any::<u8>()), 1..8)
        ) {
            let mut file = image();
            for (place, byte) in changes {
                file[place] = byte;
            }
            Unified::parse(&file);
        }
    }
}
