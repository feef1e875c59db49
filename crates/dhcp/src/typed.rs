//! Options as what they mean.

use std::net::Ipv4Addr;

use crate::{Options, code, uuid};

/// What kind of message it is: option 53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// A client looks for servers.
    Discover,
    /// A server offers.
    Offer,
    /// A client takes an offer, or confirms or renews what it has.
    Request,
    /// A client says that somebody else uses its address.
    Decline,
    /// A server confirms.
    Ack,
    /// A server refuses.
    Nak,
    /// A client gives its address back.
    Release,
    /// A client that has an address asks for the rest.
    Inform,
}

impl MessageType {
    const ALL: [Self; 8] = [
        Self::Discover,
        Self::Offer,
        Self::Request,
        Self::Decline,
        Self::Ack,
        Self::Nak,
        Self::Release,
        Self::Inform,
    ];

    /// Returns the kind for its number on the wire; nothing for numbers that no client or server of ours uses.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Returns the number on the wire. RFC 2132 clause 9.6.
    pub fn number(self) -> u8 {
        match self {
            Self::Discover => 1,
            Self::Offer => 2,
            Self::Request => 3,
            Self::Decline => 4,
            Self::Ack => 5,
            Self::Nak => 6,
            Self::Release => 7,
            Self::Inform => 8,
        }
    }

    /// Returns the name as the field writes it: `DISCOVER`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discover => "DISCOVER",
            Self::Offer => "OFFER",
            Self::Request => "REQUEST",
            Self::Decline => "DECLINE",
            Self::Ack => "ACK",
            Self::Nak => "NAK",
            Self::Release => "RELEASE",
            Self::Inform => "INFORM",
        }
    }
}

impl Options {
    /// Reads option 53; absent in plain BOOTP.
    pub fn message_type(&self) -> Option<MessageType> {
        let [number] = self.get(code::MESSAGE_TYPE)? else { return None };
        MessageType::from_number(*number)
    }

    /// Reads an option that is one address: 1, 28, 50, 54.
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        let bytes: [u8; 4] = self.get(code)?.try_into().ok()?;
        Some(bytes.into())
    }

    /// Reads an option that is a list of addresses: 3, 6. Empty where the option is absent.
    pub fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (addresses, _rest) = self.get(code).unwrap_or_default().as_chunks::<4>();
        addresses.iter().map(|bytes| Ipv4Addr::from(*bytes)).collect()
    }

    /// Reads an option that is a number of seconds: 51, 58, 59. `u32::MAX` means for ever.
    pub fn seconds(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    /// Reads an option that is text: 12, 15, 56, 60, 66, 67, without trailing NULs. Absent where nothing is left.
    pub fn text(&self, code: u8) -> Option<String> {
        let value = self.get(code)?;
        let end = value.iter().rposition(|byte| *byte != 0)?;
        Some(String::from_utf8_lossy(&value[..=end]).into_owned())
    }

    /// Reads option 57, in bytes with IP and UDP headers.
    pub fn maximum_size(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(code::MAXIMUM_SIZE)?.try_into().ok()?))
    }

    /// Reads option 93: what the firmware can run, best first. Empty where the client did not say.
    pub fn architectures(&self) -> Vec<u16> {
        let (numbers, _rest) = self.get(code::ARCHITECTURES).unwrap_or_default().as_chunks::<2>();
        numbers.iter().map(|bytes| u16::from_be_bytes(*bytes)).collect()
    }

    /// Reads option 97 in canonical lower-case spelling.
    pub fn uuid(&self) -> Option<String> {
        uuid::from_wire(self.get(code::MACHINE_UUID)?)
    }

    /// Reads option 77: the list of RFC 3004, or the one raw value that iPXE sends.
    pub fn user_classes(&self) -> Vec<&[u8]> {
        let Some(value) = self.get(code::USER_CLASS) else { return Vec::new() };
        let mut classes = Vec::new();
        let mut rest = value;
        while let Some((&length, after_length)) = rest.split_first() {
            let Some((class, after_class)) = after_length.split_at_checked(usize::from(length))
            else {
                return vec![value];
            };
            classes.push(class);
            rest = after_class;
        }
        classes
    }

    /// Reads options that stand inside another (43, 175). Absent too where its value has another form.
    pub fn encapsulated(&self, code: u8) -> Option<Options> {
        Options::parse_encapsulated(self.get(code)?).ok()
    }

    /// Reads option 82's sub-option 5: the subnet that the relay asks an address for. RFC 3527.
    pub fn link_selection(&self) -> Option<Ipv4Addr> {
        // Inside option 82, 0 and 255 are sub-options like any other. RFC 3046 clause 2.0.
        let mut rest = self.get(code::RELAY_INFORMATION)?;
        while let [code, length, after @ ..] = rest {
            let (value, next) = after.split_at_checked(usize::from(*length))?;
            if *code == code::RELAY_LINK_SELECTION {
                let bytes: [u8; 4] = value.try_into().ok()?;
                return Some(bytes.into());
            }
            rest = next;
        }
        None
    }

    /// Sets option 53.
    pub fn set_message_type(&mut self, kind: MessageType) {
        self.set(code::MESSAGE_TYPE, [kind.number()]);
    }

    /// Sets an option that is one address.
    pub fn set_address(&mut self, code: u8, address: Ipv4Addr) {
        self.set(code, address.octets());
    }

    /// Sets an option that is a list of addresses; takes it out where there are none.
    pub fn set_addresses(&mut self, code: u8, addresses: &[Ipv4Addr]) {
        if addresses.is_empty() {
            self.remove(code);
        } else {
            self.set(code, addresses.iter().flat_map(Ipv4Addr::octets).collect::<Vec<_>>());
        }
    }

    /// Sets an option that is a number of seconds.
    pub fn set_seconds(&mut self, code: u8, seconds: u32) {
        self.set(code, seconds.to_be_bytes());
    }

    /// Sets an option that is text, as it is.
    pub fn set_text(&mut self, code: u8, text: &str) {
        self.set(code, text);
    }

    /// Sets an option that is text and ends it with a NUL, as 66 and 67 must: EDK2 writes one behind
    /// the value where it is missing, over the next option's code.
    pub fn set_terminated_text(&mut self, code: u8, text: &str) {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.set(code, value);
    }

    /// Sets option 57, in bytes with IP and UDP headers.
    pub fn set_maximum_size(&mut self, bytes: u16) {
        self.set(code::MAXIMUM_SIZE, bytes.to_be_bytes());
    }

    /// Sets option 93.
    pub fn set_architectures(&mut self, architectures: &[u16]) {
        self.set(
            code::ARCHITECTURES,
            architectures.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>(),
        );
    }

    /// Sets option 97 from canonical spelling; leaves it out where the text is no UUID.
    pub fn set_uuid(&mut self, text: &str) {
        if let Some(value) = uuid::to_wire(text) {
            self.set(code::MACHINE_UUID, value);
        }
    }

    /// Sets an option that holds options (175).
    pub fn set_encapsulated(&mut self, code: u8, inner: &Options) {
        self.set(code, inner.encapsulate());
    }

    /// Sets option 43, which PXE ends with an end option of its own.
    pub fn set_vendor_information(&mut self, inner: &Options) {
        let mut value = inner.encapsulate();
        value.push(code::END);
        self.set(code::VENDOR_INFORMATION, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(code: u8, value: &[u8]) -> Options {
        let mut options = Options::new();
        options.set(code, value);
        options
    }

    #[test]
    fn user_classes_are_read_in_both_encodings() {
        assert_eq!(options(77, b"iPXE").user_classes(), [b"iPXE"]);
        assert_eq!(options(77, b"\x04iPXE").user_classes(), [b"iPXE"]);
        assert_eq!(options(77, b"\x04iPXE\x01x").user_classes(), [&b"iPXE"[..], b"x"]);
        assert!(options(77, b"").user_classes().is_empty());
        assert!(Options::new().user_classes().is_empty());
    }

    #[test]
    fn all_architectures_are_read() {
        assert_eq!(options(93, &[0, 7, 0, 0x10]).architectures(), [7, 16]);
        assert!(Options::new().architectures().is_empty());
    }

    #[test]
    fn text_ends_before_its_nuls() {
        assert_eq!(options(67, b"a/b\0\0").text(67).as_deref(), Some("a/b"));
        assert_eq!(options(67, b"\0").text(67), None);
        let mut terminated = Options::new();
        terminated.set_terminated_text(67, "a");
        assert_eq!(terminated.get(67), Some(&b"a\0"[..]));
    }

    #[test]
    fn pxe_discovery_control_is_written_as_firmware_was_seen_to_read_it() {
        let mut outer = Options::new();
        let mut inner = Options::new();
        inner.set(code::PXE_DISCOVERY_CONTROL, [8]);
        outer.set_vendor_information(&inner);
        assert_eq!(outer.get(43), Some(&[6, 1, 8, 255][..]));
        assert_eq!(outer.encapsulated(43), Some(inner));
    }

    #[test]
    fn link_selection_is_found_behind_other_sub_options() {
        let relayed = options(82, &[1, 2, 9, 9, 0, 1, 7, 5, 4, 10, 9, 0, 0]);
        assert_eq!(relayed.link_selection(), Some(Ipv4Addr::new(10, 9, 0, 0)));
        assert_eq!(options(82, &[1, 9, 9]).link_selection(), None);
        assert_eq!(options(82, &[5, 3, 1, 2, 3]).link_selection(), None);
    }

    #[test]
    fn every_message_type_has_its_own_number() {
        for number in 0..=255 {
            if let Some(kind) = MessageType::from_number(number) {
                assert_eq!(kind.number(), number);
            }
        }
        assert_eq!(MessageType::from_number(9), None);
    }

    #[test]
    fn values_of_another_size_are_absent() {
        assert_eq!(options(54, &[1, 2, 3]).address(54), None);
        assert_eq!(options(51, &[1]).seconds(51), None);
        assert_eq!(options(57, &[1]).maximum_size(), None);
        assert_eq!(options(53, &[1, 1]).message_type(), None);
    }
}
