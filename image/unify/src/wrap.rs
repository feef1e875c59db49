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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executable::tests::stub;

    /// In the program of the tests: its version, the entry of its first section, and of the one that is added.
    const VERSION: usize = 0x40 + 24 + 44;
    const SECTION: usize = 0x40 + 24 + 240;
    const ADDED: usize = SECTION + 40;

    /// A kernel that is in memory as in its file, of version 3.
    fn kernel() -> Vec<u8> {
        let mut kernel = stub();
        kernel[SECTION + 20..SECTION + 24].copy_from_slice(&0x1000_u32.to_le_bytes());
        kernel[VERSION] = 3;
        kernel
    }

    #[test]
    fn a_kernel_is_wrapped_with_its_lengths_and_its_version() {
        let wrapped = wrap(&stub(), &kernel(), b"packed").unwrap();
        assert_eq!(wrapped[VERSION], 3);
        assert_eq!(&wrapped[ADDED..ADDED + 8], b".payload");
        let payload = [&0x800_u64.to_le_bytes()[..], &0x2000_u64.to_le_bytes(), b"packed"].concat();
        assert_eq!(wrapped[0x800..0x800 + payload.len()], payload);
    }

    #[test]
    fn a_kernel_that_firmware_would_have_to_lay_out_is_refused() {
        let refused = wrap(&stub(), &stub(), b"packed").unwrap_err();
        assert!(refused.to_string().contains("laid out"), "{refused}");
    }
}
