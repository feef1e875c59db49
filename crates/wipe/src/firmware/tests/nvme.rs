//! NVMe: sanitize in all its states, and formats.

mod altered;
mod transcripts;

use std::{collections::BTreeMap, io};

use devices::{
    Course,
    nvme::{
        Config, Controller, Deallocated, Failure, FormatAttributes, Namespace, SanitizeCapabilities,
    },
};
use disk::command::{Data, NvmeCommand, NvmeFailure};
use protocol::wipe::Expected;

use super::*;

#[derive(Debug)]
struct Simulated(Mutex<Controller>);

impl Simulated {
    /// A controller whose attached namespaces are full of what was on them before.
    fn new(config: Config) -> Self {
        let mut controller = Controller::new(config);
        for (nsid, namespace) in controller.namespaces().clone() {
            if namespace.is_attached {
                let bytes = usize::try_from(namespace.bytes).unwrap();
                controller.write(nsid, 0, &vec![SECRET; bytes]).unwrap();
            }
        }
        Self(Mutex::new(controller))
    }

    fn device(&self) -> Device<'_> {
        Device::Nvme { controller: self, nsid: 1 }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Controller) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    /// How much of what was there before is on the medium.
    fn left(&self) -> usize {
        let medium = self.with(|controller| controller.medium());
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
        self.with(|controller| controller.advance(by));
    }
}

impl NvmeController for Simulated {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        self.with(|controller| {
            let NvmeCommand { opcode, nsid, dwords } = *command;
            let result = match data {
                Data::None => controller.admin(opcode, nsid, dwords, &mut []),
                Data::In(buffer) => controller.admin(opcode, nsid, dwords, buffer),
                Data::Out(bytes) => controller.admin(opcode, nsid, dwords, &mut bytes.to_vec()),
            };
            assert!(controller.took() <= limit, "the command was given too little time");
            result.map_err(|failure| match failure {
                Failure::Status(status) => NvmeFailure::Status(status),
                Failure::NoAnswer => NvmeFailure::NoAnswer(io::ErrorKind::TimedOut.into()),
            })
        })
    }
}

use disk::command::NvmeController;

const SANITIZES: [Technique; 3] =
    [Technique::NvmeSanitizeBlock, Technique::NvmeSanitizeCrypto, Technique::NvmeSanitizeOverwrite];

fn three_namespaces() -> Config {
    let hidden = Namespace { is_attached: false, ..Namespace::new(16 << 10, 3) };
    let namespaces = BTreeMap::from([
        (1, Namespace::new(16 << 10, 1)),
        (2, Namespace::new(16 << 10, 2)),
        (3, hidden),
    ]);
    Config { namespaces, ..Config::default() }
}

#[test]
fn what_a_controller_can_is_asked_and_listed_in_the_order_of_trying() {
    let device = Simulated::new(Config::default());
    let examined = device.examine();
    assert_eq!(
        offered(&examined),
        [
            Technique::NvmeSanitizeBlock,
            Technique::NvmeSanitizeCrypto,
            Technique::NvmeSanitizeOverwrite,
            Technique::NvmeFormatCrypto,
            Technique::NvmeFormatErase,
        ]
    );
    let [block, crypto, overwrite, ..] = examined.techniques[..] else { panic!() };
    assert_eq!((block.reach, block.expected), (Reach::Everything, Expected::Zeros));
    assert_eq!(crypto.expected, Expected::NoCanary);
    // The log estimates sixteen passes.
    assert_eq!(block.estimate, Some(Duration::from_secs(100)));
    assert_eq!(overwrite.estimate, block.estimate);
    assert_eq!(examined.techniques[3].reach, Reach::Addressed);
    assert_eq!(examined.serial.as_deref(), Some("NVME0001"));
    assert_eq!(examined.native_bytes, Some(64 << 10));
    assert_eq!((&examined.running, examined.is_sanitize_failed), (&None, false));
    assert!(examined.obstacles.is_empty(), "{:?}", examined.obstacles);
    let sanicap = examined.capabilities.iter().find(|can| can.name == "SANICAP").unwrap();
    assert_eq!(sanicap.value, "40000007");
    // Nothing was changed.
    assert_eq!(device.left(), 128);
}

#[test]
fn a_controller_that_says_nothing_is_offered_nothing_and_refuses_before_it_is_sent_anything() {
    let config = Config { sanitize: None, format: None, ..Config::default() };
    let device = Simulated::new(config);
    assert!(device.examine().techniques.is_empty());
    for technique in SANITIZES.into_iter().chain([Technique::NvmeFormatErase]) {
        let outcome = device.apply(technique);
        assert_eq!(outcome.ended, Ended::Failed);
        assert_eq!(sent(&outcome, "SANITIZE") + sent(&outcome, "FORMAT NVM"), 0);
    }
    // QEMU's takes a crypto format without saying that it can: it is not sent one.
    let without_crypto =
        FormatAttributes { crypto_erase: false, ..Config::default().format.unwrap() };
    let device = Simulated::new(Config { format: Some(without_crypto), ..Config::default() });
    assert!(!offered(&device.examine()).contains(&Technique::NvmeFormatCrypto));
    assert_eq!(device.apply(Technique::NvmeFormatCrypto).ended, Ended::Failed);
}

#[test]
fn every_sanitize_erases_every_namespace_and_the_spare_room() {
    for technique in SANITIZES {
        let device = Simulated::new(three_namespaces());
        let before = device.left();
        assert!(before > 0);
        let watch = Bench::new(&device);
        let outcome = apply(&device.device(), None, technique, &settings(), &watch);
        assert_eq!((outcome.ended, &outcome.reason), (Ended::Done, &None), "{technique:?}");
        assert_eq!(device.left(), 0, "{technique:?}");
        // A hundred seconds and a hundred questions, of which few are worth keeping.
        assert!(outcome.milliseconds >= 100_000 && outcome.milliseconds < 120_000);
        assert!(sent(&outcome, "GET LOG PAGE 81h") <= 5, "{:#?}", outcome.commands);
        assert!(watch.progress.lock().unwrap().len() > 50);
    }
}

#[test]
fn a_controller_that_has_one_way_is_sent_that_one_and_no_other() {
    for technique in SANITIZES {
        let sanitize = SanitizeCapabilities {
            crypto_erase: technique == Technique::NvmeSanitizeCrypto,
            block_erase: technique == Technique::NvmeSanitizeBlock,
            overwrite: technique == Technique::NvmeSanitizeOverwrite,
            ..Config::default().sanitize.unwrap()
        };
        let config = Config { sanitize: Some(sanitize), format: None, ..Config::default() };
        assert_eq!(offered(&Simulated::new(config.clone()).examine()), [technique]);
        for tried in SANITIZES {
            let device = Simulated::new(config.clone());
            let ended = if tried == technique { Ended::Done } else { Ended::Failed };
            assert_eq!(device.apply(tried).ended, ended, "{tried:?} of {technique:?}");
            assert_eq!(device.left() == 0, tried == technique);
        }
    }
}

#[test]
fn blast_radius_is_said_beforehand() {
    let device = Simulated::new(three_namespaces());
    let obstacles = device.examine().obstacles;
    assert!(obstacles.contains(&Obstacle::NamespacesBeside { nsids: vec![2, 3] }));
    assert!(obstacles.contains(&Obstacle::Unallocated { bytes: 16 << 10 }));
    for (formats_all, erases_all) in [(true, false), (false, true)] {
        let format =
            FormatAttributes { formats_all, erases_all, ..Config::default().format.unwrap() };
        let device = Simulated::new(Config { format: Some(format), ..three_namespaces() });
        let examined = device.examine();
        assert!(examined.techniques.iter().all(|offered| offered.reach == Reach::Everything));
    }
}

#[test]
fn a_format_erases_its_namespace_and_no_other_and_keeps_its_sectors() {
    for (technique, broadcast_forbidden) in
        [(Technique::NvmeFormatCrypto, true), (Technique::NvmeFormatErase, false)]
    {
        let mut config = three_namespaces();
        config.namespaces.get_mut(&1).unwrap().format = 1;
        let format = FormatAttributes { broadcast_forbidden, ..config.format.unwrap() };
        let device = Simulated::new(Config { format: Some(format), ..config });
        let outcome = device.apply(technique);
        assert_eq!((outcome.ended, &outcome.reason), (Ended::Done, &None));
        assert_eq!(device.left(), 32, "the other namespace");
        assert_eq!(device.with(|controller| controller.namespaces()[&1].format), 1);
        let other = device.with(|controller| controller.read(2, 0, 1)).unwrap();
        assert_eq!(other, [SECRET; 512]);
    }
}

#[test]
fn expectation_follows_what_deallocated_sectors_read_as() {
    for (deallocated, expected) in
        [(Deallocated::Ones, Expected::Ones), (Deallocated::NotReported, Expected::NoCanary)]
    {
        let device = Simulated::new(Config { deallocated, ..Config::default() });
        assert_eq!(device.examine().techniques[0].expected, expected);
    }
}

#[test]
fn a_sanitize_that_stands_at_655_is_unknown_and_nothing_else_is_begun() {
    let device =
        Simulated::new(Config { sanitize_course: Course::SticksAt(655), ..Config::default() });
    let outcome = device.apply(Technique::NvmeSanitizeBlock);
    assert_eq!(outcome.ended, Ended::Unknown);
    assert!(reason(&outcome).contains("655 of 65536"), "{}", reason(&outcome));
    // Whoever tries all the same begins nothing either.
    for technique in [Technique::NvmeSanitizeCrypto, Technique::NvmeFormatErase] {
        let outcome = device.apply(technique);
        assert_eq!(outcome.ended, Ended::Unknown, "{technique:?}");
        assert_eq!(sent(&outcome, "SANITIZE") + sent(&outcome, "FORMAT NVM"), 0);
    }
}

#[test]
fn a_sanitize_goes_on_after_a_power_cut_and_is_rejoined() {
    let device = Simulated::new(Config { sanitize_time: HOUR, ..Config::default() });
    let stopped = Bench { stops_at: Some(Duration::from_secs(1000)), ..Bench::new(&device) };
    let outcome =
        apply(&device.device(), None, Technique::NvmeSanitizeBlock, &settings(), &stopped);
    assert_eq!(outcome.ended, Ended::Unknown);
    assert!(reason(&outcome).starts_with("still running"), "{}", reason(&outcome));

    device.with(Controller::power_cut);
    let running = device.examine().running.unwrap();
    assert_eq!(running.technique, Some(Technique::NvmeSanitizeBlock));
    assert!(running.progress.is_some_and(|progress| progress > 10_000));
    let outcome = rejoin(&device.device(), &running, &Bench::new(&device));
    assert_eq!((outcome.ended, outcome.technique), (Ended::Done, Technique::NvmeSanitizeBlock));
    assert_eq!((sent(&outcome, "SANITIZE"), device.left()), (0, 0));
    // The same order again, begun while it runs, waits for it too.
    let again = device.apply(Technique::NvmeSanitizeBlock);
    assert_eq!(again.ended, Ended::Done);
}

#[test]
fn a_sanitize_that_ended_while_nobody_looked_is_rejoined_too() {
    let device = Simulated::new(Config::default());
    let stopped = Bench { stops_at: Some(Duration::from_secs(10)), ..Bench::new(&device) };
    apply(&device.device(), None, Technique::NvmeSanitizeBlock, &settings(), &stopped);
    let running = device.examine().running.unwrap();
    device.advance(HOUR);
    assert_eq!(rejoin(&device.device(), &running, &Bench::new(&device)).ended, Ended::Done);
}

#[test]
fn a_failed_sanitize_is_left_and_the_next_technique_is_free() {
    let device =
        Simulated::new(Config { sanitize_course: Course::FailsAt(0x8000), ..Config::default() });
    let outcome = device.apply(Technique::NvmeSanitizeBlock);
    assert_eq!(outcome.ended, Ended::Failed);
    assert_eq!(sent(&outcome, "SANITIZE, exit failure mode"), 1);
    assert!(device.examine().is_sanitize_failed);
    device.with(|controller| controller.set_sanitize_course(Course::Finishes));
    assert_eq!(device.apply(Technique::NvmeFormatErase).ended, Ended::Done);
    assert_eq!(device.apply(Technique::NvmeSanitizeCrypto).ended, Ended::Done);
}

#[test]
fn what_somebody_else_s_failed_sanitize_left_is_left_first_or_overcome() {
    // Unrestricted, which may be left; and restricted, which only another restricted one ends.
    for (dword, technique, ended) in [
        (0x0a, Technique::NvmeFormatErase, Ended::Done),
        (0x02, Technique::NvmeFormatErase, Ended::Failed),
        (0x02, Technique::NvmeSanitizeCrypto, Ended::Done),
    ] {
        let device =
            Simulated::new(Config { sanitize_course: Course::FailsAt(10), ..Config::default() });
        device.with(|controller| {
            controller.admin(0x84, 0, [dword, 0, 0, 0, 0, 0], &mut []).unwrap();
            controller.advance(HOUR);
            controller.set_sanitize_course(Course::Finishes);
        });
        assert!(device.examine().is_sanitize_failed);
        let outcome = device.apply(technique);
        assert_eq!(outcome.ended, ended, "{dword:#x} {technique:?}: {:?}", outcome.reason);
        assert_eq!(
            sent(&outcome, "FORMAT NVM") == 0,
            ended == Ended::Failed || technique != Technique::NvmeFormatErase
        );
    }
}

#[test]
fn a_controller_that_lies_is_believed_here_and_found_out_by_reading() {
    let device = Simulated::new(Config { sanitize_course: Course::Lies, ..Config::default() });
    assert_eq!(device.apply(Technique::NvmeSanitizeBlock).ended, Ended::Done);
    assert_eq!(device.left(), 128);
}

#[test]
fn a_controller_that_falls_silent_leaves_the_erasure_unknown() {
    // Its identity, the log, SANITIZE; then nothing any more, or not even that.
    for answers in [3, 2] {
        let device = Simulated::new(Config::default());
        device.with(|controller| controller.go_silent_after(answers));
        let outcome = device.apply(Technique::NvmeSanitizeBlock);
        assert_eq!(outcome.ended, Ended::Unknown, "{:?}", outcome.reason);
    }
    // Before anything was begun it is no erasure.
    for answers in [0, 1] {
        let device = Simulated::new(Config::default());
        device.with(|controller| controller.go_silent_after(answers));
        assert_eq!(device.apply(Technique::NvmeSanitizeBlock).ended, Ended::Failed);
    }
}

#[test]
fn a_format_that_fails_is_over_and_one_without_an_answer_is_unknown() {
    for (course, ended) in
        [(Course::FailsAt(0x4000), Ended::Failed), (Course::SticksAt(0x4000), Ended::Unknown)]
    {
        let device = Simulated::new(Config { format_course: course, ..Config::default() });
        assert_eq!(device.apply(Technique::NvmeFormatErase).ended, ended);
    }
    let device = Simulated::new(Config::default());
    device.with(|controller| controller.cut_power_in_format(0x8000));
    assert_eq!(device.apply(Technique::NvmeFormatErase).ended, Ended::Unknown);
}

#[test]
fn a_write_protected_namespace_is_an_obstacle_and_its_format_is_refused() {
    let mut config = Config::default();
    config.namespaces.get_mut(&1).unwrap().is_attached = true;
    let device = Simulated::new(config.clone());
    drop(device);
    config.namespaces.get_mut(&1).unwrap().is_write_protected = true;
    let device = Simulated(Mutex::new(Controller::new(config)));
    assert!(device.examine().obstacles.contains(&Obstacle::WriteProtected));
    assert_eq!(device.apply(Technique::NvmeFormatErase).ended, Ended::Failed);
}

#[test]
fn whoever_is_stopped_before_the_beginning_has_begun_nothing() {
    let device = Simulated::new(Config::default());
    let stopped = Bench { stops_at: Some(Duration::ZERO), ..Bench::new(&device) };
    let outcome =
        apply(&device.device(), None, Technique::NvmeSanitizeBlock, &settings(), &stopped);
    assert_eq!((outcome.ended, outcome.commands.len()), (Ended::Failed, 0));
    assert_eq!(device.left(), 128);
}

/// Accepts everything and does nothing; its answers are bytes by chance.
#[derive(Debug)]
struct Chance(Vec<u8>, Mutex<usize>);

impl Clocked for Chance {
    fn advance(&self, _: Duration) {}
}

impl NvmeController for Chance {
    fn admin(&self, _: &NvmeCommand, data: Data<'_>, _: Duration) -> Result<u32, NvmeFailure> {
        let mut at = self.1.lock().unwrap();
        *at += 1;
        if let Data::In(buffer) = data {
            for byte in buffer {
                *at = (*at + 1) % self.0.len();
                *byte = self.0[*at];
            }
        }
        match self.0[*at % self.0.len()] {
            0x11 => Err(NvmeFailure::Status(0x1d)),
            0x22 => Err(NvmeFailure::NoAnswer(io::ErrorKind::TimedOut.into())),
            _ => Ok(0),
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn no_answer_however_odd_is_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..700)) {
        let device = Chance(bytes, Mutex::new(0));
        let face = Device::Nvme { controller: &device, nsid: 1 };
        drop(examine(&face, None, &Bench::short(&device)));
        for technique in SANITIZES.into_iter().chain([Technique::NvmeFormatCrypto, Technique::NvmeFormatErase]) {
            let outcome = apply(&face, None, technique, &settings(), &Bench::short(&device));
            assert!(outcome.commands.len() <= 200);
        }
        let running = Running { technique: None, progress: None };
        rejoin(&face, &running, &Bench::short(&device));
    }
}

/// A controller whose sanitize log holds a number that means nothing.
#[derive(Debug)]
struct Vague(Simulated);

impl NvmeController for Vague {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        match data {
            Data::In(buffer) if command.opcode == 2 => {
                buffer[2] = 7;
                Ok(0)
            }
            data => self.0.admin(command, data, limit),
        }
    }
}

#[test]
fn a_log_that_says_nothing_clear_leaves_it_unknown_whether_a_sanitize_runs() {
    let controller = Vague(Simulated::new(Config::default()));
    let device = Device::Nvme { controller: &controller, nsid: 1 };
    let examined = examine(&device, None, &Bench::new(&controller.0)).unwrap();
    assert!(examined.is_standing_unknown && examined.running.is_none());
    assert!(!controller.0.examine().is_standing_unknown);
    // What has no sanitize is not asked.
    let controller = Vague(Simulated::new(Config { sanitize: None, ..Config::default() }));
    let device = Device::Nvme { controller: &controller, nsid: 1 };
    let examined = examine(&device, None, &Bench::new(&controller.0)).unwrap();
    assert!(!examined.is_standing_unknown);
}

#[test]
fn a_certificate_shows_what_the_device_says() {
    let expected = "Simulated NVMe, NVME0001, 1.0, 65536: CMIC=00, OACS=000a, ONCS=000c, FNA=04, VWC=00, \
         SANICAP=40000007, TNVMCAP=10000, UNVMCAP=0, NSZE=80, FLBAS=00, DPS=00, NMIC=00, DLFEAT=09, \
         NSATTR=00, SPROG=ffff, SSTAT=0000, SCDW10=00000000";
    assert_eq!(shown(&Simulated::new(Config::default()).examine()), expected);
}
