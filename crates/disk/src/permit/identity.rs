//! Which disk is meant: exactly one, by a name that no other disk has.

use protocol::{Inventory, inventory::Disk, order::DiskIdentity};

use super::refusal::{Refusal, label};

/// Words that makers leave where a serial number belongs, without blanks and in lower case.
///
/// The server, which knows all machines, judges by a longer list before it gives an order.
const WORDS: [&str; 12] = [
    "default",
    "defaultstring",
    "empty",
    "invalid",
    "none",
    "notspecified",
    "null",
    "serialnumber",
    "tobefilledbyoem",
    "undefined",
    "unknown",
    "unset",
];

/// Finds the one disk of an inventory that an order means.
pub(super) fn find<'i>(
    inventory: &'i Inventory,
    ordered: &DiskIdentity,
) -> Result<&'i Disk, Refusal> {
    if !ordered.is_named() {
        return Err(Refusal::NotNamed { disk: label(None, ordered) });
    }
    if !has_sound_name(ordered) {
        return Err(Refusal::GarbageName { disk: label(None, ordered) });
    }
    let same: Vec<&Disk> = inventory
        .disks
        .iter()
        .filter(|disk| has_same_name(&DiskIdentity::of(disk), ordered))
        .collect();
    match same.as_slice() {
        [] => Err(Refusal::NotFound { disk: label(None, ordered) }),
        [disk] if DiskIdentity::of(disk) == *ordered => Ok(disk),
        // The name is there, on a disk of another model or size.
        [disk] => Err(Refusal::Exchanged {
            disk: label(Some(&disk.name), ordered),
            how: differences(ordered, &DiskIdentity::of(disk)).join(", "),
        }),
        several => Err(Refusal::NotUnique {
            disk: label(None, ordered),
            others: several.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// Holds when two identities share a name: any of the names that are unique in the world, else the serial number.
/// The namespaces of one NVMe disk share its serial number: where each has a name of its own, that one counts.
fn has_same_name(one: &DiskIdentity, other: &DiskIdentity) -> bool {
    let wide = [(&one.wwn, &other.wwn), (&one.eui64, &other.eui64), (&one.nguid, &other.nguid)];
    let sound: Vec<(&String, &String)> = wide
        .into_iter()
        .filter_map(|(one, other)| Some((one.as_ref()?, other.as_ref()?)))
        .filter(|(one, other)| is_sound_wide(one) && is_sound_wide(other))
        .collect();
    if sound.is_empty() {
        return one.serial.is_some() && one.serial == other.serial;
    }
    sound.iter().any(|(one, other)| one == other)
}

/// Holds when a disk shares a name with one of some.
pub(super) fn is_one_of(disk: &DiskIdentity, others: &[DiskIdentity]) -> bool {
    others.iter().any(|other| has_same_name(disk, other))
}

fn has_sound_name(disk: &DiskIdentity) -> bool {
    let wide = [&disk.wwn, &disk.eui64, &disk.nguid];
    wide.into_iter().flatten().any(|name| is_sound_wide(name))
        || disk.serial.as_deref().is_some_and(is_sound_serial)
}

fn is_sound_wide(name: &str) -> bool {
    let digits = name.trim_start_matches("0x");
    digits.len() >= 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) && varies(digits)
}

fn is_sound_serial(serial: &str) -> bool {
    let plain: String = serial.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_ascii_lowercase();
    plain.len() >= 4 && varies(&plain) && !counts(&plain) && !WORDS.contains(&plain.as_str())
}

/// Holds unless all characters are one, with one exception at most: `00000000`, `xxxx`, `0000000001`.
fn varies(text: &str) -> bool {
    let others = |usual: u8| text.bytes().filter(|byte| *byte != usual).count();
    text.bytes().take(3).all(|usual| others(usual) > 1)
}

/// Holds for digits in counting order: `0123456789`, `12345678`.
fn counts(text: &str) -> bool {
    let digits: Vec<u8> = text.bytes().collect();
    digits.iter().all(u8::is_ascii_digit)
        && digits.windows(2).all(|pair| (pair[0] - b'0' + 1) % 10 == pair[1] - b'0')
}

/// Returns the names of what differs between two identities.
pub(super) fn differences(ordered: &DiskIdentity, found: &DiskIdentity) -> Vec<&'static str> {
    let DiskIdentity { model, serial, wwn, eui64, nguid, size_bytes, logical_sector_bytes } = found;
    [
        ("another model", *model == ordered.model),
        ("another serial number", *serial == ordered.serial),
        ("another world wide name", *wwn == ordered.wwn),
        ("another EUI-64", *eui64 == ordered.eui64),
        ("another NGUID", *nguid == ordered.nguid),
        ("another size", *size_bytes == ordered.size_bytes),
        ("another sector size", *logical_sector_bytes == ordered.logical_sector_bytes),
    ]
    .into_iter()
    .filter_map(|(difference, is_same)| (!is_same).then_some(difference))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use protocol::Bytes;

    use super::*;

    fn disk(name: &str, serial: &str, wwn: Option<&str>) -> Disk {
        Disk {
            name: name.to_owned(),
            model: Some("M".to_owned()),
            serial: Some(serial.to_owned()),
            wwn: wwn.map(str::to_owned),
            size_bytes: Bytes(1 << 30),
            logical_sector_bytes: Some(512),
            ..Disk::default()
        }
    }

    fn code(disks: &[Disk], ordered: &DiskIdentity) -> Result<String, &'static str> {
        let inventory = Inventory { disks: disks.to_vec(), ..Inventory::default() };
        find(&inventory, ordered).map(|disk| disk.name.clone()).map_err(|refusal| refusal.code())
    }

    #[test]
    fn the_one_disk_of_that_name_is_found_whatever_the_kernel_calls_it() {
        let (one, two) = (disk("sdb", "WD-1234X", None), disk("sda", "WD-1234Y", None));
        let ordered = DiskIdentity::of(&one);
        assert_eq!(code(&[two.clone(), one.clone()], &ordered).as_deref(), Ok("sdb"));
        assert_eq!(
            code(&[Disk { name: "sda".to_owned(), ..one }, two], &ordered).as_deref(),
            Ok("sda")
        );
    }

    #[test]
    fn two_disks_of_one_name_are_refused_also_where_they_differ_in_size() {
        let one = disk("sda", "WD-1234X", None);
        let two = Disk { size_bytes: Bytes(9), ..disk("sdb", "WD-1234X", None) };
        assert_eq!(code(&[one.clone(), two], &DiskIdentity::of(&one)), Err("not-unique"));
        // Two ways to one disk: one world wide name.
        let wwn = Some("0x5000c50012345678");
        let (one, two) = (disk("sda", "A-1", wwn), disk("sdb", "A-1", wwn));
        assert_eq!(code(&[one.clone(), two], &DiskIdentity::of(&one)), Err("not-unique"));
    }

    #[test]
    fn namespaces_of_one_disk_are_told_apart_by_their_own_names() {
        let namespace = |name: &str, nguid: &str| Disk {
            nguid: Some(nguid.to_owned()),
            ..disk(name, "S64DNE0R", None)
        };
        let one = namespace("nvme0n1", "374446305770006300253847000002e1");
        let two = namespace("nvme0n2", "374446305770006300253847000002e2");
        assert_eq!(code(&[one.clone(), two], &DiskIdentity::of(&one)).as_deref(), Ok("nvme0n1"));
        let bare = |name: &str| disk(name, "S64DNE0R", None);
        let disks = [bare("nvme0n1"), Disk { size_bytes: Bytes(512), ..bare("nvme0n2") }];
        assert_eq!(code(&disks, &DiskIdentity::of(&disks[0])), Err("not-unique"));
    }

    #[test]
    fn a_name_that_many_disks_have_is_none() {
        for serial in ["0", "00000000", "0000000001", "123456789", "To be filled by O.E.M.", "XXXX"]
        {
            let disk = disk("sda", serial, None);
            assert_eq!(
                code(from_ref(&disk), &DiskIdentity::of(&disk)),
                Err("garbage-name"),
                "{serial}"
            );
        }
        let zero = disk("sda", "none", Some("0x0000000000000000"));
        assert_eq!(code(from_ref(&zero), &DiskIdentity::of(&zero)), Err("garbage-name"));
        let named = disk("sda", "0000", Some("0x5000c50012345678"));
        assert_eq!(code(from_ref(&named), &DiskIdentity::of(&named)).as_deref(), Ok("sda"));
        let nameless = Disk { serial: None, ..disk("sda", "", None) };
        assert_eq!(code(from_ref(&nameless), &DiskIdentity::of(&nameless)), Err("not-named"));
    }

    #[test]
    fn the_right_name_on_another_disk_is_refused() {
        let one = disk("sda", "WD-1234X", None);
        for other in [
            Disk { model: Some("N".to_owned()), ..one.clone() },
            Disk { size_bytes: Bytes(512), ..one.clone() },
            Disk { logical_sector_bytes: Some(4096), ..one.clone() },
            Disk { wwn: Some("0x5000c50012345678".to_owned()), ..one.clone() },
        ] {
            assert_eq!(code(&[other], &DiskIdentity::of(&one)), Err("exchanged"));
        }
        assert_eq!(code(&[], &DiskIdentity::of(&one)), Err("not-found"));
    }
}
