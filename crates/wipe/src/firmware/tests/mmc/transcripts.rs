//! All that goes to eMMC cards and comes from them.

use super::*;
use crate::firmware::tests::transcript::{Transcript, Trial};

const TRIAL: Trial<Simulated> = Trial {
    techniques: &BOTH,
    face: |recorded| {
        let Device::Mmc { size, .. } = recorded.device.device() else { unreachable!() };
        Device::Mmc { device: recorded, size }
    },
    is_examined_after: false,
};

const BY_CHANCE: Trial<Chance> = Trial {
    techniques: &BOTH,
    face: |recorded| Device::Mmc { device: recorded, size: 8 << 30 },
    is_examined_after: false,
};

#[test]
fn what_goes_to_and_fro_stays_as_it_is() {
    let fails = Course::FailsAt(0x4000);
    let sticks = Course::SticksAt(0x4000);
    let configs = [
        ("all", Config::default()),
        ("larger, of ones", Config { erase_units: 160, erases_to_ones: true, ..Config::default() }),
        ("cannot", Config { sanitize: false, secure_erase: false, ..Config::default() }),
        ("bare", Config { boot_units: 0, replay_protected_units: 0, ..Config::default() }),
        ("fails", Config { sanitize_course: fails, erase_course: fails, ..Config::default() }),
        ("sticks", Config { sanitize_course: sticks, erase_course: sticks, ..Config::default() }),
    ];
    let mut transcript = Transcript::default();
    for (name, config) in configs {
        transcript.add_all(name, &TRIAL, || Simulated::new(config.clone()));
    }
    transcript.compare("mmc");
}

#[test]
fn what_answers_by_chance_mean_stays_as_it_is() {
    let mut transcript = Transcript::default();
    transcript.add_chance(24, &BY_CHANCE, |bytes| Chance(bytes, Mutex::new(0)));
    transcript.compare("mmc-chance");
}
