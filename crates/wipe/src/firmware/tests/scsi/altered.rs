//! Disks whose answers something on the way alters.

use super::*;

/// A disk one of whose pages of vital product data says something else.
#[derive(Debug)]
struct Altered(Simulated, u8, Vec<u8>);

impl ScsiDevice for Altered {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        match data {
            Data::In(buffer) if command[..3] == [0x12, 1, self.1] => {
                buffer[..self.2.len()].copy_from_slice(&self.2);
                Ok(ScsiAnswer { status: 0, sense: Vec::new(), transferred: buffer.len() })
            }
            data => self.0.execute(command, data, limit),
        }
    }
}

impl Altered {
    fn examine(page: u8, bytes: &[u8]) -> Examined {
        let disk = Self(Simulated::new(Config::default()), page, bytes.to_vec());
        examine(&Device::Scsi { device: &disk }, None, &Bench::new(&disk.0)).unwrap()
    }
}

#[test]
fn a_serial_number_is_as_long_as_its_page_says() {
    let examined = Altered::examine(0x80, b"\0\x80\0\x03ABCDEF");
    assert_eq!(examined.serial.as_deref(), Some("ABC"));
    let examined = Altered::examine(0x80, b"\0\x80\xff\xffABCDEF");
    assert_eq!(examined.serial.as_deref(), Some("ABCDEF"), "no longer than what came");
}

/// SBC-4, table of the WABEREQ and WACEREQ fields: bits 7:6 and 5:4.
#[test]
fn what_must_be_written_before_it_is_read_is_either_field_s_third_value() {
    for byte in 0..=u8::MAX {
        let is_unreadable = byte >> 6 == 3 || byte >> 4 & 3 == 3;
        let examined = Altered::examine(0xb1, &[0, 0xb1, 0, 60, 0, 1, 0, byte]);
        let found = examined.obstacles.contains(&Obstacle::UnreadableAfterSanitize);
        assert_eq!(found, is_unreadable, "{byte:#x}");
    }
}

/// SBC-4, MEDIUM ROTATION RATE: `0401h` to `FFFEh` are revolutions; 1 is none, 0 is not said, others mean nothing.
#[test]
fn a_disk_that_rotates_is_overwritten_first() {
    let time = Duration::from_secs(100);
    let all = SanitizeCapabilities {
        overwrite: true,
        block_erase: true,
        cryptographic_erase: true,
        time,
    };
    for rate in [0, 1, 0x10, 0x0110, 0x0400, 0x0401, 0x1c20, 0xfffe, 0xffff_u16] {
        let config = Config { sanitize: Some(all), ..Config::default() };
        let [high, low] = rate.to_be_bytes();
        let page = vec![0, 0xb1, 0, 60, high, low];
        let disk = Altered(Simulated::new(config), 0xb1, page);
        let device = Device::Scsi { device: &disk };
        let examined = examine(&device, None, &Bench::new(&disk.0)).unwrap();
        let is_overwritten = examined.techniques[0].technique == Technique::ScsiSanitizeOverwrite;
        assert_eq!(is_overwritten, (0x0401..=0xfffe).contains(&rate), "{rate:#x}");
    }
}

/// A disk to which something happens before each command.
#[derive(Debug, Default)]
struct Restless(Mutex<usize>);

impl Clocked for Restless {
    fn advance(&self, _: Duration) {}
}

impl ScsiDevice for Restless {
    fn execute(&self, _: &[u8], _: Data<'_>, _: Duration) -> io::Result<ScsiAnswer> {
        *self.0.lock().unwrap() += 1;
        // BUS DEVICE RESET OCCURRED.
        Ok(ScsiAnswer { status: 2, sense: vec![0x72, 6, 0x29, 3, 0, 0, 0, 0], transferred: 0 })
    }
}

#[test]
fn a_disk_that_never_comes_to_rest_is_not_asked_for_ever() {
    let disk = Restless::default();
    let error = examine(&Device::Scsi { device: &disk }, None, &Bench::new(&disk));
    let words = error.unwrap_err().to_string();
    assert_eq!(words, "the device refused INQUIRY, completion status 0x02");
    assert_eq!(*disk.0.lock().unwrap(), 8);
}

/// A disk that has so much to tell to whoever wants something, and nothing to whoever asks how it is.
#[derive(Debug)]
struct Nervous(Simulated, Mutex<usize>);

impl ScsiDevice for Nervous {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        let mut left = self.1.lock().unwrap();
        if command[0] != 0 || *left == 0 {
            return self.0.execute(command, data, limit);
        }
        *left -= 1;
        // MODE PARAMETERS CHANGED.
        Ok(ScsiAnswer { status: 2, sense: vec![0x72, 6, 0x2a, 1, 0, 0, 0, 0], transferred: 0 })
    }
}

#[test]
fn a_disk_is_asked_eight_times_how_it_is() {
    for (attentions, is_unknown) in [(7, false), (8, true)] {
        let disk = Nervous(Simulated::new(Config::default()), Mutex::new(attentions));
        let device = Device::Scsi { device: &disk };
        let examined = examine(&device, None, &Bench::new(&disk.0)).unwrap();
        assert_eq!(examined.is_standing_unknown, is_unknown, "{attentions}");
    }
}

/// A disk that cannot even say how large it is while its format is cut off, as many do.
#[derive(Debug)]
struct Unformatted(Simulated);

impl ScsiDevice for Unformatted {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        match command[0] {
            // MEDIUM FORMAT CORRUPTED.
            0x9e => Ok(ScsiAnswer {
                status: 2,
                sense: vec![0x72, 3, 0x31, 0, 0, 0, 0, 0],
                transferred: 0,
            }),
            _ => self.0.execute(command, data, limit),
        }
    }
}

#[test]
fn a_disk_whose_format_was_cut_off_is_formatted_without_protection_information() {
    let disk = Unformatted(Simulated::new(Config::default()));
    let device = Device::Scsi { device: &disk };
    let outcome =
        apply(&device, None, Technique::ScsiFormatUnit, &settings(), &Bench::new(&disk.0));
    let sent = outcome.commands.iter().find(|command| command.name == "FORMAT UNIT").unwrap();
    assert_eq!((&*sent.command, outcome.ended), ("041000000000", Ended::Done));
}

/// SBC-4, table of the LBPRZ field, bits 4:2: 1 is zeros, and other values are patterns.
#[test]
fn unmapped_blocks_are_zeros_where_three_bits_are_one() {
    for byte in 0..=u8::MAX {
        let expected = (byte >> 2 & 7 == 1).then_some(Expected::Zeros);
        let examined = Altered::examine(0xb2, &[0, 0xb2, 0, 4, 0, byte]);
        assert_eq!(examined.discarded_reads, expected, "{byte:#x}");
    }
}

/// A disk that takes no SANITIZE, with this status.
#[derive(Debug)]
struct Refusing(Simulated, u8);

impl ScsiDevice for Refusing {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        match command[0] {
            0x48 => Ok(ScsiAnswer { status: self.1, sense: Vec::new(), transferred: 0 }),
            _ => self.0.execute(command, data, limit),
        }
    }
}

/// SAM-5, status codes: BUSY, RESERVATION CONFLICT and TASK SET FULL begin nothing. Others say nothing of that.
#[test]
fn three_statuses_say_that_nothing_was_begun() {
    for status in (4..=0xff).step_by(4) {
        let disk = Refusing(Simulated::new(Config::solid_state()), status);
        let device = Device::Scsi { device: &disk };
        let technique = Technique::ScsiSanitizeBlock;
        let outcome = apply(&device, None, technique, &settings(), &Bench::new(&disk.0));
        let is_refused = matches!(status, 0x08 | 0x18 | 0x28);
        let ended = if is_refused { Ended::Failed } else { Ended::Unknown };
        assert_eq!(outcome.ended, ended, "{status:#x} {:?}", outcome.reason);
        assert_eq!(reason(&outcome).contains("was refused"), is_refused, "{status:#x}");
    }
}

/// A disk with blocks of so many bytes.
#[derive(Debug)]
struct Blocks(Simulated, u32);

impl ScsiDevice for Blocks {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        let [0x9e, ..] = *command else { return self.0.execute(command, data, limit) };
        let Data::In(answer) = data else { return Err(io::ErrorKind::InvalidInput.into()) };
        let result = self.0.execute(command, Data::In(&mut *answer), limit)?;
        answer[8..12].copy_from_slice(&self.1.to_be_bytes());
        Ok(result)
    }
}

#[test]
fn other_blocks_than_two_kinds_are_an_obstacle() {
    let neighbours = |bytes: u32| (0..14).map(move |bit| bytes ^ 1 << bit);
    for bytes in neighbours(512).chain(neighbours(4096)).chain([512, 4096]) {
        let disk = Blocks(Simulated::new(Config::default()), bytes);
        let device = Device::Scsi { device: &disk };
        let examined = examine(&device, None, &Bench::new(&disk.0)).unwrap();
        let is_other = |obstacle: &Obstacle| matches!(obstacle, Obstacle::Sectors { data_bytes, .. } if *data_bytes == bytes);
        let is_obstacle = examined.obstacles.iter().any(is_other);
        assert_eq!(is_obstacle, !matches!(bytes, 512 | 4096), "{bytes}");
    }
}
