//! Joins systemd's boot stub, a kernel, an initramfs and a command line into a unified kernel image:
//! one program for UEFI firmware, which one signature covers.
//!
//! `unify STUB KERNEL RELEASE OS-RELEASE COMMAND-LINE ROOM INITRD... >image.efi`
//! `unify --wrap UNPACKER KERNEL PACKED >kernel.efi` (`wrap.rs`)
//!
//! `ROOM` is how many bytes the command line has at least, filled up with spaces, so that a server can write another one
//! into it. Written here and not by `ukify`, which needs Python.
//! What stands in the sections: the Unified Kernel Image specification of the UAPI group.
#![forbid(unsafe_code)]

mod executable;
mod stub;
mod wrap;

use std::{
    env, fs,
    io::{self, Write as _},
};

use anyhow::{Context as _, bail};

use crate::executable::{Section, join, size_in_memory};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let read = |path: &String| fs::read(path).with_context(|| format!("reading {path}"));
    if let [mode, unpacker, kernel, packed] = &arguments[..]
        && mode == "--wrap"
    {
        let image = wrap::wrap(&read(unpacker)?, &read(kernel)?, &read(packed)?)?;
        return io::stdout().lock().write_all(&image).context("writing the kernel");
    }
    let [stub, kernel, release, os_release, command_line, room, initrds @ ..] = &arguments[..]
    else {
        bail!("usage: unify STUB KERNEL RELEASE OS-RELEASE COMMAND-LINE ROOM INITRD... >image.efi");
    };
    let room: usize = room.parse().with_context(|| format!("reading ROOM: {room}"))?;
    let stub_bytes = read(stub)?;
    stub::check(&stub_bytes).with_context(|| format!("looking at {stub}"))?;
    let kernel = read(kernel)?;
    let memory = size_in_memory(&kernel).context("reading the kernel's headers")?;
    let initrds: Vec<Vec<u8>> = initrds.iter().map(read).collect::<Result<_, _>>()?;
    let image = join(
        &stub_bytes,
        &[
            Section::new(".osrel", read(os_release)?),
            Section::new(".uname", release.clone().into_bytes()),
            Section::new(".cmdline", padded(command_line, room)),
            Section::new(".initrd", in_a_row(&initrds)),
            // The last one: what a kernel takes beyond its file may then follow it.
            Section { memory, ..Section::new(".linux", kernel) },
        ],
    )
    .context("joining the sections to the stub")?;
    io::stdout().lock().write_all(&image).context("writing the image")
}

fn padded(command_line: &str, room: usize) -> Vec<u8> {
    let mut bytes = command_line.as_bytes().to_vec();
    bytes.resize(bytes.len().max(room), b' ');
    bytes
}

/// Joins archives as the kernel unpacks them in a row: each begins at a multiple of four bytes, zeros between.
fn in_a_row(archives: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    for archive in archives {
        all.resize(all.len().next_multiple_of(4), 0);
        all.extend(archive);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_has_room_for_another_one() {
        assert_eq!(padded("quiet", 8), b"quiet   ");
        assert_eq!(padded("quiet", 0), b"quiet");
    }

    #[test]
    fn each_archive_begins_at_a_multiple_of_four() {
        let archives = [b"12345".to_vec(), b"6".to_vec(), b"7890".to_vec()];
        assert_eq!(in_a_row(&archives), b"12345\0\0\x006\0\0\x007890");
    }
}
