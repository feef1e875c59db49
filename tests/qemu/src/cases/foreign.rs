//! An image that a machine fetches from somebody else's server by itself.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::BOOT_PATIENCE;
use crate::{
    image::Image,
    lab::Lab,
    machine::{Bus, Disk, Kernel, Machine},
    process::run,
    server::{Mode, Server},
    shelf::Shelf,
};

const MIB: usize = 1 << 20;
/// Half of it chance, half of it zeros.
const IMAGE_MIB: usize = 64;
/// What makes firmware start a disk, behind the code.
const BOOT_MARK: [u8; 2] = [0x55, 0xaa];
/// 32 MiB that nobody can press, under TCG.
const PATIENCE: Duration = Duration::from_mins(5);

/// The machine fetches, unpacks and writes; the disk is compared from outside.
pub(super) fn from_a_web_server(lab: &Lab) -> Result<()> {
    let image = image(lab)?;
    let path = image.to_str().context("the scratch directory is no UTF-8")?;
    run("zstd", &["--quiet", path])?;
    let packed = image.with_added_extension("zst");
    let words = run("sha256sum", &[packed.to_str().context("the same directory")?])?;
    let digest = words.split_whitespace().next().context("no digest")?.to_owned();

    let mut server = Server::trusting_its_clock(lab, Mode::Authoritative)?;
    let shelf = Shelf::with(server.station(), &packed)?;
    let machine = Machine::bios("tug").disk(Disk::of_ones(Bus::Virtio));
    // The kernel unpacks archives in a row: docs/imaging.md.
    let own = Image::make(lab)?;
    own.carry_authority(&shelf.authority)?;
    let kernel = Kernel { initrd: own.initrd(), ..Kernel::of(&server, &machine)? };
    let mut machine = machine.kernel(kernel).boot(lab)?;
    let known = server.waits_for(&machine)?;
    server.hears_boot(&known.name, 1)?;
    server.approves(&known.name)?;
    let serial = machine.machine.disks[0].serial.clone();
    let map = image.with_added_extension("bmap");
    fs::write(&map, map_of(&fs::read(&image).context("reading the image")?)?)?;
    let map = map.to_str().context("the same directory")?;
    let (whole_digest, parts) = (["--sha256", &digest], ["--bmap", map]);
    let whole = fs::read(&packed).context("reading the packed image")?;
    let mut cut = whole.clone();
    cut[whole.len() - 64..].fill(0x5a);
    // In the middle the server has another file under that name, which takes from the disk what the first had put there.
    for (url, file, known_by, guarantee) in [
        (&shelf.urls[0], &whole, whole_digest, "digest"),
        (&shelf.urls[0], &cut, whole_digest, ""),
        (&shelf.urls[1], &whole, parts, "ranges"),
    ] {
        fs::write(&packed, file).context("laying out the packed image")?;
        let taken = shelf.given();
        let options = [&known_by[..], &["--overwrite", "--finish", "stay"]].concat();
        let order = server.installs(&known.name, url, &serial, &options)?;
        if file == &cut {
            let failure = server.has_failed(&order, PATIENCE)?;
            ensure!(failure.touched, "it was written to before: {}", failure.reason);
            // Frozen: what is read is what it left.
            machine.freeze()?;
            starts_nothing(&machine.machine.disk_file(lab, 0))?;
        } else {
            let report = server.is_done(&order, PATIENCE, |_| Ok(()))?;
            machine.freeze()?;
            ensure!(report["guarantee"] == guarantee, "who vouches for it? {report}");
            is_the_start(&image, &machine.machine.disk_file(lab, 0))?;
        }
        ensure!(shelf.given() > taken, "nobody fetched {url}");
        machine.thaw()?;
    }
    ensure!(machine.restarts() == 0, "it restarted");
    machine.thaw()?;
    server.orders(&known.name, "power-off")?;
    machine.switches_off(BOOT_PATIENCE)
}

/// Makes an image that no other run has had.
fn image(lab: &Lab) -> Result<PathBuf> {
    let path = lab.scratch("image.raw");
    let mut bytes = vec![0; IMAGE_MIB * MIB];
    let mut chance = File::open("/dev/urandom").context("opening /dev/urandom")?;
    for part in bytes.chunks_mut(2 * MIB) {
        chance.read_exact(&mut part[..MIB]).context("reading /dev/urandom")?;
    }
    // A boot sector without partitions.
    bytes[440..510].fill(0);
    bytes[510..512].copy_from_slice(&BOOT_MARK);
    fs::write(&path, bytes).context("writing the image")?;
    Ok(path)
}

/// Returns the image's map: bmap, version 2, whose own checksum is made with zeros in its place.
fn map_of(image: &[u8]) -> Result<String> {
    const BLOCK: usize = 4096;
    let blocks = MIB / BLOCK;
    let mut parts = String::new();
    let mut mapped = 0;
    for (number, part) in image.chunks(MIB).enumerate() {
        if part.iter().all(|byte| *byte == 0) {
            continue;
        }
        let (first, last) = (number * blocks, (number + 1) * blocks - 1);
        let digest = digits(&Sha256::digest(part))?;
        writeln!(parts, "<Range chksum=\"{digest}\">{first}-{last}</Range>")?;
        mapped += blocks;
    }
    let (size, count, unknown) = (image.len(), image.len() / BLOCK, "0".repeat(64));
    let map = format!(
        "<bmap version=\"2.0\"><ImageSize>{size}</ImageSize><BlockSize>{BLOCK}</BlockSize>\
         <BlocksCount>{count}</BlocksCount><MappedBlocksCount>{mapped}</MappedBlocksCount>\
         <ChecksumType>sha256</ChecksumType><BmapFileChecksum>{unknown}</BmapFileChecksum>\
         <BlockMap>\n{parts}</BlockMap></bmap>\n"
    );
    let checksum = digits(&Sha256::digest(map.as_bytes()))?;
    Ok(map.replacen(&unknown, &checksum, 1))
}

fn digits(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

/// Fails if a disk's first sector holds anything.
fn starts_nothing(disk: &Path) -> Result<()> {
    let mut start = [0; 512];
    let mut disk = File::open(disk).context("opening the disk")?;
    disk.read_exact(&mut start).context("reading the disk")?;
    ensure!(start.iter().all(|byte| *byte == 0), "its first sector holds something");
    Ok(())
}

/// Fails unless a disk begins with every byte of an image.
fn is_the_start(image: &Path, disk: &Path) -> Result<()> {
    let mut disk = File::open(disk).context("opening the disk")?;
    let (image, mut found) = (fs::read(image).context("reading the image")?, vec![0; MIB]);
    for (number, expected) in image.chunks(MIB).enumerate() {
        disk.read_exact(&mut found).context("reading the disk")?;
        ensure!(found == expected, "MiB {number} of the disk is not the image's");
    }
    Ok(())
}
