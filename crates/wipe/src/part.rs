//! One ordered disk with all that is needed to wipe it; and what an earlier boot already began.

use std::{fmt, io};

use disk::{Medium, command::OpalDevice};
use protocol::{
    order::DiskIdentity,
    wipe::{Seed, Technique, Verdict, Wipe, WipeStepKind},
};
use sha2::{Digest as _, Sha256};

use crate::{
    Watch,
    firmware::{Device, Hiding, Reach},
    harbour::Filesystems,
    plan::MediumKind,
};

/// One ordered disk, held under its permit.
#[derive(Debug, Clone)]
pub struct Part<'p> {
    /// Its number in the order, from 0.
    pub number: u32,
    /// Which disk.
    pub identity: DiskIdentity,
    /// The kernel's name of it in this boot.
    pub name: String,
    /// How it is attached, in a word; absent where the kernel does not say.
    pub transport: Option<String>,
    /// Its bytes.
    pub medium: &'p dyn Medium,
    /// What lies behind its addresses.
    pub kind: MediumKind,
    /// Where it takes commands.
    pub device: Device<'p>,
    /// How far a command of erasure may reach: [`Reach::Everything`] only where all that the device holds is ordered,
    /// and is part of the same unit.
    pub may: Reach,
    /// Why no further, for a person, where that is known.
    pub withheld: Option<String>,
    /// Where it takes TCG Opal, where it does.
    pub opal: Option<&'p dyn OpalDevice>,
    /// Who mounts filesystems on it, for `harbour`; absent where nobody can.
    pub filesystems: Option<&'p dyn Filesystems>,
    /// What the kernel does with the disk as a whole.
    pub handling: &'p dyn Handling,
    /// Who watches over it.
    pub watch: &'p dyn Watch,
}

/// What is done with a disk as a whole, by the kernel.
pub trait Handling: fmt::Debug + Sync {
    /// Holds when the kernel can have the disk discard ranges.
    fn discards(&self) -> bool;

    /// Has the disk discard a range, in bytes.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Holds for a disk whose zones can only be written from their start on (host-managed): no place can be overwritten
    /// by itself.
    fn is_zoned(&self) -> bool {
        false
    }

    /// Has the kernel address a disk that grew to so many bytes, because what hid its end was lifted; how far it does then
    /// the disk's medium says.
    fn grow(&self, _bytes: u64, _hidden_by: &[Hiding]) -> io::Result<()> {
        Ok(())
    }

    /// Has the kernel forget what it knows of the disk, after the disk changed by itself; and look again.
    fn refresh(&self) -> io::Result<()>;
}

/// What an earlier boot journaled of one disk of the order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Journal {
    /// Whether canaries may have been written.
    pub(crate) canaries: bool,
    /// The technique that was begun last.
    pub(crate) begun: Option<Technique>,
    /// How far its passes are: which one, and all before which byte is written and flushed.
    pub(crate) watermark: Option<(u32, u64)>,
    /// The ATA passwords that may have been set, newest first.
    pub(crate) passwords: Vec<[u8; 32]>,
}

impl Journal {
    pub(crate) fn of(wipe: &Wipe, number: u32) -> Self {
        let mut journal = Self::default();
        for step in wipe.journal.iter().filter(|step| step.disk == number) {
            match &step.kind {
                // They are everywhere: what was written before them has to be written again.
                WipeStepKind::Canaries {} => (journal.canaries, journal.watermark) = (true, None),
                WipeStepKind::AtaPassword { password } => {
                    // What is no password of ours opens nothing.
                    journal.passwords.extend(password.parse::<Seed>().map(|bytes| bytes.0));
                }
                WipeStepKind::Begin { technique } => {
                    // Passes of both patterns are one way with one count.
                    let is_pass =
                        |technique| matches!(technique, Technique::Zeros | Technique::KeyedStream);
                    if !(is_pass(*technique) && journal.begun.is_some_and(is_pass)) {
                        journal.watermark = None;
                    }
                    journal.begun = Some(*technique);
                }
                WipeStepKind::Watermark { pass, bytes } => {
                    journal.watermark = journal.watermark.max(Some((*pass, bytes.0)));
                }
                // The report of that boot is lost, and a certificate rests on what was seen: it begins anew.
                WipeStepKind::Over { verdict } if *verdict != Verdict::UnknownStillRunning => {
                    (journal.begun, journal.watermark, journal.canaries) = (None, None, false);
                }
                // After the other verdict it may be erasing still.
                WipeStepKind::Over { .. } | WipeStepKind::Verify {} | WipeStepKind::Other => {}
            }
        }
        journal.passwords.reverse();
        journal
    }

    /// Returns from where passes go on: the pass and the offset.
    pub(crate) fn passes(&self) -> (u32, u64) {
        match self.begun {
            Some(Technique::Zeros | Technique::KeyedStream) => self.watermark.unwrap_or_default(),
            _ => (0, 0),
        }
    }
}

/// Returns the ATA password of a disk of an order: it follows from the seed, so that it is never unknown.
pub(crate) fn password(seed: &Seed, number: u32) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.0);
    hash.update(b"drydock ata password");
    hash.update(number.to_le_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use protocol::{Bytes, wipe::WipeStep};

    use super::*;

    fn journal(steps: &[(u32, WipeStepKind)]) -> Journal {
        let order = r#"{"id":"00000000000000000000000000000001","by":"a","machine":{},"disks":[],
            "deadlineUnixMilliseconds":1,"inventory":""#;
        let digits = "1".repeat(64);
        let mut wipe: Wipe = serde_json::from_str(&format!(
            r#"{{"order":{order}{digits}"}},"level":"full","seed":"{digits}","finish":"stay"}}"#
        ))
        .unwrap();
        let step =
            |(disk, kind): &(u32, WipeStepKind)| WipeStep { disk: *disk, kind: kind.clone() };
        wipe.journal = steps.iter().map(step).collect();
        Journal::of(&wipe, 1)
    }

    fn mark(pass: u32, bytes: u64) -> (u32, WipeStepKind) {
        (1, WipeStepKind::Watermark { pass, bytes: Bytes(bytes) })
    }

    fn begin(technique: Technique) -> (u32, WipeStepKind) {
        (1, WipeStepKind::Begin { technique })
    }

    #[test]
    fn passes_go_on_where_the_last_boot_was_and_only_if_passes_were_what_it_did() {
        assert_eq!(journal(&[]).passes(), (0, 0));
        let steps = [begin(Technique::KeyedStream), mark(0, 512), mark(0, 1024)];
        assert_eq!(journal(&steps).passes(), (0, 1024));
        let steps = [&steps[..], &[begin(Technique::Zeros), mark(1, 512)]].concat();
        assert_eq!(journal(&steps).passes(), (1, 512));
        let marked = [&steps[..], &[(1, WipeStepKind::Canaries {}), begin(Technique::KeyedStream)]];
        assert_eq!(journal(&marked.concat()).passes(), (0, 0));
        assert_eq!(journal(&[&marked.concat()[..], &[mark(0, 512)]].concat()).passes(), (0, 512));
        let steps = [&steps[..], &[begin(Technique::AtaSecurityErase)]].concat();
        assert_eq!(journal(&steps).passes(), (0, 0));
        let steps = [&steps[..], &[begin(Technique::Zeros)]].concat();
        assert_eq!(journal(&steps).passes(), (0, 0));
    }

    #[test]
    fn what_may_be_erasing_still_stays_begun_and_what_was_seen_to_be_over_begins_anew() {
        let sanitize = Technique::NvmeSanitizeBlock;
        let over = |verdict| [begin(sanitize), (1, WipeStepKind::Over { verdict })];
        assert_eq!(journal(&over(Verdict::UnknownStillRunning)).begun, Some(sanitize));
        assert_eq!(journal(&over(Verdict::NotErased)).begun, None);
    }

    #[test]
    fn another_disks_steps_are_not_its_own() {
        let other =
            [(0, WipeStepKind::Canaries {}), (2, WipeStepKind::Over { verdict: Verdict::Erased })];
        assert_eq!(journal(&other), Journal::default());
    }

    #[test]
    fn the_newest_password_is_tried_first() {
        let password = |digit: &str| (1, WipeStepKind::AtaPassword { password: digit.repeat(64) });
        let found = journal(&[password("1"), password("2"), password("x")]).passwords;
        assert_eq!(found, [[0x22; 32], [0x11; 32]]);
    }
}
