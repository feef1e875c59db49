//! SCSI vital product data pages, as sysfs hands them out whole (SPC-6 §7.7): serial number (80h),
//! device identification (83h), and the ATA disk behind a SCSI translation (89h).

/// An ATA disk's own words (ACS-4 §9.11, IDENTIFY DEVICE), from the ATA information page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ata {
    /// Words 27 to 46.
    pub(crate) model: Option<String>,
    /// Words 10 to 19.
    pub(crate) serial: Option<String>,
    /// Words 23 to 26.
    pub(crate) firmware: Option<String>,
    /// Words 108 to 111, where they are an IEEE name: 16 digits.
    pub(crate) wwn: Option<String>,
}

/// What page 83h says of the logical unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Designation {
    /// The identifier that `scsi_id` picks, before its blanks are replaced: a digit for its type, then itself.
    pub(crate) identifier: Option<String>,
    /// The network address authority's name, 16 or 32 digits.
    pub(crate) naa: Option<String>,
}

/// Returns the payload of a page; `None` when it is another page or shorter than it says.
fn payload(page: &[u8], code: u8) -> Option<&[u8]> {
    let [_, found, high, low] = *page.first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    (found == code).then(|| page.get(4..4 + length))?
}

/// Returns the unit serial number as it stands, blanks included (page 80h).
pub(crate) fn serial(page: &[u8]) -> Option<String> {
    let text = String::from_utf8(payload(page, 0x80)?.to_vec()).ok()?;
    (!text.trim_matches(['\0', ' ']).is_empty()).then_some(text)
}

/// Reads page 89h.
pub(crate) fn ata(page: &[u8]) -> Option<Ata> {
    // The identify data begins at byte 60 of the page.
    let words: &[u8; 512] = payload(page, 0x89)?.get(56..568)?.try_into().ok()?;
    if words.iter().all(|byte| *byte == 0) {
        return None;
    }
    let text = |range: std::ops::Range<usize>| {
        // Two letters to a word, the first in its upper half.
        let (pairs, _) = words.get(range.start * 2..range.end * 2)?.as_chunks::<2>();
        let text: Vec<u8> = pairs.iter().flat_map(|[low, high]| [*high, *low]).collect();
        let text = String::from_utf8(text).ok()?;
        let text =
            text.trim_matches(|character: char| character == '\0' || character.is_whitespace());
        (!text.is_empty()).then(|| text.to_owned())
    };
    let name: Vec<u8> =
        (108..112).flat_map(|word| [words[word * 2 + 1], words[word * 2]]).collect();
    // Registered names of the IEEE begin with 5.
    let wwn = name.first().is_some_and(|byte| byte >> 4 == 5).then(|| digits(&name));
    Some(Ata { model: text(27..47), serial: text(10..20), firmware: text(23..27), wwn })
}

/// Reads page 83h. Of several designators the most distinct one is picked, in the order of udev's `scsi_id`.
pub(crate) fn designation(page: &[u8], vendor: &str, model: &str) -> Designation {
    let descriptors = payload(page, 0x83).map(descriptors).unwrap_or_default();
    let naa = |kind: Option<u8>, binary: bool| {
        descriptors
            .iter()
            .find(|found| {
                found.kind == 3
                    && found.is_binary() == binary
                    && kind.is_none_or(|kind| {
                        found.value.first().is_some_and(|byte| byte >> 4 == kind)
                    })
            })
            .map(|found| ('3', found))
    };
    let of = |kind: u8, binary: bool| {
        let digit = char::from(b'0' + kind);
        descriptors
            .iter()
            .find(|found| found.kind == kind && found.is_binary() == binary)
            .map(|found| (digit, found))
    };
    let pick = naa(Some(6), true)
        .or_else(|| naa(Some(5), true))
        .or_else(|| naa(None, true))
        .or_else(|| naa(None, false))
        .or_else(|| of(2, true))
        .or_else(|| of(2, false))
        .or_else(|| of(1, true))
        .or_else(|| of(1, false))
        .or_else(|| of(0, true))
        .or_else(|| of(0, false));
    let Some((digit, found)) = pick else { return Designation::default() };
    let Some(value) = found.text() else { return Designation::default() };
    // An identifier of the maker's own is distinct only together with maker and model.
    let owner = if digit == '0' { format!("{vendor:<8}{model:<16}") } else { String::new() };
    Designation {
        naa: (digit == '3').then(|| value.clone()),
        identifier: Some(format!("{digit}{owner}{value}")),
    }
}

/// A designator of the logical unit itself.
struct Descriptor<'page> {
    code_set: u8,
    kind: u8,
    value: &'page [u8],
}

impl Descriptor<'_> {
    fn is_binary(&self) -> bool {
        self.code_set == 1
    }

    fn text(&self) -> Option<String> {
        if self.is_binary() {
            return Some(digits(self.value));
        }
        let text = self.value.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8(text.to_vec()).ok()
    }
}

fn descriptors(mut list: &[u8]) -> Vec<Descriptor<'_>> {
    let mut found = Vec::new();
    // SCSI-2 disks have a name right here; its third byte is reserved since.
    if list.get(2).is_some_and(|byte| *byte != 0) {
        return found;
    }
    while let Some(([code_set, kind, _, length], rest)) = list.split_first_chunk::<4>() {
        let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        list = rest;
        let is_of_unit = kind & 0x30 == 0;
        if is_of_unit && matches!(code_set & 0x0f, 1 | 2) && !value.is_empty() {
            found.push(Descriptor { code_set: code_set & 0x0f, kind: kind & 0x0f, value });
        }
    }
    found
}

fn digits(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|nibble| char::from_digit(nibble.into(), 16))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Builds a page from its payload.
    pub(crate) fn page(code: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[0, code, length[0], length[1]], payload].concat()
    }

    pub(crate) fn descriptor(code_set: u8, kind: u8, value: &[u8]) -> Vec<u8> {
        [&[code_set, kind, 0, u8::try_from(value.len()).unwrap()], value].concat()
    }

    /// Builds page 89h of a disk.
    pub(crate) fn ata_page(model: &str, serial: &str, firmware: &str, wwn: u64) -> Vec<u8> {
        let mut words = [0; 512];
        for (at, length, text) in [(27, 40, model), (10, 20, serial), (23, 8, firmware)] {
            for (index, byte) in format!("{text:<length$}").bytes().enumerate() {
                words[at * 2 + (index ^ 1)] = byte;
            }
        }
        for (index, byte) in wwn.to_be_bytes().into_iter().enumerate() {
            words[216 + (index ^ 1)] = byte;
        }
        page(0x89, &[&[0; 56], words.as_slice()].concat())
    }

    #[test]
    fn a_disk_behind_a_translation_tells_its_full_name() {
        let found = ata(&ata_page(
            "WDC WD40EFRX-68N32N0",
            "WD-WCC7K0123456",
            "82.00A82",
            0x5001_4ee2_1234_5678,
        ));
        assert_eq!(
            found,
            Some(Ata {
                model: Some("WDC WD40EFRX-68N32N0".to_owned()),
                serial: Some("WD-WCC7K0123456".to_owned()),
                firmware: Some("82.00A82".to_owned()),
                wwn: Some("50014ee212345678".to_owned()),
            })
        );
        assert_eq!(ata(&ata_page("QEMU HARDDISK", "QM00001", "2.5+", 0)).unwrap().wwn, None);
    }

    #[test]
    fn the_most_distinct_designator_is_picked() {
        let vendor_own = descriptor(2, 0, b"drive-scsi0");
        let t10 = descriptor(2, 1, b"ATA     X");
        let naa5 = descriptor(1, 3, &0x5000_c500_1234_5678_u64.to_be_bytes());
        let target_port = descriptor(1, 0x13, &0x5000_c500_ffff_ffff_u64.to_be_bytes());
        let pick =
            |list: &[&[u8]]| designation(&page(0x83, &list.concat()), "QEMU", "QEMU HARDDISK");
        assert_eq!(
            pick(&[&vendor_own]).identifier.as_deref(),
            Some("0QEMU    QEMU HARDDISK   drive-scsi0")
        );
        assert_eq!(pick(&[&vendor_own, &t10]).identifier.as_deref(), Some("1ATA     X"));
        let found = pick(&[&target_port, &vendor_own, &t10, &naa5]);
        assert_eq!(found.identifier.as_deref(), Some("35000c50012345678"));
        assert_eq!(found.naa.as_deref(), Some("5000c50012345678"));
        let naa6 = descriptor(1, 3, &[0x60; 16]);
        assert_eq!(pick(&[&naa5, &naa6]).naa.map(|naa| naa.len()), Some(32));
        assert_eq!(pick(&[&target_port]), Designation::default());
    }

    #[test]
    fn serial_numbers_keep_their_blanks() {
        assert_eq!(serial(&page(0x80, b"  Z1 ")).as_deref(), Some("  Z1 "));
        assert_eq!(serial(&page(0x80, b"    ")), None);
        assert_eq!(serial(&page(0x81, b"Z1")), None);
        assert_eq!(serial(&[0, 0x80, 0, 9, b'Z']), None);
    }

    #[test]
    fn every_truncation_is_read_without_a_panic() {
        let pages = [
            ata_page("M", "S", "F", 5 << 60),
            page(0x83, &[descriptor(1, 3, &[0x50; 8]), descriptor(2, 1, b"ATA")].concat()),
            page(0x80, b"S"),
        ];
        for page in pages {
            for length in 0..page.len() {
                let part = &page[..length];
                assert_eq!(ata(part), None);
                assert_eq!(serial(part), None);
                assert_eq!(designation(part, "", ""), Designation::default());
            }
        }
    }

    proptest! {
        #[test]
        fn no_page_panics(bytes in prop::collection::vec(any::<u8>(), 0..700), code in 0x80_u8..0x8a) {
            for page in [bytes.clone(), page(code, &bytes)] {
                let _read = (ata(&page), serial(&page), designation(&page, "V", "M"));
            }
        }
    }
}
