//! One DHCP message, read and written.

use std::net::Ipv4Addr;

use protocol::MacAddress;

use crate::{
    MalformedOptions, MessageType, Options, code,
    options::{Ending, wire_size, write},
};

/// The size of a datagram that every client takes. RFC 2131 clause 2.
pub const DEFAULT_LIMIT: u16 = 576;

/// The largest datagram that we send: more would be cut into fragments on Ethernet.
const LARGEST_LIMIT: u16 = 1500;

/// IP and UDP headers, which option 57 counts and a socket does not.
const HEADERS_SIZE: usize = 28;

/// The size that BOOTP gives every message; shorter ones are dropped by some relays and ROMs.
const MINIMUM_SIZE: usize = 300;

/// What stands before the options.
const FIXED_SIZE: usize = 236;
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

/// Says "options follow". RFC 2131 clause 3.
const COOKIE: [u8; 4] = [99, 130, 83, 99];

const ETHERNET: u8 = 1;

/// The flag by which a client asks for broadcast answers.
const BROADCAST: u16 = 0x8000;

/// Who speaks: `op`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A client, or a relay for it.
    Request,
    /// A server.
    Reply,
}

/// A DHCP message, with the field names of RFC 2131 clause 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub op: Operation,
    /// How many relays it passed.
    pub hops: u8,
    /// The transaction: chosen by the client, repeated in replies.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Bit 15: the client asks for broadcast answers.
    pub flags: u16,
    /// The address that the client has and answers on; 0.0.0.0 where it has none.
    pub ciaddr: Ipv4Addr,
    /// The address that the server gives.
    pub yiaddr: Ipv4Addr,
    /// The server that the client boots from next.
    pub siaddr: Ipv4Addr,
    /// The relay that passed the request on; 0.0.0.0 without one.
    pub giaddr: Ipv4Addr,
    /// The client's port.
    pub chaddr: MacAddress,
    /// The boot server's name, up to its first NUL. On writing, left out where it is longer than 63 bytes.
    pub sname: Vec<u8>,
    /// The boot file's name, up to its first NUL. On writing, left out where it is longer than 127 bytes:
    /// half a name is another file's.
    pub file: Vec<u8>,
    /// The options; option 52 (overload) is resolved by reading and never written.
    pub options: Options,
}

/// Why bytes are no DHCP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedMessage {
    /// The fixed fields are not all there.
    #[error("only {size} bytes long")]
    TooShort {
        /// What came.
        size: usize,
    },
    /// Neither a request nor a reply.
    #[error("neither request nor reply: op {op}")]
    UnknownOperation {
        /// What came.
        op: u8,
    },
    /// No Ethernet address of six bytes.
    #[error("no Ethernet address: hardware type {htype}, length {hlen}")]
    UnknownHardware {
        /// What came as the type.
        htype: u8,
        /// What came as the length.
        hlen: u8,
    },
    /// An address that no port has.
    #[error("no port's hardware address: {0}")]
    UnusableAddress(MacAddress),
    /// The magic cookie is absent: plain BOOTP, or something else.
    #[error("without the DHCP cookie")]
    NoCookie,
    /// The options make no sense.
    #[error(transparent)]
    Options(#[from] MalformedOptions),
    /// An option's value has an impossible size or value.
    #[error("option {code} has an impossible value of {size} bytes")]
    ImpossibleOption {
        /// The option.
        code: u8,
        /// The value's size.
        size: usize,
    },
}

impl Message {
    /// Begins a client's message, without options.
    pub fn request(chaddr: MacAddress, xid: u32) -> Self {
        Self {
            op: Operation::Request,
            hops: 0,
            xid,
            secs: 0,
            flags: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr,
            sname: Vec::new(),
            file: Vec::new(),
            options: Options::new(),
        }
    }

    /// Begins the answer to this request: its transaction, flags, relay and client, and what the relay added.
    #[must_use]
    pub fn reply(&self) -> Self {
        let mut reply = Self {
            op: Operation::Reply,
            flags: self.flags,
            giaddr: self.giaddr,
            ..Self::request(self.chaddr, self.xid)
        };
        if let Some(relayed) = self.options.get(code::RELAY_INFORMATION) {
            reply.options.set(code::RELAY_INFORMATION, relayed);
        }
        reply
    }

    /// Holds when the client asks for broadcast answers.
    pub fn wants_broadcast(&self) -> bool {
        self.flags & BROADCAST != 0
    }

    /// Asks for broadcast answers.
    pub fn set_broadcast(&mut self) {
        self.flags |= BROADCAST;
    }

    /// Returns the largest datagram that this client takes: option 57, within what is sensible.
    pub fn limit(&self) -> u16 {
        let asked = self.options.maximum_size().unwrap_or(DEFAULT_LIMIT);
        asked.clamp(DEFAULT_LIMIT, LARGEST_LIMIT)
    }

    /// Returns the boot file's name or URL: option 67, else `file`.
    pub fn boot_file(&self) -> Option<String> {
        self.options.text(code::BOOT_FILE).or_else(|| {
            (!self.file.is_empty()).then(|| String::from_utf8_lossy(&self.file).into_owned())
        })
    }

    /// Reads a datagram's payload.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedMessage> {
        let too_short = MalformedMessage::TooShort { size: bytes.len() };
        let (fixed, rest) = bytes.split_first_chunk::<FIXED_SIZE>().ok_or(too_short)?;
        let op = match fixed[0] {
            1 => Operation::Request,
            2 => Operation::Reply,
            op => return Err(MalformedMessage::UnknownOperation { op }),
        };
        let (htype, hlen) = (fixed[1], fixed[2]);
        if (htype, hlen) != (ETHERNET, 6) {
            return Err(MalformedMessage::UnknownHardware { htype, hlen });
        }
        let chaddr = MacAddress(array(fixed, 28));
        if !chaddr.is_usable() {
            return Err(MalformedMessage::UnusableAddress(chaddr));
        }
        let (cookie, field) = rest.split_first_chunk::<4>().ok_or(too_short)?;
        if *cookie != COOKIE {
            return Err(MalformedMessage::NoCookie);
        }
        let mut message = Self {
            op,
            hops: fixed[3],
            xid: u32::from_be_bytes(array(fixed, 4)),
            secs: u16::from_be_bytes(array(fixed, 8)),
            flags: u16::from_be_bytes(array(fixed, 10)),
            ciaddr: array::<4>(fixed, 12).into(),
            yiaddr: array::<4>(fixed, 16).into(),
            siaddr: array::<4>(fixed, 20).into(),
            giaddr: array::<4>(fixed, 24).into(),
            chaddr,
            sname: Vec::new(),
            file: Vec::new(),
            options: Options::new(),
        };
        message.options.read(field, Ending::Required)?;
        message.read_names(fixed)?;
        message.check_sizes()?;
        Ok(message)
    }

    /// Writes the datagram's payload: at least 300 bytes, and with its IP and UDP headers never above `limit` bytes.
    ///
    /// Options keep their order, so put the important ones first: one that no longer fits is left out.
    /// Option 82 stands last and has its room before all others. RFC 3046 clause 2.1.
    pub fn encode(&self, limit: u16) -> Vec<u8> {
        let limit = usize::from(limit.max(DEFAULT_LIMIT)) - HEADERS_SIZE;
        let mut bytes = Vec::with_capacity(limit);
        bytes.push(match self.op {
            Operation::Request => 1,
            Operation::Reply => 2,
        });
        bytes.extend([ETHERNET, 6, self.hops]);
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        for address in [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr] {
            bytes.extend(address.octets());
        }
        bytes.extend(self.chaddr.0);
        bytes.resize(SNAME.start, 0);
        for (name, field) in [(&self.sname, SNAME), (&self.file, FILE)] {
            if name.len() < field.len() {
                bytes.extend(name);
            }
            bytes.resize(field.end, 0);
        }
        bytes.extend(COOKIE);

        let relayed = self.options.get(code::RELAY_INFORMATION);
        let relayed = relayed.filter(|value| bytes.len() + wire_size(value) < limit);
        let room = limit - 1 - relayed.map_or(0, wire_size);
        for (code, value) in self.options.iter() {
            let written_elsewhere = matches!(code, code::RELAY_INFORMATION | code::OVERLOAD);
            if !written_elsewhere && bytes.len() + wire_size(value) <= room {
                write(&mut bytes, code, value);
            }
        }
        if let Some(value) = relayed {
            write(&mut bytes, code::RELAY_INFORMATION, value);
        }
        bytes.push(code::END);
        if bytes.len() < MINIMUM_SIZE {
            bytes.resize(MINIMUM_SIZE, code::PAD);
        }
        bytes
    }

    /// Reads `file` and `sname`, as options where option 52 says so: `file` before `sname`. RFC 3396 clause 5.
    fn read_names(&mut self, fixed: &[u8; FIXED_SIZE]) -> Result<(), MalformedMessage> {
        let overload = self.options.remove(code::OVERLOAD);
        let (in_file, in_sname) = match overload.as_deref() {
            None => (false, false),
            Some([1]) => (true, false),
            Some([2]) => (false, true),
            Some([3]) => (true, true),
            Some(value) => {
                let size = value.len();
                return Err(MalformedMessage::ImpossibleOption { code: code::OVERLOAD, size });
            }
        };
        if in_file {
            self.options.read(&fixed[FILE], Ending::Optional)?;
        } else {
            self.file = until_nul(&fixed[FILE]);
        }
        if in_sname {
            self.options.read(&fixed[SNAME], Ending::Optional)?;
        } else {
            self.sname = until_nul(&fixed[SNAME]);
        }
        // An overload inside an overloaded field says nothing that can be followed.
        self.options.remove(code::OVERLOAD);
        Ok(())
    }

    /// Refuses options of fixed size that have another.
    fn check_sizes(&self) -> Result<(), MalformedMessage> {
        for (code, value) in self.options.iter() {
            let possible = match code {
                code::MESSAGE_TYPE => {
                    matches!(value, [number] if MessageType::from_number(*number).is_some())
                }
                code::SUBNET_MASK
                | code::BROADCAST_ADDRESS
                | code::REQUESTED_ADDRESS
                | code::SERVER_IDENTIFIER
                | code::LEASE_TIME
                | code::RENEWAL_TIME
                | code::REBINDING_TIME => value.len() == 4,
                code::MAXIMUM_SIZE => value.len() == 2,
                code::ROUTERS | code::NAME_SERVERS => value.len().is_multiple_of(4),
                _ => true,
            };
            if !possible {
                return Err(MalformedMessage::ImpossibleOption { code, size: value.len() });
            }
        }
        Ok(())
    }
}

/// Copies `N` bytes of the fixed fields.
fn array<const N: usize>(fixed: &[u8; FIXED_SIZE], start: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&fixed[start..start + N]);
    bytes
}

fn until_nul(field: &[u8]) -> Vec<u8> {
    field.iter().copied().take_while(|byte| *byte != 0).collect()
}
