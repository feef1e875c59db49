//! All that goes to eMMC cards and comes from them.

use super::*;
use crate::firmware::tests::transcript::{self, Recorded, Transcript};

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
        let card = Simulated::new(config.clone());
        let Device::Mmc { size, .. } = card.device() else { unreachable!() };
        let recorded = Recorded::new(&card);
        let device = Device::Mmc { device: &recorded, size };
        let examined = transcript::lines(&examine(&device, None, &Bench::new(&card)));
        transcript.add(&format!("{name}, examined"), &recorded, &examined);
        for technique in BOTH {
            let card = Simulated::new(config.clone());
            let recorded = Recorded::new(&card);
            let device = Device::Mmc { device: &recorded, size };
            let outcome = apply(&device, None, technique, &settings(), &Bench::new(&card));
            transcript.add(
                &format!("{name}, {technique:?}"),
                &recorded,
                &transcript::ended(&outcome),
            );
        }
    }
    transcript.compare("mmc");
}

/// Devices that answer by chance: which field comes from where.
#[test]
fn what_answers_by_chance_mean_stays_as_it_is() {
    let mut transcript = Transcript::default();
    for seed in 0..24 {
        let device = Chance(transcript::chance(seed), Mutex::new(0));
        let recorded = Recorded::new(&device);
        let face = Device::Mmc { device: &recorded, size: 8 << 30 };
        let watch = Bench::short(&device);
        let examined = transcript::lines(&examine(&face, None, &watch));
        transcript.add(&format!("chance {seed}, examined"), &Recorded::new(&device), &examined);
        for technique in BOTH {
            let outcome = apply(&face, None, technique, &settings(), &Bench::short(&device));
            let title = format!("chance {seed}, {technique:?}");
            transcript.add(&title, &Recorded::new(&device), &transcript::ended(&outcome));
        }
    }
    transcript.compare("mmc-chance");
}
