//! An inventory as a person reads it.

use std::fmt::Write as _;

use protocol::{
    Inventory,
    inventory::{BootMode, Content, Disk, Port, Signature, Transport},
};

/// Shows an inventory as text for a terminal, without colours: one line per thing, the kernel's names first.
///
/// What the machine did not say is left out.
pub fn table(inventory: &Inventory) -> String {
    let mut text = String::new();
    for (title, lines) in [
        ("machine", machine(inventory)),
        ("processors", processors(inventory)),
        ("memory", memory(inventory)),
        ("disks", inventory.disks.iter().flat_map(disk).collect()),
        ("ports", inventory.ports.iter().map(port).collect()),
        ("undriven", undriven(inventory)),
        ("gaps", gaps(inventory)),
    ] {
        if lines.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        writeln!(text, "{title}").ok();
        for line in lines {
            // A disk's own words must not move the cursor.
            let line: String = line.chars().filter(|character| !character.is_control()).collect();
            writeln!(text, "  {line}").ok();
        }
    }
    text
}

/// Joins what there is.
fn join(parts: impl IntoIterator<Item = Option<String>>, separator: &str) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(separator))
}

fn machine(inventory: &Inventory) -> Vec<String> {
    let (system, board) = (&inventory.system, &inventory.board);
    let (chassis, firmware) = (&inventory.chassis, &inventory.firmware);
    let serial = |serial: &Option<String>| serial.as_ref().map(|serial| format!("serial {serial}"));
    let boot = firmware.boot_mode.map(|mode| match mode {
        BootMode::Bios => "booted by BIOS".to_owned(),
        BootMode::Uefi => "booted by UEFI".to_owned(),
    });
    let secure_boot = firmware
        .secure_boot
        .map(|on| if on { "Secure Boot on".to_owned() } else { "Secure Boot off".to_owned() });
    let model =
        join([system.manufacturer.clone(), system.product.clone(), system.version.clone()], " ");
    let board_model =
        join([board.manufacturer.clone(), board.product.clone(), board.version.clone()], " ");
    let version =
        join([firmware.vendor.clone(), firmware.version.clone(), firmware.date.clone()], " ");
    let uuid = system.uuid.as_ref().map(|uuid| format!("uuid {uuid}"));
    let rows = [
        (
            "system",
            join([model, serial(&system.serial), uuid, inventory.architecture.clone()], ", "),
        ),
        ("board", join([board_model, serial(&board.serial)], ", ")),
        ("chassis", join([chassis.kind.clone(), serial(&chassis.serial)], ", ")),
        ("firmware", join([version, boot, secure_boot], ", ")),
    ];
    rows.into_iter().filter_map(|(name, value)| Some(format!("{name:<9} {}", value?))).collect()
}

fn processors(inventory: &Inventory) -> Vec<String> {
    let count = |count: Option<u32>, of: &str| count.map(|count| format!("{count} {of}"));
    inventory
        .processors
        .iter()
        .filter_map(|processor| {
            let speed = processor.maximum_megahertz.map(|speed| format!("up to {speed} MHz"));
            let name = processor.model.clone().or_else(|| processor.vendor.clone());
            let cores = count(processor.cores, "cores");
            let threads = count(processor.threads, "threads");
            let line = join([name, cores, threads, speed], ", ")?;
            Some(match &processor.socket {
                Some(socket) => format!("{socket:<9} {line}"),
                None => line,
            })
        })
        .collect()
}

fn memory(inventory: &Inventory) -> Vec<String> {
    let memory = &inventory.memory;
    let installed = memory.installed_bytes.map(|size| format!("{size} installed"));
    let usable = memory.usable_bytes.map(|size| format!("{size} usable"));
    let slots = memory.slots.map(|slots| format!("{} of {slots} slots used", memory.modules.len()));
    let mut lines: Vec<String> = join([installed, usable, slots], ", ").into_iter().collect();
    lines.extend(memory.modules.iter().filter_map(|module| {
        let speed = match (
            module.configured_speed_megatransfers_per_second,
            module.speed_megatransfers_per_second,
        ) {
            (Some(configured), Some(rated)) if configured != rated => {
                Some(format!("{configured} of {rated} MT/s"))
            }
            (configured, rated) => configured.or(rated).map(|speed| format!("{speed} MT/s")),
        };
        let part = join([module.manufacturer.clone(), module.part_number.clone()], " ");
        let serial = module.serial.as_ref().map(|serial| format!("serial {serial}"));
        let size = module.size_bytes.map(|size| size.to_string());
        let line = join([size, module.kind.clone(), speed, part, serial], ", ")?;
        Some(format!("{:<9} {line}", module.slot.as_deref().unwrap_or("-")))
    }));
    lines
}

fn disk(disk: &Disk) -> Vec<String> {
    let transport = disk.transport.map(|transport| match transport {
        Transport::Nvme => "NVMe",
        Transport::Ata => "ATA",
        Transport::Scsi => "SCSI",
        Transport::Virtio => "virtio",
        Transport::Usb => "USB",
        Transport::Mmc => "MMC",
        Transport::Raid => "RAID",
        Transport::Network => "network",
        Transport::Other => "other",
    });
    let name = join([disk.vendor.clone(), disk.model.clone()], " ");
    let serial = disk.serial.as_ref().map(|serial| format!("serial {serial}"));
    let flag = |flag: Option<bool>, word: &str| flag.filter(|flag| *flag).map(|_| word.to_owned());
    let line = join(
        [
            Some(disk.size_bytes.to_string()),
            transport.map(str::to_owned),
            name,
            serial,
            flag(disk.rotational, "rotates"),
            flag(disk.removable, "removable"),
            flag(disk.read_only, "read-only"),
        ],
        ", ",
    );
    let mut lines = vec![format!("{:<9} {}", disk.name, line.unwrap_or_default())];
    lines.extend(disk.by_id.first().map(|name| format!("          {name}")));
    lines.extend(disk.content.iter().flat_map(content));
    lines
}

fn content(content: &Content) -> Vec<String> {
    let mut lines = Vec::new();
    let whole = signatures(&content.signatures);
    if content.blank {
        lines.push("          blank".to_owned());
    } else if whole.is_empty() && content.partitions.is_empty() {
        lines.push("          data of an unknown kind".to_owned());
    } else if !whole.is_empty() {
        lines.push(format!("          {whole}"));
    }
    lines.extend(content.partitions.iter().map(|partition| {
        let name = partition.name.clone();
        let inside = Some(signatures(&partition.signatures)).filter(|inside| !inside.is_empty());
        let kind = partition.kind.clone().filter(|_| inside.is_none());
        let line = join([Some(partition.size_bytes.to_string()), name, inside, kind], ", ");
        format!("          {:>3} {}", partition.number, line.unwrap_or_default())
    }));
    lines
}

/// Names each kind once, with its label: the copies of a table are no news.
fn signatures(found: &[Signature]) -> String {
    let mut names: Vec<String> = Vec::new();
    for signature in found {
        let name = match &signature.label {
            Some(label) => format!("{} \"{label}\"", signature.kind),
            None => signature.kind.clone(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(" + ")
}

fn port(port: &Port) -> String {
    let link = match (port.link, port.speed_mbps) {
        (Some(true), Some(speed)) => Some(format!("link at {speed} Mb/s")),
        (Some(true), None) => Some("link".to_owned()),
        (Some(false), _) => Some("no link".to_owned()),
        (None, _) => None,
    };
    let mac = port.permanent_mac.or(port.mac).map(|mac| mac.to_string());
    let address = join(port.addresses.iter().map(|address| Some(address.to_string())), " ");
    let facts = join([mac, port.driver.clone(), port.pci_address.clone(), link, address], ", ");
    format!("{:<9} {}", port.name, facts.unwrap_or_default())
}

fn undriven(inventory: &Inventory) -> Vec<String> {
    inventory.undriven.iter().map(|device| format!("{} {}", device.path, device.modalias)).collect()
}

fn gaps(inventory: &Inventory) -> Vec<String> {
    inventory
        .gaps
        .iter()
        .map(|gap| format!("{}: {} ({})", gap.what, gap.reason, gap.source))
        .collect()
}
