//! Controllers on whose way something is lost or altered.

use super::*;

/// A controller that never gets SANITIZE, and to whose description something is done.
#[derive(Debug)]
struct Between {
    controller: Simulated,
    /// Whether whoever sends SANITIZE hears that it was taken, where it is not passed on.
    swallows: Option<bool>,
    /// Of IDENTIFY CONTROLLER: from here on other bytes.
    altered: (usize, Vec<u8>),
}

impl NvmeController for Between {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        match (command.opcode, data) {
            (0x84, _) if self.swallows == Some(true) => Ok(0),
            (0x84, _) if self.swallows == Some(false) => {
                Err(NvmeFailure::NoAnswer(io::ErrorKind::TimedOut.into()))
            }
            (0x06, Data::In(buffer)) if command.dwords[0] == 1 => {
                self.controller.admin(command, Data::In(&mut *buffer), limit)?;
                let (at, bytes) = &self.altered;
                buffer[*at..at + bytes.len()].copy_from_slice(bytes);
                Ok(0)
            }
            (_, data) => self.controller.admin(command, data, limit),
        }
    }
}

impl Between {
    fn new(swallows: Option<bool>, altered: (usize, Vec<u8>)) -> Self {
        Self { controller: Simulated::new(Config::default()), swallows, altered }
    }

    fn device(&self) -> Device<'_> {
        Device::Nvme { controller: self, nsid: 1 }
    }
}

#[test]
fn a_sanitize_that_never_arrived_is_not_waited_for_as_long_as_one_that_runs() {
    for (is_taken, ended, words) in [
        (true, Ended::Failed, "the log says as before that nothing ran"),
        (false, Ended::Unknown, "the log does not show it"),
    ] {
        let between = Between::new(Some(is_taken), (0, Vec::new()));
        let bench = Bench::new(&between.controller);
        let technique = Technique::NvmeSanitizeBlock;
        let outcome = apply(&between.device(), None, technique, &settings(), &bench);
        assert_eq!(outcome.ended, ended, "{:?}", outcome.reason);
        assert!(reason(&outcome).contains(words), "{}", reason(&outcome));
        assert!(bench.elapsed() < HOUR / 4, "{:?}", bench.elapsed());
    }
}

/// Base specification, Identify Controller: TNVMCAP, 0 where there is no such number.
#[test]
fn a_controller_s_size_is_what_it_says_unless_that_is_nothing() {
    for (bytes, expected) in [(0_u64, None), (1, Some(1)), (1 << 40, Some(1 << 40))] {
        let between = Between::new(None, (280, bytes.to_le_bytes().to_vec()));
        let bench = Bench::new(&between.controller);
        let examined = examine(&between.device(), None, &bench).unwrap();
        assert_eq!(examined.native_bytes, expected);
    }
}
