//! What is done to a disk once its image is on it: its partition table, a seed for the installed system.
//!
//! Every step reads the table, changes it in memory, and writes it back with the backup at the disk's real end.
//! A power cut in the middle leaves at least one sound table; which steps were done is then seen by doing them again.

mod crc;
mod grow;
mod guids;
mod seed;
mod table;

use disk::{Fault, Medium};
use protocol::install::{Step, StepOutcome};

use self::table::Table;

/// Why a step after the image was not done. The image itself stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum StepFailure {
    /// Neither end of the disk has a GUID partition table with right checksums.
    #[error("the disk has no sound GUID partition table")]
    NoTable,
    /// The table has no partition.
    #[error("the disk has no partition")]
    NoPartition,
    /// What is there leaves no room.
    #[error("there is no room between the partitions and the end of the disk")]
    NoRoom,
    /// The table has as many partitions as it can hold.
    #[error("the partition table is full")]
    TableFull,
    /// The seed is larger than a seed may be.
    #[error("the seed has {bytes} bytes, more than {limit}")]
    SeedTooLong {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The seed's filesystem could not be made, or does not read back as it was made.
    #[error("making the seed's filesystem: {reason}")]
    SeedFilesystem {
        /// What happened.
        reason: String,
    },
    /// The disk failed.
    #[error(transparent)]
    Medium(#[from] Fault),
    /// What was written reads back otherwise.
    #[error("the disk gives back something else than was written at byte {offset}")]
    ReadBack {
        /// Where.
        offset: u64,
    },
    /// The step is not about the disk's content: the agent does it.
    #[error("this step is not done on the disk")]
    Elsewhere,
}

/// Where 16 random bytes come from.
pub type Random<'a> = dyn FnMut() -> [u8; 16] + 'a;

/// Does the steps in their order, each whether or not those before it succeeded, and says what became of each.
/// A boot entry is the firmware's, files are its filesystem's: their outcomes are a failure that says so.
pub fn finish(medium: &dyn Medium, steps: &[Step], random: &mut Random<'_>) -> Vec<StepOutcome> {
    let one = |(index, step): (usize, &Step)| {
        let later = &steps[index + 1..];
        let result = apply(medium, step, later, random);
        let failure = result.err().map(|error| chain(&error));
        StepOutcome { step: name(step).to_owned(), failure }
    };
    steps.iter().enumerate().map(one).collect()
}

/// Does one step; `later` are those that follow it, for which room is left.
pub fn apply(
    medium: &dyn Medium,
    step: &Step,
    later: &[Step],
    random: &mut Random<'_>,
) -> Result<(), StepFailure> {
    match step {
        Step::MoveBackupGpt {} => Table::read(medium)?.write(medium),
        Step::RenewGuids {} => guids::renew(medium, random),
        Step::GrowLastPartition {} => grow::grow_last(medium, seed::room(later)),
        Step::Seed { .. } | Step::ConfigDrive { .. } => {
            let seed = seed::Seed::of(step).expect("these two are seeds");
            seed::append(medium, &seed, random)
        }
        Step::WriteFiles { .. } | Step::BootEntry { .. } => Err(StepFailure::Elsewhere),
    }
}

/// Returns a step's kind as it is spelled on the wire.
pub fn name(step: &Step) -> &'static str {
    match step {
        Step::MoveBackupGpt {} => "moveBackupGpt",
        Step::RenewGuids {} => "renewGuids",
        Step::GrowLastPartition {} => "growLastPartition",
        Step::Seed { .. } => "seed",
        Step::ConfigDrive { .. } => "configDrive",
        Step::WriteFiles { .. } => "writeFiles",
        Step::BootEntry { .. } => "bootEntry",
    }
}

/// Returns an error with all that caused it, for a person.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
