//! TFTP packets as values: RFC 1350, with the options of RFC 2347.

use bytes::{BufMut, Bytes, BytesMut};

/// Options in one request that are looked at. Clients send five at most.
const OPTIONS_LIMIT: usize = 16;

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    /// It wants to read a file.
    Read(Request),
    /// It wants to write one.
    Write,
    /// It has everything up to this block.
    Acknowledge(u16),
    /// It gives up.
    Error {
        /// RFC 1350, appendix I; 8 is "I do not like these options" (RFC 2347).
        code: u16,
        /// What it says, cleaned for people. May be empty.
        text: String,
    },
}

/// A read request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// As it was written. Never empty.
    pub(super) path: Vec<u8>,
    /// How it wants its bytes.
    pub(super) mode: Mode,
    /// Name and value as they were written, in their order.
    pub(super) options: Vec<(String, String)>,
}

/// How a client wants a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As they are.
    Octet,
    /// As text of another system.
    Netascii,
}

/// Error codes that we send: RFC 1350, appendix I.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Undefined = 0,
    NotFound = 1,
    AccessViolation = 2,
}

/// Reads a packet; none where it is nothing that a client would send.
pub(super) fn parse(bytes: &[u8]) -> Option<Packet> {
    let (opcode, rest) = bytes.split_first_chunk::<2>()?;
    match u16::from_be_bytes(*opcode) {
        1 => read_request(rest).map(Packet::Read),
        2 => read_request(rest).map(|_| Packet::Write),
        4 => {
            // Some clients pad.
            let (block, _padding) = rest.split_first_chunk::<2>()?;
            Some(Packet::Acknowledge(u16::from_be_bytes(*block)))
        }
        5 => {
            let (code, text) = rest.split_first_chunk::<2>()?;
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            let text = text.iter().take(120).filter(|byte| (0x20..0x7f).contains(*byte));
            let text = text.map(|byte| char::from(*byte)).collect();
            Some(Packet::Error { code: u16::from_be_bytes(*code), text })
        }
        _ => None,
    }
}

fn read_request(bytes: &[u8]) -> Option<Request> {
    let mut strings = Strings(bytes);
    let path = strings.next().filter(|path| !path.is_empty())?.to_vec();
    let mode = strings.next()?;
    let mode = if mode.eq_ignore_ascii_case(b"octet") {
        Mode::Octet
    } else if mode.eq_ignore_ascii_case(b"netascii") {
        Mode::Netascii
    } else {
        return None;
    };
    let mut options = Vec::new();
    while let (Some(name), Some(value)) = (strings.next(), strings.next()) {
        if options.len() == OPTIONS_LIMIT {
            return None;
        }
        // What is not ASCII is no option that we know.
        if let (Ok(name), Ok(value)) = (str::from_utf8(name), str::from_utf8(value))
            && name.is_ascii()
            && value.is_ascii()
        {
            options.push((name.to_owned(), value.to_owned()));
        }
    }
    Some(Request { path, mode, options })
}

/// Strings that each end in a NUL.
struct Strings<'bytes>(&'bytes [u8]);

impl<'bytes> Iterator for Strings<'bytes> {
    type Item = &'bytes [u8];

    fn next(&mut self) -> Option<&'bytes [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (string, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(string)
    }
}

/// Makes a DATA packet.
pub(super) fn data(block: u16, content: &[u8]) -> Bytes {
    let mut packet = BytesMut::with_capacity(4 + content.len());
    packet.put_u16(3);
    packet.put_u16(block);
    packet.put_slice(content);
    packet.freeze()
}

/// Makes an ERROR packet. iPXE shows its text.
pub(super) fn error(code: Code, text: &str) -> Bytes {
    let code = match code {
        Code::Undefined => 0,
        Code::NotFound => 1,
        Code::AccessViolation => 2,
    };
    let mut packet = BytesMut::with_capacity(5 + text.len());
    packet.put_u16(5);
    packet.put_u16(code);
    packet.extend(text.bytes().filter(|byte| (0x20..0x7f).contains(byte)));
    packet.put_u8(0);
    packet.freeze()
}

/// Makes an OACK packet.
pub(super) fn acknowledge_options(options: &[(String, String)]) -> Bytes {
    let mut packet = BytesMut::new();
    packet.put_u16(6);
    for text in options.iter().flat_map(|(name, value)| [name, value]) {
        packet.put_slice(text.as_bytes());
        packet.put_u8(0);
    }
    packet.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// EDK2's size probe, as OVMF 2022.11 sends it.
    const EDK2: &[u8] =
        b"\0\x01boot/snponly.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0";

    fn request(path: &str, options: &[(&str, &str)]) -> Request {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Request {
            path: path.as_bytes().to_vec(),
            mode: Mode::Octet,
            options: options.iter().map(owned).collect(),
        }
    }

    #[test]
    fn a_real_request_is_read() {
        let options = [("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")];
        assert_eq!(parse(EDK2), Some(Packet::Read(request("boot/snponly.efi", &options))));
    }

    #[test]
    fn a_truncated_request_has_fewer_options_or_is_none() {
        for length in 0..EDK2.len() {
            match parse(&EDK2[..length]) {
                Some(Packet::Read(read)) => {
                    assert!(length >= b"\0\x01boot/snponly.efi\0octet\0".len());
                    assert!(read.options.len() < 3);
                }
                None => assert!(length < b"\0\x01boot/snponly.efi\0octet\0".len()),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn other_packets_are_read() {
        assert_eq!(parse(b"\0\x04\x12\x34"), Some(Packet::Acknowledge(0x1234)));
        assert_eq!(parse(b"\0\x02x\0octet\0"), Some(Packet::Write));
        let text = "User aborted the transfer".to_owned();
        assert_eq!(
            parse(b"\0\x05\0\x08User aborted the transfer\0"),
            Some(Packet::Error { code: 8, text: text.clone() })
        );
        let unterminated = b"\0\x05\0\x08User aborted\n the transfer";
        assert_eq!(parse(unterminated), Some(Packet::Error { code: 8, text }));
    }

    #[test]
    fn nonsense_is_none() {
        for bytes in [
            b"".as_slice(),
            b"\0",
            b"\0\0",
            b"\0\x01",
            b"\0\x01\0octet\0",
            b"\0\x01x\0mail\0",
            b"\0\x01x\0octet",
            b"\0\x03\0\x01data",
            b"\0\x04\0",
            b"\0\x05\0",
            b"\0\x06tsize\x001\0",
            b"\x01\0x\0octet\0",
        ] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
        let many = [b"\0\x01x\0octet\0".as_slice(), &b"a\0b\0".repeat(17)].concat();
        assert_eq!(parse(&many), None);
    }

    #[test]
    fn packets_are_written_as_the_rfcs_have_them() {
        assert_eq!(&data(0x1234, b"ab")[..], b"\0\x03\x12\x34ab");
        assert_eq!(&error(Code::NotFound, "no\nsuch")[..], b"\0\x05\0\x01nosuch\0");
        let options = [("blksize".to_owned(), "1468".to_owned())];
        assert_eq!(&acknowledge_options(&options)[..], b"\0\x06blksize\x001468\0");
    }

    proptest! {
        #[test]
        fn no_packet_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _packet = parse(&bytes);
        }

        #[test]
        fn no_mutation_of_a_request_panics(at in 0..EDK2.len(), byte: u8, length in 0..=EDK2.len()) {
            let mut bytes = EDK2.to_vec();
            bytes[at] = byte;
            let _packet = parse(&bytes[..length]);
        }
    }
}
