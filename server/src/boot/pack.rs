//! Packs: what one network card needs that the core of our systems lacks, and the list that says which card needs which.
//!
//! ```text
//!  8086:10fb ixgbe     this device needs the pack `ixgbe`
//!  8086:100e core      the core drives it
//!  15b3:*    mlx5_core every device of this vendor that has no line of its own
//! ```

use std::{collections::BTreeMap, fmt};

use super::asset::Architecture;

/// The longest name of a pack: it is a kernel module's (Linux, `MODULE_NAME_LEN` less its NUL).
pub(super) const NAME_LIMIT: usize = 55;
/// The name in the list of cards that means no pack.
const CORE: &str = "core";
/// The type of a PCI device in iPXE's `${busid}` (iPXE, `BUS_TYPE_PCI`).
const PCI: u16 = 1;

/// The name of a pack, which is a kernel module's: letters, digits, `_` and `-`; never empty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackName {
    // In place, so that what is asked for needs no memory of its own.
    bytes: [u8; NAME_LIMIT],
    length: u8,
}

/// A small archive that iPXE loads beside the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pack {
    /// For which processors.
    pub architecture: Architecture,
    /// Its name.
    pub name: PackName,
}

/// What a card needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing but the core.
    Core,
    /// A pack.
    Pack(PackName),
}

/// A PCI device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Card {
    pub(super) vendor: u16,
    pub(super) device: u16,
}

/// Which card needs which pack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cards {
    /// By vendor and device; without a device, all of the vendor that are not named.
    needs: BTreeMap<(u16, Option<u16>), Need>,
}

/// Says which line of the list of cards makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}: {text:?}")]
pub(super) struct CardsError {
    line: usize,
    problem: &'static str,
    text: String,
}

impl PackName {
    /// The pack with all network drivers.
    pub(super) const NETWORK: Self = {
        let text = b"network";
        let mut bytes = [0; NAME_LIMIT];
        let mut index = 0;
        while index < text.len() {
            bytes[index] = text[index];
            index += 1;
        }
        Self { bytes, length: 7 }
    };

    /// Reads a name; nothing where it is none.
    pub fn read(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let length = u8::try_from(text.len()).ok()?;
        let mut bytes = [0; NAME_LIMIT];
        let place = bytes.get_mut(..text.len()).filter(|place| !place.is_empty())?;
        place.copy_from_slice(text.as_bytes());
        text.bytes().all(is_plain).then_some(Self { bytes, length })
    }

    /// Returns the name.
    pub fn text(&self) -> &str {
        let name = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        str::from_utf8(name).unwrap_or_default()
    }
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Pack {
    /// Returns its file name: `ixgbe.cpio`.
    pub fn file_name(self) -> String {
        format!("{}.cpio", self.name)
    }

    /// Finds a pack by its file name.
    pub fn named(architecture: Architecture, name: &str) -> Option<Self> {
        let name = PackName::read(name.strip_suffix(".cpio")?)?;
        Some(Self { architecture, name })
    }
}

impl Card {
    /// Reads iPXE's `${netX/busid}` as the query has it: type, vendor and device as hexadecimal bytes with `:` between
    /// them. Nothing for what is no PCI device (iPXE, `struct dhcp_netdev_desc`).
    pub(super) fn of_bus_id(bus_id: &str) -> Option<Self> {
        let mut bytes = bus_id.split(':').map(|byte| u16::from_str_radix(byte, 16).ok());
        let mut next = || bytes.next().flatten();
        let [kind, vendor_high, vendor_low, device_high, device_low] =
            [next()?, next()?, next()?, next()?, next()?];
        let card =
            Self { vendor: vendor_high << 8 | vendor_low, device: device_high << 8 | device_low };
        (kind == PCI && bytes.next().is_none()).then_some(card)
    }
}

impl Cards {
    /// Reads the list. Strict: what is not understood might be the line of the one card that needs it.
    pub(super) fn read(text: &str) -> Result<Self, CardsError> {
        let mut needs = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let wrong = |problem| CardsError {
                line: index + 1,
                problem,
                text: line.chars().take(80).collect(),
            };
            let (ids, name) =
                line.split_once(' ').ok_or_else(|| wrong("not an id, a space and a name"))?;
            let ids = ids.split_once(':').ok_or_else(|| wrong("no PCI id"))?;
            let vendor = id(ids.0).ok_or_else(|| wrong("no PCI vendor of four digits"))?;
            let device = match ids.1 {
                "*" => None,
                device => Some(id(device).ok_or_else(|| wrong("no PCI device of four digits"))?),
            };
            let need = match name {
                CORE => Need::Core,
                name => Need::Pack(PackName::read(name).ok_or_else(|| wrong("no pack's name"))?),
            };
            if needs.insert((vendor, device), need).is_some() {
                return Err(wrong("this card has a line already"));
            }
        }
        Ok(Self { needs })
    }

    /// Says what a card needs; nothing is known of the others.
    pub(super) fn need(&self, card: Card) -> Option<Need> {
        let exact = self.needs.get(&(card.vendor, Some(card.device)));
        exact.or_else(|| self.needs.get(&(card.vendor, None))).copied()
    }
}

/// Reads four lower-case hexadecimal digits.
fn id(text: &str) -> Option<u16> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == 4 && text.bytes().all(is_digit))
        .then(|| u16::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = "8086:10fb ixgbe\n8086:100e core\n15b3:1013 mlx4-x\n15b3:* mlx5_core\n";

    fn need(bus_id: &str) -> Option<String> {
        let need = Cards::read(SAMPLE).unwrap().need(Card::of_bus_id(bus_id)?)?;
        Some(match need {
            Need::Core => "core".to_owned(),
            Need::Pack(name) => name.to_string(),
        })
    }

    #[test]
    fn a_card_needs_what_its_line_says_and_else_what_its_vendors_says() {
        let says = |bus_id, name: &str| assert_eq!(need(bus_id).as_deref(), Some(name), "{bus_id}");
        says("01:80:86:10:fb", "ixgbe");
        says("01:80:86:10:0e", "core");
        says("01:15:b3:10:13", "mlx4-x");
        says("01:15:b3:10:15", "mlx5_core");
        assert_eq!(need("01:80:86:10:d3"), None);
    }

    #[test]
    fn what_is_no_pci_device_is_no_card() {
        for bus_id in
            ["", "01", "01:80:86:10", "01:80:86:10:fb:00", "02:80:86:10:fb", "0a:05:8f:03:89", "x"]
        {
            assert_eq!(Card::of_bus_id(bus_id), None, "{bus_id}");
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        for (line, problem) in [
            ("", "not an id, a space and a name"),
            ("8086:10fb", "not an id, a space and a name"),
            ("8086 ixgbe", "no PCI id"),
            ("808:10fb ixgbe", "no PCI vendor of four digits"),
            ("*:* ixgbe", "no PCI vendor of four digits"),
            ("8086:10FB ixgbe", "no PCI device of four digits"),
            ("8086:+0fb ixgbe", "no PCI device of four digits"),
            ("8086:10fb  ixgbe", "no pack's name"),
            ("8086:10fb ../ixgbe", "no pack's name"),
            ("8086:10fb ", "no pack's name"),
            ("8086:100e e1000", "this card has a line already"),
        ] {
            let error = Cards::read(&format!("{SAMPLE}{line}\n8086:1 x\n")).unwrap_err();
            assert_eq!(error.to_string(), format!("line 5: {problem}: {line:?}"));
        }
    }

    #[test]
    fn a_name_is_one_of_a_module() {
        let longest = "x".repeat(NAME_LIMIT);
        for name in ["ixgbe", "bnxt_en", "a-b", "8139too", longest.as_str()] {
            assert_eq!(PackName::read(name).unwrap().to_string(), name);
        }
        let long = "x".repeat(NAME_LIMIT + 1);
        for name in ["", ".", "..", "a/b", "a.b", "ä", "a b", "a\n", long.as_str()] {
            assert_eq!(PackName::read(name), None, "{name:?}");
        }
        assert_eq!(PackName::read("network"), Some(PackName::NETWORK));
        let pack = Pack::named(Architecture::X86_64, "ixgbe.cpio").unwrap();
        assert_eq!(pack.file_name(), "ixgbe.cpio");
        assert_eq!(Pack::named(Architecture::X86_64, "ixgbe"), None);
        assert_eq!(Pack::named(Architecture::X86_64, ".cpio"), None);
    }

    proptest! {
        #[test]
        fn no_list_panics(text in "([0-9a-f]{4}:([0-9a-f]{4}|\\*) [a-z]{0,3}\n|\\PC{0,20}\n?){0,6}") {
            drop(Cards::read(&text));
        }

        #[test]
        fn no_bus_id_panics(text in "([0-9a-f]{2}:?|\\PC){0,8}") {
            let _card = Card::of_bus_id(&text);
        }
    }
}
