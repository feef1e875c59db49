//! All that goes to Opal disks and comes from them.

use super::*;
use crate::firmware::tests::transcript::{self, Recorded, Transcript};

#[test]
fn what_goes_to_and_fro_stays_as_it_is() {
    let configs = [
        ("locked", Config::default()),
        ("unlocked", Config { global_is_locked: false, ..Config::default() }),
        ("without owner", Config { sid: None, global_is_locked: false, ..Config::default() }),
        ("shadowed", Config { shadow_is_enabled: true, ..Config::default() }),
        ("cannot", Config { is_supported: false, global_is_locked: false, ..Config::default() }),
        ("no label", Config { psid: None, ..Config::default() }),
        ("its owner is blocked", Config { sid_is_blocked: true, ..Config::default() }),
        ("fails", Config { course: Course::FailsAt(0), ..Config::default() }),
        ("sticks", Config { course: Course::SticksAt(0), ..Config::default() }),
    ];
    let mut transcript = Transcript::default();
    for (name, config) in configs {
        let disk = Simulated(Mutex::new(Disk::new(config.clone())));
        let recorded = Recorded::new(&disk);
        let examined =
            transcript::lines(&examine(&Device::None, Some(&recorded), &Bench::new(&disk)));
        transcript.add(&format!("{name}, examined"), &recorded, &examined);
        for (technique, credential) in [
            (Technique::OpalPsidRevert, LABEL),
            (Technique::OpalPsidRevert, b"another"),
            (Technique::OpalSidRevert, b"owner"),
            (Technique::OpalSidRevert, b"MSID-FACTORY"),
        ] {
            let disk = Simulated(Mutex::new(Disk::new(config.clone())));
            let recorded = Recorded::new(&disk);
            let credential = Some(credential.to_vec());
            let settings = Settings { psid: credential.clone(), sid: credential, ..settings() };
            let watch = Bench::new(&disk);
            let outcome = apply(&Device::None, Some(&recorded), technique, &settings, &watch);
            transcript.add(
                &format!("{name}, {technique:?}"),
                &recorded,
                &transcript::ended(&outcome),
            );
        }
    }
    transcript.compare("opal");
}
