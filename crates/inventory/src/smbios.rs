//! SMBIOS tables: what the firmware says the machine is. Pure, from bytes (DSP0134).

use protocol::{
    Bytes,
    inventory::{Board, Chassis, Firmware, Gap, MemoryModule, Processor, System},
};
use smbioslib::{UndefinedStruct, UndefinedStructTable};

#[cfg(test)]
mod tests;
mod words;

/// What the tables say.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Decoded {
    pub(crate) system: System,
    pub(crate) board: Board,
    pub(crate) chassis: Chassis,
    pub(crate) firmware: Firmware,
    /// One for each populated socket.
    pub(crate) processors: Vec<Processor>,
    /// Memory slots, populated or not.
    pub(crate) slots: Option<u32>,
    pub(crate) modules: Vec<MemoryModule>,
    pub(crate) gaps: Vec<Gap>,
}

/// The version of the SMBIOS specification that tables follow: major, minor.
pub(crate) type Version = (u8, u8);

/// Reads the version from an entry point, 32-bit (`_SM_`) or 64-bit (`_SM3_`).
///
/// Three wrong versions are known and corrected as the kernel does (`drivers/firmware/dmi_scan.c`).
pub(crate) fn version(entry_point: &[u8]) -> Option<Version> {
    let at = if entry_point.starts_with(b"_SM3_") {
        7
    } else if entry_point.starts_with(b"_SM_") {
        6
    } else {
        return None;
    };
    let version = (*entry_point.get(at)?, *entry_point.get(at + 1)?);
    Some(match version {
        (2, 31 | 33) => (2, 3),
        (2, 51) => (2, 6),
        sound => sound,
    })
}

/// Decodes a structure table. What is malformed is left out and listed as a gap.
pub(crate) fn decode(table: &[u8], version: Option<Version>) -> Decoded {
    let mut decoded = Decoded::default();
    let (length, complete) = sound_length(table);
    if !complete {
        decoded.gaps.push(gap(
            "system",
            format!("the table breaks off after {length} of {} bytes", table.len()),
        ));
    }
    // The library is handed whole structures only, so that it never guesses where one ends.
    let structures = UndefinedStructTable::from(table[..length].to_vec());
    let arrays: Vec<&UndefinedStruct> =
        structures.iter().filter(|found| kind(found) == 16).collect();
    let is_recent =
        version.is_some_and(|version| version >= (2, 6)) || structures.iter().any(shows_2_6);
    for structure in structures.iter() {
        let found = Fields(structure);
        match kind(structure) {
            0 if decoded.firmware == Firmware::default() => decoded.firmware = found.firmware(),
            1 if decoded.system == System::default() => {
                decoded.system = found.system();
                match (version, is_recent) {
                    (None, false) => decoded.gaps.push(gap(
                        "system/uuid",
                        "without the entry point its byte order is unknown".to_owned(),
                    )),
                    (_, is_recent) => decoded.system.uuid = found.uuid(is_recent),
                }
            }
            2 if decoded.board == Board::default() => decoded.board = found.board(),
            3 if decoded.chassis == Chassis::default() => decoded.chassis = found.chassis(),
            4 => decoded.processors.extend(found.processor()),
            17 if found.is_system_memory(&arrays) => {
                decoded.slots = Some(decoded.slots.unwrap_or(0).saturating_add(1));
                decoded.modules.extend(found.module());
            }
            _ => {}
        }
    }
    decoded
}

/// Returns how many bytes from the start are whole structures, and whether they end as they should:
/// with an end-of-table structure, or with the table itself.
fn sound_length(table: &[u8]) -> (usize, bool) {
    let mut at = 0;
    while let Some([kind, length, ..]) = table.get(at..at + 4) {
        let formatted = usize::from(*length);
        let strings = table.get(at + formatted..).unwrap_or_default();
        let Some(end) = strings.windows(2).position(|pair| pair == [0, 0]) else { break };
        if formatted < 4 {
            break;
        }
        at += formatted + end + 2;
        if *kind == 127 {
            return (at, true);
        }
    }
    (at, at == table.len() && at > 0)
}

fn kind(structure: &UndefinedStruct) -> u8 {
    structure.header.struct_type()
}

/// Holds for structures with fields that SMBIOS 2.6 brought: no older table has them.
fn shows_2_6(structure: &UndefinedStruct) -> bool {
    let length = structure.header.length();
    match kind(structure) {
        4 => length >= 0x2a,
        9 => length >= 0x11,
        17 => length >= 0x1c,
        _ => false,
    }
}

fn gap(what: &str, reason: String) -> Gap {
    Gap { what: what.to_owned(), source: "SMBIOS".to_owned(), reason, after_milliseconds: None }
}

/// The fields of one structure, by their offsets in the specification.
struct Fields<'table>(&'table UndefinedStruct);

impl Fields<'_> {
    fn byte(&self, offset: usize) -> Option<u8> {
        self.0.get_field_byte(offset)
    }

    fn word(&self, offset: usize) -> Option<u16> {
        self.0.get_field_word(offset)
    }

    fn double(&self, offset: usize) -> Option<u32> {
        self.0.get_field_dword(offset)
    }

    /// Returns the text that a string field points to; `None` when it points nowhere, is blank or is no UTF-8.
    fn text(&self, offset: usize) -> Option<String> {
        let text = self.0.get_field_string(offset).ok()?;
        let text: String = text.chars().filter(|character| !character.is_control()).collect();
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Returns a count that has a byte and, where that says 255, a word; `None` when it is unknown (0).
    fn count(&self, byte: usize, word: usize) -> Option<u32> {
        match self.byte(byte)? {
            0 => None,
            0xff => self.word(word).filter(|count| !matches!(count, 0 | 0xffff)).map(u32::from),
            count => Some(u32::from(count)),
        }
    }

    fn firmware(&self) -> Firmware {
        Firmware {
            vendor: self.text(0x04),
            version: self.text(0x05),
            date: self.text(0x08),
            ..Firmware::default()
        }
    }

    fn system(&self) -> System {
        System {
            manufacturer: self.text(0x04),
            product: self.text(0x05),
            version: self.text(0x06),
            serial: self.text(0x07),
            sku: self.text(0x19),
            family: self.text(0x1a),
            uuid: None,
        }
    }

    /// Returns the UUID; `None` when it is not set (all zeros or all ones). From SMBIOS 2.6 on its first
    /// three fields are little endian, before it is taken as it stands (kernel: `dmi_save_uuid`).
    fn uuid(&self, is_recent: bool) -> Option<String> {
        let mut bytes: [u8; 16] = self.0.get_field_data(0x08, 0x18)?.try_into().ok()?;
        if bytes == [0; 16] || bytes == [0xff; 16] {
            return None;
        }
        if is_recent {
            bytes[0..4].reverse();
            bytes[4..6].reverse();
            bytes[6..8].reverse();
        }
        let digits = format!("{:032x}", u128::from_be_bytes(bytes));
        Some([0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &digits[group]).join("-"))
    }

    fn board(&self) -> Board {
        Board {
            manufacturer: self.text(0x04),
            product: self.text(0x05),
            version: self.text(0x06),
            serial: self.text(0x07),
            asset_tag: self.text(0x08),
        }
    }

    fn chassis(&self) -> Chassis {
        Chassis {
            manufacturer: self.text(0x04),
            // The highest bit says that there is a lock.
            kind: self.byte(0x05).and_then(|kind| words::chassis(kind & 0x7f)).map(str::to_owned),
            serial: self.text(0x07),
            asset_tag: self.text(0x08),
        }
    }

    /// Returns the processor of a populated socket; co-processors are none.
    fn processor(&self) -> Option<Processor> {
        const POPULATED: u8 = 0x40;
        let is_central = matches!(self.byte(0x05)?, 1..=3);
        if !is_central || self.byte(0x18)? & POPULATED == 0 {
            return None;
        }
        Some(Processor {
            socket: self.text(0x04),
            vendor: self.text(0x07),
            model: self.text(0x10),
            cores: self.count(0x24, 0x2c).or_else(|| self.count(0x23, 0x2a)),
            threads: self.count(0x25, 0x2e),
            maximum_megahertz: self.word(0x14).filter(|speed| *speed != 0).map(u32::from),
            flags: Vec::new(),
        })
    }

    /// Holds for slots of system memory: firmware lists its flash memory as type 17 too, in an array of that use.
    fn is_system_memory(&self, arrays: &[&UndefinedStruct]) -> bool {
        const SYSTEM_MEMORY: u8 = 3;
        let handle = self.0.get_field_handle(0x04);
        let array = arrays.iter().find(|array| Some(array.header.handle()) == handle);
        array
            .and_then(|array| array.get_field_byte(0x05))
            .is_none_or(|usage| usage <= SYSTEM_MEMORY)
    }

    /// Returns the module of a populated slot.
    fn module(&self) -> Option<MemoryModule> {
        const UNKNOWN: u16 = 0xffff;
        const EXTENDED: u16 = 0x7fff;
        const IN_KIBIBYTES: u16 = 0x8000;
        let size = match self.word(0x0c)? {
            0 => return None,
            UNKNOWN => None,
            EXTENDED => self
                .double(0x1c)
                .map(|mebibytes| u64::from(mebibytes & 0x7fff_ffff) << 20)
                .filter(|size| *size != 0),
            size if size & IN_KIBIBYTES != 0 => Some(u64::from(size & !IN_KIBIBYTES) << 10),
            size => Some(u64::from(size) << 20),
        };
        Some(MemoryModule {
            slot: self.text(0x10),
            size_bytes: size.map(Bytes),
            kind: self.byte(0x12).and_then(words::memory).map(str::to_owned),
            speed_megatransfers_per_second: self.speed(0x15, 0x54),
            configured_speed_megatransfers_per_second: self.speed(0x20, 0x58),
            manufacturer: self.text(0x17),
            part_number: self.text(0x1a),
            serial: self.text(0x18),
        })
    }

    /// Returns a speed that has a word and, where that says 65,535, a double word; `None` when it is unknown (0).
    fn speed(&self, word: usize, double: usize) -> Option<u32> {
        match self.word(word)? {
            0 => None,
            0xffff => {
                self.double(double).map(|speed| speed & 0x7fff_ffff).filter(|speed| *speed != 0)
            }
            speed => Some(u32::from(speed)),
        }
    }
}

/// Returns the word for a chassis type's number.
pub(crate) fn chassis_word(kind: u8) -> Option<String> {
    words::chassis(kind).map(str::to_owned)
}
