//! `idle` on devices that fail the test when they are written to, or sent anything that is no question.

use std::{io, sync::Mutex, time::Duration};

use devices::{
    Course,
    ata::{self, Freezing},
    nvme,
};
use disk::{
    Medium, Zeroing,
    command::{Data, NvmeCommand, NvmeController, NvmeFailure, ScsiAnswer, ScsiDevice},
};
use protocol::{
    order::DiskIdentity,
    wipe::{DiskForecast, Outcome, PowerLevel, Technique, Verdict, WipeStep, WipeStepKind},
};
use wipe::{
    Gate, Handling, Opening, Part,
    firmware::{Device, Reach},
    plan::MediumKind,
    unit::{self, Terms},
};

use crate::{
    nvme::Simulated,
    watcher::{Clocked, Watcher, order},
};

/// A device that is only asked, and a medium that is only read.
#[derive(Debug)]
struct Witness {
    nvme: Option<Simulated>,
    ata: Option<Mutex<ata::Disk>>,
    asked: Mutex<u32>,
}

impl Clocked for Witness {
    fn advance(&self, _: Duration) {
        panic!("there is nothing to wait for");
    }
}

impl NvmeController for Witness {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        // Get Log Page, Identify, Get Features.
        assert!([2, 6, 10].contains(&command.opcode), "{command:?}");
        assert!(!matches!(data, Data::Out(_)), "{command:?}");
        *self.asked.lock().unwrap() += 1;
        self.nvme.as_ref().unwrap().admin(command, data, limit)
    }
}

impl ScsiDevice for Witness {
    fn execute(&self, command: &[u8], data: Data<'_>, _: Duration) -> io::Result<ScsiAnswer> {
        // ATA PASS-THROUGH (16): IDENTIFY DEVICE, the logs, and what is a question by its feature.
        let is_question = match command {
            [0x85, _, _, _, feature, _, _, _, _, _, _, _, _, _, code, ..] => {
                [0xec, 0x2f, 0x47, 0x27, 0xf8, 0xe5].contains(code)
                    || [(0xb4, 0), (0x78, 0), (0xb1, 0xc2)].contains(&(*code, *feature))
            }
            // INQUIRY, READ CAPACITY (10) and (16).
            [0x12 | 0x25, ..] | [0x9e, 0x10, ..] => true,
            _ => false,
        };
        assert!(is_question && !matches!(data, Data::Out(_)), "{command:02x?}");
        *self.asked.lock().unwrap() += 1;
        let mut disk = self.ata.as_ref().unwrap().lock().unwrap();
        let answer = match data {
            Data::In(buffer) => disk.execute(command, buffer),
            _ => disk.execute(command, &mut []),
        };
        let answer = answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let devices::Answer { status, sense, transferred } = answer;
        Ok(ScsiAnswer { status, sense, transferred })
    }
}

impl Medium for Witness {
    fn size_bytes(&self) -> u64 {
        64 << 10
    }

    fn sector_bytes(&self) -> u32 {
        512
    }

    fn read(&self, _: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0x5a);
        Ok(())
    }

    fn write(&self, offset: u64, _: &[u8]) -> io::Result<()> {
        panic!("written at {offset}")
    }

    fn zero(&self, offset: u64, _: u64) -> io::Result<Zeroing> {
        panic!("zeroed at {offset}")
    }

    fn flush(&self) -> io::Result<()> {
        panic!("flushed")
    }
}

impl Handling for Witness {
    fn discards(&self) -> bool {
        true
    }

    fn discard(&self, offset: u64, _: u64) -> io::Result<()> {
        panic!("discarded at {offset}")
    }

    fn refresh(&self) -> io::Result<()> {
        panic!("looked at again")
    }
}

impl Witness {
    fn nvme(config: nvme::Config) -> Self {
        Self { nvme: Some(Simulated::new(config)), ata: None, asked: Mutex::default() }
    }

    fn ata(config: ata::Config) -> Self {
        let ata = Some(Mutex::new(ata::Disk::new(config)));
        Self { nvme: None, ata, asked: Mutex::default() }
    }

    /// Looks, with all that an order may say, and with the password of an earlier order.
    fn look(&self) -> DiskForecast {
        let mut wipe = order(PowerLevel::Idle);
        wipe.options.unfreeze = true;
        wipe.options.lift_hidden = true;
        let password = WipeStepKind::AtaPassword { password: "7".repeat(64) };
        wipe.journal = vec![WipeStep { disk: 0, kind: password }];
        let journal = Mutex::default();
        let watch =
            Watcher { device: self, has_server: false, journal: &journal, now: Mutex::default() };
        let device = match self.nvme {
            Some(_) => Device::Nvme { controller: self, nsid: 1 },
            None => Device::Ata { device: self },
        };
        let part = Part {
            number: 0,
            identity: DiskIdentity::default(),
            name: "sda".to_owned(),
            transport: None,
            medium: self,
            kind: MediumKind::Flash,
            device,
            may: Reach::Everything,
            withheld: None,
            opal: None,
            filesystems: None,
            handling: self,
            watch: &watch,
        };
        let (gate, now) = (Gate::new(1), || 1_700_000_000_000);
        gate.open(Opening::Go);
        let reports = unit::wipe(&[part], Terms { wipe: &wipe, gate: &gate, now: &now });
        let [report] = reports.as_slice() else { panic!("{reports:?}") };
        assert_eq!((report.verdict, report.reached), (Verdict::NotErased, Outcome::None));
        assert_eq!(report.techniques, []);
        let over = WipeStepKind::Over { verdict: Verdict::NotErased };
        assert_eq!(*journal.lock().unwrap(), [over]);
        assert!(*self.asked.lock().unwrap() > 0, "nobody was asked");
        let forecast = report.forecast.clone().expect("that is what idle is for");
        let levels: Vec<PowerLevel> = forecast.levels.iter().map(|one| one.level).collect();
        assert_eq!(levels, wipe::forecast::LEVELS);
        forecast
    }
}

fn redline(forecast: &DiskForecast) -> (Outcome, Vec<Technique>) {
    let redline = forecast.levels.last().unwrap();
    let first = redline.ways.iter().filter_map(|way| way.techniques.first().copied());
    (redline.reaches, first.collect())
}

#[test]
fn an_nvme_disk_is_only_asked_however_it_stands() {
    let forecast = Witness::nvme(nvme::Config::default()).look();
    assert_eq!(redline(&forecast).0, Outcome::Purge, "{forecast:?}");
    let none = nvme::Config { sanitize: None, format: None, ..nvme::Config::default() };
    let forecast = Witness::nvme(none).look();
    assert_eq!(redline(&forecast), (Outcome::Clear, vec![Technique::KeyedStream]));
    for course in [Course::Lies, Course::SticksAt(655), Course::FailsAt(1)] {
        let config = nvme::Config { sanitize_course: course, ..nvme::Config::default() };
        Witness::nvme(config).look();
    }
}

#[test]
fn an_ata_disk_is_only_asked_however_it_stands() {
    for freezing in [Freezing::Never, Freezing::Always] {
        for config in [ata::Config::default(), ata::Config::solid_state()] {
            let forecast = Witness::ata(ata::Config { freezing, ..config }).look();
            // It is frozen, and the order has it unfrozen.
            assert_eq!(redline(&forecast).0, Outcome::Purge, "{forecast:?}");
        }
    }
    let hidden = ata::Config { maximum_address: Some(63), ..ata::Config::default() };
    let forecast = Witness::ata(hidden).look();
    assert!(forecast.obstacles.iter().any(|one| one.code == "hiddenSectors"), "{forecast:?}");
}

#[test]
fn a_locked_disk_keeps_its_password_and_a_running_sanitize_is_not_waited_for() {
    let locked = ata::Disk::new(ata::Config::solid_state());
    let locked = Witness { nvme: None, ata: Some(Mutex::new(locked)), asked: Mutex::default() };
    {
        // SECURITY SET PASSWORD, user, by somebody else; then the power is cut.
        let mut disk = locked.ata.as_ref().unwrap().lock().unwrap();
        let mut page = [0; 512];
        page[2..34].fill(7);
        let mut command = [0; 16];
        (command[0], command[1], command[2], command[6], command[14]) = (0x85, 5 << 1, 6, 1, 0xf1);
        disk.execute(&command, &mut page).unwrap();
        disk.power_cut();
    }
    let forecast = locked.look();
    assert!(forecast.obstacles.iter().any(|one| one.code == "locked"), "{forecast:?}");
    assert!(locked.ata.unwrap().into_inner().unwrap().read(0, 1).is_err(), "it was unlocked");

    let running = Simulated::new(nvme::Config {
        sanitize_course: Course::SticksAt(655),
        ..nvme::Config::default()
    });
    // Sanitize, block erase.
    let command = NvmeCommand { opcode: 0x84, nsid: 0, dwords: [2, 0, 0, 0, 0, 0] };
    running.admin(&command, Data::None, Duration::from_secs(1)).unwrap();
    let running = Witness { nvme: Some(running), ata: None, asked: Mutex::default() };
    let forecast = running.look();
    assert!(forecast.obstacles.iter().any(|one| one.code == "running"), "{forecast:?}");
}
