//! SCSI: sanitize and format, as they are listed.

mod altered;
mod transcripts;

use std::io;

use devices::{
    Course,
    scsi::{Config, Disk, Protection, Provisioning, SanitizeCapabilities, SenseFormat},
};
use disk::command::{Data, ScsiAnswer};
use protocol::wipe::Expected;

use super::ata::Chance;
use super::*;

#[derive(Debug)]
struct Simulated(Mutex<Disk>);

impl Simulated {
    /// A disk that is full of what was on it before, in a block that was replaced too.
    fn new(config: Config) -> Self {
        let block = usize::try_from(config.block_bytes).unwrap();
        let mut disk = Disk::new(config);
        if disk.write(0, &vec![SECRET; 128 * block]).is_ok() {
            disk.reallocate(3);
            disk.write(3, &vec![SECRET; block]).unwrap();
        }
        Self(Mutex::new(disk))
    }

    fn device(&self) -> Device<'_> {
        Device::Scsi { device: self }
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

const SANITIZES: [Technique; 3] =
    [Technique::ScsiSanitizeBlock, Technique::ScsiSanitizeCrypto, Technique::ScsiSanitizeOverwrite];

#[test]
fn what_a_disk_can_is_asked_and_listed_in_the_order_of_trying() {
    for sense_format in [SenseFormat::Fixed, SenseFormat::Descriptor] {
        let disk = Simulated::new(Config { sense_format, ..Config::default() });
        let examined = disk.examine();
        assert_eq!(
            offered(&examined),
            [Technique::ScsiSanitizeOverwrite, Technique::ScsiFormatUnit,]
        );
        assert_eq!(examined.serial.as_deref(), Some("SAS0001"));
        assert_eq!(examined.obstacles, []);
        let disk = Simulated::new(Config { sense_format, ..Config::solid_state() });
        let examined = disk.examine();
        assert_eq!(
            offered(&examined),
            [
                Technique::ScsiSanitizeBlock,
                Technique::ScsiSanitizeCrypto,
                Technique::ScsiFormatUnit,
            ]
        );
        assert_eq!(examined.discarded_reads, Some(Expected::Zeros));
        assert_eq!(examined.techniques[0].expected, Expected::Zeros);
        assert_eq!(disk.left(), 130, "nothing was changed");
    }
}

#[test]
fn what_unmapped_blocks_read_as_is_believed_only_where_the_disk_says_it() {
    let provisioning = Config::solid_state().provisioning.unwrap();
    for (provisioning, expected) in [
        (Some(provisioning), Some(Expected::Zeros)),
        (Some(Provisioning { reads_zeros: false, ..provisioning }), None),
        (None, None),
    ] {
        let disk = Simulated::new(Config { provisioning, ..Config::solid_state() });
        assert_eq!(disk.examine().discarded_reads, expected, "{provisioning:?}");
    }
}

#[test]
fn what_is_not_listed_is_not_sent() {
    let unlisted = Config { reports_operation_codes: false, ..Config::default() };
    let unable = Config { sanitize: None, formats: false, ..Config::default() };
    for config in [unlisted, unable] {
        let disk = Simulated::new(config);
        assert_eq!(disk.examine().techniques, []);
        for technique in SANITIZES.into_iter().chain([Technique::ScsiFormatUnit]) {
            let outcome = disk.apply(technique);
            assert_eq!(outcome.ended, Ended::Failed);
            assert!(!outcome.commands.iter().any(|command| {
                command.command.starts_with("48") || command.command.starts_with("04")
            }));
        }
    }
}

#[test]
fn every_sanitize_erases_the_blocks_that_were_replaced_too() {
    for sense_format in [SenseFormat::Fixed, SenseFormat::Descriptor] {
        for (config, technique) in [
            (Config::default(), Technique::ScsiSanitizeOverwrite),
            (Config::solid_state(), Technique::ScsiSanitizeBlock),
            (Config::solid_state(), Technique::ScsiSanitizeCrypto),
        ] {
            let disk = Simulated::new(Config { sense_format, ..config });
            let watch = Bench::new(&disk);
            let outcome = apply(&disk.device(), None, technique, &settings(), &watch);
            assert_eq!((outcome.ended, &outcome.reason), (Ended::Done, &None), "{technique:?}");
            assert_eq!(disk.left(), 0, "{technique:?}");
            assert!(outcome.milliseconds >= 100_000 && outcome.milliseconds < 120_000);
            assert!(outcome.commands.len() < 15, "{:#?}", outcome.commands);
            assert!(watch.progress.lock().unwrap().len() > 50);
        }
    }
}

#[test]
fn a_disk_that_has_one_way_is_sent_that_one_and_no_other() {
    for technique in SANITIZES {
        let sanitize = SanitizeCapabilities {
            overwrite: technique == Technique::ScsiSanitizeOverwrite,
            block_erase: technique == Technique::ScsiSanitizeBlock,
            cryptographic_erase: technique == Technique::ScsiSanitizeCrypto,
            time: Duration::from_secs(100),
        };
        let config = Config { sanitize: Some(sanitize), formats: false, ..Config::solid_state() };
        assert_eq!(offered(&Simulated::new(config.clone()).examine()), [technique]);
        for tried in SANITIZES {
            let disk = Simulated::new(config.clone());
            let ended = if tried == technique { Ended::Done } else { Ended::Failed };
            assert_eq!(disk.apply(tried).ended, ended, "{tried:?} of {technique:?}");
            assert_eq!(disk.left() == 0, tried == technique);
        }
    }
}

#[test]
fn a_format_erases_what_has_addresses() {
    for block_bytes in [512, 520, 4096] {
        let disk = Simulated::new(Config { block_bytes, ..Config::default() });
        let is_unusual = disk.examine().obstacles
            == [Obstacle::Sectors { data_bytes: 520, metadata_bytes: 0, is_protected: false }];
        assert_eq!(is_unusual, block_bytes == 520);
        let outcome = disk.apply(Technique::ScsiFormatUnit);
        assert_eq!((outcome.ended, &outcome.reason), (Ended::Done, &None));
        let block = vec![0; usize::try_from(block_bytes).unwrap()];
        assert_eq!(disk.with(|disk| disk.read(127, 1)).unwrap(), block);
    }
}

#[test]
fn a_format_that_is_accepted_and_does_nothing_is_told_as_never_seen() {
    let disk = Simulated::new(Config { format_course: Course::Lies, ..Config::default() });
    let outcome = disk.apply(Technique::ScsiFormatUnit);
    assert_eq!(outcome.ended, Ended::Done);
    assert_eq!(reason(&outcome), "the disk accepted it, and was never seen at it");
    assert_eq!(disk.left(), 129);
}

#[test]
fn an_erasure_that_stands_still_is_unknown_and_nothing_else_is_begun() {
    let sanitizing = Config { sanitize_course: Course::SticksAt(655), ..Config::default() };
    let formatting = Config { format_course: Course::SticksAt(655), ..Config::default() };
    for (config, technique, other) in [
        (sanitizing, Technique::ScsiSanitizeOverwrite, Technique::ScsiFormatUnit),
        (formatting, Technique::ScsiFormatUnit, Technique::ScsiSanitizeOverwrite),
    ] {
        let disk = Simulated::new(config);
        let outcome = disk.apply(technique);
        assert_eq!(outcome.ended, Ended::Unknown);
        assert!(reason(&outcome).contains("655 of 65536"), "{}", reason(&outcome));
        let outcome = disk.apply(other);
        assert_eq!(outcome.ended, Ended::Unknown);
        assert_eq!(sent(&outcome, "FORMAT UNIT") + sent(&outcome, "SANITIZE, overwrite"), 0);
    }
}

#[test]
fn a_sanitize_goes_on_after_a_power_cut_and_is_rejoined() {
    let disk = Simulated::new(Config::solid_state());
    let stopped = Bench { stops_at: Some(Duration::from_secs(20)), ..Bench::new(&disk) };
    let outcome = apply(&disk.device(), None, Technique::ScsiSanitizeBlock, &settings(), &stopped);
    assert_eq!(outcome.ended, Ended::Unknown);
    disk.with(Disk::power_cut);
    let running = disk.examine().running.unwrap();
    assert!(running.progress.is_some_and(|progress| progress > 10_000));
    let outcome = rejoin(&disk.device(), &running, &Bench::new(&disk));
    assert_eq!((outcome.ended, disk.left()), (Ended::Done, 0));
}

#[test]
fn a_format_that_lost_its_power_failed_and_is_done_again() {
    let disk = Simulated::new(Config::default());
    let stopped = Bench { stops_at: Some(Duration::from_secs(20)), ..Bench::new(&disk) };
    let outcome = apply(&disk.device(), None, Technique::ScsiFormatUnit, &settings(), &stopped);
    assert_eq!(outcome.ended, Ended::Unknown);
    let running = disk.examine().running.unwrap();
    assert_eq!(running.technique, Some(Technique::ScsiFormatUnit));
    disk.with(Disk::power_cut);
    assert_eq!(rejoin(&disk.device(), &running, &Bench::new(&disk)).ended, Ended::Failed);
    let outcome = disk.apply(Technique::ScsiFormatUnit);
    assert_eq!(outcome.ended, Ended::Done);
    let sent = outcome.commands.iter().find(|command| command.name == "FORMAT UNIT").unwrap();
    assert_eq!(sent.command, "041000000000", "nobody knows of protection information any more");
}

#[test]
fn a_failed_sanitize_is_left_and_the_next_technique_is_free() {
    let disk =
        Simulated::new(Config { sanitize_course: Course::FailsAt(0x4000), ..Config::default() });
    let outcome = disk.apply(Technique::ScsiSanitizeOverwrite);
    assert_eq!(outcome.ended, Ended::Failed);
    assert_eq!(sent(&outcome, "SANITIZE, exit failure mode"), 1);
    assert_eq!(disk.apply(Technique::ScsiFormatUnit).ended, Ended::Done);
}

#[test]
fn what_somebody_else_s_failed_sanitize_left_is_left_first_or_overcome() {
    for (flags, format) in [(0xa1, Ended::Done), (0x81, Ended::Failed)] {
        let disk = Simulated::new(Config {
            sanitize_course: Course::FailsAt(0x4000),
            ..Config::default()
        });
        disk.with(|disk| {
            let command = [0x48, flags, 0, 0, 0, 0, 0, 0, 8, 0];
            disk.execute(&command, &mut [1, 0, 0, 4, 0, 0, 0, 0]).unwrap();
            disk.advance(HOUR);
            disk.set_sanitize_course(Course::Finishes);
        });
        let examined = disk.examine();
        assert!(examined.is_sanitize_failed);
        assert!(offered(&examined).contains(&Technique::ScsiSanitizeOverwrite));
        assert_eq!(disk.apply(Technique::ScsiFormatUnit).ended, format);
        assert_eq!(disk.apply(Technique::ScsiSanitizeOverwrite).ended, Ended::Done);
    }
}

#[test]
fn a_format_that_fails_allows_another_technique() {
    let disk =
        Simulated::new(Config { format_course: Course::FailsAt(0x4000), ..Config::default() });
    assert_eq!(disk.apply(Technique::ScsiFormatUnit).ended, Ended::Failed);
    assert_eq!(disk.apply(Technique::ScsiSanitizeOverwrite).ended, Ended::Done);
}

#[test]
fn a_disk_that_falls_silent_is_unknown_only_once_something_was_begun() {
    let disk = Simulated::new(Config::default());
    let stopped = Bench { stops_at: Some(Duration::from_secs(20)), ..Bench::new(&disk) };
    let technique = Technique::ScsiSanitizeOverwrite;
    apply(&disk.device(), None, technique, &settings(), &stopped);
    let running = disk.examine().running.unwrap();
    disk.with(Disk::go_silent);
    assert_eq!(rejoin(&disk.device(), &running, &Bench::new(&disk)).ended, Ended::Unknown);
    let outcome = disk.apply(technique);
    assert_eq!((outcome.ended, sent(&outcome, "SANITIZE, overwrite")), (Ended::Failed, 0));
}

#[test]
fn a_disk_that_lies_is_believed_here_and_found_out_by_reading() {
    let disk = Simulated::new(Config { sanitize_course: Course::Lies, ..Config::solid_state() });
    assert_eq!(disk.apply(Technique::ScsiSanitizeBlock).ended, Ended::Done);
    assert_eq!(disk.left(), 130);
}

#[test]
fn protected_disks_and_those_that_want_to_be_written_first_are_obstacles() {
    for protection in [Protection::Software, Protection::Hardware] {
        let disk = Simulated::new(Config { protection, ..Config::default() });
        assert_eq!(disk.examine().obstacles, [Obstacle::WriteProtected]);
        assert_eq!(disk.apply(Technique::ScsiSanitizeOverwrite).ended, Ended::Failed);
    }
    let disk = Simulated::new(Config { must_write_after_sanitize: true, ..Config::solid_state() });
    assert_eq!(disk.examine().obstacles, [Obstacle::UnreadableAfterSanitize]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn no_answer_however_odd_is_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..700)) {
        let device = Chance(bytes, Mutex::new(0));
        let face = Device::Scsi { device: &device };
        drop(examine(&face, None, &Bench::short(&device)));
        for technique in SANITIZES.into_iter().chain([Technique::ScsiFormatUnit]) {
            let outcome = apply(&face, None, technique, &settings(), &Bench::short(&device));
            assert!(outcome.commands.len() <= 200);
        }
        let running = Running { technique: None, progress: None };
        rejoin(&face, &running, &Bench::short(&device));
    }
}

/// A disk that is busy whenever it is asked how it is.
#[derive(Debug)]
struct Busy(Simulated);

impl ScsiDevice for Busy {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        match command[0] {
            0x00 | 0x03 => Ok(ScsiAnswer { status: 8, sense: Vec::new(), transferred: 0 }),
            _ => self.0.execute(command, data, limit),
        }
    }
}

#[test]
fn a_busy_disk_leaves_it_unknown_whether_an_erasure_runs() {
    let disk = Busy(Simulated::new(Config::default()));
    let examined = examine(&Device::Scsi { device: &disk }, None, &Bench::new(&disk.0)).unwrap();
    assert!(examined.is_standing_unknown && examined.running.is_none());
    assert!(!disk.0.examine().is_standing_unknown);
}

#[test]
fn a_certificate_shows_what_the_device_says() {
    let expected = "DRYDOCK Simulated SAS, SAS0001, 0001, 0: MEDIUM ROTATION RATE=1c20, WABEREQ WACEREQ=50, \
         LOGICAL BLOCK PROVISIONING=00000000, READ CAPACITY bytes 12 to 15=00000000";
    assert_eq!(shown(&Simulated::new(Config::default()).examine()), expected);
}
