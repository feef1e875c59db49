//! A MAC address, read from any usual spelling, shown in lower case with colons.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An Ethernet hardware address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

/// Says that a text is no MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address of six hexadecimal bytes: {0:?}")]
pub struct MacAddressError(String);

impl MacAddress {
    /// Holds for addresses made up by software (bit 1 of the first byte, IEEE 802 clause 8.4).
    pub fn is_locally_administered(self) -> bool {
        self.0[0] & 0x02 != 0
    }

    /// Holds for group addresses, which no port can own (bit 0 of the first byte).
    pub fn is_multicast(self) -> bool {
        self.0[0] & 0x01 != 0
    }

    /// Holds for addresses that can be a port's own: not zero, not a group's.
    pub fn is_usable(self) -> bool {
        self.0 != [0; 6] && !self.is_multicast()
    }

    /// Shows the address with hyphens, as file names and iPXE's `mac:hexhyp` have it.
    pub fn hyphenated(self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.write_str(&digits.join(":"))
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddress {
    type Err = MacAddressError;

    /// Reads `52:54:00:12:34:56`, the same with hyphens, and twelve digits without either.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || MacAddressError(text.chars().take(40).collect());
        let separator = if text.len() == 12 { None } else { Some(2) };
        let mut bytes = [0; 6];
        let characters = text.as_bytes();
        if !text.is_ascii() || characters.len() != separator.map_or(12, |_| 17) {
            return Err(error());
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            let start = index * separator.map_or(2, |_| 3);
            let digits = text.get(start..start + 2).ok_or_else(error)?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(error());
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_| error())?;
            if separator.is_some()
                && index < 5
                && (!matches!(characters[start + 2], b':' | b'-')
                    || characters[start + 2] != characters[2])
            {
                return Err(error());
            }
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_spellings_are_one_address() {
        let address = MacAddress([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
        for text in ["52:54:00:ab:cd:ef", "52-54-00-AB-CD-EF", "525400abcdef"] {
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
        assert_eq!(address.hyphenated(), "52-54-00-ab-cd-ef");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:eg",
            "52:54-00:ab:cd:ef",
            "+2:54:00:ab:cd:ef",
            "525400abcdé",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(bytes: [u8; 6]) {
            prop_assert_eq!(MacAddress(bytes).to_string().parse(), Ok(MacAddress(bytes)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _read = text.parse::<MacAddress>();
        }
    }
}
