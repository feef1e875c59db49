//! A disk's bytes, and what the real tools make of them.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use image::{UnpackError, WINDOW_LIMIT, unpack};

/// Bytes that no compression makes smaller, the same each time.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// A disk of `sectors` times 512 bytes: a boot sector, noise, a text again and again, zeros.
pub(crate) fn disk(sectors: usize) -> Vec<u8> {
    let mut bytes = noise(1, sectors * 512);
    let half = bytes.len() / 2;
    let line = b"the quick brown fox jumps over the lazy dog\n";
    for (index, byte) in bytes[half / 4..half].iter_mut().enumerate() {
        *byte = line[index % line.len()];
    }
    bytes[half..].fill(0);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

/// What a program makes of its input.
#[expect(clippy::disallowed_methods, reason = "real samples are made by real tools")]
pub(crate) fn pipe(command: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool is installed");
    let mut stdin = child.stdin.take().expect("it was asked for");
    let input = input.to_vec();
    let feeder = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("the tool runs");
    feeder.join().expect("the feeder ends").expect("the tool reads its input");
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

/// Runs a program in a directory.
#[expect(clippy::disallowed_methods, reason = "real samples are made by real tools")]
pub(crate) fn run(directory: &Path, command: &[&str]) {
    let status = Command::new(command[0])
        .args(&command[1..])
        .current_dir(directory)
        .stdout(Stdio::null())
        .status()
        .expect("the tool is installed");
    assert!(status.success(), "{command:?}");
}

/// Unpacks all of it, in reads of odd sizes.
pub(crate) fn unpacked(packed: &[u8]) -> Result<Vec<u8>, String> {
    unpacked_within(packed, WINDOW_LIMIT)
}

/// As [`unpacked`], with a window of one's own.
pub(crate) fn unpacked_within(packed: &[u8], window: u64) -> Result<Vec<u8>, String> {
    let mut image = unpack(Trickle(packed), window).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 10_007];
    loop {
        match image.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => {
                let reason = UnpackError::of(&error).expect("the source is sound").to_string();
                assert!(image.read(&mut buffer).is_err(), "a clean end after {reason}");
                return Err(reason);
            }
        }
    }
}

/// A source that gives a little at a time, as networks do.
pub(crate) struct Trickle<'a>(pub(crate) &'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let limit = buffer.len().min(1 + self.0.len() % 4099);
        self.0.read(&mut buffer[..limit])
    }
}
