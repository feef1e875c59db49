//! What can be said of a wipe on the command line, beside which disks.

use std::fs;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use protocol::{
    install::Secret,
    wipe::{Despite, Extra, PowerLevel, Psid, Sid, WipeOptions, of_disk},
};

/// What differs from the level's own way.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Way {
    /// How many passes redline writes where a disk has no erasure of its own; 3 unless said.
    #[arg(long, value_name = "NUMBER")]
    passes: Option<u8>,
    /// Lets disks zero themselves: much faster, and the outcome is logical only.
    #[arg(long)]
    offload: bool,
    /// Reads back every byte instead of a sample.
    #[arg(long)]
    verify_whole: bool,
    /// Lifts HPA, DCO and AMA first, so that hidden sectors are wiped too.
    #[arg(long)]
    lift_hidden: bool,
    /// Puts this machine to sleep for some seconds to lift frozen ATA security, before anything is destroyed.
    #[arg(long)]
    unfreeze: bool,
    /// A file with the PSID from the label of a self-encrypting disk that is locked. Can be repeated.
    #[arg(long, value_name = "DISK=FILE", value_parser = psid)]
    psid: Vec<Psid>,
    /// A file with the password of a self-encrypting disk's owner (SID), as the disk is given it. Can be repeated.
    #[arg(long, value_name = "DISK=FILE", value_parser = sid)]
    sid: Vec<Sid>,
    /// Wipes a disk in spite of an obstacle: bootMedium, sharedStorage, reservations, network, multipath, removable.
    /// Can be repeated.
    #[arg(long, value_name = "DISK=OBSTACLE")]
    despite: Vec<Despite>,
}

/// What is done beside the disks, once they are erased.
#[derive(Debug, clap::Args)]
pub(super) struct Beside {
    /// Removes UEFI boot entries whose partition is gone.
    #[arg(long)]
    boot_entries: bool,
    /// Empties pstore, where crashed kernels left what was in memory.
    #[arg(long)]
    pstore: bool,
    /// Clears the TPM.
    #[arg(long)]
    tpm: bool,
}

impl Way {
    pub(super) fn options(&self) -> WipeOptions {
        WipeOptions {
            passes: self.passes,
            offload: self.offload,
            verify_whole: self.verify_whole,
            lift_hidden: self.lift_hidden,
            unfreeze: self.unfreeze,
            psids: self.psid.clone(),
            sids: self.sid.clone(),
            despite: self.despite.clone(),
        }
    }

    /// Returns the disks of which something is said.
    pub(super) fn disks(&self) -> impl Iterator<Item = &str> {
        let psids = self.psid.iter().map(|psid| psid.disk.as_str());
        let sids = self.sid.iter().map(|sid| sid.disk.as_str());
        psids.chain(sids).chain(self.despite.iter().map(|despite| despite.disk.as_str()))
    }
}

impl Beside {
    /// Returns them in the order in which they are done.
    pub(super) fn extras(&self) -> Vec<Extra> {
        let said = [
            (self.boot_entries, Extra::StaleBootEntries),
            (self.pstore, Extra::Pstore),
            (self.tpm, Extra::Tpm),
        ];
        said.into_iter().filter(|(is_said, _)| *is_said).map(|(_, extra)| extra).collect()
    }
}

/// Reads a level, and lists them all where it is none.
pub(super) fn levels() -> impl TypedValueParser<Value = PowerLevel> {
    let word = |level: PowerLevel| PossibleValue::new(level.word()).help(level.purpose());
    PossibleValuesParser::new(PowerLevel::ALL.map(word)).try_map(|word| word.parse())
}

/// Reads `DISK=FILE`. Returns the disk, and what is in the file but for its line feed.
fn secret(text: &str) -> Result<(String, String), String> {
    let (disk, file) = of_disk(text, "FILE").map_err(|error| error.to_string())?;
    let secret = fs::read_to_string(file).map_err(|error| format!("reading {file}: {error}"))?;
    match secret.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{file} is empty")),
        secret => Ok((disk.to_owned(), secret.to_owned())),
    }
}

fn psid(text: &str) -> Result<Psid, String> {
    secret(text).map(|(disk, psid)| Psid { disk, psid: Secret(psid.trim().to_owned()) })
}

fn sid(text: &str) -> Result<Sid, String> {
    secret(text).map(|(disk, sid)| Sid { disk, sid: Secret(sid) })
}
