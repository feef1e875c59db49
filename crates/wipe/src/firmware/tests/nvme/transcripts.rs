//! All that goes to NVMe controllers and comes from them.

use super::*;
use crate::firmware::tests::transcript::{Transcript, Trial};

const ALL: [Technique; 5] = [
    Technique::NvmeSanitizeBlock,
    Technique::NvmeSanitizeCrypto,
    Technique::NvmeSanitizeOverwrite,
    Technique::NvmeFormatCrypto,
    Technique::NvmeFormatErase,
];

const TRIAL: Trial<Simulated> = Trial {
    techniques: &ALL,
    face: |recorded| Device::Nvme { controller: recorded, nsid: 1 },
    is_examined_after: true,
};

const BY_CHANCE: Trial<Chance> = Trial {
    techniques: &ALL,
    face: |recorded| Device::Nvme { controller: recorded, nsid: 1 },
    is_examined_after: false,
};

fn configs() -> Vec<(&'static str, Config)> {
    let large = {
        let mut config = three_namespaces();
        config.namespaces.get_mut(&1).unwrap().format = 1;
        config
    };
    let broadcasts = FormatAttributes {
        formats_all: true,
        erases_all: true,
        ..Config::default().format.unwrap()
    };
    let keeps = SanitizeCapabilities {
        no_deallocate_inhibited: true,
        no_deallocate_modifies_media: 2,
        ..Config::default().sanitize.unwrap()
    };
    vec![
        ("one namespace", Config::default()),
        ("three namespaces, blocks of 4096", large),
        ("formats all", Config { format: Some(broadcasts), ..three_namespaces() }),
        ("keeps what is sanitized", Config { sanitize: Some(keeps), ..Config::default() }),
        ("ones", Config { deallocated: Deallocated::Ones, estimates: false, ..Config::default() }),
        ("cannot", Config { sanitize: None, format: None, ..Config::default() }),
        (
            "fails",
            Config {
                sanitize_course: Course::FailsAt(0x4000),
                format_course: Course::FailsAt(0x4000),
                ..Config::default()
            },
        ),
        (
            "sticks",
            Config {
                sanitize_course: Course::SticksAt(0x4321),
                format_course: Course::SticksAt(0x4321),
                ..Config::default()
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
    transcript.compare("nvme");
}

#[test]
fn what_answers_by_chance_mean_stays_as_it_is() {
    let mut transcript = Transcript::default();
    transcript.add_chance(8, &BY_CHANCE, |bytes| Chance(bytes, Mutex::new(0)));
    transcript.compare("nvme-chance");
}
