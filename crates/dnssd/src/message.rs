//! DNS messages, as far as finding a service takes them. RFC 1035 §4, RFC 2782, RFC 6762 §18.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest label and the longest name. RFC 1035 §2.3.4.
const LONGEST_LABEL: usize = 63;
const LONGEST_NAME: usize = 255;
/// As many pointers are followed in one name: who compresses needs one for each name at most.
const MOST_JUMPS: usize = 16;

/// As many records are read of one message; the rest is left out.
const MOST_RECORDS: usize = 64;

/// The class of the Internet; the highest bit means other things in multicast DNS.
const INTERNET: u16 = 1;
const CLASS: u16 = 0x7fff;
const TOP_BIT: u16 = 0x8000;

/// A domain name: its labels, which may hold any byte. Compared without regard to the case of ASCII letters.
#[derive(Debug, Clone, Default)]
pub struct Name(Vec<Vec<u8>>);

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called so in every text on DNS")]
pub enum Kind {
    A,
    Ptr,
    Txt,
    Aaaa,
    Srv,
    /// Every kind.
    Any,
    /// One that is of no use here.
    Other(u16),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Of whom.
    pub name: Name,
    /// What.
    pub kind: Kind,
    /// Whether the answer shall come by unicast (RFC 6762 §5.4).
    pub by_unicast: bool,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An address.
    A(Ipv4Addr),
    /// An instance of a service.
    Ptr(Name),
    /// Strings, which mean nothing here.
    Txt(Vec<Vec<u8>>),
    /// An address.
    Aaaa(Ipv6Addr),
    /// Where an instance is; the lowest priority comes first.
    Srv {
        /// Which of several comes first.
        priority: u16,
        /// The port.
        port: u16,
        /// The host.
        host: Name,
    },
    /// The name has these kinds only, none of which is above 255 (RFC 6762 §6.1). Written, never read.
    Nsec(Vec<Kind>),
    /// Something else.
    Other(u16),
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub name: Name,
    /// For how many seconds it holds; with 0 it does not any more.
    pub seconds: u32,
    /// Whether nobody else has such a record (RFC 6762 §10.2).
    pub is_unique: bool,
    /// What it says.
    pub value: Value,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Repeated by the answer.
    pub id: u16,
    /// Whether this is an answer.
    pub is_answer: bool,
    /// Whether a name server shall ask others. Nothing that is read says so.
    pub is_recursive: bool,
    /// What is asked.
    pub questions: Vec<Question>,
    /// Answers.
    pub records: Vec<Record>,
    /// What belongs to the answers. Where a message is read, these are among the `records`.
    pub beside: Vec<Record>,
}

impl Name {
    /// Makes a name of labels; nothing where one is empty or too long, or all of them are.
    pub fn of<L: AsRef<[u8]>>(labels: impl IntoIterator<Item = L>) -> Option<Self> {
        let labels: Vec<Vec<u8>> =
            labels.into_iter().map(|label| label.as_ref().to_vec()).collect();
        let is_right = |label: &Vec<u8>| (1..=LONGEST_LABEL).contains(&label.len());
        let length: usize = labels.iter().map(|label| label.len() + 1).sum();
        (labels.iter().all(is_right) && length < LONGEST_NAME).then_some(Self(labels))
    }

    /// Returns the name below another.
    pub fn below(&self, labels: &[&str], other: &Name) -> Option<Self> {
        let own = self.0.iter().map(Vec::as_slice);
        let all = own.chain(labels.iter().map(|label| label.as_bytes()));
        Self::of(all.chain(other.0.iter().map(Vec::as_slice)))
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        for label in &self.0 {
            bytes.push(u8::try_from(label.len()).expect("63 at most"));
            bytes.extend(label);
        }
        bytes.push(0);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Vec<u8>, &Vec<u8>)| one.eq_ignore_ascii_case(other);
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(is_same)
    }
}

impl Eq for Name {}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ptr => 12,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Srv => 33,
            Self::Any => 255,
            Self::Other(number) => number,
        }
    }

    fn of(number: u16) -> Self {
        let known = [Self::A, Self::Ptr, Self::Txt, Self::Aaaa, Self::Srv, Self::Any];
        known.into_iter().find(|kind| kind.number() == number).unwrap_or(Self::Other(number))
    }
}

impl Value {
    /// Returns its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::A(_) => Kind::A,
            Self::Ptr(_) => Kind::Ptr,
            Self::Txt(_) => Kind::Txt,
            Self::Aaaa(_) => Kind::Aaaa,
            Self::Srv { .. } => Kind::Srv,
            Self::Nsec(_) => Kind::Other(47),
            Self::Other(number) => Kind::Other(*number),
        }
    }
}

impl Message {
    /// Reads a message. Nothing where any part of it is malformed: who cannot count is not believed the rest.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let [id, flags, questions, answers, authorities, beside] = reader.numbers()?;
        let mut message = Self { id, is_answer: flags & TOP_BIT != 0, ..Self::default() };
        // A plain query or its answer, without an error, and an answer that is whole: RFC 1035 §4.1.1. Of a query of
        // multicast DNS more follows, which are answers that its sender knows.
        let wrong = if message.is_answer { 0x7a0f } else { 0x780f };
        if flags & wrong != 0 {
            return None;
        }
        for _ in 0..usize::from(questions).min(MOST_RECORDS) {
            let name = reader.name()?;
            let [kind, class] = reader.numbers()?;
            let by_unicast = class & TOP_BIT != 0;
            if class & CLASS == INTERNET {
                message.questions.push(Question { name, kind: Kind::of(kind), by_unicast });
            }
        }
        let records = [answers, authorities, beside].map(usize::from).into_iter().sum::<usize>();
        for _ in 0..records.min(MOST_RECORDS) {
            let (class, record) = reader.record()?;
            if class == INTERNET {
                message.records.push(record);
            }
        }
        Some(message)
    }

    /// Writes the message, without compression.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // An answer of multicast DNS is authoritative: RFC 6762 §18.4.
        let flags = if self.is_answer { 0x8400 } else { u16::from(self.is_recursive) << 8 };
        let count = |count: usize| u16::try_from(count).expect("messages are short");
        let [questions, records] = [self.questions.len(), self.records.len()].map(count);
        for number in [self.id, flags, questions, records, 0, count(self.beside.len())] {
            bytes.extend(number.to_be_bytes());
        }
        for question in &self.questions {
            question.name.write(&mut bytes);
            bytes.extend(question.kind.number().to_be_bytes());
            let bit = if question.by_unicast { TOP_BIT } else { 0 };
            bytes.extend((INTERNET | bit).to_be_bytes());
        }
        for record in self.records.iter().chain(&self.beside) {
            record.write(&mut bytes);
        }
        bytes
    }
}

impl Record {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.name.write(bytes);
        bytes.extend(self.value.kind().number().to_be_bytes());
        let bit = if self.is_unique { TOP_BIT } else { 0 };
        bytes.extend((INTERNET | bit).to_be_bytes());
        bytes.extend(self.seconds.to_be_bytes());
        let mut data = Vec::new();
        match &self.value {
            Value::A(address) => data.extend(address.octets()),
            Value::Aaaa(address) => data.extend(address.octets()),
            Value::Ptr(name) => name.write(&mut data),
            Value::Txt(strings) => {
                for string in strings {
                    let string = &string[..string.len().min(usize::from(u8::MAX))];
                    data.push(u8::try_from(string.len()).expect("255 at most"));
                    data.extend(string);
                }
                // There is at least one string: RFC 6763 §6.1.
                if strings.is_empty() {
                    data.push(0);
                }
            }
            Value::Srv { priority, port, host } => {
                for number in [*priority, 0, *port] {
                    data.extend(number.to_be_bytes());
                }
                host.write(&mut data);
            }
            Value::Nsec(kinds) => {
                self.name.write(&mut data);
                write_kinds(kinds, &mut data);
            }
            Value::Other(_) => {}
        }
        bytes.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
        bytes.extend(data);
    }
}

/// Writes which kinds of record there are: window 0, and of that as many bytes as it takes. RFC 4034 §4.1.2.
fn write_kinds(kinds: &[Kind], bytes: &mut Vec<u8>) {
    let mut bits: Vec<u8> = Vec::new();
    for number in kinds.iter().filter_map(|kind| u8::try_from(kind.number()).ok()) {
        let at = usize::from(number / 8);
        bits.resize(bits.len().max(at + 1), 0);
        bits[at] |= 0x80 >> (number % 8);
    }
    // No window has no bytes.
    if !bits.is_empty() {
        bytes.extend([0, u8::try_from(bits.len()).expect("32 at most")]);
        bytes.extend(bits);
    }
}

struct Reader<'m> {
    /// The whole message, since names point back into it.
    bytes: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, length: usize) -> Option<&'m [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn numbers<const N: usize>(&mut self) -> Option<[u16; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        }
        Some(numbers)
    }

    /// Reads a name. A pointer leads further back than the one before it, so that every name ends. RFC 1035 §4.1.4.
    fn name(&mut self) -> Option<Name> {
        let mut labels = Vec::new();
        let mut left = LONGEST_NAME - 1;
        let mut reader = Reader { bytes: self.bytes, at: self.at };
        let mut jumped_from = None;
        let mut furthest = self.at;
        let mut jumps = 0;
        loop {
            let length = usize::from(*reader.take(1)?.first()?);
            match length {
                0 => break,
                1..=LONGEST_LABEL => {
                    left = left.checked_sub(length + 1)?;
                    labels.push(reader.take(length)?.to_vec());
                }
                0xc0.. => {
                    let low = usize::from(*reader.take(1)?.first()?);
                    let target = (length & 0x3f) << 8 | low;
                    jumps += 1;
                    if target >= furthest || jumps > MOST_JUMPS {
                        return None;
                    }
                    jumped_from.get_or_insert(reader.at);
                    (furthest, reader.at) = (target, target);
                }
                _ => return None,
            }
        }
        self.at = jumped_from.unwrap_or(reader.at);
        Some(Name(labels))
    }

    /// Reads a record and its class.
    fn record(&mut self) -> Option<(u16, Record)> {
        let name = self.name()?;
        let [kind, class] = self.numbers()?;
        let seconds = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        let [length] = self.numbers()?;
        let end = self.at.checked_add(usize::from(length))?;
        // Its names may point in front of it, but nothing reaches behind it.
        let mut inner = Reader { bytes: self.bytes.get(..end)?, at: self.at };
        let value = inner.value(Kind::of(kind), end)?;
        self.at = end;
        Some((class & CLASS, Record { name, seconds, is_unique: class & TOP_BIT != 0, value }))
    }

    fn value(&mut self, kind: Kind, end: usize) -> Option<Value> {
        let value = match kind {
            Kind::A => Value::A(<[u8; 4]>::try_from(self.take(4)?).ok()?.into()),
            Kind::Aaaa => Value::Aaaa(<[u8; 16]>::try_from(self.take(16)?).ok()?.into()),
            Kind::Ptr => Value::Ptr(self.name()?),
            Kind::Srv => {
                let [priority, _weight, port] = self.numbers()?;
                Value::Srv { priority, port, host: self.name()? }
            }
            Kind::Txt => {
                let mut strings = Vec::new();
                while self.at < end {
                    let length = usize::from(*self.take(1)?.first()?);
                    strings.push(self.take(length)?.to_vec());
                }
                Value::Txt(strings)
            }
            Kind::Any | Kind::Other(_) => {
                self.at = end;
                Value::Other(kind.number())
            }
        };
        (self.at == end).then_some(value)
    }
}

#[cfg(test)]
mod tests;
