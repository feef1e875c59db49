//! eMMC: sanitize and secure erase.

mod transcripts;

use std::io;

use devices::{
    Course,
    mmc::{Card, Config, Error},
};
use disk::command::{Data, MmcCommand};
use protocol::wipe::Expected;

use super::*;

#[derive(Debug)]
struct Simulated(Mutex<Card>);

const BOOT: u8 = 0xb0;

impl Simulated {
    /// A card that is full of what was on it before, in sectors that were written over too.
    fn new(config: Config) -> Self {
        let mut card = Card::new(config);
        let bytes = card.user_sectors() * 512;
        card.write(0, &vec![SECRET; bytes]).unwrap();
        card.write(0, &[SECRET; 512 * 8]).unwrap();
        card.write_boot(1, 0, &[BOOT; 512]);
        Self(Mutex::new(card))
    }

    fn device(&self) -> Device<'_> {
        let size = u64::try_from(self.with(|card| card.user_sectors())).unwrap() * 512;
        Device::Mmc { device: self, size }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Card) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    fn count(&self, byte: u8) -> usize {
        let medium = self.with(|card| card.medium());
        medium.chunks(512).filter(|page| page.iter().all(|found| *found == byte)).count()
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
        self.with(|card| card.advance(by));
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Timeout | Error::NoAnswer => io::ErrorKind::TimedOut.into(),
        Error::NotSupported => io::ErrorKind::Unsupported.into(),
        Error::Invalid => io::ErrorKind::InvalidInput.into(),
        Error::Failed => io::Error::other("failed"),
    }
}

impl MmcDevice for Simulated {
    fn command(
        &self,
        command: &MmcCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> io::Result<[u32; 4]> {
        self.with(|card| {
            let MmcCommand { index, argument, flags, is_write } = *command;
            let answer = match data {
                Data::None => card.command(index, argument, flags, is_write, &mut []),
                Data::In(buffer) => card.command(index, argument, flags, is_write, buffer),
                Data::Out(bytes) => {
                    card.command(index, argument, flags, is_write, &mut bytes.to_vec())
                }
            };
            assert!(card.took() <= limit, "the command was given too little time");
            answer.map_err(io_error)
        })
    }

    fn secure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.with(|card| card.secure_discard(offset, length)).map_err(io_error)
    }
}

const BOTH: [Technique; 2] = [Technique::MmcSanitize, Technique::MmcSecureErase];

#[test]
fn what_a_card_can_is_asked_and_what_it_cannot_reach_is_said() {
    let card = Simulated::new(Config::default());
    let examined = card.examine();
    assert_eq!(offered(&examined), BOTH);
    assert_eq!(examined.techniques[0].expected, Expected::Zeros);
    assert_eq!(examined.native_bytes, Some(1 << 20));
    assert_eq!(examined.out_of_scope, ["boot partitions", "replay protected memory block"]);
    let ones = Simulated::new(Config { erases_to_ones: true, ..Config::default() });
    assert_eq!(ones.examine().techniques[0].expected, Expected::Ones);
    let unable =
        Simulated::new(Config { sanitize: false, secure_erase: false, ..Config::default() });
    assert_eq!(unable.examine().techniques, []);
    for technique in BOTH {
        let outcome = unable.apply(technique);
        assert_eq!((outcome.ended, outcome.commands.len()), (Ended::Failed, 1));
    }
}

#[test]
fn both_erase_the_user_area_with_its_copies_and_not_the_boot_partitions() {
    for technique in BOTH {
        let card = Simulated::new(Config::default());
        assert!(card.count(SECRET) > 2048);
        let outcome = card.apply(technique);
        assert_eq!((outcome.ended, &outcome.reason), (Ended::Done, &None), "{technique:?}");
        assert_eq!((card.count(SECRET), card.count(BOOT)), (0, 1), "{technique:?}");
    }
}

#[test]
fn a_card_without_secure_erase_is_sanitized_all_the_same() {
    let card = Simulated::new(Config { secure_erase: false, ..Config::default() });
    assert_eq!(card.apply(Technique::MmcSanitize).ended, Ended::Done);
    assert_eq!(card.count(SECRET), 0);
}

#[test]
fn a_power_cut_ends_it_and_it_is_done_again() {
    for technique in BOTH {
        let card = Simulated::new(Config::default());
        card.with(|card| card.cut_power_in_erase(0x8000));
        assert_eq!(card.apply(technique).ended, Ended::Failed);
        assert!(card.count(SECRET) > 0);
        assert_eq!(card.examine().running, None);
        assert_eq!(card.apply(technique).ended, Ended::Done);
        assert_eq!(card.count(SECRET), 0);
    }
}

#[test]
fn a_failure_is_told_and_a_card_that_falls_silent_is_unknown() {
    for (course, ended) in
        [(Course::FailsAt(0x4000), Ended::Failed), (Course::SticksAt(0x4000), Ended::Unknown)]
    {
        let config = Config { sanitize_course: course, erase_course: course, ..Config::default() };
        for technique in BOTH {
            let outcome = Simulated::new(config.clone()).apply(technique);
            assert_eq!(outcome.ended, ended, "{technique:?} {course:?}: {:?}", outcome.reason);
        }
    }
}

#[test]
fn a_card_that_lies_is_believed_here_and_found_out_by_reading() {
    let card = Simulated::new(Config { erase_course: Course::Lies, ..Config::default() });
    assert_eq!(card.apply(Technique::MmcSecureErase).ended, Ended::Done);
    assert!(card.count(SECRET) > 2048);
}

/// Its answers are bytes by chance.
#[derive(Debug)]
struct Chance(Vec<u8>, Mutex<usize>);

impl Clocked for Chance {
    fn advance(&self, _: Duration) {}
}

impl Chance {
    fn next(&self) -> u8 {
        let mut at = self.1.lock().unwrap();
        *at = (*at + 1) % self.0.len();
        self.0[*at]
    }
}

impl MmcDevice for Chance {
    fn command(&self, _: &MmcCommand, data: Data<'_>, _: Duration) -> io::Result<[u32; 4]> {
        if let Data::In(buffer) = data {
            buffer.fill_with(|| self.next());
        }
        match self.next() {
            0x11 => Err(io::ErrorKind::TimedOut.into()),
            0x12..0x80 => Ok([4 << 9 | 1 << 8; 4]),
            _ => Ok([0; 4].map(|_: u32| u32::from(self.next()) << 8)),
        }
    }

    fn secure_discard(&self, _: u64, _: u64) -> io::Result<()> {
        if self.next() < 0xf0 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }
}

/// A card with this register.
#[derive(Debug)]
struct Registered([u8; 512]);

impl Clocked for Registered {
    fn advance(&self, _: Duration) {}
}

impl MmcDevice for Registered {
    fn command(&self, _: &MmcCommand, data: Data<'_>, _: Duration) -> io::Result<[u32; 4]> {
        if let Data::In(buffer) = data {
            buffer.copy_from_slice(&self.0);
        }
        Ok([4 << 9 | 1 << 8; 4])
    }

    fn secure_discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// JESD84-B51, table of the extended register: `GP_SIZE_MULT` 154 to 143, `RPMB_SIZE_MULT` 168, `BOOT_SIZE_MULT` 226.
#[test]
fn partitions_are_known_by_their_bytes_and_no_other() {
    for at in 0..512 {
        let mut register = [0; 512];
        register[at] = 1;
        let card = Registered(register);
        let face = Device::Mmc { device: &card, size: 8 << 30 };
        let expected = match at {
            143..=154 => Some("general purpose partitions"),
            168 => Some("replay protected memory block"),
            226 => Some("boot partitions"),
            _ => None,
        };
        let found = examine(&face, None, &Bench::new(&card)).unwrap().out_of_scope;
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), Vec::from_iter(expected));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn no_answer_however_odd_is_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..700)) {
        let device = Chance(bytes, Mutex::new(0));
        let face = Device::Mmc { device: &device, size: 8 << 30 };
        drop(examine(&face, None, &Bench::short(&device)));
        for technique in BOTH {
            let outcome = apply(&face, None, technique, &settings(), &Bench::short(&device));
            assert!(outcome.commands.len() <= 200);
        }
    }
}
