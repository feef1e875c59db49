//! An announcement that is too large to be taken, shortened until it fits: a disk whose table names thousands of
//! partitions, or thousands of network disks, must not keep a machine from being known. Pure.
//!
//! What is left out is a gap. Nothing is cut in the middle: half a serial number would be another one.

use protocol::{ANNOUNCE_LIMIT, Announce};
use serde_json::{Value, json};

/// What is tried in turn: how many elements a list may have, and how many bytes a text. The kernel's own names and
/// module aliases have less than 4 KiB.
const MEASURES: [Measure; 5] = [
    Measure { elements: 4096, text_bytes: 4096 },
    Measure { elements: 512, text_bytes: 4096 },
    Measure { elements: 64, text_bytes: 4096 },
    Measure { elements: 16, text_bytes: 1024 },
    Measure { elements: 4, text_bytes: 256 },
];

#[derive(Debug, Clone, Copy)]
struct Measure {
    elements: usize,
    text_bytes: usize,
}

/// Returns an announcement as it is sent.
pub(super) fn written(announce: &Announce) -> serde_json::Result<Vec<u8>> {
    written_within(announce, usize::try_from(ANNOUNCE_LIMIT.0).unwrap_or(usize::MAX))
}

fn written_within(announce: &Announce, limit: usize) -> serde_json::Result<Vec<u8>> {
    let mut written = serde_json::to_vec(announce)?;
    if written.len() <= limit {
        return Ok(written);
    }
    // As JSON, not as an inventory: a list is a list, whatever is in it.
    let whole: Value = serde_json::from_slice(&written)?;
    for measure in MEASURES {
        let mut value = whole.clone();
        let Some(inventory) = value.get_mut("inventory") else { break };
        let mut gaps = Vec::new();
        shorten(inventory, "", measure, &mut gaps);
        if let Some(Value::Array(known)) = inventory.get_mut("gaps") {
            known.append(&mut gaps);
        } else {
            inventory["gaps"] = Value::Array(gaps);
        }
        written = serde_json::to_vec(&value)?;
        if written.len() <= limit {
            break;
        }
    }
    Ok(written)
}

/// Leaves out what is too much of a value and everything in it; `path` says where it stands.
fn shorten(value: &mut Value, path: &str, measure: Measure, gaps: &mut Vec<Value>) {
    let is_long =
        |value: &Value| value.as_str().is_some_and(|text| text.len() > measure.text_bytes);
    match value {
        Value::Array(elements) => {
            let all = elements.len();
            elements.retain(|element| !is_long(element));
            keep_most(elements, measure.elements);
            if elements.len() < all {
                let left_out = all - elements.len();
                gaps.push(gap(path, &format!("{left_out} of {all} are left out")));
            }
            for (number, element) in elements.iter_mut().enumerate() {
                let name = element.get("name").and_then(Value::as_str).map(str::to_owned);
                let name = name.unwrap_or_else(|| number.to_string());
                shorten(element, &format!("{path}/{name}"), measure, gaps);
            }
        }
        Value::Object(fields) => {
            let below = |name: &str| {
                if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
            };
            fields.retain(|name, field| {
                let long = is_long(field);
                if long {
                    gaps.push(gap(&below(name), "a text is left out"));
                }
                !long
            });
            for (name, field) in fields {
                shorten(field, &below(name), measure, gaps);
            }
        }
        _ => {}
    }
}

/// Keeps that many elements in their order. Blank disks go first: a machine with data must not look like one without.
fn keep_most(elements: &mut Vec<Value>, most: usize) {
    let is_blank = |element: &Value| element.pointer("/content/blank") == Some(&Value::Bool(true));
    let with_data = elements.iter().filter(|element| !is_blank(element)).count().min(most);
    let (mut with_data, mut blank) = (with_data, most - with_data);
    elements.retain(|element| {
        let left = if is_blank(element) { &mut blank } else { &mut with_data };
        let kept = *left > 0;
        *left = left.saturating_sub(1);
        kept
    });
}

fn gap(what: &str, reason: &str) -> Value {
    let reason = format!("{reason}: the whole would be too large");
    json!({ "what": what, "source": "announcement", "reason": reason })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::{
        BootReport, Inventory,
        inventory::{Content, Disk, MemoryModule, Partition, Signature, Undriven},
    };

    use super::*;

    fn disk(name: String, blank: bool, partitions: u32) -> Disk {
        let partition = |number| Partition {
            number,
            name: Some("x".repeat(36)),
            signatures: vec![Signature { kind: "ext4".to_owned(), ..Signature::default() }],
            ..Partition::default()
        };
        let partitions = (1..=partitions).map(partition).collect();
        let content = Some(Content { blank, signatures: Vec::new(), partitions });
        Disk { name, serial: Some("S".to_owned()), content, ..Disk::default() }
    }

    const MIB: usize = 1 << 20;
    const LIMIT: usize = 4 * MIB;

    /// Returns what the server reads, and how long what it is sent is.
    fn sent(inventory: &Inventory, limit: usize) -> (Inventory, usize) {
        let announce = Announce {
            system: None,
            agent_version: "1".to_owned(),
            kernel_release: None,
            boot: BootReport::default(),
            inventory: inventory.clone(),
            complete: true,
        };
        let written = written_within(&announce, limit).unwrap();
        let read: Announce = serde_json::from_slice(&written).unwrap();
        assert_eq!((&read.agent_version, read.complete), (&announce.agent_version, true));
        (read.inventory, written.len())
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut inventory = Inventory::default();
        inventory.disks.extend((0..1000).map(|number| disk(format!("sd{number}"), false, 8)));
        let (read, bytes) = sent(&inventory, LIMIT);
        assert!(read == inventory && bytes < LIMIT);
    }

    #[test]
    fn a_table_of_thousands_of_partitions_costs_itself_only() {
        let mut inventory = Inventory::default();
        inventory.system.serial = Some("7".to_owned());
        inventory.disks =
            vec![disk("sda".to_owned(), false, 6_000), disk("sdb".to_owned(), false, 2)];
        let before = inventory;
        let (inventory, bytes) = sent(&before, MIB / 4 * 3);
        assert!(bytes < MIB / 4 * 3);
        assert_eq!((&inventory.system, &inventory.disks[1]), (&before.system, &before.disks[1]));
        let kept = inventory.disks[0].content.as_ref().unwrap();
        assert_eq!((kept.partitions.len(), kept.blank), (4096, false));
        let said: Vec<_> = inventory.gaps.iter().map(|gap| (&*gap.what, &*gap.reason)).collect();
        let reason = "1904 of 6000 are left out: the whole would be too large";
        assert_eq!(said, [("disks/sda/content/partitions", reason)]);
    }

    #[test]
    fn among_thousands_of_disks_the_one_with_data_is_never_left_out() {
        let mut inventory = Inventory::default();
        inventory
            .disks
            .extend((0..5_000).map(|number| disk(format!("sd{number}"), number != 4_900, 0)));
        let (inventory, bytes) = sent(&inventory, MIB / 2);
        assert!(bytes < MIB / 2);
        assert_eq!(inventory.disks.len(), 4096);
        assert!(inventory.disks.iter().any(|disk| disk.name == "sd4900"));
        assert!(inventory.gaps.iter().any(|gap| gap.what == "disks"), "{:?}", inventory.gaps);
    }

    #[test]
    fn a_text_is_left_out_whole() {
        let mut inventory = Inventory::default();
        inventory.system.serial = Some("9".repeat(5 << 20));
        inventory.system.product = Some("Anvil".to_owned());
        let (inventory, _) = sent(&inventory, LIMIT);
        assert_eq!(
            (inventory.system.serial, inventory.system.product),
            (None, Some("Anvil".to_owned()))
        );
        assert_eq!(inventory.gaps[0].what, "system/serial");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn every_inventory_fits_in_the_end(
            disks in 0_usize..100, partitions in 0_u32..20, modules in 0_usize..500, text in 0_usize..2000
        ) {
            let mut inventory = Inventory::default();
            inventory.disks.extend((0..disks).map(|number| disk(format!("sd{number}"), number % 2 == 0, partitions)));
            let text = || Some("\u{1}".repeat(text));
            inventory.memory.modules.extend((0..modules).map(|_| MemoryModule { slot: text(), serial: text(), ..MemoryModule::default() }));
            inventory.undriven.extend((0..modules).map(|_| Undriven { class: text(), ..Undriven::default() }));
            let limit = 50_000;
            let (_, bytes) = sent(&inventory, limit);
            prop_assert!(bytes <= limit, "{bytes}");
        }
    }
}
