//! The head of an answer, and how its body ends.

/// The longest head that is read.
pub(crate) const LIMIT: usize = 64 << 10;

/// Heads with more fields are refused.
const FIELDS: usize = 128;

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
}

/// How a body ends. RFC 9112 §6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With a chunk of no length.
    Chunked,
    /// With the connection, so that nobody knows whether all of it came.
    UntilClose,
}

/// Reads a head; nothing while it is not whole, else how long it is.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("its answer has no head of HTTP/1.1"),
    };
    let status = response.code.ok_or("its answer has no status")?;
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let fields = response.headers.iter().map(|field| (field.name.to_owned(), text(field.value)));
    Ok(Some((Head { status, fields: fields.collect() }, length)))
}

impl Head {
    /// Returns a field that stands there once. Of several nobody knows which one is meant.
    pub(crate) fn field<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let mut values = self.all(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Returns every field of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim())
    }

    /// Says how the body ends.
    pub(crate) fn framing(&self) -> Result<Framing, &'static str> {
        if matches!(self.status, 204 | 304) {
            return Ok(Framing::Length(0));
        }
        let mut encodings = self.all("transfer-encoding");
        let mut lengths = self.all("content-length");
        match (encodings.next(), lengths.next()) {
            (Some(_), Some(_)) => Err("it says in two ways how long its answer is"),
            (Some(encoding), None) => {
                if encoding.eq_ignore_ascii_case("chunked") && encodings.next().is_none() {
                    Ok(Framing::Chunked)
                } else {
                    Err("its answer is encoded in an unknown way")
                }
            }
            (None, Some(length)) => {
                if lengths.any(|other| other != length) {
                    return Err("it says two lengths of its answer");
                }
                number(length).map(Framing::Length).ok_or("the length of its answer is no number")
            }
            (None, None) => Ok(Framing::UntilClose),
        }
    }

    /// Returns which bytes of a file these are, and how long the file is. RFC 9110 §14.4.
    pub(crate) fn range(&self) -> Option<Part> {
        let (range, length) =
            self.field("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let part = Part { first: number(first)?, last: number(last)?, length: number(length)? };
        (part.first <= part.last && part.last < part.length).then_some(part)
    }
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its first byte.
    pub(crate) first: u64,
    /// Its last byte.
    pub(crate) last: u64,
    /// How long the whole file is.
    pub(crate) length: u64,
}

/// Digits and nothing else: no sign, no blank.
fn number(text: &str) -> Option<u64> {
    let fit = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    fit.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(fields: &str) -> Head {
        let text = format!("HTTP/1.1 206 Partial\r\n{fields}\r\n\r\n");
        parse(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn a_body_ends_in_one_way_only() {
        let framing = |fields: &str| head(fields).framing();
        assert_eq!(framing("Content-Length: 7"), Ok(Framing::Length(7)));
        assert_eq!(framing("Content-Length: 7\r\ncontent-length: 7"), Ok(Framing::Length(7)));
        assert_eq!(framing("Transfer-Encoding: Chunked"), Ok(Framing::Chunked));
        assert_eq!(framing("A: b"), Ok(Framing::UntilClose));
        for fields in [
            "Content-Length: 7\r\nContent-Length: 8",
            "Content-Length: 7\r\nTransfer-Encoding: chunked",
            "Content-Length: +7",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
        ] {
            assert!(framing(fields).is_err(), "{fields}");
        }
    }

    #[test]
    fn a_range_is_whole_and_possible_or_none() {
        let range = |value: &str| head(&format!("Content-Range: {value}")).range();
        assert_eq!(range("bytes 4-9/10"), Some(Part { first: 4, last: 9, length: 10 }));
        for value in
            ["bytes 4-10/10", "bytes 9-4/10", "bytes 4-9/*", "bytes */10", "4-9/10", "bytes 4-9"]
        {
            assert_eq!(range(value), None, "{value}");
        }
    }

    #[test]
    fn every_beginning_of_a_head_is_waited_on() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\nrest";
        for length in 0..whole.len() - 4 {
            assert_eq!(parse(&whole[..length]), Ok(None), "{length}");
        }
        assert_eq!(parse(whole).unwrap().unwrap().1, whole.len() - 4);
        assert!(parse(b"SSH-2.0-OpenSSH\r\n").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, fields in "[ -~]{0,60}") {
            drop(parse(&bytes));
            if let Ok(Some((head, _))) = parse(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes()) {
                let _either = head.framing();
                head.range();
            }
        }
    }
}
