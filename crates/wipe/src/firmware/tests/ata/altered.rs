//! Disks whose answers, or what they are asked, something on the way alters.

use super::*;

/// A disk whose host adapter loses the command that begins a sanitize.
#[derive(Debug)]
struct Losing<'d>(&'d Simulated);

impl ScsiDevice for Losing<'_> {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        // SANITIZE DEVICE, but SANITIZE STATUS EXT.
        if let [0x85, _, _, _, feature, .., 0xb4, _] = *command
            && feature != 0
        {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.0.execute(command, data, limit)
    }
}

#[test]
fn a_sanitize_that_never_arrived_is_not_waited_for_as_long_as_one_that_runs() {
    for was_sanitized in [false, true] {
        let disk = Simulated::new(Config::solid_state());
        if was_sanitized {
            assert_eq!(disk.apply(Technique::AtaSanitizeBlock).ended, Ended::Done);
        }
        let bench = Bench::new(&disk);
        let device = Device::Ata { device: &Losing(&disk) };
        let outcome = apply(&device, None, Technique::AtaSanitizeBlock, &settings(), &bench);
        assert_eq!(outcome.ended, Ended::Unknown, "{was_sanitized}");
        assert!(reason(&outcome).contains("sent and not answered"), "{}", reason(&outcome));
        assert!(bench.elapsed() < HOUR / 4, "{:?}", bench.elapsed());
    }
}

/// A disk behind a bridge that says another size, and cuts its answer off.
#[derive(Debug)]
struct CutOff(Simulated, usize);

impl ScsiDevice for CutOff {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        let answer = self.0.execute(command, data, limit)?;
        let most = if command[0] == 0x9e { self.1 } else { usize::MAX };
        Ok(ScsiAnswer { transferred: answer.transferred.min(most), ..answer })
    }
}

#[test]
fn a_bridge_is_known_by_a_whole_answer_only() {
    for length in 0..=32 {
        let disk = Simulated::new(Config { bridge: Bridge::OtherSize, ..Config::default() });
        let device = CutOff(disk, length);
        let face = Device::Ata { device: &device };
        let examined = examine(&face, None, &Bench::new(&device.0)).unwrap();
        let is_known = matches!(examined.obstacles[..], [Obstacle::Bridge { .. }]);
        assert_eq!(is_known, length >= 12, "{length}");
    }
}

/// A disk that gives up SANITIZE STATUS, with this error and this address.
#[derive(Debug)]
struct Aborting(Simulated, u8, u8);

impl ScsiDevice for Aborting {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        match *command {
            [0x85, _, _, _, 0, .., 0xb4, _] => {
                let mut sense = vec![0x72, 0x0b, 0, 0x1d, 0, 0, 0, 14, 9, 12, 1];
                sense.extend([self.1, 0, 0, 0, self.2, 0, 0, 0, 0, 0, 0x51]);
                Ok(ScsiAnswer { status: 2, sense, transferred: 0 })
            }
            _ => self.0.execute(command, data, limit),
        }
    }
}

/// ACS-4, SANITIZE STATUS EXT: ABORT is bit 2 of the error, the reason stands in the address.
#[test]
fn why_a_disk_gives_up_is_told_from_its_reason() {
    for (error, reason) in
        [0, 4, 0xfb].into_iter().flat_map(|error| (0..=u8::MAX).map(move |reason| (error, reason)))
    {
        let disk = Aborting(Simulated::new(Config::default()), error, reason);
        let device = Device::Ata { device: &disk };
        let examined = examine(&device, None, &Bench::new(&disk.0)).unwrap();
        let is_aborted = error & 4 != 0;
        let found = (
            examined.is_sanitize_failed,
            examined.obstacles.contains(&Obstacle::SanitizeFrozen),
            examined.is_standing_unknown,
        );
        let expected = match reason {
            0 | 1 if is_aborted => (true, false, false),
            3 => (false, true, false),
            _ => (false, false, true),
        };
        assert_eq!(found, expected, "{error} {reason}");
    }
}

/// A disk with sectors of so many bytes.
#[derive(Debug)]
struct Sectors(Simulated, u32);

impl ScsiDevice for Sectors {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        let Data::In(page) = data else { return self.0.execute(command, data, limit) };
        let answer = self.0.execute(command, Data::In(&mut *page), limit)?;
        match *command {
            [0x85, .., 0xec, _] => {}
            // As the host adapter has it: else a bridge is suspected.
            [0x9e, ..] => {
                page[8..12].copy_from_slice(&self.1.to_be_bytes());
                return Ok(answer);
            }
            _ => return Ok(answer),
        }
        // Word 106 says that 117 and 118 count, in words; the last byte makes the sum zero.
        page[212..214].copy_from_slice(&(1_u16 << 14 | 1 << 12).to_le_bytes());
        page[234..238].copy_from_slice(&(self.1 / 2).to_le_bytes());
        page[511] = 0;
        page[511] = page.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        Ok(answer)
    }
}

#[test]
fn other_sectors_than_two_kinds_are_an_obstacle() {
    let neighbours = |bytes: u32| (1..14).map(move |bit| bytes ^ 1 << bit);
    for bytes in neighbours(512).chain(neighbours(4096)).chain([512, 4096]) {
        let disk = Sectors(Simulated::new(Config::default()), bytes);
        let device = Device::Ata { device: &disk };
        let examined = examine(&device, None, &Bench::new(&disk.0)).unwrap();
        let is_other = |obstacle: &Obstacle| matches!(obstacle, Obstacle::Sectors { data_bytes, .. } if *data_bytes == bytes);
        let is_obstacle = examined.obstacles.iter().any(is_other);
        assert_eq!(is_obstacle, !matches!(bytes, 512 | 4096), "{bytes}");
    }
}

/// A disk that says of itself that this is its highest address.
#[derive(Debug)]
struct Native(Simulated, u64);

impl ScsiDevice for Native {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        let [0x85, .., 0x27, _] = *command else { return self.0.execute(command, data, limit) };
        let lba = self.1.to_le_bytes();
        let mut sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 14, 9, 12, 1, 0, 0, 0];
        sense.extend([lba[3], lba[0], lba[4], lba[1], lba[5], lba[2], 0x40, 0x50]);
        Ok(ScsiAnswer { status: 2, sense, transferred: 0 })
    }
}

#[test]
fn hidden_sectors_are_counted_in_48_bits() {
    for highest in [127, 0xffff, 1 << 16, 1 << 32, (1 << 48) - 1] {
        let disk = Native(Simulated::new(Config::default()), highest);
        let device = Device::Ata { device: &disk };
        let examined = examine(&device, None, &Bench::new(&disk.0)).unwrap();
        assert_eq!(examined.native_bytes, Some((highest + 1) * 512), "{highest:#x}");
    }
}
