//! What a disk is called: by its maker, by its bus, by udev.

use protocol::inventory::Transport;

use super::{Found, names, vpd};
use crate::{
    device::{self, Ancestor},
    survey::Survey,
};

/// A disk's names and numbers.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    pub(crate) vendor: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) firmware: Option<String>,
    pub(crate) wwn: Option<String>,
    pub(crate) eui64: Option<String>,
    pub(crate) nguid: Option<String>,
    pub(crate) by_id: Vec<String>,
}

/// Reads a disk's identity from where its bus keeps it.
pub(crate) fn of(survey: &mut Survey<'_>, found: &Found) -> Identity {
    if found.name.starts_with("nvme") {
        nvme(survey, found)
    } else if found.name.starts_with("vd") {
        virtio(survey, found)
    } else if found.name.starts_with("mmcblk") {
        mmc(survey, found)
    } else if found.name.starts_with("sd") {
        scsi(survey, found)
    } else {
        Identity::default()
    }
}

/// `device` is the controller, or the subsystem where there is multipath: both have these files.
fn nvme(survey: &mut Survey<'_>, found: &Found) -> Identity {
    let mut device =
        |name: &str| survey.text(&found.what(name), found.class.join("device").join(name));
    let (model, serial, firmware) = (device("model"), device("serial"), device("firmware_rev"));
    let mut own = |name: &str| survey.text(&found.what(name), found.class.join(name));
    let wwid = own("wwid");
    let nsid = own("nsid").and_then(|nsid| nsid.parse().ok());
    Identity {
        eui64: own("eui").and_then(|text| hex(&text, 16)),
        nguid: own("nguid").and_then(|text| hex(&text, 32)),
        by_id: names::nvme(wwid.as_deref(), model.as_deref(), serial.as_deref(), nsid),
        model,
        serial,
        firmware,
        ..Identity::default()
    }
}

/// Returns the digits of an identifier, however it is punctuated; `None` when it is zero or has another length.
fn hex(text: &str, length: usize) -> Option<String> {
    let digits: String =
        text.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase();
    (digits.len() == length && digits.bytes().any(|digit| digit != b'0')).then_some(digits)
}

fn virtio(survey: &mut Survey<'_>, found: &Found) -> Identity {
    // Its `device/vendor` is the PCI vendor of the virtual bus, not the disk's maker.
    let serial = survey.text(&found.what("serial"), found.class.join("serial"));
    Identity {
        by_id: serial.as_deref().map(names::virtio).into_iter().collect(),
        serial,
        ..Identity::default()
    }
}

fn mmc(survey: &mut Survey<'_>, found: &Found) -> Identity {
    let mut get =
        |name: &str| survey.text(&found.what(name), found.class.join("device").join(name));
    let (name, serial, firmware) = (get("name"), get("serial"), get("fwrev"));
    let by_id = match (&name, &serial) {
        (Some(name), Some(serial)) => vec![names::mmc(name, serial)],
        _ => Vec::new(),
    };
    Identity { model: name, serial, firmware, by_id, ..Identity::default() }
}

/// SCSI disks, and what speaks SCSI: SATA through libata or a SAS controller, USB.
fn scsi(survey: &mut Survey<'_>, found: &Found) -> Identity {
    let device = found.class.join("device");
    let mut page =
        |name: &str| survey.bytes(&found.what(name), device.join(name)).unwrap_or_default();
    let (page80, page83, page89) = (page("vpd_pg80"), page("vpd_pg83"), page("vpd_pg89"));
    let mut get = |name: &str| survey.text(&found.what(name), device.join(name));
    let (vendor, model, firmware) = (get("vendor"), get("model"), get("rev"));
    let (vendor_text, model_text) =
        (vendor.clone().unwrap_or_default(), model.clone().unwrap_or_default());
    let unit_serial = vpd::serial(&page80);
    let designation = vpd::designation(&page83, &vendor_text, &model_text);
    let ata = vpd::ata(&page89);
    let is_usb = found.transport == Some(Transport::Usb);
    let usb = if is_usb { Usb::of(survey, found) } else { Usb::default() };

    let by_id = if is_usb {
        usb.names(&vendor_text, &model_text, ata.as_ref())
    } else if vendor_text == "ATA" {
        ata_names(ata.as_ref(), &model_text, unit_serial.as_deref(), &designation)
    } else {
        let fallback = || {
            let serial = unit_serial.as_deref()?;
            Some(format!("S{vendor_text:<8}{model_text:<16}{serial}"))
        };
        let identifier = designation.identifier.clone().or_else(fallback);
        let mut by_id: Vec<String> = identifier.as_deref().map(names::scsi).into_iter().collect();
        by_id.extend(designation.naa.as_deref().map(names::wwn));
        by_id
    };
    let serial = unit_serial
        .as_deref()
        .map(str::trim)
        .filter(|serial| !serial.is_empty())
        .map(str::to_owned);
    let Some(ata) = ata else {
        return Identity {
            vendor: vendor.filter(|vendor| vendor != "ATA"),
            model,
            serial: serial.or(usb.serial),
            firmware,
            wwn: designation.naa.map(|naa| format!("0x{naa}")),
            by_id,
            ..Identity::default()
        };
    };
    Identity {
        vendor: vendor.filter(|vendor| vendor != "ATA"),
        model: ata.model.or(model),
        serial: ata.serial.or(serial).or(usb.serial),
        firmware: ata.firmware.or(firmware),
        wwn: ata.wwn.or(designation.naa).map(|naa| format!("0x{naa}")),
        by_id,
        ..Identity::default()
    }
}

/// Returns the names of a SATA disk. The SCSI model has room for 16 letters of 40: without page 89h a longer
/// model's name is unknown, and is left out rather than guessed.
fn ata_names(
    ata: Option<&vpd::Ata>,
    scsi_model: &str,
    unit_serial: Option<&str>,
    designation: &vpd::Designation,
) -> Vec<String> {
    let mut by_id = Vec::new();
    match ata.and_then(|ata| Some((ata.model.as_deref()?, ata.serial.as_deref()))) {
        Some((model, serial)) => by_id.push(names::ata(model, serial)),
        None if (1..16).contains(&scsi_model.len()) && unit_serial.is_some() => {
            by_id.push(names::ata(scsi_model, unit_serial));
        }
        None => {}
    }
    let own = ata.and_then(|ata| ata.wwn.as_deref());
    by_id.extend(own.or(designation.naa.as_deref()).map(names::wwn));
    by_id
}

/// What the USB device around a disk says.
#[derive(Debug, Default)]
struct Usb {
    manufacturer: Option<String>,
    product: Option<String>,
    serial: Option<String>,
    /// SCSI target and LUN, for devices that speak SCSI or ATAPI.
    instance: Option<String>,
    is_removable: bool,
}

impl Usb {
    fn of(survey: &mut Survey<'_>, found: &Found) -> Self {
        let is_interface =
            |ancestor: &&Ancestor| ancestor.name.contains('-') && ancestor.name.contains(':');
        let Some(index) = found.ancestors.iter().position(|ancestor| is_interface(&ancestor))
        else {
            return Self::default();
        };
        let (Some(interface), Some(device)) =
            (found.ancestors.get(index), found.ancestors.get(index + 1))
        else {
            return Self::default();
        };
        let mut get =
            |path: &std::path::Path, name: &str| survey.text(&found.what(name), path.join(name));
        let subclass = get(&interface.path, "bInterfaceSubClass");
        let speaks_scsi = matches!(subclass.as_deref(), Some("06" | "02"));
        let address = found.ancestors.iter().find(|ancestor| ancestor.name.split(':').count() == 4);
        let instance = address.and_then(|address| {
            let mut parts = address.name.split(':').skip(2);
            Some(format!("{}:{}", parts.next()?, parts.next()?))
        });
        Self {
            manufacturer: get(&device.path, "manufacturer")
                .or_else(|| get(&device.path, "idVendor")),
            product: get(&device.path, "product").or_else(|| get(&device.path, "idProduct")),
            serial: get(&device.path, "serial"),
            instance: instance.filter(|_| speaks_scsi),
            is_removable: get(&found.class, "removable").is_some_and(|removable| removable == "1"),
        }
    }

    fn names(&self, vendor: &str, model: &str, ata: Option<&vpd::Ata>) -> Vec<String> {
        // What speaks SCSI is named by SCSI's words, anything else by USB's.
        let (vendor, model) = if self.instance.is_some() && !vendor.is_empty() && !model.is_empty()
        {
            (vendor, model)
        } else {
            (
                self.manufacturer.as_deref().unwrap_or_default(),
                self.product.as_deref().unwrap_or_default(),
            )
        };
        let mut by_id = Vec::new();
        // In a housing for a fixed disk, udev asks the disk itself first.
        if let (Some(ata), false) = (ata, self.is_removable)
            && let Some(model) = &ata.model
        {
            by_id.push(names::ata(model, ata.serial.as_deref()));
        }
        if !vendor.is_empty() && !model.is_empty() {
            by_id.push(names::usb(vendor, model, self.serial.as_deref(), self.instance.as_deref()));
        }
        by_id
    }
}

/// Returns the parts of a SCSI address `host:channel:target:lun`.
pub(crate) fn scsi_address(name: &str) -> Option<[u32; 4]> {
    let mut parts = name.split(':').map(|part| device::number_after(part, ""));
    let address = [parts.next()??, parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(address)
}
