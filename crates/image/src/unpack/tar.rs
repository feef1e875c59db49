//! An archive that holds one image: ustar, pax, GNU, also with the image's holes left out.

use std::io::{self, BufRead, ErrorKind, Read};

use super::{
    error::{TarError, damaged},
    sparse::{self, Map, Piece},
};
use crate::recognise::{Format, HEAD_BYTES, NotAnImage, SECTOR, octal, recognise, tar_checksum};

/// The most that a header of names and times may take, in bytes.
const EXTENSION_LIMIT: u64 = 1 << 20;
const BLOCK: u64 = 512;

/// Reads the one image of an archive. What else is in it are directories, links, empty files and texts.
pub(super) struct Tar<R> {
    source: R,
    name: String,
    content: Format,
    head: Vec<u8>,
    head_read: usize,
    member: Member,
    done: bool,
}

/// A file in the archive: where its data lie, how much of the archive it still takes.
struct Member {
    map: Map,
    stored: u64,
    padding: u64,
}

/// A file in the archive that could be the image.
struct Candidate {
    name: String,
    content: Format,
    head: Vec<u8>,
    member: Member,
}

/// What the headers before a member say of it.
#[derive(Default)]
struct Extension {
    name: Option<String>,
    size: Option<u64>,
    sparse_name: Option<String>,
    sparse_major: Option<u64>,
    sparse_minor: Option<u64>,
    sparse_length: Option<u64>,
    /// Described in a header, as in versions 0.0 and 0.1.
    sparse_elsewhere: bool,
}

impl<R: BufRead> Tar<R> {
    /// Reads up to the image.
    pub(super) fn open(mut source: R) -> io::Result<Self> {
        let Some(Candidate { name, content, head, member }) = search(&mut source)? else {
            return Err(TarError::NoImage.into());
        };
        Ok(Self { source, name, content, head, head_read: 0, member, done: false })
    }

    /// Says what the image is: raw or qcow2.
    pub(super) fn content(&self) -> Format {
        self.content
    }
}

impl<R: BufRead> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.head_read < self.head.len() {
            let count = (&self.head[self.head_read..]).read(buffer)?;
            self.head_read += count;
            return Ok(count);
        }
        if self.done {
            return Ok(0);
        }
        let count = self.member.read(&mut self.source, buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.member.finish(&mut self.source)?;
            if let Some(Candidate { name: second, .. }) = search(&mut self.source)? {
                return Err(TarError::SeveralImages { first: self.name.clone(), second }.into());
            }
            self.done = true;
        }
        Ok(count)
    }
}

impl Member {
    fn read(&mut self, source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.map.next() else { return Ok(0) };
        let (Piece::Hole(limit) | Piece::Data(limit)) = piece;
        let count = usize::try_from(limit).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..count];
        let count = match piece {
            Piece::Hole(_) => {
                buffer.fill(0);
                count
            }
            Piece::Data(_) => match source.read(buffer)? {
                0 if !buffer.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
                count => count,
            },
        };
        let bytes = u64::try_from(count).expect("a slice's length fits");
        self.map.advance(bytes);
        if matches!(piece, Piece::Data(_)) {
            self.stored -= bytes;
        }
        Ok(count)
    }

    /// Passes what is left of the member.
    fn finish(&self, source: &mut impl Read) -> io::Result<()> {
        skip(source, self.stored)?;
        skip(source, self.padding)
    }
}

/// Reads on to the next file that could be the image; at the end of the archive, to the end of the source.
fn search(source: &mut impl BufRead) -> io::Result<Option<Candidate>> {
    let mut extension = Extension::default();
    loop {
        let mut header = [0; SECTOR];
        source.read_exact(&mut header)?;
        if header.iter().all(|byte| *byte == 0) {
            end(source)?;
            return Ok(None);
        }
        if octal(&header[148..156]) != Some(tar_checksum(&header)) {
            return Err(damaged(Format::Tar, "the checksum of a header"));
        }
        let size = sparse::number(&header[124..136])
            .ok_or_else(|| damaged(Format::Tar, "the size in a header"))?;
        let kind = header[156];
        match kind {
            b'L' | b'K' | b'x' | b'g' | b'X' => {
                let text = read_extension(source, size)?;
                match kind {
                    b'L' => extension.name = Some(until_nul(&text)),
                    b'x' | b'X' => extension.read(&text)?,
                    _ => {}
                }
                continue;
            }
            _ => {}
        }
        let extension = std::mem::take(&mut extension);
        let size = extension.size.unwrap_or(size);
        let name = extension.name(&header);
        match kind {
            b'0' | 0 | b'7' | b'S' => {
                let member = member(source, &header, size, &name, &extension)?;
                if let Some(candidate) = candidate(source, name, member)? {
                    return Ok(Some(candidate));
                }
            }
            // Links, devices, directories, queues.
            b'1'..=b'6' => skip(source, round_up(size)?)?,
            kind => return Err(TarError::Kind { name, kind: char::from(kind) }.into()),
        }
    }
}

fn member(
    source: &mut impl Read,
    header: &[u8; SECTOR],
    size: u64,
    name: &str,
    extension: &Extension,
) -> io::Result<Member> {
    let padding = round_up(size)? - size;
    let wrong = |detail| TarError::Sparse { name: name.to_owned(), detail };
    if header[156] == b'S' {
        let map = sparse::old_gnu(header, size, source)?.map_err(wrong)?;
        return Ok(Member { map, stored: size, padding });
    }
    match (extension.sparse_major, extension.sparse_minor, extension.sparse_length) {
        _ if extension.sparse_elsewhere => {
            Err(wrong("versions before 1.0 of GNU tar's format").into())
        }
        (None, None, None) => Ok(Member { map: Map::whole(size), stored: size, padding }),
        (Some(1), Some(0), Some(length)) => {
            let (map, taken) = sparse::version_1(length, size, source)?.map_err(wrong)?;
            Ok(Member { map, stored: size - taken, padding })
        }
        _ => Err(wrong("an unknown version").into()),
    }
}

/// Looks whether a file could be the image; passes it if not.
fn candidate(
    source: &mut impl Read,
    name: String,
    mut member: Member,
) -> io::Result<Option<Candidate>> {
    let mut head = vec![0; HEAD_BYTES];
    let mut length = 0;
    while length < head.len() {
        match member.read(source, &mut head[length..])? {
            0 => break,
            count => length += count,
        }
    }
    head.truncate(length);
    match recognise(&head) {
        Ok(Format::Raw) if !member.map.length().is_multiple_of(BLOCK) => {}
        Ok(content @ (Format::Raw | Format::Qcow2)) => {
            return Ok(Some(Candidate { name, content, head, member }));
        }
        Ok(format) => return Err(TarError::Packed { name, format }.into()),
        Err(NotAnImage::Empty | NotAnImage::TooShort { .. } | NotAnImage::Text { .. }) => {}
        Err(source) => return Err(TarError::NotAnImage { name, source }.into()),
    }
    while member.read(source, &mut head)? > 0 {}
    member.finish(source)?;
    Ok(None)
}

/// After the first block of zeros there are only more of them.
fn end(source: &mut impl BufRead) -> io::Result<()> {
    let mut seen = 0;
    loop {
        let rest = source.fill_buf()?;
        if rest.is_empty() {
            break;
        }
        if rest.iter().any(|byte| *byte != 0) {
            return Err(damaged(Format::Tar, "something after the end of the archive"));
        }
        let length = rest.len();
        seen += length;
        source.consume(length);
    }
    if seen < SECTOR { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn read_extension(source: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > EXTENSION_LIMIT {
        return Err(damaged(Format::Tar, "a header that is too long"));
    }
    let mut text = Vec::new();
    source.take(size).read_to_end(&mut text)?;
    skip(source, round_up(size)? - size)?;
    Ok(text)
}

fn skip(source: &mut impl Read, bytes: u64) -> io::Result<()> {
    match io::copy(&mut source.take(bytes), &mut io::sink())? {
        skipped if skipped == bytes => Ok(()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn round_up(size: u64) -> io::Result<u64> {
    size.checked_next_multiple_of(BLOCK).ok_or_else(|| damaged(Format::Tar, "the size in a header"))
}

fn until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl Extension {
    /// Reads a `pax` header: lines of `LENGTH KEY=VALUE`.
    fn read(&mut self, text: &[u8]) -> io::Result<()> {
        let wrong = || damaged(Format::Tar, "a pax header");
        let mut rest = text;
        while !rest.is_empty() {
            let blank = rest.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length = decimal(&rest[..blank]).and_then(|length| usize::try_from(length).ok());
            let length = length.filter(|length| *length > blank + 1).ok_or_else(wrong)?;
            let (record, after) = rest.split_at_checked(length).ok_or_else(wrong)?;
            let record = record[blank + 1..].strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let number = || decimal(value).ok_or_else(wrong).map(Some);
            let words = || Some(String::from_utf8_lossy(value).into_owned());
            match key {
                b"path" => self.name = words(),
                b"size" => self.size = number()?,
                b"GNU.sparse.name" => self.sparse_name = words(),
                b"GNU.sparse.major" => self.sparse_major = number()?,
                b"GNU.sparse.minor" => self.sparse_minor = number()?,
                b"GNU.sparse.realsize" => self.sparse_length = number()?,
                key if key.starts_with(b"GNU.sparse.") || key.starts_with(b"SCHILY.realsize") => {
                    self.sparse_elsewhere = true;
                }
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }

    fn name(&self, header: &[u8; SECTOR]) -> String {
        let name = self.sparse_name.as_ref().or(self.name.as_ref());
        name.cloned().unwrap_or_else(|| until_nul(&header[..100]))
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| all)?.parse().ok()
}
