//! The machine itself: system, board, chassis, firmware, processors, memory.

use std::path::Path;

use protocol::{
    Bytes, Inventory,
    inventory::{Board, BootMode, Chassis, Firmware, Memory, System},
};

use crate::{processor, smbios, survey::Survey};

/// Where an image of ours says what it was made of (`image/versions`).
const SOFTWARE: &str = "etc/drydock-versions";

/// Fills everything of an inventory that is neither disk nor port.
pub(crate) fn survey(survey: &mut Survey<'_>, inventory: &mut Inventory) {
    inventory.architecture = architecture(survey);
    let software = survey.text("software", SOFTWARE).unwrap_or_default();
    inventory.software = software.lines().map(str::to_owned).collect();
    let table = survey.bytes("system", "sys/firmware/dmi/tables/DMI");
    let entry_point = survey.bytes("system/uuid", "sys/firmware/dmi/tables/smbios_entry_point");
    let version = entry_point.and_then(|bytes| smbios::version(&bytes));
    let tables = table.map(|table| smbios::decode(&table, version));
    let mut decoded = tables.unwrap_or_default();
    survey.gaps.append(&mut decoded.gaps);
    inventory.system = decoded.system;
    inventory.board = decoded.board;
    inventory.chassis = decoded.chassis;
    inventory.firmware = decoded.firmware;
    if inventory.system == System::default() {
        // Without the right to read the tables, or from a firmware whose tables are broken.
        from_kernel(survey, inventory);
    }
    if inventory.system == System::default() {
        inventory.system = from_device_tree(survey);
    }
    inventory.firmware.boot_mode = boot_mode(survey, inventory.architecture.as_deref());
    inventory.firmware.secure_boot = secure_boot(survey);

    let cpuinfo = survey.text("processors", "proc/cpuinfo").unwrap_or_default();
    inventory.processors = processor::join(decoded.processors, &cpuinfo);
    let sizes = decoded.modules.iter().map(|module| module.size_bytes.map(|size| size.0));
    inventory.memory = Memory {
        // A module of unknown size makes the sum unknown.
        installed_bytes: sizes
            .sum::<Option<u64>>()
            .filter(|_| !decoded.modules.is_empty())
            .map(Bytes),
        usable_bytes: usable_memory(survey),
        slots: decoded.slots,
        modules: decoded.modules,
    };
}

fn architecture(survey: &mut Survey<'_>) -> Option<String> {
    let told = survey.text("architecture", "proc/sys/kernel/arch");
    // Kernels before 6.1 do not tell; this program runs on the machine that it was made for.
    told.or_else(|| survey.root.is_live().then(|| std::env::consts::ARCH.to_owned()))
}

/// Reads what the kernel decoded (`/sys/class/dmi/id`): some of it is for everybody to see.
fn from_kernel(survey: &mut Survey<'_>, inventory: &mut Inventory) {
    let mut get =
        |what: &str, name: &str| survey.text(what, Path::new("sys/class/dmi/id").join(name));
    inventory.system = System {
        manufacturer: get("system/manufacturer", "sys_vendor"),
        product: get("system/product", "product_name"),
        version: get("system/version", "product_version"),
        serial: get("system/serial", "product_serial"),
        sku: get("system/sku", "product_sku"),
        family: get("system/family", "product_family"),
        uuid: get("system/uuid", "product_uuid").map(|uuid| uuid.to_ascii_lowercase()),
    };
    inventory.board = Board {
        manufacturer: get("board/manufacturer", "board_vendor"),
        product: get("board/product", "board_name"),
        version: get("board/version", "board_version"),
        serial: get("board/serial", "board_serial"),
        asset_tag: get("board/assetTag", "board_asset_tag"),
    };
    inventory.chassis = Chassis {
        manufacturer: get("chassis/manufacturer", "chassis_vendor"),
        kind: get("chassis/kind", "chassis_type")
            .and_then(|kind| kind.parse().ok())
            .and_then(|kind: u8| smbios::chassis_word(kind & 0x7f)),
        serial: get("chassis/serial", "chassis_serial"),
        asset_tag: get("chassis/assetTag", "chassis_asset_tag"),
    };
    inventory.firmware = Firmware {
        vendor: get("firmware/vendor", "bios_vendor"),
        version: get("firmware/version", "bios_version"),
        date: get("firmware/date", "bios_date"),
        ..Firmware::default()
    };
}

/// Reads the device tree's root: boards that boot without SMBIOS have it (Devicetree specification §2.3, §3.2).
fn from_device_tree(survey: &mut Survey<'_>) -> System {
    let base = Path::new("sys/firmware/devicetree/base");
    let compatible = survey.bytes("system/manufacturer", base.join("compatible"));
    let maker = compatible.and_then(|bytes| {
        // `raspberrypi,4-model-b\0brcm,bcm2711\0`: the first is the most specific.
        let first = String::from_utf8(bytes.split(|byte| *byte == 0).next()?.to_vec()).ok()?;
        Some(first.split_once(',')?.0.to_owned())
    });
    System {
        manufacturer: maker,
        product: survey.text("system/product", base.join("model")),
        serial: survey.text("system/serial", base.join("serial-number")),
        ..System::default()
    }
}

/// Says how the machine booted. Without EFI it was a BIOS only where there is one: on x86.
fn boot_mode(survey: &Survey<'_>, architecture: Option<&str>) -> Option<BootMode> {
    if survey.root.exists("sys/firmware/efi") {
        return Some(BootMode::Uefi);
    }
    let is_x86 = matches!(architecture, Some("x86_64" | "i686" | "i586" | "x86"));
    (is_x86 && survey.root.exists("sys/firmware")).then_some(BootMode::Bios)
}

/// Reads the EFI variable `SecureBoot`: four bytes of attributes, then one byte.
fn secure_boot(survey: &mut Survey<'_>) -> Option<bool> {
    let path = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    if let [_, _, _, _, value] = survey.bytes("firmware/secureBoot", path)?.as_slice() {
        return Some(*value == 1);
    }
    survey.gap("firmware/secureBoot", path, "it is no variable of one byte".to_owned());
    None
}

fn usable_memory(survey: &mut Survey<'_>) -> Option<Bytes> {
    let path = "proc/meminfo";
    let text = survey.text("memory/usableBytes", path)?;
    let kibibytes: Option<u64> = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse().ok());
    if kibibytes.is_none() {
        survey.gap("memory/usableBytes", path, "it has no MemTotal".to_owned());
    }
    kibibytes.and_then(|kibibytes| kibibytes.checked_mul(1024)).map(Bytes)
}
