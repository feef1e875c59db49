//! SMBIOS tables of real machines, and the same as another project decodes them.

use std::fs;

use protocol::{Inventory, inventory::MemoryModule};
use serde_json::Value;

use crate::tree::{Tree, shared};

/// A 64-bit entry point of SMBIOS 3.3, as the kernel shows it.
const ENTRY_POINT: &[u8] = b"_SM3_\0\x18\x03\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn table(name: &str) -> Option<Vec<u8>> {
    let path = shared(&format!("{name}.dmi"))?;
    Some(fs::read(path).expect("the table can be read"))
}

fn machine(table: &[u8], entry_point: Option<&[u8]>) -> Inventory {
    let tree = Tree::empty();
    tree.file("sys/firmware/dmi/tables/DMI", table);
    if let Some(bytes) = entry_point {
        tree.file("sys/firmware/dmi/tables/smbios_entry_point", bytes);
    }
    tree.collect()
}

const MACHINES: [&str; 4] =
    ["Dell-PowerEdge-R630-Dual-Xeon", "SuperMicro-Dual-Xeon", "MINISFORUM-UM790PRO", "HyperV"];

#[test]
fn real_tables_are_decoded() {
    for name in MACHINES {
        let Some(table) = table(name) else { return };
        insta::assert_json_snapshot!(name, machine(&table, None));
    }
}

#[test]
fn another_decoder_agrees() {
    for name in ["Dell-PowerEdge-R630-Dual-Xeon", "SuperMicro-Dual-Xeon", "HyperV"] {
        let (Some(table), Some(theirs)) = (table(name), shared(&format!("{name}.json"))) else {
            return;
        };
        let theirs: Value =
            serde_json::from_slice(&fs::read(theirs).expect("it can be read")).expect("it is JSON");
        let ours = machine(&table, Some(ENTRY_POINT));
        let text = |pointer: &str| {
            let text = theirs.pointer(pointer).and_then(Value::as_str).map(str::trim);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let (system, board, chassis) = (&ours.system, &ours.board, &ours.chassis);
        for (field, ours) in [
            ("/SystemInformation/Manufacturer", &system.manufacturer),
            ("/SystemInformation/ProductName", &system.product),
            ("/SystemInformation/Version", &system.version),
            ("/SystemInformation/SerialNumber", &system.serial),
            ("/SystemInformation/UUID", &system.uuid),
            ("/SystemInformation/SKUNumber", &system.sku),
            ("/SystemInformation/Family", &system.family),
            ("/BaseboardInformation/Manufacturer", &board.manufacturer),
            ("/BaseboardInformation/Product", &board.product),
            ("/BaseboardInformation/SerialNumber", &board.serial),
            ("/BaseboardInformation/AssetTag", &board.asset_tag),
            ("/SystemEnclosure/Manufacturer", &chassis.manufacturer),
            ("/SystemEnclosure/SerialNumber", &chassis.serial),
            ("/SystemEnclosure/AssetTagNumber", &chassis.asset_tag),
            ("/BIOSInformation/Vendor", &ours.firmware.vendor),
            ("/BIOSInformation/Version", &ours.firmware.version),
            ("/BIOSInformation/ReleaseDate", &ours.firmware.date),
        ] {
            // What they leave out is no answer: phrases that say nothing, and at times the last string of a structure.
            if let Some(theirs) = text(field) {
                assert_eq!(*ours, Some(theirs), "{name}{field}");
            }
        }
        let list =
            |field: &str| theirs.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let slots = list("MemoryDevices");
        assert_eq!(
            ours.memory.slots.unwrap_or(0),
            u32::try_from(slots.len()).expect("few"),
            "{name}"
        );
        let modules: Vec<MemoryModule> = slots.iter().filter_map(module).collect();
        let ours_alike: Vec<MemoryModule> = ours
            .memory
            .modules
            .iter()
            .cloned()
            .map(|module| MemoryModule { kind: None, ..module })
            .collect();
        assert_eq!(ours_alike, modules, "{name}");
        let populated =
            list("ProcessorInformation").into_iter().filter(|processor| processor["Status"] != 0);
        let counts: Vec<(u64, u64)> = populated
            .filter_map(|processor| {
                Some((processor["CoreEnabled"].as_u64()?, processor["ThreadCount"].as_u64()?))
            })
            .collect();
        let ours: Vec<(u64, u64)> = ours
            .processors
            .iter()
            .filter_map(|processor| Some((processor.cores?.into(), processor.threads?.into())))
            .collect();
        assert_eq!(ours, counts, "{name}");
    }
}

/// Returns a module as the other project sees it; the kind is a number there.
fn module(theirs: &Value) -> Option<MemoryModule> {
    let text = |field: &str| {
        let text = theirs[field].as_str().map(str::trim);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let speed = |field: &str| {
        theirs[field]
            .as_u64()
            .filter(|speed| *speed != 0)
            .and_then(|speed| u32::try_from(speed).ok())
    };
    let size = theirs["Size"].as_u64().filter(|size| *size != 0)?;
    Some(MemoryModule {
        slot: text("DeviceLocator"),
        size_bytes: Some(protocol::Bytes(size << 20)),
        kind: None,
        speed_megatransfers_per_second: speed("Speed"),
        configured_speed_megatransfers_per_second: speed("ConfiguredMemorySpeed"),
        manufacturer: text("Manufacturer"),
        part_number: text("PartNumber"),
        serial: text("SerialNumber"),
    })
}
