//! What a level does to a disk, and in which order: pure, from what the device said of itself.

use protocol::wipe::{Outcome, PowerLevel, Technique, VerificationPlan, WipeOptions};

/// How many passes `redline` writes where a device has no erasure of its own.
pub const PASSES: u8 = 3;

/// More passes than that wear a disk out and prove nothing.
pub const MOST_PASSES: u8 = 35;

/// Random places that find one unerased place in a thousand in 99 of 100 cases: ln(0.01) / ln(1 - 0.001).
pub const SAMPLES: u64 = 4_605;

/// Random places that find one in ten thousand.
pub const MANY_SAMPLES: u64 = 46_050;

/// What is known of a medium when it is decided what to do to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What lies behind the addresses.
    pub medium: MediumKind,
    /// The device's own ways to erase its whole medium, in the order in which they are to be tried.
    pub offered: Vec<Technique>,
    /// Whether it can be written to at any place: not while it is locked, not where it is zoned.
    pub is_writable: bool,
    /// Whether the kernel can have it discard ranges.
    pub discards: bool,
}

/// What lies behind a disk's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediumKind {
    /// Magnetic platters: what is overwritten is gone, but for sectors that were put out of use.
    Magnetic,
    /// Flash: what is overwritten is somewhere else afterwards.
    Flash,
    /// A volume of a RAID controller, a virtual disk, something over a network: nobody knows.
    Virtual,
}

/// What is done to one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Ways, best first. The next one is tried only after the one before failed cleanly, or was seen to have erased
    /// nothing.
    pub ways: Vec<Way>,
    /// How much of the disk is read back afterwards.
    pub read_back: VerificationPlan,
}

/// One way to do what a level asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Removes ephemeral files.
    Ephemeral,
    /// Clears tables and signatures, then has the device discard all, where it can.
    Signatures {
        /// Whether it can.
        discard: bool,
    },
    /// One command of the device, for all of its medium.
    Device(Technique),
    /// The device zeroes by itself.
    Offload,
    /// Writes the whole disk so many times: a keyed stream each time but the last, which is zeros.
    Passes(u8),
}

impl Way {
    /// Returns how far data is gone once it went through and was read back as it should be.
    pub fn reaches(&self, medium: MediumKind) -> Outcome {
        let outcome = match self {
            Self::Ephemeral => Outcome::None,
            Self::Signatures { .. } => Outcome::Signatures,
            Self::Device(technique) => reaches(*technique),
            Self::Offload => Outcome::Logical,
            Self::Passes(_) => Outcome::Clear,
        };
        match medium {
            MediumKind::Virtual => outcome.min(Outcome::Logical),
            MediumKind::Magnetic | MediumKind::Flash => outcome,
        }
    }
}

/// Returns how far a technique removes data from a physical medium (NIST SP 800-88r1, appendix A; IEEE 2883-2022, clause 7,
/// as commonly cited): an overwritten flash cell may live on elsewhere, so that no overwriting is a purge.
pub fn reaches(technique: Technique) -> Outcome {
    match technique {
        Technique::EphemeralFiles | Technique::Other => Outcome::None,
        Technique::Signatures | Technique::Discard => Outcome::Signatures,
        Technique::WriteZeroes => Outcome::Logical,
        Technique::Zeros
        | Technique::KeyedStream
        | Technique::NvmeFormatErase
        | Technique::AtaSecurityErase
        | Technique::ScsiFormatUnit
        | Technique::MmcSecureErase => Outcome::Clear,
        Technique::NvmeSanitizeBlock
        | Technique::NvmeSanitizeCrypto
        | Technique::NvmeSanitizeOverwrite
        | Technique::NvmeFormatCrypto
        | Technique::AtaSanitizeBlock
        | Technique::AtaSanitizeCrypto
        | Technique::AtaSanitizeOverwrite
        | Technique::AtaSecurityEraseEnhanced
        | Technique::ScsiSanitizeBlock
        | Technique::ScsiSanitizeCrypto
        | Technique::ScsiSanitizeOverwrite
        | Technique::MmcSanitize
        | Technique::OpalPsidRevert
        | Technique::OpalSidRevert => Outcome::Purge,
    }
}

/// Holds for techniques that a device goes on with by itself.
pub(crate) fn is_devices(technique: Technique) -> bool {
    !matches!(
        technique,
        Technique::EphemeralFiles
            | Technique::Signatures
            | Technique::Discard
            | Technique::WriteZeroes
            | Technique::Zeros
            | Technique::KeyedStream
            | Technique::Other
    )
}

/// Decides. The same facts and options always give the same plan.
pub fn plan(level: PowerLevel, options: &WipeOptions, facts: &Facts) -> Plan {
    let device = || facts.offered.iter().copied().map(Way::Device);
    // What purges comes before what only clears, otherwise in the device's own order.
    let purges = || device().filter(|way| way.reaches(MediumKind::Flash) == Outcome::Purge);
    let clears = || device().filter(|way| way.reaches(MediumKind::Flash) != Outcome::Purge);
    let ways = match level {
        PowerLevel::Idle => Vec::new(),
        PowerLevel::Harbour => vec![Way::Ephemeral],
        PowerLevel::Working => vec![Way::Signatures { discard: facts.discards }],
        PowerLevel::Full if !facts.is_writable => device().collect(),
        PowerLevel::Full if options.offload => vec![Way::Offload, Way::Passes(1)],
        PowerLevel::Full => vec![Way::Passes(1)],
        PowerLevel::Redline => {
            let passes = options.passes.unwrap_or(PASSES).clamp(1, MOST_PASSES);
            let written = facts.is_writable.then_some(Way::Passes(passes));
            // Where only clear can be reached, overwriting is seen to have happened, and a format is only said to.
            purges().chain(written).chain(clears()).collect()
        }
    };
    let read_back = match level {
        PowerLevel::Idle | PowerLevel::Harbour | PowerLevel::Working => VerificationPlan::Probe {},
        PowerLevel::Full => VerificationPlan::Whole {},
        PowerLevel::Redline if options.verify_whole => VerificationPlan::Whole {},
        PowerLevel::Redline => {
            VerificationPlan::Sample { samples: MANY_SAMPLES, detects_per_100_000: 10 }
        }
    };
    Plan { ways, read_back }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(medium: MediumKind, offered: &[Technique]) -> Facts {
        Facts { medium, offered: offered.to_vec(), is_writable: true, discards: true }
    }

    fn ways(level: PowerLevel, options: &WipeOptions, facts: &Facts) -> Vec<Way> {
        plan(level, options, facts).ways
    }

    const OWN: WipeOptions = WipeOptions {
        passes: None,
        offload: false,
        verify_whole: false,
        lift_hidden: false,
        unfreeze: false,
        psids: Vec::new(),
        sids: Vec::new(),
        despite: Vec::new(),
    };

    #[test]
    fn idle_does_nothing() {
        let facts = facts(MediumKind::Flash, &[Technique::NvmeSanitizeBlock]);
        assert_eq!(ways(PowerLevel::Idle, &OWN, &facts), []);
    }

    #[test]
    fn full_writes_zeros_although_the_device_could_erase_itself() {
        let mut facts = facts(MediumKind::Flash, &[Technique::NvmeSanitizeBlock]);
        assert_eq!(ways(PowerLevel::Full, &OWN, &facts), [Way::Passes(1)]);
        let offload = WipeOptions { offload: true, ..OWN };
        assert_eq!(ways(PowerLevel::Full, &offload, &facts), [Way::Offload, Way::Passes(1)]);
        facts.is_writable = false;
        let own = Way::Device(Technique::NvmeSanitizeBlock);
        assert_eq!(ways(PowerLevel::Full, &offload, &facts), [own]);
    }

    #[test]
    fn redline_tries_what_purges_first_and_ends_with_passes() {
        let offered = [
            Technique::AtaSecurityErase,
            Technique::AtaSanitizeBlock,
            Technique::AtaSanitizeCrypto,
        ];
        let facts = facts(MediumKind::Flash, &offered);
        let expected = [
            Way::Device(Technique::AtaSanitizeBlock),
            Way::Device(Technique::AtaSanitizeCrypto),
            Way::Passes(3),
            Way::Device(Technique::AtaSecurityErase),
        ];
        assert_eq!(ways(PowerLevel::Redline, &OWN, &facts), expected);
        let all = WipeOptions { verify_whole: true, ..OWN };
        assert_eq!(plan(PowerLevel::Redline, &all, &facts).read_back, VerificationPlan::Whole {});
    }

    #[test]
    fn passes_are_never_none_and_never_endless() {
        let facts = facts(MediumKind::Magnetic, &[]);
        for (asked, done) in [(Some(0), 1), (Some(1), 1), (None, 3), (Some(255), MOST_PASSES)] {
            let options = WipeOptions { passes: asked, ..OWN };
            assert_eq!(ways(PowerLevel::Redline, &options, &facts), [Way::Passes(done)]);
        }
    }

    #[test]
    fn nothing_that_is_written_purges_and_nothing_on_a_virtual_disk_is_more_than_logical() {
        for way in [Way::Passes(35), Way::Offload, Way::Signatures { discard: true }] {
            assert!(way.reaches(MediumKind::Flash) < Outcome::Purge, "{way:?}");
        }
        let purge = Way::Device(Technique::NvmeSanitizeBlock);
        assert_eq!(purge.reaches(MediumKind::Flash), Outcome::Purge);
        assert_eq!(purge.reaches(MediumKind::Virtual), Outcome::Logical);
        assert_eq!(Way::Passes(3).reaches(MediumKind::Virtual), Outcome::Logical);
    }
}
