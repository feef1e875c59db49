//! What a module says of itself: the section `.modinfo` of its ELF file. Linux, `include/linux/moduleparam.h`.

/// Returns the firmware that a module names, in its order; nothing where the bytes are no module.
///
/// Names may hold wildcards.
pub(crate) fn firmware(module: &[u8]) -> Option<Vec<String>> {
    let words = section(module, b".modinfo")?.split(|byte| *byte == 0);
    let names = words.filter_map(|word| word.strip_prefix(b"firmware="));
    names.map(|name| String::from_utf8(name.to_vec()).ok()).collect()
}

/// Returns a section of a 64-bit little-endian ELF file. `elf(5)`: `Elf64_Ehdr`, `Elf64_Shdr`.
fn section<'e>(elf: &'e [u8], name: &[u8]) -> Option<&'e [u8]> {
    const IDENTITY: &[u8] = b"\x7fELF\x02\x01";
    if !elf.starts_with(IDENTITY) {
        return None;
    }
    let headers = number(elf, 0x28, 8)?;
    let (size, count, names) =
        (number(elf, 0x3a, 2)?, number(elf, 0x3c, 2)?, number(elf, 0x3e, 2)?);
    let header = |index: usize| {
        let start = headers.checked_add(index.checked_mul(size)?)?;
        elf.get(start..start.checked_add(size)?)
    };
    let content = |header: &[u8]| {
        let start = number(header, 0x18, 8)?;
        elf.get(start..start.checked_add(number(header, 0x20, 8)?)?)
    };
    let names = content(header(names)?)?;
    let is_wanted = |header: &&[u8]| {
        let rest = number(header, 0, 4).and_then(|start| names.get(start..)).unwrap_or_default();
        rest.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&0))
    };
    content((0..count).map_while(header).find(is_wanted)?)
}

fn number(bytes: &[u8], start: usize, size: usize) -> Option<usize> {
    let field = bytes.get(start..start.checked_add(size)?)?;
    let mut number = [0; 8];
    number.get_mut(..size)?.copy_from_slice(field);
    usize::try_from(u64::from_le_bytes(number)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a section of names, and one behind it.
    fn elf(name: &[u8], content: &[u8]) -> Vec<u8> {
        let names = [b"\0.shstrtab\0", name, b"\0"].concat();
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        let (names_at, content_at) = (file.len(), file.len() + names.len());
        file.extend([&names[..], content].concat());
        let headers = file.len();
        for (name, at, size) in
            [(0, 0, 0), (1, names_at, names.len()), (11, content_at, content.len())]
        {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&u32::try_from(name).unwrap().to_le_bytes());
            header[0x18..0x20].copy_from_slice(&u64::try_from(at).unwrap().to_le_bytes());
            header[0x20..0x28].copy_from_slice(&u64::try_from(size).unwrap().to_le_bytes());
            file.extend(header);
        }
        file[0x28..0x30].copy_from_slice(&u64::try_from(headers).unwrap().to_le_bytes());
        file[0x3a] = 64;
        file[0x3c] = 3;
        file[0x3e] = 1;
        file
    }

    const MODINFO: &[u8] =
        b"license=GPL\0firmware=rtl_nic/a.fw\0\0firmware=b*.bin\0notfirmware=c\0";

    #[test]
    fn a_module_names_its_firmware() {
        let module = elf(b".modinfo", MODINFO);
        assert_eq!(firmware(&module).unwrap(), ["rtl_nic/a.fw", "b*.bin"]);
        assert_eq!(firmware(&elf(b".modinfo", b"license=GPL\0")).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_module_is_not_read() {
        assert_eq!(firmware(b""), None);
        assert_eq!(firmware(&elf(b".modinfox", MODINFO)), None);
        let module = elf(b".modinfo", MODINFO);
        for length in 0..module.len() {
            // The last header's end is padding that nobody reads.
            assert_eq!(firmware(&module[..length]), None, "{length}");
        }
    }

    #[test]
    fn no_number_in_a_header_leads_out_of_the_file() {
        let module = elf(b".modinfo", MODINFO);
        for at in 0..module.len() {
            let mut damaged = module.clone();
            damaged[at] = 0xff;
            let _read = firmware(&damaged);
        }
    }
}
