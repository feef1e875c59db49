//! TPMs: Debian's swtpm, which machines use, and which a case asks itself while they are off.
//!
//! TPM 2.0 Library, part 2 (structures) and part 3 (commands).

use std::{
    ffi::OsString,
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::Machine;
use crate::{
    lab::{Lab, START_PATIENCE},
    process::Process,
    wait,
};

/// `TPM_RH_OWNER` and `TPM_RH_LOCKOUT` (part 2, table 28).
const OWNER: u32 = 0x4000_0001;
const LOCKOUT: u32 = 0x4000_000a;
/// `TPM_CC_HierarchyChangeAuth` and `TPM_CC_CreatePrimary` (part 2, table 12).
const CHANGE_AUTHORIZATION: u32 = 0x129;
const CREATE_PRIMARY: u32 = 0x131;
/// `TPM_ST_SESSIONS` (part 2, table 19).
const SESSIONS: u16 = 0x8002;
/// `TPM_RS_PW`: the authorization is a password.
const PASSWORD: u32 = 0x4000_0009;

/// What follows from the owner's seed alone, so that it is another key after the TPM was cleared: an elliptic storage key
/// as systems seal keys of disks under. `TPMT_PUBLIC` (part 2, 12.2.4): ECC, SHA-256, its attributes, no policy,
/// AES-128-CFB, no scheme, P-256, no derivation, nothing of the point.
const STORAGE_KEY: [u8; 26] = [
    0, 0x23, 0, 0x0b, 0, 3, 4, 0x72, 0, 0, 0, 6, 0, 128, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10, 0, 0, 0,
    0,
];

/// How a machine reaches its TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// As firmware TPMs are.
    Crb,
    /// As chips on a board are.
    Tis,
}

/// A TPM: what it keeps.
#[derive(Debug)]
pub(crate) struct Tpm {
    state: PathBuf,
}

impl Tpm {
    /// Makes a new one.
    pub(crate) fn new(lab: &Lab) -> Result<Tpm> {
        let state = lab.scratch("tpm");
        fs::create_dir(&state).context("making a place for a TPM")?;
        Ok(Tpm { state })
    }

    /// Puts it into a machine; what comes back has to be kept while that is switched on.
    pub(crate) fn powers(
        &self,
        lab: &Lab,
        machine: Machine,
        interface: Interface,
    ) -> Result<(Machine, Process)> {
        let socket = lab.scratch("tpm.control");
        let process = self.start(lab, "--ctrl", &socket, &[])?;
        let device = match interface {
            Interface::Crb => "tpm-crb,tpmdev=tpm",
            Interface::Tis => "tpm-tis,tpmdev=tpm",
        };
        let machine = machine
            .fitted("-chardev", format!("socket,id=tpm,path={}", socket.display()))
            .fitted("-tpmdev", "emulator,id=tpm,chardev=tpm".to_owned())
            .fitted("-device", device.to_owned());
        Ok((machine, process))
    }

    /// Returns the public part of the key under which systems seal theirs. Its machine must be off.
    pub(crate) fn storage_key(&self, lab: &Lab) -> Result<Vec<u8>> {
        // Neither a password nor data of the caller's, what it is to be, and nothing about how it came to be.
        let wanted = [&[0, 4, 0, 0, 0, 0, 0, 26][..], &STORAGE_KEY, &[0; 6]].concat();
        let answer = self.tell(lab, &command(CREATE_PRIMARY, OWNER, &wanted))?;
        // Header, handle, and how long what follows is.
        let length = answer.get(18..20).context("an answer that is cut short")?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        Ok(answer.get(20..20 + length).context("a key that is cut short")?.to_vec())
    }

    /// Sets a password without which a system cannot clear it. Its machine must be off.
    pub(crate) fn lock(&self, lab: &Lab) -> Result<()> {
        let answer = self.tell(lab, &command(CHANGE_AUTHORIZATION, LOCKOUT, b"\0\x06secret"))?;
        ensure!(answer.len() > 10, "no session in {answer:?}");
        Ok(())
    }

    /// Switches it on, has it carry out one command, and switches it off again.
    fn tell(&self, lab: &Lab, command: &[u8]) -> Result<Vec<u8>> {
        let socket = lab.scratch("tpm.server");
        let mut process = self.start(lab, "--server", &socket, &["--flags", "startup-clear"])?;
        let mut stream = UnixStream::connect(&socket).context("connecting to the TPM")?;
        stream.set_read_timeout(Some(START_PATIENCE)).context("having patience with the TPM")?;
        stream.write_all(command).context("telling the TPM")?;
        let mut answer = vec![0; 10];
        stream.read_exact(&mut answer).context("hearing the TPM")?;
        let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|place| answer[at + place]));
        let (length, code) = (number(2), number(6));
        ensure!(code == 0, "the TPM answers {code:#x}");
        answer.resize(usize::try_from(length).context("an answer's length")?, 0);
        stream.read_exact(&mut answer[10..]).context("hearing the TPM")?;
        process.kill()?;
        Ok(answer)
    }

    fn start(&self, lab: &Lab, door: &str, socket: &Path, more: &[&str]) -> Result<Process> {
        let state = format!("dir={}", self.state.display());
        let door_at = format!("type=unixio,path={}", socket.display());
        let words = ["socket", "--tpm2", "--tpmstate", &state, door, &door_at];
        let words: Vec<OsString> = words.iter().chain(more).map(OsString::from).collect();
        if socket.exists() {
            fs::remove_file(socket).context("removing a socket")?;
        }
        let log = lab.log("tpm.log");
        let mut process = Process::start(&lab.switch(), "swtpm", Path::new("swtpm"), &words, &log)?;
        wait::until("the TPM's socket", START_PATIENCE, || {
            process.must_run()?;
            Ok(socket.exists().then_some(()))
        })?;
        Ok(process)
    }
}

/// Returns a command about one handle, authorized by an empty password.
fn command(code: u32, handle: u32, parameters: &[u8]) -> Vec<u8> {
    let mut body = [code, handle, 9, PASSWORD].map(u32::to_be_bytes).concat();
    // No nonce, no attributes, no password.
    body.extend([0; 5]);
    body.extend(parameters);
    let length = u32::try_from(body.len() + 6).expect("a short command");
    [&SESSIONS.to_be_bytes()[..], &length.to_be_bytes(), &body].concat()
}
