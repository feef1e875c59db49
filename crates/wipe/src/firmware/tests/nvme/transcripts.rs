//! All that goes to NVMe controllers and comes from them.

use super::*;
use crate::firmware::tests::transcript::{self, Recorded, Transcript};

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
        let disk = Simulated::new(config.clone());
        let recorded = Recorded::new(&disk);
        let device = Device::Nvme { controller: &recorded, nsid: 1 };
        let examined = transcript::lines(&examine(&device, None, &Bench::new(&disk)));
        transcript.add(&format!("{name}, examined"), &recorded, &examined);
        for technique in
            SANITIZES.into_iter().chain([Technique::NvmeFormatCrypto, Technique::NvmeFormatErase])
        {
            let disk = Simulated::new(config.clone());
            let recorded = Recorded::new(&disk);
            let device = Device::Nvme { controller: &recorded, nsid: 1 };
            let outcome =
                apply(&device, None, technique, &transcript::settings(), &Bench::new(&disk));
            transcript.add(
                &format!("{name}, {technique:?}"),
                &recorded,
                &transcript::ended(&outcome),
            );
            let again = transcript::lines(&examine(&disk.device(), None, &Bench::new(&disk)));
            transcript.add(
                &format!("{name}, examined after {technique:?}"),
                &Recorded::new(&disk),
                &again,
            );
        }
    }
    transcript.compare("nvme");
}

/// Devices that answer by chance: which field comes from where.
#[test]
fn what_answers_by_chance_mean_stays_as_it_is() {
    let mut transcript = Transcript::default();
    for seed in 0..8 {
        let device = Chance(transcript::chance(seed), Mutex::new(0));
        let recorded = Recorded::new(&device);
        let face = Device::Nvme { controller: &recorded, nsid: 1 };
        let watch = Bench::short(&device);
        let examined = transcript::lines(&examine(&face, None, &watch));
        transcript.add(&format!("chance {seed}, examined"), &Recorded::new(&device), &examined);
        for technique in
            SANITIZES.into_iter().chain([Technique::NvmeFormatCrypto, Technique::NvmeFormatErase])
        {
            let outcome = apply(&face, None, technique, &settings(), &Bench::short(&device));
            let title = format!("chance {seed}, {technique:?}");
            transcript.add(&title, &Recorded::new(&device), &transcript::ended(&outcome));
        }
    }
    transcript.compare("nvme-chance");
}
