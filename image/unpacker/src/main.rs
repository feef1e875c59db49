//! Starts the kernel that is packed in its section `.payload`: `unify wrap` puts it there.
//!
//! Debian's kernel for 64-bit Arm is not packed, and 38 MB: firmware and boot programs would load all of it. The kernel's
//! own packed form (`EFI_ZBOOT`) is made when it is compiled, which Debian did without it. This is the same thing around
//! Debian's kernel: whoever checks a signature checks that of the whole, so what is unpacked is started without firmware
//! being asked again, with the handle, and so with the command line, that this program was started with.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
mod firmware;

#[cfg(not(target_os = "uefi"))]
fn main() {}
