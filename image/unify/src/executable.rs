//! Programs of UEFI firmware, as far as sections are added to one.
//!
//! Format: Microsoft's "PE Format"; offsets below are into its headers.

use anyhow::{Context as _, ensure};

/// In the DOS header: where the PE header is.
const HEADER_AT: usize = 0x3c;
/// Behind the signature `PE\0\0`: how many sections there are, and how long the optional header is.
const SECTIONS_AT: usize = 6;
const OPTIONAL_SIZE_AT: usize = 20;
/// Where the optional header begins, and what stands in it.
const OPTIONAL_AT: usize = 24;
const INITIALISED_SIZE_AT: usize = 8;
const SECTION_ALIGNMENT_AT: usize = 32;
const FILE_ALIGNMENT_AT: usize = 36;
/// Major and minor, 16 bits each: kernels say there what their start from firmware can do.
const IMAGE_VERSION_AT: usize = 44;
const IMAGE_SIZE_AT: usize = 56;
const HEADERS_SIZE_AT: usize = 60;
const CHECKSUM_AT: usize = 64;
/// The data directory of signatures: offset and length.
const SIGNATURES_AT: usize = 112 + 4 * 8;
/// A PE32+ program.
const MAGIC: u16 = 0x20b;
/// One entry of the table of sections.
const ENTRY_BYTES: usize = 40;
/// `IMAGE_SCN_CNT_INITIALIZED_DATA` and `IMAGE_SCN_MEM_READ`.
const DATA: u32 = 0x4000_0040;

/// What is added to a program.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// At most eight bytes.
    pub(crate) name: &'static str,
    pub(crate) content: Vec<u8>,
    /// How many bytes it has in memory; at least those that it has.
    pub(crate) memory: usize,
}

impl Section {
    /// Describes a section that is in memory as it is in the file.
    pub(crate) fn new(name: &'static str, content: Vec<u8>) -> Self {
        Self { name, memory: content.len(), content }
    }
}

/// Returns a program with sections added behind its own. It must not be signed: the signature would be void.
pub(crate) fn join(program: &[u8], sections: &[Section]) -> anyhow::Result<Vec<u8>> {
    let mut image = program.to_vec();
    let header = header(&image)?;
    let optional = header + OPTIONAL_AT;
    ensure!(long(&image, optional + SIGNATURES_AT + 4)? == 0, "the stub is signed");
    let section_alignment = alignment(&image, optional + SECTION_ALIGNMENT_AT)?;
    let file_alignment = alignment(&image, optional + FILE_ALIGNMENT_AT)?;
    let count = usize::from(short(&image, header + SECTIONS_AT)?);
    let table = optional + usize::from(short(&image, header + OPTIONAL_SIZE_AT)?);

    let mut room = long(&image, optional + HEADERS_SIZE_AT)?;
    let mut end = room;
    for entry in (0..count).map(|number| table + number * ENTRY_BYTES) {
        end = end.max(long(&image, entry + 12)? + long(&image, entry + 8)?);
        let (stored, at) = (long(&image, entry + 16)?, long(&image, entry + 20)?);
        ensure!(at + stored <= image.len(), "the program is cut short");
        room = if at == 0 { room } else { room.min(at) };
    }
    let mut entry = table + count * ENTRY_BYTES;
    ensure!(
        entry + sections.len() * ENTRY_BYTES <= room.min(image.len()),
        "no room in the headers for {} sections",
        sections.len()
    );

    let mut added = 0;
    for section in sections {
        ensure!(section.name.len() <= 8, "a section's name is too long: {}", section.name);
        ensure!(!section.content.is_empty(), "nothing is in {}", section.name);
        let memory = section.memory.max(section.content.len());
        let address = end.next_multiple_of(section_alignment);
        image.resize(image.len().next_multiple_of(file_alignment), 0);
        let at = image.len();
        image.extend(&section.content);
        image.resize(image.len().next_multiple_of(file_alignment), 0);
        let stored = image.len() - at;

        let mut bytes = section.name.as_bytes().to_vec();
        bytes.resize(8, 0);
        for number in [memory, address, stored, at, 0, 0, 0] {
            bytes.extend(four_bytes(number)?);
        }
        bytes.extend(DATA.to_le_bytes());
        image[entry..entry + ENTRY_BYTES].copy_from_slice(&bytes);
        entry += ENTRY_BYTES;
        end = address + memory;
        added += stored;
    }

    let count = u16::try_from(count + sections.len()).context("too many sections")?;
    image[header + SECTIONS_AT..][..2].copy_from_slice(&count.to_le_bytes());
    let initialised = long(&image, optional + INITIALISED_SIZE_AT)? + added;
    put(&mut image, optional + INITIALISED_SIZE_AT, initialised)?;
    put(&mut image, optional + IMAGE_SIZE_AT, end.next_multiple_of(section_alignment))?;
    // Firmware does not look at it, and nobody else loads this.
    put(&mut image, optional + CHECKSUM_AT, 0)?;
    Ok(image)
}

/// Returns how much memory a program takes where it is loaded.
pub(crate) fn size_in_memory(program: &[u8]) -> anyhow::Result<usize> {
    long(program, header(program)? + OPTIONAL_AT + IMAGE_SIZE_AT)
}

/// Gives a program the version that another one has.
pub(crate) fn take_version(program: &mut [u8], of: &[u8]) -> anyhow::Result<()> {
    let version = four_bytes(long(of, header(of)? + OPTIONAL_AT + IMAGE_VERSION_AT)?)?;
    let at = header(program)? + OPTIONAL_AT + IMAGE_VERSION_AT;
    let place = program.get_mut(at..at + 4).context("the program is cut short")?;
    place.copy_from_slice(&version);
    Ok(())
}

/// Holds when a program is in memory what it is in its file, from its first byte to its last.
pub(crate) fn is_flat(program: &[u8]) -> anyhow::Result<bool> {
    let header = header(program)?;
    let count = usize::from(short(program, header + SECTIONS_AT)?);
    let table = header + OPTIONAL_AT + usize::from(short(program, header + OPTIONAL_SIZE_AT)?);
    for entry in (0..count).map(|number| table + number * ENTRY_BYTES) {
        if long(program, entry + 12)? != long(program, entry + 20)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns where the PE header is.
fn header(program: &[u8]) -> anyhow::Result<usize> {
    ensure!(program.starts_with(b"MZ"), "no program for UEFI firmware: no DOS header");
    let at = long(program, HEADER_AT)?;
    let signature = program.get(at..at.saturating_add(4)).unwrap_or_default();
    ensure!(signature == b"PE\0\0", "no program for UEFI firmware: no PE header");
    ensure!(short(program, at + OPTIONAL_AT)? == MAGIC, "no 64-bit program for UEFI firmware");
    Ok(at)
}

fn alignment(program: &[u8], at: usize) -> anyhow::Result<usize> {
    let alignment = long(program, at)?;
    ensure!(alignment.is_power_of_two(), "an alignment of {alignment} bytes");
    Ok(alignment)
}

fn short(bytes: &[u8], at: usize) -> anyhow::Result<u16> {
    let found = bytes.get(at..at.saturating_add(2)).context("the program is cut short")?;
    Ok(u16::from_le_bytes([found[0], found[1]]))
}

fn long(bytes: &[u8], at: usize) -> anyhow::Result<usize> {
    let found = bytes.get(at..at.saturating_add(4)).context("the program is cut short")?;
    Ok(usize::try_from(u32::from_le_bytes([found[0], found[1], found[2], found[3]]))?)
}

fn four_bytes(number: usize) -> anyhow::Result<[u8; 4]> {
    Ok(u32::try_from(number).context("an image of 4 GiB or more")?.to_le_bytes())
}

fn put(bytes: &mut [u8], at: usize, number: usize) -> anyhow::Result<()> {
    bytes[at..at + 4].copy_from_slice(&four_bytes(number)?);
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A program of one section at address 0x1000, with room for sixteen more.
    pub(crate) fn stub() -> Vec<u8> {
        let mut stub = vec![0; 0x400];
        stub[..2].copy_from_slice(b"MZ");
        stub[HEADER_AT] = 0x40;
        stub[0x40..0x44].copy_from_slice(b"PE\0\0");
        stub[0x40 + SECTIONS_AT] = 1;
        stub[0x40 + OPTIONAL_SIZE_AT] = 240;
        let optional = 0x40 + OPTIONAL_AT;
        stub[optional..optional + 2].copy_from_slice(&MAGIC.to_le_bytes());
        for (at, number) in [
            (SECTION_ALIGNMENT_AT, 0x1000),
            (FILE_ALIGNMENT_AT, 0x200),
            (IMAGE_SIZE_AT, 0x2000),
            (HEADERS_SIZE_AT, 0x400),
            (CHECKSUM_AT, 77),
        ] {
            put(&mut stub, optional + at, number).unwrap();
        }
        let entry = optional + 240;
        stub[entry..entry + 5].copy_from_slice(b".text");
        for (at, number) in [(8, 0x345), (12, 0x1000), (16, 0x400), (20, 0x400)] {
            put(&mut stub, entry + at, number).unwrap();
        }
        stub.resize(0x800, 0xcc);
        stub
    }

    /// Name, size in memory, address, size in the file, place in the file.
    fn sections(image: &[u8]) -> Vec<(String, [usize; 4])> {
        let count = usize::from(short(image, 0x40 + SECTIONS_AT).unwrap());
        let entry = |number| {
            let entry = 0x40 + OPTIONAL_AT + 240 + number * ENTRY_BYTES;
            let name = String::from_utf8_lossy(&image[entry..entry + 8]).replace('\0', "");
            (name, [8, 12, 16, 20].map(|at| long(image, entry + at).unwrap()))
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn sections_stand_behind_those_of_the_stub() {
        let kernel = Section { memory: 0x3001, ..Section::new(".linux", vec![2; 0x201]) };
        let image = join(&stub(), &[Section::new(".cmdline", vec![1; 3]), kernel]).unwrap();
        let found = sections(&image);
        assert_eq!(found[1], (".cmdline".to_owned(), [3, 0x2000, 0x200, 0x800]));
        assert_eq!(found[2], (".linux".to_owned(), [0x3001, 0x3000, 0x400, 0xa00]));
        assert_eq!(image.len(), 0xe00);
        assert_eq!(image[0x800..0x804], [1, 1, 1, 0]);
        assert_eq!(image[0xa00..0xc01], [2; 0x201]);
        assert_eq!(image[0x400..0x800], stub()[0x400..0x800], "the stub itself");
        assert_eq!(size_in_memory(&image).unwrap(), 0x7000);
        assert_eq!(long(&image, 0x40 + OPTIONAL_AT + CHECKSUM_AT).unwrap(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let section = Section::new(".cmdline", vec![1]);
        let full: Vec<Section> = (0..17).map(|_| section.clone()).collect();
        assert!(join(&stub(), &full).unwrap_err().to_string().contains("no room"));
        let empty = Section::new(".initrd", Vec::new());
        assert!(join(&stub(), &[empty]).unwrap_err().to_string().contains(".initrd"));
        let mut signed = stub();
        signed[0x40 + OPTIONAL_AT + SIGNATURES_AT + 4] = 1;
        assert!(join(&signed, &[section]).unwrap_err().to_string().contains("signed"));
    }

    #[test]
    fn no_program_that_is_cut_short_is_taken_or_panics() {
        let (whole, section) = (stub(), Section::new(".cmdline", vec![1]));
        for length in 0..whole.len() {
            assert!(join(&whole[..length], std::slice::from_ref(&section)).is_err(), "{length}");
        }
    }
}
