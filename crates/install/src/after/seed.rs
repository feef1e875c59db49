//! A seed: a small FAT filesystem at the end of the disk, where cloud-init looks for it by its label.

use std::io::{Cursor, Read as _, Write as _};

use disk::{AlignedBuffer, Medium};
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use protocol::install::Step;

use super::{
    Random, StepFailure, guids,
    table::{ALIGNMENT_BYTES, Table, name_field},
};
use crate::failure::{flush, read, write};

/// The labels of `NoCloud` and `ConfigDrive`. cloud-init finds a seed by the filesystem's label, we find it again by
/// the partition's name, which is the same.
const LABELS: [&str; 2] = ["CIDATA", "config-2"];
/// Microsoft basic data (`ebd0a0a2-b9e5-4433-87c0-68b6b72699c7`), as stored.
const KIND: [u8; 16] = [
    0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7,
];
/// FAT12 has at most 4,084 clusters; with these it reaches beyond the longest seed, whatever the sector size.
const CLUSTER_BYTES: u32 = 4096;
/// More text than this is no seed. It is held in memory twice.
const TEXT_LIMIT: usize = 4 << 20;
/// For the two tables, the directory, the ends of files.
const OVERHEAD_BYTES: u64 = 256 << 10;

/// What a seed consists of.
pub(super) struct Seed<'a> {
    label: &'static str,
    /// Paths and contents.
    files: Vec<(&'static str, &'a str)>,
}

impl<'a> Seed<'a> {
    /// Takes it from a step; nothing from one that writes no seed.
    pub(super) fn of(step: &'a Step) -> Option<Self> {
        let [no_cloud, config_drive] = LABELS;
        let (label, files) = match step {
            Step::Seed { meta_data, user_data, network_config, vendor_data } => (
                no_cloud,
                [
                    ("meta-data", Some(meta_data)),
                    ("user-data", Some(user_data)),
                    ("network-config", network_config.as_ref()),
                    ("vendor-data", vendor_data.as_ref()),
                ],
            ),
            Step::ConfigDrive { meta_data, user_data, network_data, vendor_data } => (
                config_drive,
                [
                    ("openstack/latest/meta_data.json", Some(meta_data)),
                    ("openstack/latest/user_data", user_data.as_ref()),
                    ("openstack/latest/network_data.json", network_data.as_ref()),
                    ("openstack/latest/vendor_data.json", vendor_data.as_ref()),
                ],
            ),
            Step::MoveBackupGpt {}
            | Step::WriteFiles { .. }
            | Step::RenewGuids {}
            | Step::GrowLastPartition {}
            | Step::BootEntry { .. } => return None,
        };
        let files = files.into_iter().filter_map(|(path, text)| Some((path, text?.0.as_str())));
        Some(Self { label, files: files.collect() })
    }

    fn length(&self) -> usize {
        self.files.iter().map(|(_, text)| text.len()).sum()
    }
}

/// Holds for a partition that [`append`] made.
pub(super) fn is_ours(table: &Table, slot: usize) -> bool {
    LABELS.iter().any(|label| table.is(slot, &KIND, label))
}

/// Returns the room that the seeds among some steps take at the end of the disk, alignment included.
pub(super) fn room(steps: &[Step]) -> u64 {
    let seeds = steps.iter().filter_map(Seed::of);
    seeds.map(|seed| partition_bytes(seed.length()) + ALIGNMENT_BYTES).sum()
}

fn partition_bytes(text: usize) -> u64 {
    let text = u64::try_from(text).expect("a length fits 64 bits");
    (text + OVERHEAD_BYTES).next_multiple_of(ALIGNMENT_BYTES)
}

/// Writes a seed into free space at the end of the disk, then enters it in the table. A seed of ours that is there
/// already is replaced.
pub(super) fn append(
    medium: &dyn Medium,
    seed: &Seed<'_>,
    random: &mut Random<'_>,
) -> Result<(), StepFailure> {
    if seed.length() > TEXT_LIMIT {
        return Err(StepFailure::SeedTooLong { bytes: seed.length(), limit: TEXT_LIMIT });
    }
    let mut table = Table::read(medium)?;
    let earlier: Vec<usize> =
        table.partitions().map(|p| p.slot).filter(|slot| is_ours(&table, *slot)).collect();
    for slot in earlier {
        table.entry_mut(slot).fill(0);
    }
    let sectors = partition_bytes(seed.length()) / table.sector_bytes();
    let first = place(&table, sectors).ok_or(StepFailure::NoRoom)?;
    let slot = table.free_slot().ok_or(StepFailure::TableFull)?;

    let volume = filesystem(medium.sector_bytes(), partition_bytes(seed.length()), seed)?;
    let offset = first * table.sector_bytes();
    write(medium, offset, &volume)?;
    flush(medium)?;
    let back = read(medium, offset, volume.len())?;
    if back[..] != volume[..] {
        return Err(StepFailure::ReadBack { offset });
    }
    check(&back, seed)?;

    let last = first + sectors - 1;
    let entry = table.entry_mut(slot);
    entry.fill(0);
    entry[..16].copy_from_slice(&KIND);
    entry[16..32].copy_from_slice(&guids::guid(random));
    entry[32..40].copy_from_slice(&first.to_le_bytes());
    entry[40..48].copy_from_slice(&last.to_le_bytes());
    entry[56..128].copy_from_slice(&name_field(seed.label));
    table.write(medium)
}

/// Returns where a partition begins that ends as late as it can: behind all others.
fn place(table: &Table, sectors: u64) -> Option<u64> {
    let first = (table.last_usable() + 1).checked_sub(sectors)?;
    let first = first - first % table.alignment();
    let free = table.partitions().map(|partition| partition.last + 1).max();
    (first >= free.unwrap_or(0).max(table.first_usable())).then_some(first)
}

fn made(error: impl std::fmt::Display) -> StepFailure {
    StepFailure::SeedFilesystem { reason: error.to_string() }
}

/// Returns a FAT12 filesystem with the files in it.
fn filesystem(
    sector_bytes: u32,
    length: u64,
    seed: &Seed<'_>,
) -> Result<AlignedBuffer, StepFailure> {
    let mut volume = AlignedBuffer::zeroed(usize::try_from(length).map_err(made)?);
    let mut label = [b' '; 11];
    label[..seed.label.len()].copy_from_slice(seed.label.as_bytes());
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat12)
        .bytes_per_sector(u16::try_from(sector_bytes).map_err(made)?)
        .bytes_per_cluster(CLUSTER_BYTES)
        .media(0xf8)
        .volume_label(label);
    fatfs::format_volume(Cursor::new(&mut volume[..]), options).map_err(made)?;
    {
        let disk = Cursor::new(&mut volume[..]);
        let filesystem = FileSystem::new(disk, FsOptions::new()).map_err(made)?;
        let root = filesystem.root_dir();
        for (path, text) in &seed.files {
            for (end, _) in path.match_indices('/') {
                // One that is there already is opened.
                root.create_dir(&path[..end]).map_err(made)?;
            }
            let mut file = root.create_file(path).map_err(made)?;
            file.write_all(text.as_bytes()).map_err(made)?;
            file.flush().map_err(made)?;
        }
    }
    Ok(volume)
}

/// Reads the files out of a filesystem and compares them.
fn check(volume: &[u8], seed: &Seed<'_>) -> Result<(), StepFailure> {
    // The library wants a disk that it could write to.
    let disk = Cursor::new(volume.to_vec());
    let filesystem = FileSystem::new(disk, FsOptions::new()).map_err(made)?;
    for (path, text) in &seed.files {
        let mut found = String::new();
        let mut file = filesystem.root_dir().open_file(path).map_err(made)?;
        file.read_to_string(&mut found).map_err(made)?;
        if found != *text {
            return Err(made(format_args!("{path} reads back otherwise")));
        }
    }
    Ok(())
}
