//! Clears the TPM: all that was ever sealed to it is lost.
//!
//! TPM 2.0 Library, part 3: `TPM2_Clear` (24.6) with an empty authorization, seen in `TPM2_ReadClock` (29.1), whose clock and
//! counts begin anew. Where that is refused, the firmware is asked to do it at the next start (TCG PC Client Physical
//! Presence Interface 1.30, section 9).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

/// Through the kernel's resource manager, else directly.
const DEVICES: [&str; 2] = ["/dev/tpmrm0", "/dev/tpm0"];

/// Where the firmware is asked. Linux, `Documentation/ABI/testing/sysfs-driver-ppi`.
const PRESENCE: &str = "/sys/class/tpm/tpm0/ppi";

/// Requests that clear a TPM 2.0: alone, and with what switches it on.
const REQUESTS: [u32; 3] = [5, 14, 22];

/// Who may clear (part 2, table 28): `TPM_RH_LOCKOUT`, whose authorization is empty until somebody sets it, and
/// `TPM_RH_PLATFORM`, which firmware as a rule keeps to itself.
const HIERARCHIES: [u32; 2] = [0x4000_000a, 0x4000_000c];

/// `TPM_ST_NO_SESSIONS` and `TPM_ST_SESSIONS` (part 2, table 19).
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// `TPM_CC_Clear` and `TPM_CC_ReadClock` (part 2, table 12).
const CLEAR: u32 = 0x126;
const READ_CLOCK: u32 = 0x181;
/// `TPM_RS_PW`: the authorization is a password.
const PASSWORD: u32 = 0x4000_0009;

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 4096;

/// Clears it. Returns what was removed, or why nothing was, or not yet.
pub(super) fn clear() -> Result<Vec<String>, String> {
    let Some(path) = DEVICES.iter().find(|path| Path::new(path).exists()) else {
        return Err("this machine shows no TPM".to_owned());
    };
    let cleared = Device::open(path).and_then(|mut device| {
        clear_with(&mut |command| device.send(command)).map_err(io::Error::other)
    });
    match cleared {
        Ok(()) => Ok(vec!["all keys and objects of the TPM's owner".to_owned()]),
        Err(error) => match ask_firmware(Path::new(PRESENCE)) {
            Ok(who) => Err(format!(
                "not done yet: the TPM refuses ({error}); the firmware was asked to clear it, and does that at the next \
                 start{}",
                match who {
                    Who::System => "",
                    Who::Person => ", where it waits until somebody at the machine confirms it",
                }
            )),
            Err(firmware) => Err(format!("{error}; and the firmware cannot be asked: {firmware}")),
        },
    }
}

/// Sends a command, and returns the answer.
type Send<'s> = &'s mut dyn FnMut(&[u8]) -> io::Result<Vec<u8>>;

fn clear_with(send: Send<'_>) -> Result<(), String> {
    let before = clock(send)?;
    let mut refusals = Vec::new();
    for hierarchy in HIERARCHIES {
        let answer = send(&command(CLEAR, Some(hierarchy)))
            .map_err(|error| format!("sending TPM2_Clear: {error}"))?;
        match code(&answer) {
            Some(0) => {
                let after = clock(send)?;
                // The clock of a TPM that was cleared begins at zero, and nothing else lets it go back.
                return if after.resets == 0 && after.milliseconds <= before.milliseconds {
                    Ok(())
                } else {
                    Err("the TPM says that it was cleared, and its clock says that it was not"
                        .to_owned())
                };
            }
            Some(code) => refusals.push(format!("{code:#x}")),
            None => return Err("the TPM answers nonsense".to_owned()),
        }
    }
    Err(format!("TPM2_Clear: {}", refusals.join(", ")))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clock {
    milliseconds: u64,
    resets: u32,
}

fn clock(send: Send<'_>) -> Result<Clock, String> {
    let answer = send(&command(READ_CLOCK, None))
        .map_err(|error| format!("sending TPM2_ReadClock: {error}"))?;
    // After the header, the time since power-on; then TPMS_CLOCK_INFO (part 2, 10.11.1).
    let read = || {
        let milliseconds = u64::from_be_bytes(answer.get(18..26)?.try_into().ok()?);
        let resets = u32::from_be_bytes(answer.get(26..30)?.try_into().ok()?);
        (code(&answer)? == 0).then_some(Clock { milliseconds, resets })
    };
    read().ok_or_else(|| "the TPM does not say what its clock is".to_owned())
}

/// Returns a command without parameters; with a handle, authorized by an empty password.
fn command(code: u32, handle: Option<u32>) -> Vec<u8> {
    let mut body = code.to_be_bytes().to_vec();
    if let Some(handle) = handle {
        body.extend(handle.to_be_bytes());
        // TPMS_AUTH_COMMAND (part 2, 10.13.2), after its length: session, no nonce, no attributes, no password.
        body.extend(9_u32.to_be_bytes());
        body.extend(PASSWORD.to_be_bytes());
        body.extend([0, 0, 0, 0, 0]);
    }
    let tag = if handle.is_some() { SESSIONS } else { NO_SESSIONS };
    let length = u32::try_from(body.len() + 6).unwrap_or(u32::MAX);
    [&tag.to_be_bytes()[..], &length.to_be_bytes(), &body].concat()
}

/// Returns an answer's response code.
fn code(answer: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(answer.get(6..10)?.try_into().ok()?))
}

struct Device(File);

impl Device {
    fn open(path: &str) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(path).map(Self)
    }

    fn send(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut answer = vec![0; ANSWER_LIMIT];
        let length = self.0.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}

/// Whom the firmware asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Nobody but the system.
    System,
    /// A person at its console, too. Until then the machine does not go on.
    Person,
}

/// Asks the firmware to clear it at the next start, and returns whom it asks then.
fn ask_firmware(presence: &Path) -> Result<Who, String> {
    let operations = fs::read_to_string(presence.join("tcg_operations"))
        .map_err(|_| "it has no interface for that".to_owned())?;
    let (request, who) = allowed(&operations).ok_or("it does not let the system ask for that")?;
    let file = presence.join("request");
    fs::write(&file, format!("{request}\n")).map_err(|error| error.to_string())?;
    let noted = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    if noted.split_whitespace().next() == Some(&request.to_string()) {
        Ok(who)
    } else {
        Err("it took the request and forgot it".to_owned())
    }
}

/// Returns the request that the firmware allows the system; best one that asks no person. A line is `5 4: …`: the request,
/// and who may ask it (3: the system, and a person confirms it; 4: the system alone).
fn allowed(operations: &str) -> Option<(u32, Who)> {
    let who = |request: u32| {
        let mut lines = operations.lines().filter_map(|line| line.split_once(' '));
        let (_, rest) = lines.find(|(number, _)| number.parse() == Ok(request))?;
        rest.split(':').next()?.trim().parse::<u32>().ok()
    };
    let by = |wanted| REQUESTS.into_iter().find(move |request| who(*request) == Some(wanted));
    let alone = by(4).map(|request| (request, Who::System));
    alone.or_else(|| by(3).map(|request| (request, Who::Person)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TPM that was on for a while, and clears itself for who has this hierarchy.
    fn tpm(clears_for: u32, resets_clock: bool) -> impl FnMut(&[u8]) -> io::Result<Vec<u8>> {
        let mut clock = (700_000_u64, 12_u32);
        move |command: &[u8]| {
            let code = u32::from_be_bytes(command[6..10].try_into().unwrap());
            let length = u32::try_from(command.len()).unwrap();
            assert_eq!(command[2..6], length.to_be_bytes());
            if code == READ_CLOCK {
                let mut answer = vec![0x80, 1, 0, 0, 0, 35, 0, 0, 0, 0];
                answer.extend(99_u64.to_be_bytes());
                answer.extend(clock.0.to_be_bytes());
                answer.extend(clock.1.to_be_bytes());
                answer.extend([0, 0, 0, 0, 1]);
                return Ok(answer);
            }
            let handle = u32::from_be_bytes(command[10..14].try_into().unwrap());
            if handle != clears_for {
                return Ok(vec![0x80, 1, 0, 0, 0, 10, 0, 0, 9, 0xa2]);
            }
            if resets_clock {
                clock = (0, 0);
            }
            Ok(vec![0x80, 2, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
    }

    #[test]
    fn the_command_is_as_the_specification_has_it() {
        let expected = [
            0x80, 2, 0, 0, 0, 27, 0, 0, 1, 0x26, 0x40, 0, 0, 0x0a, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0,
            0, 0, 0,
        ];
        assert_eq!(command(CLEAR, Some(HIERARCHIES[0])), expected);
        assert_eq!(command(READ_CLOCK, None), [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81]);
    }

    #[test]
    fn whoever_may_clear_it_does() {
        for hierarchy in HIERARCHIES {
            assert_eq!(clear_with(&mut tpm(hierarchy, true)), Ok(()));
        }
    }

    #[test]
    fn a_refusal_is_named_and_a_clock_that_went_on_is_believed() {
        let refused = clear_with(&mut tpm(1, true)).unwrap_err();
        assert_eq!(refused, "TPM2_Clear: 0x9a2, 0x9a2");
        assert!(clear_with(&mut tpm(HIERARCHIES[0], false)).is_err());
        let nonsense = clear_with(&mut |_: &[u8]| Ok(vec![0x80, 1, 0]));
        assert!(nonsense.is_err());
    }

    #[test]
    fn the_firmware_is_asked_for_what_it_allows() {
        let lines =
            "0 4: User not required\n5 3: User required\n14 2: Blocked for OS by system firmware\n";
        assert_eq!(allowed(lines), Some((5, Who::Person)));
        assert_eq!(allowed(&format!("{lines}22 4: User not required\n")), Some((22, Who::System)));
        assert_eq!(allowed("5 0: Not implemented\n14 1: Firmware only\n"), None);
    }

    #[test]
    fn a_request_counts_once_it_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        assert!(ask_firmware(directory.path()).is_err());
        fs::write(directory.path().join("tcg_operations"), "22 3: User required\n").unwrap();
        ask_firmware(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(directory.path().join("request")).unwrap(), "22\n");
    }
}
