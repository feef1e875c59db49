//! Fields in structures: integers at offsets.

/// A count or an offset as an index.
pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).expect("what is simulated fits into memory")
}

/// An index or a length as a count.
pub(crate) fn count(value: usize) -> u64 {
    u64::try_from(value).expect("a usize has at most 64 bits")
}

/// Puts bytes at an offset.
pub(crate) fn put(target: &mut [u8], at: usize, bytes: &[u8]) {
    target[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Puts text, padded with spaces to a length.
pub(crate) fn put_text(target: &mut [u8], at: usize, length: usize, text: &str) {
    let field = &mut target[at..at + length];
    field.fill(b' ');
    for (byte, letter) in field.iter_mut().zip(text.bytes()) {
        *byte = letter;
    }
}

/// The `N` bytes at an offset; those beyond the end are zero.
pub(crate) fn bytes<const N: usize>(source: &[u8], at: usize) -> [u8; N] {
    let mut found = [0; N];
    for (byte, from) in found.iter_mut().zip(source.iter().skip(at)) {
        *byte = *from;
    }
    found
}

/// Copies as much of an answer as there is room for; returns how much that was.
pub(crate) fn answer(target: &mut [u8], source: &[u8]) -> usize {
    let length = target.len().min(source.len());
    target[..length].copy_from_slice(&source[..length]);
    length
}

/// Bits `low` to `high` of a word.
pub(crate) fn bits(word: u32, low: u32, high: u32) -> u32 {
    (word >> low) & (u32::MAX >> (31 - (high - low)))
}

/// Holds for a READ CAPACITY (16) as a device takes it: without PMI, which nobody has any more, no address may be given
/// (SBC-3), and nothing else is set. As strict as no device: it is not asked for more than there is room for.
pub(crate) fn asks_for_whole_capacity(cdb: &[u8], room: usize) -> bool {
    let asked = u32::from_be_bytes(bytes(cdb, 10));
    if usize::try_from(asked).map_or(true, |asked| asked > room) {
        return false;
    }
    let unused = cdb.get(2..10).into_iter().chain(cdb.get(14..));
    unused.flatten().all(|byte| *byte == 0)
}
