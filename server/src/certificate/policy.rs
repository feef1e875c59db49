//! Which technique reaches how much at most, and what the standards call that: a table that operators can read.

use std::sync::LazyLock;

use protocol::wipe::{Outcome, Technique};
use serde::{Deserialize, Serialize};

/// The table as it is printed.
pub const TEXT: &str = include_str!("policy.json");

/// The table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// What certificates call it.
    pub name: String,
    /// What it speaks of.
    pub standards: String,
    /// What the standards call each outcome.
    pub outcomes: Vec<OutcomeWords>,
    /// How much each technique reaches at most.
    pub techniques: Vec<TechniqueWords>,
}

/// What the standards call an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutcomeWords {
    /// Which.
    pub outcome: Outcome,
    /// IEEE 2883.
    pub ieee2883: String,
    /// NIST SP 800-88.
    pub nist80088: String,
}

/// How much a technique reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TechniqueWords {
    /// Which.
    pub technique: Technique,
    /// The most that is believed of it.
    pub at_most: Outcome,
    /// What people read.
    pub words: String,
}

static POLICY: LazyLock<Policy> =
    LazyLock::new(|| serde_json::from_str(TEXT).expect("a test reads this very text"));

/// Returns the table.
pub fn policy() -> &'static Policy {
    &POLICY
}

/// Returns the most that a technique reaches. What this version does not know reaches nothing.
pub fn at_most(technique: Technique) -> Outcome {
    let known = POLICY.techniques.iter().find(|known| known.technique == technique);
    known.map_or(Outcome::None, |known| known.at_most)
}

/// Returns what people call a technique.
pub fn technique_words(technique: Technique) -> &'static str {
    let known = POLICY.techniques.iter().find(|known| known.technique == technique);
    known.map_or("something that this version does not know", |known| known.words.as_str())
}

/// Returns what the standards call an outcome.
pub fn outcome_words(outcome: Outcome) -> &'static OutcomeWords {
    let known = POLICY.outcomes.iter().find(|known| known.outcome == outcome);
    known.expect("a test finds every outcome")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Technique; 24] = [
        Technique::EphemeralFiles,
        Technique::Signatures,
        Technique::Discard,
        Technique::WriteZeroes,
        Technique::Zeros,
        Technique::KeyedStream,
        Technique::NvmeSanitizeBlock,
        Technique::NvmeSanitizeCrypto,
        Technique::NvmeSanitizeOverwrite,
        Technique::NvmeFormatCrypto,
        Technique::NvmeFormatErase,
        Technique::AtaSanitizeBlock,
        Technique::AtaSanitizeCrypto,
        Technique::AtaSanitizeOverwrite,
        Technique::AtaSecurityEraseEnhanced,
        Technique::AtaSecurityErase,
        Technique::ScsiSanitizeBlock,
        Technique::ScsiSanitizeCrypto,
        Technique::ScsiSanitizeOverwrite,
        Technique::ScsiFormatUnit,
        Technique::MmcSecureErase,
        Technique::MmcSanitize,
        Technique::OpalPsidRevert,
        Technique::OpalSidRevert,
    ];

    #[test]
    fn every_technique_and_outcome_stands_in_the_table_once() {
        let written: Vec<Technique> =
            policy().techniques.iter().map(|known| known.technique).collect();
        assert_eq!(written, ALL);
        for outcome in
            [Outcome::None, Outcome::Signatures, Outcome::Logical, Outcome::Clear, Outcome::Purge]
        {
            assert_eq!(outcome_words(outcome).outcome, outcome);
        }
        assert_eq!(policy().outcomes.len(), 5);
    }

    #[test]
    fn what_is_not_known_reaches_nothing() {
        assert_eq!(at_most(Technique::Other), Outcome::None);
        assert_eq!(at_most(Technique::Zeros), Outcome::Clear);
        assert_eq!(at_most(Technique::WriteZeroes), Outcome::Logical);
    }
}
