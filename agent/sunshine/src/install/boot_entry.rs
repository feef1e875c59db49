//! The step that the firmware does: a boot entry for the disk that was written.

use std::{io, sync::Arc};

use agent::boot_entry::{self, BootEntryError, Next};
use disk::{AlignedBuffer, Held, Medium as _};
use startup::disk::{Disk, Storage};

/// Makes the entry, and reads it back. Nothing under BIOS, which is an error that says so.
pub(super) fn make(disk: &Arc<Held>, label: &str) -> Result<(), BootEntryError> {
    let storage = Arc::new(Written(Arc::clone(disk)));
    boot_entry::make(&Disk::open(storage), label, Next::ByOrder)
}

/// The disk, as the search for a boot loader reads it.
#[derive(Debug)]
struct Written(Arc<Held>);

impl Storage for Written {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.0.sector_bytes()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut aligned = AlignedBuffer::zeroed(buffer.len());
        self.0.read(offset, &mut aligned)?;
        buffer.copy_from_slice(&aligned);
        Ok(())
    }
}
