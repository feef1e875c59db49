//! A reader of captures: Ethernet, IPv4 without fragments, UDP.

use std::path::Path;

/// Finds the real machine's capture in `shared/machines`, beside the checkout or above it.
pub(crate) fn real_payloads() -> Option<Vec<Vec<u8>>> {
    let name = "shared/machines/pxe-dhcp4.pcap";
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = here.ancestors().map(|directory| directory.join(name)).find(|path| path.exists());
    let Some(path) = path else {
        eprintln!("skipped: {name} is not there");
        return None;
    };
    let capture = std::fs::read(path).expect("the capture was just seen");
    Some(udp_payloads(&capture).expect("the capture is Ethernet, IPv4 and UDP"))
}

fn udp_payloads(capture: &[u8]) -> Option<Vec<Vec<u8>>> {
    // Little-endian captures only, with times in micro- or nanoseconds.
    if !matches!(capture.get(..4)?, [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) {
        return None;
    }
    let mut payloads = Vec::new();
    let mut rest = capture.get(24..)?;
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest.get(8..12)?.try_into().ok()?);
        let (frame, next) = rest.get(16..)?.split_at_checked(usize::try_from(size).ok()?)?;
        let header_size = usize::from(frame.get(14)? & 0x0f) * 4;
        let udp = frame.get(14 + header_size..)?;
        let udp_size = usize::from(u16::from_be_bytes(udp.get(4..6)?.try_into().ok()?));
        payloads.push(udp.get(8..udp_size)?.to_vec());
        rest = next;
    }
    Some(payloads)
}
