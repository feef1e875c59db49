//! ATA: sanitize, the security state machine, hidden sectors, bridges.

mod altered;
mod security;
mod transcripts;

use std::io;

use devices::{
    Course,
    ata::{Bridge, Config, Disk, Freezing, SanitizeCapabilities},
};
use disk::command::{Data, ScsiAnswer};
use protocol::wipe::Expected;

use super::*;

#[derive(Debug)]
struct Simulated(Mutex<Disk>);

const SECTORS: usize = 128;

impl Simulated {
    /// A disk that is full of what was on it before, in a sector that was replaced too.
    fn new(config: Config) -> Self {
        let mut disk = Disk::new(config);
        if disk.write(0, &vec![SECRET; SECTORS * 512]).is_ok() {
            disk.reallocate(3);
            disk.write(3, &[SECRET; 512]).unwrap();
        }
        Self(Mutex::new(disk))
    }

    fn device(&self) -> Device<'_> {
        Device::Ata { device: self }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Disk) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    fn left(&self) -> usize {
        let medium = self.with(|disk| disk.medium());
        medium.chunks(512).filter(|page| page.iter().all(|byte| *byte == SECRET)).count()
    }

    fn examine(&self) -> Examined {
        examine(&self.device(), None, &Bench::new(self)).unwrap()
    }

    fn apply(&self, technique: Technique) -> TechniqueOutcome {
        apply(&self.device(), None, technique, &settings(), &Bench::new(self))
    }

    fn recover(&self) -> Recovered {
        self.recover_with(&[settings().password])
    }

    fn recover_with(&self, passwords: &[[u8; 32]]) -> Recovered {
        recover(&self.device(), passwords, &Bench::new(self)).unwrap().state
    }

    /// Says whether it can be read, and by whom: nobody needs a password.
    fn is_open(&self) -> bool {
        self.with(|disk| {
            disk.power_cut();
            disk.read(0, 1).is_ok()
        })
    }
}

impl Clocked for Simulated {
    fn advance(&self, by: Duration) {
        self.with(|disk| disk.advance(by));
    }
}

impl ScsiDevice for Simulated {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        self.with(|disk| {
            let answer = match data {
                Data::None => disk.execute(command, &mut []),
                Data::In(buffer) => disk.execute(command, buffer),
                Data::Out(bytes) => disk.execute(command, &mut bytes.to_vec()),
            };
            assert!(disk.took() <= limit, "the command was given too little time");
            match answer {
                Ok(devices::Answer { status, sense, transferred }) => {
                    Ok(ScsiAnswer { status, sense, transferred })
                }
                Err(devices::NoAnswer) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
    }
}

const ERASES: [Technique; 2] = [Technique::AtaSecurityErase, Technique::AtaSecurityEraseEnhanced];

#[test]
fn what_a_disk_can_is_asked_and_listed_in_the_order_of_trying() {
    let disk = Simulated::new(Config::default());
    let examined = disk.examine();
    assert_eq!(
        offered(&examined),
        [
            Technique::AtaSanitizeOverwrite,
            Technique::AtaSecurityEraseEnhanced,
            Technique::AtaSecurityErase,
        ]
    );
    assert_eq!(examined.techniques[0].expected, Expected::Zeros);
    assert_eq!(examined.techniques[1].estimate, Some(Duration::from_mins(6)));
    assert_eq!(examined.serial.as_deref(), Some("ATA0001"));
    assert_eq!(examined.native_bytes, Some(65_536));
    assert_eq!(examined.obstacles, []);
    let disk = Simulated::new(Config::solid_state());
    let examined = disk.examine();
    assert_eq!(
        offered(&examined),
        [
            Technique::AtaSanitizeBlock,
            Technique::AtaSanitizeCrypto,
            Technique::AtaSecurityEraseEnhanced,
            Technique::AtaSecurityErase,
        ]
    );
    assert_eq!(examined.discarded_reads, Some(Expected::Zeros));
    assert_eq!(examined.techniques[0].expected, Expected::Zeros);
    assert!(disk.left() >= SECTORS, "nothing was changed");
}

#[test]
fn every_sanitize_erases_the_sectors_that_were_replaced_too() {
    for (config, technique) in [
        (Config::default(), Technique::AtaSanitizeOverwrite),
        (Config::solid_state(), Technique::AtaSanitizeBlock),
        (Config::solid_state(), Technique::AtaSanitizeCrypto),
    ] {
        let disk = Simulated::new(config);
        let outcome = disk.apply(technique);
        assert_eq!((outcome.ended, &outcome.reason), (Ended::Done, &None), "{technique:?}");
        assert_eq!(disk.left(), 0, "{technique:?}");
        assert!(outcome.milliseconds >= 100_000 && outcome.milliseconds < 120_000);
        assert!(sent(&outcome, "SANITIZE STATUS EXT") <= 5, "{:#?}", outcome.commands);
        // And once more, over what came through before.
        assert_eq!(disk.apply(technique).ended, Ended::Done);
    }
}

#[test]
fn a_disk_that_has_one_way_is_sent_that_one_and_no_other() {
    let ways = [
        Technique::AtaSanitizeBlock,
        Technique::AtaSanitizeCrypto,
        Technique::AtaSanitizeOverwrite,
    ];
    for technique in ways {
        let sanitize = SanitizeCapabilities {
            crypto_scramble: technique == Technique::AtaSanitizeCrypto,
            block_erase: technique == Technique::AtaSanitizeBlock,
            overwrite: technique == Technique::AtaSanitizeOverwrite,
            antifreeze: false,
            time: Duration::from_secs(100),
        };
        let config = Config { sanitize: Some(sanitize), security: None, ..Config::solid_state() };
        assert_eq!(offered(&Simulated::new(config.clone()).examine()), [technique]);
        for tried in ways {
            let disk = Simulated::new(config.clone());
            let ended = if tried == technique { Ended::Done } else { Ended::Failed };
            assert_eq!(disk.apply(tried).ended, ended, "{tried:?} of {technique:?}");
            assert_eq!(disk.left() == 0, tried == technique);
        }
    }
}

#[test]
fn a_sanitize_that_stands_still_is_unknown_and_nothing_else_is_begun() {
    let disk =
        Simulated::new(Config { sanitize_course: Course::SticksAt(655), ..Config::solid_state() });
    let outcome = disk.apply(Technique::AtaSanitizeBlock);
    assert_eq!(outcome.ended, Ended::Unknown);
    assert!(reason(&outcome).contains("655 of 65536"), "{}", reason(&outcome));
    for technique in ERASES.into_iter().chain([Technique::AtaSanitizeCrypto]) {
        let outcome = disk.apply(technique);
        assert_eq!(outcome.ended, Ended::Unknown, "{technique:?}");
        assert_eq!(sent(&outcome, "SECURITY SET PASSWORD"), 0);
    }
}

#[test]
fn a_sanitize_goes_on_after_a_power_cut_and_is_rejoined() {
    let disk = Simulated::new(Config::solid_state());
    let stopped = Bench { stops_at: Some(Duration::from_secs(20)), ..Bench::new(&disk) };
    let outcome = apply(&disk.device(), None, Technique::AtaSanitizeBlock, &settings(), &stopped);
    assert_eq!(outcome.ended, Ended::Unknown);
    disk.with(Disk::power_cut);
    let running = disk.examine().running.unwrap();
    let running = Running { technique: Some(Technique::AtaSanitizeBlock), ..running };
    let outcome = rejoin(&disk.device(), &running, &Bench::new(&disk));
    assert_eq!((outcome.ended, outcome.technique), (Ended::Done, Technique::AtaSanitizeBlock));
    assert_eq!(disk.left(), 0);
}

#[test]
fn a_failed_sanitize_is_left_and_the_next_technique_is_free() {
    let disk = Simulated::new(Config {
        sanitize_course: Course::FailsAt(0x4000),
        ..Config::solid_state()
    });
    let outcome = disk.apply(Technique::AtaSanitizeBlock);
    assert_eq!(outcome.ended, Ended::Failed);
    assert_eq!(sent(&outcome, "SANITIZE STATUS EXT, clear failure"), 1);
    assert!(!disk.examine().is_sanitize_failed);
    disk.with(|disk| disk.set_sanitize_course(Course::Finishes));
    assert_eq!(disk.apply(Technique::AtaSecurityEraseEnhanced).ended, Ended::Done);
}

#[test]
fn what_somebody_else_s_failed_sanitize_left_is_overcome() {
    let disk = Simulated::new(Config {
        sanitize_course: Course::FailsAt(0x4000),
        ..Config::solid_state()
    });
    disk.with(|disk| {
        // BLOCK ERASE EXT without FAILURE MODE.
        let command = [0x85, 7, 0x20, 0, 0x12, 0, 0, 0x42, 0x72, 0, 0x45, 0, 0x6b, 0, 0xb4, 0];
        disk.execute(&command, &mut []).unwrap();
        disk.advance(HOUR);
        disk.set_sanitize_course(Course::Finishes);
    });
    assert!(disk.examine().is_sanitize_failed);
    assert_eq!(disk.apply(Technique::AtaSanitizeCrypto).ended, Ended::Done);
}

#[test]
fn a_frozen_sanitize_is_an_obstacle_and_not_tried() {
    let disk = Simulated::new(Config { sanitize_is_frozen: true, ..Config::solid_state() });
    assert!(disk.examine().obstacles.contains(&Obstacle::SanitizeFrozen));
    let outcome = disk.apply(Technique::AtaSanitizeBlock);
    assert_eq!(outcome.ended, Ended::Failed);
    assert_eq!(sent(&outcome, "BLOCK ERASE EXT"), 0);
}

#[test]
fn what_was_sanitized_and_then_frozen_says_both() {
    let disk = Simulated::new(Config::solid_state());
    assert_eq!(disk.apply(Technique::AtaSanitizeBlock).ended, Ended::Done);
    assert!(!disk.examine().obstacles.contains(&Obstacle::SanitizeFrozen));
    // SANITIZE FREEZE LOCK EXT, with its signature `FrLk`.
    let command = [0x85, 7, 0x20, 0, 0x20, 0, 0, 0x46, 0x6b, 0, 0x4c, 0, 0x72, 0, 0xb4, 0];
    disk.with(|disk| disk.execute(&command, &mut [])).unwrap();
    assert!(disk.examine().obstacles.contains(&Obstacle::SanitizeFrozen));
}

#[test]
fn bridges_that_keep_the_task_file_back_are_sent_nothing() {
    for bridge in [Bridge::WithoutSense, Bridge::WithoutPassThrough, Bridge::OtherSize] {
        let disk = Simulated::new(Config { bridge, ..Config::default() });
        let examined = disk.examine();
        assert!(matches!(examined.obstacles[..], [Obstacle::Bridge { .. }]), "{bridge:?}");
        assert_eq!(examined.techniques, []);
        for technique in ERASES.into_iter().chain([Technique::AtaSanitizeOverwrite]) {
            let outcome = disk.apply(technique);
            assert_eq!(outcome.ended, Ended::Failed, "{technique:?}");
            let asks = |command: &RawCommand| {
                matches!(&*command.name, "IDENTIFY DEVICE" | "READ CAPACITY (16)")
            };
            assert!(outcome.commands.iter().all(asks), "{technique:?}");
        }
        let password = settings().password;
        let recovery = recover(&disk.device(), &[password], &Bench::new(&disk));
        assert!(!recovery.is_ok_and(|recovery| recovery.state == Recovered::Free));
        let lifted = lift_hidden(&disk.device(), &Bench::new(&disk));
        assert!(!lifted.is_ok_and(|lifted| lifted.unwrap().failure.is_none()));
    }
    // QEMU's answers what it is and aborts everything else.
    let disk = Simulated::new(Config { bridge: Bridge::AbortsAll, ..Config::default() });
    for technique in disk.examine().techniques {
        let outcome = disk.apply(technique.technique);
        assert_eq!(outcome.ended, Ended::Failed, "{:?}", outcome.reason);
    }
}

#[test]
fn hidden_sectors_are_named_and_lifted_only_when_told() {
    let hpa = Config { maximum_address: Some(99), ..Config::default() };
    let dco = Config { overlay_address: Some(109), ..Config::default() };
    let both = Config { maximum_address: Some(99), ..dco.clone() };
    let ama = Config { maximum_address: Some(99), ..Config::solid_state() };
    for (config, by, accessible) in [
        (hpa, vec![Hiding::Hpa], 100),
        (dco, vec![Hiding::Dco], 110),
        (both, vec![Hiding::Hpa, Hiding::Dco], 100),
        (ama, vec![Hiding::Ama], 100),
    ] {
        let disk = Simulated(Mutex::new(Disk::new(config)));
        let examined = disk.examine();
        let found: Vec<_> = examined
            .obstacles
            .iter()
            .map(|obstacle| match obstacle {
                Obstacle::Hidden { by, accessible_bytes, .. } => (*by, *accessible_bytes),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: Vec<_> = by.into_iter().map(|by| (by, accessible * 512)).collect();
        assert_eq!(found, expected);
        assert_eq!(examined.native_bytes, Some(128 * 512));
        assert_eq!(disk.with(|disk| disk.accessible_sectors()), accessible, "only asked");

        let lifted = lift_hidden(&disk.device(), &Bench::new(&disk)).unwrap().unwrap();
        assert_eq!((lifted.before_bytes, lifted.after_bytes), (accessible * 512, 128 * 512));
        assert_eq!(lifted.failure, None);
        assert_eq!(disk.with(|disk| disk.accessible_sectors()), 128);
        disk.with(Disk::power_cut);
        assert_eq!(disk.with(|disk| disk.accessible_sectors()), 128, "it outlasts the power");
        assert_eq!(disk.examine().obstacles, []);
    }
}

/// Accepts everything; its answers are bytes by chance.
#[derive(Debug)]
pub(super) struct Chance(pub(super) Vec<u8>, pub(super) Mutex<usize>);

impl Clocked for Chance {
    fn advance(&self, _: Duration) {}
}

impl ScsiDevice for Chance {
    fn execute(&self, command: &[u8], data: Data<'_>, _: Duration) -> io::Result<ScsiAnswer> {
        let mut at = self.1.lock().unwrap();
        let mut next = || {
            *at = (*at + 1) % self.0.len();
            self.0[*at]
        };
        if next() == 0x33 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut transferred = 0;
        if let Data::In(buffer) = data {
            transferred = buffer.len();
            buffer.fill_with(&mut next);
            // What says of itself that it is a disk is asked more.
            if command[0] == 0x85 && next() < 0xc0 {
                (buffer[1], buffer[510]) = (0, 0);
                buffer[20..22].copy_from_slice(b"SN");
                buffer[54..56].copy_from_slice(b"MO");
                buffer[120] |= 1;
            }
        }
        let mut sense: Vec<u8> = (0..usize::from(next() % 30)).map(|_| next()).collect();
        if command[0] == 0x85 && next() < 0xe0 {
            sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 14, 9, 12];
            sense.extend((0..11).map(|_| next()));
            sense.push(0x50);
        }
        Ok(ScsiAnswer { status: next() & 2, sense, transferred })
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn no_answer_however_odd_is_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..700)) {
        let device = Chance(bytes, Mutex::new(0));
        let face = Device::Ata { device: &device };
        drop(examine(&face, None, &Bench::short(&device)));
        drop(lift_hidden(&face, &Bench::short(&device)));
        drop(recover(&face, &[[7; 32], [8; 32]], &Bench::short(&device)));
        for technique in ERASES.into_iter().chain([Technique::AtaSanitizeBlock, Technique::AtaSanitizeOverwrite]) {
            let outcome = apply(&face, None, technique, &settings(), &Bench::short(&device));
            assert!(outcome.commands.len() <= 200);
        }
        let running = Running { technique: None, progress: None };
        rejoin(&face, &running, &Bench::short(&device));
    }
}

#[test]
fn a_certificate_shows_what_the_device_says() {
    let expected = "Simulated ATA, ATA0001, 1.0, 65536: IDENTIFY word 59=5c00, IDENTIFY word 69=0000, \
         IDENTIFY word 82=0422, IDENTIFY word 83=7d00, IDENTIFY word 85=0420, IDENTIFY word 86=bc00, \
         IDENTIFY word 89=0002, IDENTIFY word 90=0003, IDENTIFY word 119=4000, IDENTIFY word 128=0021, \
         IDENTIFY word 169=0000, IDENTIFY word 217=1c20";
    assert_eq!(shown(&Simulated::new(Config::default()).examine()), expected);
}
