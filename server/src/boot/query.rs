//! Who asks for a script: the query that our first script sends, read with suspicion.

use protocol::MacAddress;

use super::asset::{Architecture, Platform};
use crate::decision::Traveller;

/// The longest serial number, product or maker that is kept. Longer ones are no such thing.
const TEXT_LIMIT: usize = 128;

/// A machine that has arrived at its script. What was not sent, or was no such thing, is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arrival {
    /// What identifies it.
    pub traveller: Traveller,
    /// The boot port's bus id as iPXE shows it: `01:` and PCI vendor and device, `01:80:86:10:d3`.
    pub bus_id: Option<String>,
    /// What its processors run.
    pub architecture: Option<Architecture>,
    /// What firmware it has.
    pub platform: Option<Platform>,
    /// From SMBIOS, by iPXE's `${product}`.
    pub product: Option<String>,
    /// From SMBIOS, by iPXE's `${manufacturer}`.
    pub manufacturer: Option<String>,
}

impl Arrival {
    /// Reads a query string. Unknown keys are ignored; of a key that stands there twice the first counts.
    pub fn of_query(query: &str) -> Self {
        let mut arrival = Self::default();
        for pair in query.split('&') {
            let Some((key, value)) = pair.split_once('=') else { continue };
            let Some(value) = decode(value) else { continue };
            let Self { traveller, bus_id, architecture, platform, product, manufacturer } =
                &mut arrival;
            match key {
                "mac" => keep(&mut traveller.mac, mac(&value)),
                "uuid" => keep(&mut traveller.uuid, uuid(&value)),
                "serial" => keep(&mut traveller.serial, text(&value)),
                "busid" => keep(bus_id, self::bus_id(&value)),
                "arch" => keep(architecture, Architecture::of_ipxe(&value)),
                "platform" => keep(platform, Platform::of_ipxe(&value)),
                "product" => keep(product, text(&value)),
                "manufacturer" => keep(manufacturer, text(&value)),
                _ => {}
            }
        }
        arrival
    }
}

fn keep<T>(place: &mut Option<T>, value: Option<T>) {
    if place.is_none() {
        *place = value;
    }
}

fn mac(value: &str) -> Option<MacAddress> {
    value.parse().ok().filter(|mac: &MacAddress| mac.is_usable())
}

/// Canonical spelling only (RFC 9562, section 4); all zeros and all ones identify nobody.
fn uuid(value: &str) -> Option<String> {
    let is_uuid = value.len() == 36
        && value.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    let digits = || value.bytes().filter(|byte| *byte != b'-');
    let says_something =
        digits().any(|digit| digit != b'0') && digits().any(|digit| !matches!(digit, b'f' | b'F'));
    (is_uuid && says_something).then(|| value.to_ascii_lowercase())
}

fn bus_id(value: &str) -> Option<String> {
    let is_bus_id = (2..=47).contains(&value.len())
        && value
            .split(':')
            .all(|byte| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit()));
    is_bus_id.then(|| value.to_ascii_lowercase())
}

fn text(value: &str) -> Option<String> {
    let value = value.trim();
    let is_text = (1..=TEXT_LIMIT).contains(&value.len()) && !value.chars().any(char::is_control);
    is_text.then(|| value.to_owned())
}

/// Undoes `%20`. A `+` is a `+`: iPXE writes spaces as `%20`.
fn decode(value: &str) -> Option<String> {
    String::from_utf8(percent_decoded(value.as_bytes())?).ok()
}

/// Undoes percent encoding; none where a `%` is not followed by two digits (RFC 3986, section 2.1).
pub(super) fn percent_decoded(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let [high, low, behind @ ..] = rest else { return None };
        let digit =
            |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        decoded.push(digit(*high)? << 4 | digit(*low)?);
        rest = behind;
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Debian 13's iPXE sends it for a virtual machine.
    const SAMPLE: &str = "mac=52:54:00:12:34:56&uuid=11223344-5566-7788-99AA-bbccddeeff00&serial=AB%2f12%20c\
        &busid=01:80:86:10:d3&arch=i386&platform=pcbios&product=Standard%20PC%20(i440FX)&manufacturer=QEMU";

    #[test]
    fn a_machine_says_who_it_is() {
        let arrival = Arrival::of_query(SAMPLE);
        let expected = Arrival {
            traveller: Traveller {
                mac: Some(MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56])),
                uuid: Some("11223344-5566-7788-99aa-bbccddeeff00".to_owned()),
                serial: Some("AB/12 c".to_owned()),
            },
            bus_id: Some("01:80:86:10:d3".to_owned()),
            architecture: Some(Architecture::X86_64),
            platform: Some(Platform::Pcbios),
            product: Some("Standard PC (i440FX)".to_owned()),
            manufacturer: Some("QEMU".to_owned()),
        };
        assert_eq!(arrival, expected);
    }

    #[test]
    fn what_is_no_such_thing_is_absent() {
        for query in [
            "",
            "mac=&uuid=&serial=&busid=&arch=&platform=&product=&manufacturer=",
            "mac=00:00:00:00:00:00&uuid=00000000-0000-0000-0000-000000000000",
            "mac=ff:ff:ff:ff:ff:ff&uuid=FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "mac=${netX/mac}&uuid=11223344556677889900aabbccddeeff&arch=mips&platform=rpi",
            "serial=%zz&product=%",
            "serial=%0a&product=a%00b&busid=x&manufacturer=%ff",
            "serial=%20%20",
        ] {
            assert_eq!(Arrival::of_query(query), Arrival::default(), "{query}");
        }
        let long = format!("serial={}", "x".repeat(TEXT_LIMIT + 1));
        assert_eq!(Arrival::of_query(&long), Arrival::default());
    }

    #[test]
    fn every_truncation_is_read() {
        for length in 0..SAMPLE.len() {
            let _arrival = Arrival::of_query(&SAMPLE[..length]);
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(query in "(mac|uuid|serial|arch)?=?\\PC{0,60}(&serial=[%0-9a-f]{0,20})?") {
            let arrival = Arrival::of_query(&query);
            let serial = arrival.traveller.serial.unwrap_or_default();
            prop_assert!(serial.len() <= TEXT_LIMIT && !serial.contains('\n'));
        }
    }
}
