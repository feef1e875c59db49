//! All that goes to ATA disks and comes from them.

use devices::ata::{Kind, Trimmed};

use super::*;
use crate::firmware::tests::transcript::{self, Recorded, Transcript, Trial};

const ALL: [Technique; 5] = [
    Technique::AtaSanitizeOverwrite,
    Technique::AtaSanitizeBlock,
    Technique::AtaSanitizeCrypto,
    Technique::AtaSecurityErase,
    Technique::AtaSecurityEraseEnhanced,
];

const TRIAL: Trial<Simulated> = Trial {
    techniques: &ALL,
    face: |recorded| Device::Ata { device: recorded },
    is_examined_after: false,
};

const BY_CHANCE: Trial<Chance> = Trial {
    techniques: &ALL,
    face: |recorded| Device::Ata { device: recorded },
    is_examined_after: false,
};

fn configs() -> Vec<(&'static str, Config)> {
    let spins = Config::default;
    let flash = Config::solid_state;
    let mut slow = Config::default();
    let security = slow.security.as_mut().unwrap();
    (security.erase_minutes, security.enhanced_minutes) = (600, 0);
    vec![
        ("spins", spins()),
        ("flash", flash()),
        ("flash of ones", Config { kind: Kind::Flash(Some(Trimmed::Deterministic)), ..flash() }),
        ("flash without trim", Config { kind: Kind::Flash(None), ..flash() }),
        ("hides by HPA", Config { maximum_address: Some(99), ..spins() }),
        ("hides by DCO", Config { overlay_address: Some(109), ..spins() }),
        (
            "hides by both",
            Config { maximum_address: Some(99), overlay_address: Some(109), ..spins() },
        ),
        ("hides by AMA", Config { maximum_address: Some(99), ..flash() }),
        ("frozen", Config { freezing: Freezing::AtStart, sanitize_is_frozen: true, ..flash() }),
        ("slow", slow),
        ("behind QEMU's bridge", Config { bridge: Bridge::AbortsAll, ..spins() }),
        ("behind a bridge without sense", Config { bridge: Bridge::WithoutSense, ..spins() }),
        (
            "fails",
            Config {
                sanitize_course: Course::FailsAt(0x4000),
                erase_course: Course::FailsAt(0x4000),
                ..flash()
            },
        ),
        (
            "sticks",
            Config {
                sanitize_course: Course::SticksAt(0x4321),
                erase_course: Course::SticksAt(0x4321),
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
        let disk = Simulated::new(config.clone());
        let recorded = Recorded::new(&disk);
        let device = Device::Ata { device: &recorded };
        let lifted = lift_hidden(&device, &Bench::new(&disk));
        transcript.add(&format!("{name}, lifted"), &recorded, &transcript::lines(&lifted));
        for password in [settings().password, [b'x'; 32]] {
            let disk = Simulated::new(config.clone());
            let mut data = [0; 512];
            data[2..34].copy_from_slice(&password);
            let envelope = [0x85, 10, 0x26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xf1, 0];
            drop(disk.with(|disk| disk.execute(&envelope, &mut data)));
            disk.with(Disk::power_cut);
            let recorded = Recorded::new(&disk);
            let device = Device::Ata { device: &recorded };
            let recovered = recover(&device, &[[1; 32], settings().password], &Bench::new(&disk));
            transcript.add(
                &format!("{name}, recovered"),
                &recorded,
                &transcript::lines(&recovered),
            );
        }
    }
    transcript.compare("ata");
}

#[test]
fn what_answers_by_chance_mean_stays_as_it_is() {
    let mut transcript = Transcript::default();
    transcript.add_chance(24, &BY_CHANCE, |bytes| Chance(bytes, Mutex::new(0)));
    transcript.compare("ata-chance");
}
