//! Files for the installed system, written into a filesystem of the image.
//!
//! The disk stays claimed: what is mounted is a loop device over the partition's range.

use std::{path::Path, sync::Arc};

use agent::{devices, installed};
use disk::Held;
use linux::block::Access;
use protocol::install::{InstalledFile, Step, StepOutcome};
use startup::disk::Disk;

use crate::start::{self, guarded};

/// Where an installed filesystem is mounted for a moment.
const TARGET: &str = "/run/drydock/installed";

/// Does the steps that write files, and fills in their outcomes.
pub(super) fn finish(held: &Arc<Held>, steps: &[Step], outcomes: &mut [StepOutcome]) {
    for (step, outcome) in steps.iter().zip(outcomes) {
        if let Step::WriteFiles { partition, files } = step {
            outcome.failure = guarded(|| write(held, *partition, files)).err();
        }
    }
}

fn write(held: &Arc<Held>, number: Option<u32>, files: &[InstalledFile]) -> Result<(), String> {
    let disk = Disk::open(start::storage(held));
    let (partition, driver) = installed::choose(disk.partitions(), number)?;
    for module in ["loop", driver] {
        devices::load(module).map_err(|error| format!("the kernel's driver {module}: {error}"))?;
    }
    let window = |access| {
        let window = held.window(partition.start, partition.size, access);
        window
            .map_err(|error| format!("making a device of partition {}: {error}", partition.number))
    };
    let target = Path::new(TARGET);
    installed::put(&window(Access::Writable)?, driver, target, files)?;
    held.drop_cache().map_err(|error| format!("dropping old pages of the disk: {error}"))?;
    installed::compare(&window(Access::ReadOnly)?, driver, target, files)
}
