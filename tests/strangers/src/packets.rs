//! Several packets in a row, as the bytes of one input: for each a note of one byte, its length in two, itself.

/// Reads packets with their notes. A length beyond the end means all that is left.
pub(crate) fn read(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut packets = Vec::new();
    let mut rest = bytes;
    while let [note, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (packet, next) = behind.split_at(length);
        packets.push((*note, packet));
        rest = next;
    }
    packets
}

/// Writes packets with their notes.
pub(crate) fn write<P: AsRef<[u8]>>(packets: impl IntoIterator<Item = (u8, P)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (note, packet) in packets {
        let packet = packet.as_ref();
        let length = u16::try_from(packet.len()).expect("samples are packets");
        bytes.push(note);
        bytes.extend(length.to_be_bytes());
        bytes.extend(packet);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_are_inverse_and_the_last_may_be_short() {
        let packets = [(1, &b"one"[..]), (2, b""), (255, b"three")];
        let bytes = write(packets);
        assert_eq!(read(&bytes), packets);
        assert_eq!(read(&bytes[..bytes.len() - 2]), [packets[0], packets[1], (255, b"thr")]);
    }
}
