//! Messages as clients were seen to send them, byte for byte where it matters.

/// The port of all samples.
pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// The UUID of all samples as OVMF sends it.
pub(crate) const UUID: [u8; 17] = [
    0, 0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 0x88, 0x77, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0,
];

/// Builds a request's payload by hand, with no help of the code under test.
pub(crate) fn request(flags: [u8; 2], options: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
    bytes[10..12].copy_from_slice(&flags);
    bytes[28..34].copy_from_slice(&MAC);
    bytes.extend([99, 130, 83, 99]);
    for option in options {
        bytes.extend(*option);
    }
    bytes.push(255);
    bytes
}

/// Builds one option.
pub(crate) fn option(code: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).expect("samples have short options");
    [&[code, length][..], value].concat()
}

/// UEFI PXE: EDK2 on x64, padded as it pads.
pub(crate) fn edk2_pxe() -> Vec<u8> {
    let mut bytes = request(
        [0x80, 0],
        &[
            &option(53, &[1]),
            &option(57, &[0x05, 0xc0]),
            &option(
                55,
                &[
                    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54,
                    58, 59, 60, 66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135,
                ],
            ),
            &option(97, &UUID),
            &option(94, &[1, 3, 0]),
            &option(93, &[0, 7]),
            &option(60, b"PXEClient:Arch:00007:UNDI:003000"),
        ],
    );
    bytes.resize(347, 0);
    bytes
}

/// UEFI HTTP Boot: EDK2 on x64. The 25th entry of option 55 is a byte that nobody set.
pub(crate) fn edk2_http() -> Vec<u8> {
    request(
        [0x80, 0],
        &[
            &option(53, &[1]),
            &option(57, &[0x05, 0xc0]),
            &option(
                55,
                &[
                    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54,
                    58, 59, 60, 0xeb, 67, 97,
                ],
            ),
            &option(97, &UUID),
            &option(94, &[1, 3, 0]),
            &option(93, &[0, 0x10]),
            &option(60, b"HTTPClient:Arch:00016:UNDI:003000"),
        ],
    )
}

/// iPXE: no broadcast flag, raw user class, features in option 175.
pub(crate) fn ipxe() -> Vec<u8> {
    request(
        [0, 0],
        &[
            &option(53, &[1]),
            &option(57, &[0x05, 0xc0]),
            &option(93, &[0, 7]),
            &option(94, &[1, 3, 10]),
            &option(60, b"PXEClient:Arch:00007:UNDI:003010"),
            &option(77, b"iPXE"),
            &option(
                55,
                &[
                    1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133,
                    134, 135, 175, 203,
                ],
            ),
            &option(
                175,
                &[
                    0xb1, 5, 1, 0x80, 0x86, 0x10, 0xd3, 0x18, 1, 1, 0x23, 1, 1, 0x15, 1, 1, 0x13,
                    1, 1,
                ],
            ),
            &option(61, &[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]),
            &option(97, &UUID),
        ],
    )
}
