//! A kernel that unpacks itself when firmware starts it: `image/unpacker` with the packed kernel in a section.

use anyhow::{Context as _, ensure};

use crate::executable::{Section, is_flat, join, size_in_memory, take_version};

/// Puts a kernel, packed by zstd, into the unpacker: its length in the file and in memory, and the frame.
pub(crate) fn wrap(unpacker: &[u8], kernel: &[u8], packed: &[u8]) -> anyhow::Result<Vec<u8>> {
    ensure!(
        is_flat(kernel).context("reading the kernel's headers")?,
        "the kernel would have to be laid out by firmware"
    );
    let memory = size_in_memory(kernel)?.max(kernel.len());
    let mut payload = u64::try_from(kernel.len())?.to_le_bytes().to_vec();
    payload.extend(u64::try_from(memory)?.to_le_bytes());
    payload.extend(packed);
    let mut image = join(unpacker, &[Section::new(".payload", payload)])
        .context("joining kernel and unpacker")?;
    // Boot stubs start no kernel that is older than the way in which they hand over an initramfs.
    take_version(&mut image, kernel)?;
    Ok(image)
}
