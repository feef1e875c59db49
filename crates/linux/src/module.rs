//! Kernel modules.

use std::{ffi::CStr, io, os::fd::AsFd};

use nix::kmod::{ModuleInitFlags, finit_module};

/// How a module's file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// An object file as it was linked.
    Plain,
    /// Compressed in the way that the kernel was built for.
    Compressed,
}

/// Linux, `include/uapi/linux/module.h`; nix does not name it.
const MODULE_INIT_COMPRESSED_FILE: u32 = 4;

/// Links a module into the kernel and returns when its start function has (`finit_module`).
/// `parameters` are written as `modprobe` takes them: `name=value`, separated by spaces.
///
/// `EEXIST` means that it is there already, `ENODEV` that it found nothing to drive.
pub fn load(file: impl AsFd, storage: Storage, parameters: &CStr) -> io::Result<()> {
    let flags = match storage {
        Storage::Plain => ModuleInitFlags::empty(),
        Storage::Compressed => ModuleInitFlags::from_bits_retain(MODULE_INIT_COMPRESSED_FILE),
    };
    Ok(finit_module(file, parameters, flags)?)
}
