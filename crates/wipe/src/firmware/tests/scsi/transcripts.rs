//! All that goes to SCSI disks and comes from them.

use super::*;
use crate::firmware::tests::transcript::{Transcript, Trial};

const ALL: [Technique; 4] = [
    Technique::ScsiSanitizeOverwrite,
    Technique::ScsiSanitizeBlock,
    Technique::ScsiSanitizeCrypto,
    Technique::ScsiFormatUnit,
];

const TRIAL: Trial<Simulated> = Trial {
    techniques: &ALL,
    face: |recorded| Device::Scsi { device: recorded },
    is_examined_after: false,
};

const BY_CHANCE: Trial<Chance> = Trial {
    techniques: &ALL,
    face: |recorded| Device::Scsi { device: recorded },
    is_examined_after: false,
};

fn configs() -> Vec<(&'static str, Config)> {
    let spins = Config::default;
    let flash = Config::solid_state;
    let provisioning = flash().provisioning.unwrap();
    let unreported = Provisioning { reads_zeros: false, ..provisioning };
    vec![
        ("spins", spins()),
        ("flash", flash()),
        ("flash of fixed sense data", Config { sense_format: SenseFormat::Fixed, ..flash() }),
        ("520 bytes a block", Config { block_bytes: 520, ..spins() }),
        (
            "4096 bytes a block",
            Config { block_bytes: 4096, accessible_blocks: Some(100), ..spins() },
        ),
        ("locked by its switch", Config { protection: Protection::Hardware, ..flash() }),
        ("locked by its software", Config { protection: Protection::Software, ..flash() }),
        ("flash of ones", Config { provisioning: Some(unreported), ..flash() }),
        ("to be written first", Config { must_write_after_sanitize: true, ..flash() }),
        ("without lists", Config { reports_operation_codes: false, ..spins() }),
        (
            "fails",
            Config {
                sanitize_course: Course::FailsAt(0x4000),
                format_course: Course::FailsAt(0x4000),
                ..flash()
            },
        ),
        (
            "sticks, fixed sense data",
            Config {
                sense_format: SenseFormat::Fixed,
                sanitize_course: Course::SticksAt(0x4321),
                format_course: Course::SticksAt(0x4321),
                ..flash()
            },
        ),
    ]
}

#[test]
fn what_goes_to_and_fro_stays_as_it_is() {
    let mut transcript = Transcript::default();
    for (name, config) in configs() {
        transcript.add_all(name, &TRIAL, || Simulated::new(config.clone()));
    }
    transcript.compare("scsi");
}

#[test]
fn what_answers_by_chance_mean_stays_as_it_is() {
    let mut transcript = Transcript::default();
    transcript.add_chance(24, &BY_CHANCE, |bytes| Chance(bytes, Mutex::new(0)));
    transcript.compare("scsi-chance");
}
