//! The specification's words for its numbers.

/// Returns a chassis type (DSP0134 §7.4.1); `None` for "other", "unknown" and numbers it does not have.
pub(crate) fn chassis(kind: u8) -> Option<&'static str> {
    const WORDS: [&str; 34] = [
        "Desktop",
        "Low Profile Desktop",
        "Pizza Box",
        "Mini Tower",
        "Tower",
        "Portable",
        "Laptop",
        "Notebook",
        "Hand Held",
        "Docking Station",
        "All in One",
        "Sub Notebook",
        "Space-saving",
        "Lunch Box",
        "Main Server Chassis",
        "Expansion Chassis",
        "SubChassis",
        "Bus Expansion Chassis",
        "Peripheral Chassis",
        "RAID Chassis",
        "Rack Mount Chassis",
        "Sealed-case PC",
        "Multi-system Chassis",
        "Compact PCI",
        "Advanced TCA",
        "Blade",
        "Blade Enclosure",
        "Tablet",
        "Convertible",
        "Detachable",
        "IoT Gateway",
        "Embedded PC",
        "Mini PC",
        "Stick PC",
    ];
    WORDS.get(usize::from(kind.checked_sub(3)?)).copied()
}

/// Returns a kind of memory (DSP0134 §7.18.2); `None` for "other", "unknown" and numbers it does not have.
pub(crate) fn memory(kind: u8) -> Option<&'static str> {
    const WORDS: [&str; 34] = [
        "DRAM",
        "EDRAM",
        "VRAM",
        "SRAM",
        "RAM",
        "ROM",
        "Flash",
        "EEPROM",
        "FEPROM",
        "EPROM",
        "CDRAM",
        "3DRAM",
        "SDRAM",
        "SGRAM",
        "RDRAM",
        "DDR",
        "DDR2",
        "DDR2 FB-DIMM",
        "",
        "",
        "",
        "DDR3",
        "FBD2",
        "DDR4",
        "LPDDR",
        "LPDDR2",
        "LPDDR3",
        "LPDDR4",
        "Logical non-volatile device",
        "HBM",
        "HBM2",
        "DDR5",
        "LPDDR5",
        "HBM3",
    ];
    WORDS.get(usize::from(kind.checked_sub(3)?)).copied().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_stand_at_their_numbers() {
        assert_eq!(chassis(0x01), None);
        assert_eq!(chassis(0x03), Some("Desktop"));
        assert_eq!(chassis(0x17), Some("Rack Mount Chassis"));
        assert_eq!(chassis(0x1c), Some("Blade"));
        assert_eq!(chassis(0x24), Some("Stick PC"));
        assert_eq!(chassis(0x25), None);
        assert_eq!(memory(0x02), None);
        assert_eq!(memory(0x07), Some("RAM"));
        assert_eq!(memory(0x15), None);
        assert_eq!(memory(0x18), Some("DDR3"));
        assert_eq!(memory(0x1a), Some("DDR4"));
        assert_eq!(memory(0x22), Some("DDR5"));
        assert_eq!(memory(0x24), Some("HBM3"));
        assert_eq!(memory(0xff), None);
    }
}
