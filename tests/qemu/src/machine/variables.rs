//! What UEFI firmware keeps in its flash memory, read and written from outside.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

/// The firmware volume's header says at this place how long it is. UEFI PI 1.7, volume 3, §3.2.1.
const HEADER_LENGTH_AT: usize = 0x30;
/// The store's header. EDK II, `MdeModulePkg/Include/Guid/VariableFormat.h`, as all below.
const STORE_HEADER_BYTES: usize = 28;
/// In which it says how long the store is, with this header.
const STORE_SIZE_AT: usize = 16;
const VARIABLE_HEADER_BYTES: usize = 60;
const VARIABLE_START: u16 = 0x55aa;
/// The state of a variable that was written whole and neither replaced nor deleted.
const ADDED: u8 = 0x3f;
/// Kept over restarts, to be seen by firmware and system. UEFI 2.10 §8.2.1.
const ATTRIBUTES: u32 = 7;
/// And changed only by who has the key: `EFI_VARIABLE_TIME_BASED_AUTHENTICATED_WRITE_ACCESS`.
const AUTHENTICATED: u32 = ATTRIBUTES | 0x20;
/// `EFI_GLOBAL_VARIABLE`, 8be4df61-93ca-11d2-aa0d-00e098032b8c: UEFI 2.10 §3.3.
pub(crate) const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`, d719b2cb-3d3a-4596-a3bc-dad00e67656f: UEFI 2.10 §32.6.1.
pub(crate) const IMAGE_SECURITY: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];
/// `LINUX_EFI_CRASH_GUID`, cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0: Linux, `include/linux/efi.h`.
pub(crate) const CRASHES: [u8; 16] = [
    0x79, 0xfc, 0xc8, 0xcf, 0x2e, 0xbe, 0xdc, 0x4d, 0x97, 0xf0, 0x9f, 0x98, 0xbf, 0xe2, 0x98, 0xa0,
];

/// The boot variables of a machine.
#[derive(Debug)]
pub(crate) struct Variables {
    by_name: BTreeMap<String, Vec<u8>>,
}

impl Variables {
    /// Reads the flash memory of OVMF.
    pub(super) fn parse(flash: &[u8]) -> Result<Variables> {
        let mut by_name = BTreeMap::new();
        walk(flash, |state, name, data| {
            if state == ADDED {
                by_name.insert(name, data.to_vec());
            }
        })?;
        ensure!(!by_name.is_empty(), "the firmware keeps nothing");
        Ok(Variables { by_name })
    }

    /// Takes all variables out of flash memory, and leaves it as firmware leaves it that has none.
    pub(super) fn clear(flash: &mut [u8]) -> Result<()> {
        let store = usize::from(short(flash, HEADER_LENGTH_AT)?);
        let size = long(flash, store + STORE_SIZE_AT)?;
        let held = flash.get_mut(store + STORE_HEADER_BYTES..store + size);
        held.context("a store cut short")?.fill(0xff);
        Ok(())
    }

    /// Writes another variable behind all others into the flash memory of OVMF.
    pub(super) fn add(flash: &mut [u8], name: &str, vendor: [u8; 16], data: &[u8]) -> Result<()> {
        let at = walk(flash, |_, _, _| {})?;
        let is_of_keys = vendor == IMAGE_SECURITY || matches!(name, "PK" | "KEK");
        let attributes = if is_of_keys { AUTHENTICATED } else { ATTRIBUTES };
        let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).context("a variable's size");
        let mut bytes = VARIABLE_START.to_le_bytes().to_vec();
        bytes.extend([ADDED, 0]);
        bytes.extend(attributes.to_le_bytes());
        // A count, a time and a key, of variables that are signed.
        bytes.resize(36, 0);
        bytes.extend(size(&name)?.to_le_bytes());
        bytes.extend(size(data)?.to_le_bytes());
        bytes.extend(vendor);
        bytes.extend(&name);
        bytes.extend(data);
        let place = flash.get_mut(at..at + bytes.len()).context("a full flash memory")?;
        ensure!(place.iter().all(|byte| *byte == 0xff), "something is at {at} in flash memory");
        place.copy_from_slice(&bytes);
        Ok(())
    }

    /// Returns the names of its boot entries, in the order in which they are tried.
    pub(crate) fn boot_order(&self) -> Result<Vec<String>> {
        let order = self.by_name.get("BootOrder").context("no BootOrder")?;
        let name = |number: &[u8]| {
            let name = format!("Boot{:04X}", short(number, 0)?);
            let Some(option) = self.by_name.get(&name) else {
                bail!("{name} is in the order only")
            };
            Ok(description(option))
        };
        order.chunks(2).map(name).collect()
    }

    /// Returns the names of all boot entries, also of those that are not tried.
    pub(crate) fn boot_entries(&self) -> Vec<String> {
        let is_entry = |name: &str| {
            name.strip_prefix("Boot")
                .is_some_and(|number| number.len() == 4 && u16::from_str_radix(number, 16).is_ok())
        };
        let entries = self.by_name.iter().filter(|(name, _)| is_entry(name));
        entries.map(|(_, option)| description(option)).collect()
    }

    /// Returns how many variables have a name that begins so.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        self.by_name.keys().filter(|name| name.starts_with(beginning)).count()
    }

    /// Returns whether the next start is an exception.
    pub(crate) fn has_next(&self) -> bool {
        self.by_name.contains_key("BootNext")
    }
}

/// Looks at every variable that was ever written, its state, name and data, and returns where free memory begins.
fn walk(flash: &[u8], mut look: impl FnMut(u8, String, &[u8])) -> Result<usize> {
    let mut at = usize::from(short(flash, HEADER_LENGTH_AT)?) + STORE_HEADER_BYTES;
    while short(flash, at)? == VARIABLE_START {
        let state = *flash.get(at + 2).context("a variable without state")?;
        let (name_bytes, data_bytes) = (long(flash, at + 36)?, long(flash, at + 40)?);
        let name_at = at + VARIABLE_HEADER_BYTES;
        let data_at = name_at + name_bytes;
        let data = flash.get(data_at..data_at + data_bytes).context("a variable cut short")?;
        look(state, text(&flash[name_at..data_at]), data);
        at = (data_at + data_bytes).next_multiple_of(4);
    }
    Ok(at)
}

/// The name in a boot entry: UEFI 2.10 §3.1.3.
fn description(option: &[u8]) -> String {
    text(option.get(6..).unwrap_or_default())
}

/// UTF-16 up to its NUL.
fn text(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

fn short(bytes: &[u8], at: usize) -> Result<u16> {
    let found = bytes.get(at..at + 2).context("the firmware's memory is cut short")?;
    Ok(u16::from_le_bytes([found[0], found[1]]))
}

fn long(bytes: &[u8], at: usize) -> Result<usize> {
    let (low, high) = (short(bytes, at)?, short(bytes, at + 2)?);
    Ok(usize::from(high) << 16 | usize::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    fn variable(state: u8, name: &str, data: &[u8]) -> Vec<u8> {
        let name = utf16(name);
        let mut bytes = VARIABLE_START.to_le_bytes().to_vec();
        bytes.push(state);
        bytes.resize(36, 0);
        bytes.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        bytes.resize(VARIABLE_HEADER_BYTES, 0);
        bytes.extend(name);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0xff);
        bytes
    }

    #[test]
    fn a_variable_that_is_added_is_read_and_the_others_stay() {
        let mut flash = vec![0; 0x48 + STORE_HEADER_BYTES];
        flash[HEADER_LENGTH_AT] = 0x48;
        flash.extend(variable(ADDED, "Boot0001", &option("Debian")));
        flash.extend([0xff; 400]);
        Variables::add(&mut flash, "Boot0002", GLOBAL, &option("Gone")).unwrap();
        Variables::add(&mut flash, "BootOrder", GLOBAL, &[2, 0, 1, 0]).unwrap();
        let variables = Variables::parse(&flash).unwrap();
        assert_eq!(variables.boot_order().unwrap(), ["Gone", "Debian"]);
        assert_eq!((variables.count("Boot"), variables.count("dump")), (3, 0));
        assert!(Variables::add(&mut flash, "BootNext", CRASHES, &[0; 200]).is_err());
    }

    #[test]
    fn a_cleared_memory_holds_what_is_written_after_it_and_nothing_else() {
        let mut flash = vec![0; 0x48 + STORE_HEADER_BYTES];
        flash[HEADER_LENGTH_AT] = 0x48;
        flash.extend(variable(ADDED, "Boot0001", &option("Debian")));
        flash.extend([0xff; 400]);
        let size = u32::try_from(flash.len() - 0x48).unwrap();
        flash[0x48 + STORE_SIZE_AT..][..4].copy_from_slice(&size.to_le_bytes());
        flash.extend([7; 8]);
        Variables::clear(&mut flash).unwrap();
        Variables::add(&mut flash, "Boot0002", GLOBAL, &option("Network")).unwrap();
        Variables::add(&mut flash, "BootOrder", GLOBAL, &[2, 0]).unwrap();
        let variables = Variables::parse(&flash).unwrap();
        assert_eq!(
            (variables.boot_order().unwrap(), variables.count("Boot")),
            (vec!["Network".to_owned()], 2)
        );
        assert!(flash.ends_with(&[7; 8]), "what is behind the store is not its own");
        flash.truncate(0x100);
        assert!(Variables::clear(&mut flash).is_err());
    }

    fn option(name: &str) -> Vec<u8> {
        [&[1, 0, 0, 0, 4, 0][..], &utf16(name), &[0x7f, 0xff, 4, 0]].concat()
    }

    #[test]
    fn entries_that_were_replaced_or_deleted_do_not_count() {
        let mut flash = vec![0; 0x48 + STORE_HEADER_BYTES];
        flash[HEADER_LENGTH_AT] = 0x48;
        flash.extend(variable(0x3c, "Boot0001", &option("Old")));
        flash.extend(variable(ADDED, "Boot0001", &option("Debian")));
        flash.extend(variable(ADDED, "Boot000A", &option("Network")));
        flash.extend(variable(ADDED, "BootOrder", &[10, 0, 1, 0]));
        flash.extend(variable(0x3d, "BootNext", &[1, 0]));
        flash.extend([0xff; 8]);
        let variables = Variables::parse(&flash).unwrap();
        assert_eq!(variables.boot_order().unwrap(), ["Network", "Debian"]);
        assert_eq!(variables.boot_entries(), ["Debian", "Network"]);
        assert!(!variables.has_next());
    }
}
