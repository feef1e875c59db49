//! Two programs of a few bytes that a machine can start without any operating system: they say a line and halt.
//!
//! The line goes to the serial console, for people, and to the debug port 0xe9, where QEMU writes it into a file
//! that nothing else writes to: the harness's proof of what was started.

/// Returns 16-bit code for address 0x7c00: a boot sector's first bytes, or a boot program for PXE firmware.
pub(super) fn bios(line: &str) -> Vec<u8> {
    let mut code = vec![
        0xe8, 0x00, 0x00, // call the next instruction: where are we?
        0x5e, // pop si
        0x0e, 0x1f, // ds = cs
        0x83, 0xc6, 0x18, // si = the line, 24 bytes after the call
        0xfc, // upwards
        0xac, // next: al = *si++
        0x84, 0xc0, 0x74, 0x08, // if al == 0, halt
        0xba, 0xf8, 0x03, 0xee, // first serial port
        0xe6, 0xe9, // debug port
        0xeb, 0xf3, // next
        0xfa, 0xf4, 0xeb, 0xfc, // halt, for ever
    ];
    code.extend(ending(line));
    code
}

/// Returns an EFI application for x86-64.
pub(super) fn efi(line: &str) -> Vec<u8> {
    let mut code = vec![
        0x48, 0x8d, 0x35, 0x12, 0x00, 0x00, 0x00, // rsi = the line
        0xac, // next: al = *rsi++
        0x84, 0xc0, 0x74, 0x09, // if al == 0, halt
        0x66, 0xba, 0xf8, 0x03, 0xee, // first serial port
        0xe6, 0xe9, // debug port
        0xeb, 0xf2, // next
        0xfa, 0xf4, 0xeb, 0xfc, // halt, for ever
    ];
    code.extend(ending(line));
    code.resize(0x200, 0);

    let mut file = Vec::new();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    let half = |value: u16| value.to_le_bytes();
    let word = |value: u32| value.to_le_bytes();
    let long = |value: u64| value.to_le_bytes();

    // DOS header: only its magic and where the PE header is.
    put(b"MZ");
    put(&[0; 58]);
    put(&word(0x40));
    // COFF header: x86-64, one section, optional header of 240 bytes, executable, large addresses.
    put(b"PE\0\0");
    put(&half(0x8664));
    put(&half(1));
    put(&[0; 12]);
    put(&half(240));
    put(&half(0x22));
    // Optional header: PE32+, code of 512 bytes at 0x1000, entered at its start, to be loaded anywhere.
    put(&half(0x20b));
    put(&[0; 2]);
    put(&word(0x200));
    put(&[0; 8]);
    put(&word(0x1000));
    put(&word(0x1000));
    put(&long(0));
    // Alignment in memory and in the file; versions.
    put(&word(0x1000));
    put(&word(0x200));
    put(&[0; 16]);
    // Size of image, size of headers, checksum; subsystem 10 is "EFI application".
    put(&word(0x2000));
    put(&word(0x200));
    put(&[0; 4]);
    put(&half(10));
    put(&half(0));
    put(&[0; 36]);
    // Sixteen data directories, all empty.
    put(&word(16));
    put(&[0; 128]);
    // The section.
    put(b".text\0\0\0");
    put(&word(0x200));
    put(&word(0x1000));
    put(&word(0x200));
    put(&word(0x200));
    put(&[0; 12]);
    put(&word(0xe000_0020));

    file.resize(0x200, 0);
    file.extend(code);
    file
}

fn ending(line: &str) -> Vec<u8> {
    format!("{line}\r\n\0").into_bytes()
}
