//! A loop device in the place of a disk.

use std::path::{Path, PathBuf};

use disk::{AlignedBuffer, LoopDevice, LoopDeviceError, Medium as _};

const MIB: u64 = 1 << 20;

/// Why a loop device is not written to.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRehearsal {
    /// It is none, has no file, or is in use.
    #[error(transparent)]
    Device(LoopDeviceError),
    /// Its start or its end cannot be read.
    #[error("looking at {path}", path = path.display())]
    Unreadable {
        /// The device.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// There is something on it.
    #[error("{path} has something on it: look at it, then write again with --overwrite", path = path.display())]
    HasData {
        /// The device.
        path: PathBuf,
    },
}

impl NoRehearsal {
    /// Returns the word that docs/imaging.md explains.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Device(LoopDeviceError::InUse { .. }) => "in-use",
            Self::Device(LoopDeviceError::Other { .. } | LoopDeviceError::OnDisk { .. }) => {
                "not-typed"
            }
            Self::Device(LoopDeviceError::Empty { .. } | LoopDeviceError::Open { .. }) => {
                "not-opened"
            }
            Self::Unreadable { .. } => "unreadable",
            Self::HasData { .. } => "has-data",
        }
    }
}

/// Opens and claims one; without `overwrite` only where its first and last MiB are zeros, as with files.
pub(super) fn open(path: &Path, overwrite: bool) -> Result<LoopDevice, NoRehearsal> {
    let device = LoopDevice::open(path).map_err(NoRehearsal::Device)?;
    if overwrite {
        return Ok(device);
    }
    let bytes = device.size_bytes().min(MIB);
    let mut part = AlignedBuffer::zeroed(usize::try_from(bytes).expect("a MiB fits"));
    for offset in [0, device.size_bytes() - bytes] {
        let unreadable = |source| NoRehearsal::Unreadable { path: path.to_owned(), source };
        device.read(offset, &mut part).map_err(unreadable)?;
        if part.iter().any(|byte| *byte != 0) {
            return Err(NoRehearsal::HasData { path: path.to_owned() });
        }
    }
    Ok(device)
}
