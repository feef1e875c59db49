//! All that goes to SCSI disks and comes from them.

use super::*;
use crate::firmware::tests::transcript::{self, Recorded, Transcript};

const ALL: [Technique; 4] = [
    Technique::ScsiSanitizeOverwrite,
    Technique::ScsiSanitizeBlock,
    Technique::ScsiSanitizeCrypto,
    Technique::ScsiFormatUnit,
];

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
        let disk = Simulated::new(config.clone());
        let recorded = Recorded::new(&disk);
        let device = Device::Scsi { device: &recorded };
        let examined = transcript::lines(&examine(&device, None, &Bench::new(&disk)));
        transcript.add(&format!("{name}, examined"), &recorded, &examined);
        for technique in ALL {
            let disk = Simulated::new(config.clone());
            let recorded = Recorded::new(&disk);
            let device = Device::Scsi { device: &recorded };
            let outcome =
                apply(&device, None, technique, &transcript::settings(), &Bench::new(&disk));
            transcript.add(
                &format!("{name}, {technique:?}"),
                &recorded,
                &transcript::ended(&outcome),
            );
        }
    }
    transcript.compare("scsi");
}

/// Devices that answer by chance: which field comes from where.
#[test]
fn what_answers_by_chance_mean_stays_as_it_is() {
    let mut transcript = Transcript::default();
    for seed in 0..24 {
        let device = Chance(transcript::chance(seed), Mutex::new(0));
        let recorded = Recorded::new(&device);
        let face = Device::Scsi { device: &recorded };
        let watch = Bench::short(&device);
        let examined = transcript::lines(&examine(&face, None, &watch));
        transcript.add(&format!("chance {seed}, examined"), &Recorded::new(&device), &examined);
        for technique in ALL {
            let outcome = apply(&face, None, technique, &settings(), &Bench::short(&device));
            let title = format!("chance {seed}, {technique:?}");
            transcript.add(&title, &Recorded::new(&device), &transcript::ended(&outcome));
        }
    }
    transcript.compare("scsi-chance");
}
