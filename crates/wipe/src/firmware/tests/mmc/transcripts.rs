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
