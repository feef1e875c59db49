//! What a file is, by its first bytes. Names and media types say nothing.

use std::fmt;

/// How many of a file's first bytes [`recognise`] wants to see: up to where an ISO says that it is one.
pub const HEAD_BYTES: usize = 36 << 10;

/// The least that a disk holds, and what everything on a disk is a multiple of.
pub(crate) const SECTOR: usize = 512;

/// What a file is that an image may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The bytes of a disk: whatever is nothing else.
    Raw,
    /// RFC 1952.
    Gzip,
    /// `.xz`.
    Xz,
    /// `.bz2`.
    Bzip2,
    /// RFC 8878.
    Zstd,
    /// The frame format of LZ4.
    Lz4,
    /// An archive.
    Tar,
    /// QEMU's disk images.
    Qcow2,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Tar => "tar",
            Self::Qcow2 => "qcow2",
        })
    }
}

/// Why a file cannot be an image that a disk boots from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnImage {
    /// There is nothing.
    #[error("the file is empty")]
    Empty,
    /// Too short for one sector, and compressed by nothing that is known.
    #[error("the file ends after {bytes} bytes, which is less than a sector")]
    TooShort {
        /// Its length.
        bytes: usize,
    },
    /// An error page, a list of checksums, a redirect that nobody followed.
    #[error("this is {kind}, not an image: it begins with {beginning:?}")]
    Text {
        /// What it looks like.
        kind: TextKind,
        /// Its first line, cut short.
        beginning: String,
    },
    /// Something known that is no disk image, or none that is understood.
    #[error("{kind} is not understood: {advice}")]
    Foreign {
        /// What it is.
        kind: &'static str,
        /// What to do.
        advice: &'static str,
    },
}

/// What a text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// Begins as HTML does.
    Html,
    /// Begins as JSON does.
    Json,
    /// Begins as XML does.
    Xml,
    /// Other printable characters.
    Plain,
}

impl fmt::Display for TextKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Html => "an HTML page",
            Self::Json => "a JSON document",
            Self::Xml => "an XML document",
            Self::Plain => "text",
        })
    }
}

const QEMU_IMG: &str = "convert it with `qemu-img convert -O qcow2`";
const UNPACK: &str = "unpack it, or compress it with zstd";

/// What is no image, or none that is understood: where, which bytes, what, and what to do.
const FOREIGN: &[(usize, &[u8], &str, &str)] = &[
    (0, b"vhdxfile", "a VHDX disk", QEMU_IMG),
    (0, b"conectix", "a VHD disk", QEMU_IMG),
    (0, b"KDMV", "a VMDK disk", QEMU_IMG),
    (0, b"COWD", "a VMDK disk", QEMU_IMG),
    (0, b"# Disk DescriptorFile", "a VMDK disk's description", QEMU_IMG),
    (0x40, &[0x7f, 0x10, 0xda, 0xbe], "a VDI disk", QEMU_IMG),
    (0, b"WithoutFreeSpace", "a Parallels disk", QEMU_IMG),
    (0, b"WithouFreSpacExt", "a Parallels disk", QEMU_IMG),
    (0, b"QED\0", "a QED disk", QEMU_IMG),
    (0, b"QFI\xfb\0\0\0\x01", "a qcow disk of version 1", QEMU_IMG),
    (0, &[0x3a, 0xff, 0x26, 0xed], "an Android sparse image", "convert it with simg2img"),
    (0, b"PK\x03\x04", "a zip archive", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a rar archive", UNPACK),
    (0, b"MSWIM\0\0\0", "a Windows image (WIM)", UNPACK),
    (0, b"!<arch>\n", "an ar archive or Debian package", UNPACK),
    (0, b"\xed\xab\xee\xdb", "an RPM package", UNPACK),
    (0, b"070701", "a cpio archive", UNPACK),
    (0, b"LZIP", "lzip compression", UNPACK),
    (0, b"\x89LZO\0\r\n\x1a\n", "lzop compression", UNPACK),
    (0, &[0x02, 0x21, 0x4c, 0x18], "the lz4 tool's legacy format", UNPACK),
    (0, &[0x5d, 0, 0], "lzma compression without a container", UNPACK),
    (0, &[0x1f, 0x9d], "compress's format", UNPACK),
    (0, b"\x7fELF", "a program", "an image of a whole disk is needed"),
];

/// Recognises a file by its first bytes: [`HEAD_BYTES`] of them, fewer only if the file is shorter.
pub fn recognise(head: &[u8]) -> Result<Format, NotAnImage> {
    if head.is_empty() {
        return Err(NotAnImage::Empty);
    }
    if let Some(format) = compression(head) {
        return Ok(format);
    }
    for (offset, magic, kind, advice) in FOREIGN {
        if starts(head, *offset, magic) {
            return Err(NotAnImage::Foreign { kind, advice });
        }
    }
    if starts(head, 0, b"QFI\xfb") {
        return Ok(Format::Qcow2);
    }
    if let Some(kind) = text(head) {
        return Err(NotAnImage::Text { kind, beginning: first_line(head) });
    }
    if head.len() < SECTOR {
        return Err(NotAnImage::TooShort { bytes: head.len() });
    }
    if is_tar(head) {
        return Ok(Format::Tar);
    }
    // An ISO that was made for USB sticks too has a boot sector and is as good as any other image.
    if starts(head, 0x8001, b"CD001") && !starts(head, 510, &[0x55, 0xaa]) {
        return Err(NotAnImage::Foreign {
            kind: "an ISO that boots from optical disks only",
            advice: "an image of a whole disk is needed",
        });
    }
    Ok(Format::Raw)
}

fn starts(head: &[u8], offset: usize, magic: &[u8]) -> bool {
    head.get(offset..).is_some_and(|rest| rest.starts_with(magic))
}

fn compression(head: &[u8]) -> Option<Format> {
    if head.starts_with(&[0x1f, 0x8b, 8]) {
        return Some(Format::Gzip);
    }
    if head.starts_with(b"\xfd7zXZ\0") {
        return Some(Format::Xz);
    }
    if head.starts_with(b"BZh") && matches!(head.get(3), Some(b'1'..=b'9')) {
        return Some(Format::Bzip2);
    }
    // zstd and lz4 share frames that are to be skipped; pzstd begins with one.
    let mut rest = head;
    let mut skipped = false;
    while let [magic, 0x2a, 0x4d, 0x18, size @ ..] = rest
        && magic & 0xf0 == 0x50
        && let Some((size, after)) = size.split_first_chunk::<4>()
    {
        skipped = true;
        let size = usize::try_from(u32::from_le_bytes(*size)).unwrap_or(usize::MAX);
        rest = after.get(size..).unwrap_or_default();
    }
    if rest.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Some(Format::Zstd);
    }
    if rest.starts_with(&[0x04, 0x22, 0x4d, 0x18]) {
        return Some(Format::Lz4);
    }
    // Nothing but skipped frames that far: zstd's reader finds out.
    skipped.then_some(Format::Zstd)
}

/// A header whose checksum is right, or which says that it is one, give or take a flipped bit: a damaged archive must
/// not pass for a disk.
fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.first_chunk::<SECTOR>() else { return false };
    let differing = header[257..262].iter().zip(b"ustar").map(|(a, b)| (a ^ b).count_ones());
    differing.sum::<u32>() <= 1
        || (header[0] != 0 && octal(&header[148..156]) == Some(tar_checksum(header)))
}

/// The sum that the header of an archive's member must have, its own field counted as blanks.
pub(crate) fn tar_checksum(header: &[u8; SECTOR]) -> u64 {
    let blanks = 8 * u64::from(b' ');
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    sum(&header[..148]) + blanks + sum(&header[156..])
}

/// A number as tar writes it: octal digits between blanks and zeros.
pub(crate) fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() || rest.iter().any(|byte| !matches!(byte, b' ' | 0)) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// No disk begins with a sector of printable characters.
fn text(head: &[u8]) -> Option<TextKind> {
    let sample = &head[..head.len().min(SECTOR)];
    let body = sample.strip_prefix(b"\xef\xbb\xbf").unwrap_or(sample);
    let printable = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x20..=0x7e | 0x80..);
    if !body.iter().all(printable) {
        return None;
    }
    // Cutting may have gone through a character.
    let valid = match std::str::from_utf8(body) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    if !valid {
        return None;
    }
    let begin = body.trim_ascii_start();
    let begin = begin[..begin.len().min(16)].to_ascii_lowercase();
    Some(match begin.first() {
        Some(b'{' | b'[') => TextKind::Json,
        Some(b'<') if begin.starts_with(b"<!doctype html") || begin.starts_with(b"<html") => {
            TextKind::Html
        }
        Some(b'<') => TextKind::Xml,
        _ => TextKind::Plain,
    })
}

fn first_line(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(&head[..head.len().min(SECTOR)]);
    text.trim().lines().next().unwrap_or_default().chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(places: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; HEAD_BYTES];
        for (offset, content) in places {
            bytes[*offset..][..content.len()].copy_from_slice(content);
        }
        bytes
    }

    #[test]
    fn a_disk_is_raw_whatever_is_on_it() {
        assert_eq!(recognise(&disk(&[])), Ok(Format::Raw));
        assert_eq!(recognise(&disk(&[(510, &[0x55, 0xaa])])), Ok(Format::Raw));
        assert_eq!(recognise(&disk(&[(1080, &[0x53, 0xef])])), Ok(Format::Raw));
        assert_eq!(recognise(&[0xff; 512]), Ok(Format::Raw));
    }

    #[test]
    fn an_error_page_is_no_image() {
        let kind = |text: &str| match recognise(text.as_bytes()) {
            Err(NotAnImage::Text { kind, .. }) => Some(kind),
            _ => None,
        };
        assert_eq!(kind("<!DOCTYPE html>\n<title>404 Not Found</title>"), Some(TextKind::Html));
        assert_eq!(kind(&"<html><body>Überlastet</body>".repeat(90)), Some(TextKind::Html));
        assert_eq!(kind("\u{feff}  <?xml version='1.0'?><Error/>"), Some(TextKind::Xml));
        assert_eq!(kind("{\"errors\":[{\"code\":\"DENIED\"}]}"), Some(TextKind::Json));
        assert_eq!(kind("Not Found\n"), Some(TextKind::Plain));
        let error = recognise(b"<html>\n<h1>busy</h1>").unwrap_err();
        assert_eq!(
            error.to_string(),
            "this is an HTML page, not an image: it begins with \"<html>\""
        );
    }

    #[test]
    fn other_disk_formats_are_named_with_what_to_do() {
        let vdi = disk(&[(0, b"<<< Oracle VM"), (0x40, &[0x7f, 0x10, 0xda, 0xbe])]);
        assert_eq!(
            recognise(&vdi).unwrap_err().to_string(),
            "a VDI disk is not understood: convert it with `qemu-img convert -O qcow2`"
        );
        assert!(recognise(&disk(&[(0, b"KDMV")])).is_err());
        assert!(recognise(&disk(&[(0, b"QFI\xfb\0\0\0\x01")])).is_err());
        assert_eq!(recognise(&disk(&[(0, b"QFI\xfb\0\0\0\x03")])), Ok(Format::Qcow2));
    }

    #[test]
    fn an_iso_counts_as_a_disk_only_with_a_boot_sector() {
        let iso = (0x8001, b"CD001".as_slice());
        assert!(recognise(&disk(&[iso])).is_err());
        assert_eq!(recognise(&disk(&[iso, (510, &[0x55, 0xaa])])), Ok(Format::Raw));
    }

    #[test]
    fn frames_to_be_skipped_may_come_first() {
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        let with = |magic: [u8; 4]| [skipped.as_slice(), &magic].concat();
        assert_eq!(recognise(&with([0x28, 0xb5, 0x2f, 0xfd])), Ok(Format::Zstd));
        assert_eq!(recognise(&with([0x04, 0x22, 0x4d, 0x18])), Ok(Format::Lz4));
        assert_eq!(recognise(&skipped), Ok(Format::Zstd));
    }

    #[test]
    fn less_than_a_sector_is_nothing() {
        assert_eq!(recognise(&[]), Err(NotAnImage::Empty));
        assert_eq!(recognise(&[0; 511]), Err(NotAnImage::TooShort { bytes: 511 }));
    }
}
