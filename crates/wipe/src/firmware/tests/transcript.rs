//! Every byte between engine and devices, in files that a person can compare with the specifications: one flipped bit on
//! either side is another transcript. What a transcript means is tested elsewhere; that it stays the same, here.
//!
//! ```text
//! == what it is
//! > 48a10000000000000800 +01000004 60s     a command, what it carries, how long it may take
//! < 02 7202041b 20:ff                      its answer: status, sense data, and of the data what is not zero, from a place on
//! ```
//!
//! Where somebody asks the same again and again, the first two and the last are kept, and an answer that is the one of
//! the time before is not written again. `TRANSCRIPTS=write` writes them
//! anew, to be read before they are committed.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, io, path::Path};

use disk::command::{
    Data, MmcCommand, NvmeCommand, NvmeFailure, OpalFailure, OpalStatus, ScsiAnswer,
};

use super::*;

/// A device whose exchanges are written down.
#[derive(Debug)]
pub(super) struct Recorded<'d, D> {
    pub(super) device: &'d D,
    text: Mutex<Vec<(String, String)>>,
}

impl<'d, D> Recorded<'d, D> {
    pub(super) fn new(device: &'d D) -> Self {
        Self { device, text: Mutex::default() }
    }

    fn write(&self, asked: String, answered: String) {
        let mut text = self.text.lock().unwrap();
        // Of what is asked again and again the first two and the last.
        if let [.., first, second, last] = &mut text[..]
            && [&first.0, &second.0, &last.0].into_iter().all(|question| *question == asked)
        {
            last.1 = answered;
        } else {
            text.push((asked, answered));
        }
    }
}

/// What is tried with devices of a kind.
#[derive(Debug)]
pub(super) struct Trial<D> {
    pub(super) techniques: &'static [Technique],
    /// How the engine is shown one.
    pub(super) face: for<'r> fn(&'r Recorded<'_, D>) -> Device<'r>,
    /// Whether it is examined once more after each technique.
    pub(super) is_examined_after: bool,
}

/// A transcript as it grows.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    text: String,
    /// How each question was answered last.
    answers: BTreeMap<String, String>,
}

impl Transcript {
    /// Adds how a device is examined, and how another one like it erases itself, for each technique.
    pub(super) fn add_all<D: Clocked>(
        &mut self,
        name: &str,
        trial: &Trial<D>,
        device: impl Fn() -> D,
    ) {
        let disk = device();
        let recorded = Recorded::new(&disk);
        let examined = examine(&(trial.face)(&recorded), None, &Bench::new(&disk));
        self.add(&format!("{name}, examined"), &recorded, &lines(&examined));
        for &technique in trial.techniques {
            let disk = device();
            let recorded = Recorded::new(&disk);
            let watch = Bench::new(&disk);
            let outcome = apply(&(trial.face)(&recorded), None, technique, &settings(), &watch);
            self.add(&format!("{name}, {technique:?}"), &recorded, &ended(&outcome));
            if trial.is_examined_after {
                let again = Recorded::new(&disk);
                let examined = lines(&examine(&(trial.face)(&again), None, &Bench::new(&disk)));
                let title = format!("{name}, examined after {technique:?}");
                self.add(&title, &Recorded::new(&disk), &examined);
            }
        }
    }

    /// Adds what the engine makes of devices that answer by chance, without the answers: which field comes from where.
    pub(super) fn add_chance<D: Clocked>(
        &mut self,
        seeds: u64,
        trial: &Trial<D>,
        device: impl Fn(Vec<u8>) -> D,
    ) {
        for seed in 0..seeds {
            let disk = device(chance(seed));
            let recorded = Recorded::new(&disk);
            let face = (trial.face)(&recorded);
            let examined = lines(&examine(&face, None, &Bench::short(&disk)));
            self.add(&format!("chance {seed}, examined"), &Recorded::new(&disk), &examined);
            for &technique in trial.techniques {
                let watch = Bench::short(&disk);
                let outcome = apply(&face, None, technique, &super::settings(), &watch);
                let title = format!("chance {seed}, {technique:?}");
                self.add(&title, &Recorded::new(&disk), &ended(&outcome));
            }
        }
    }

    /// Adds what was exchanged, and what came of it.
    pub(super) fn add<D>(&mut self, title: &str, recorded: &Recorded<'_, D>, result: &str) {
        let _ = writeln!(self.text, "== {title}");
        for (asked, answered) in recorded.text.lock().unwrap().drain(..) {
            let is_same = self.answers.get(&asked) == Some(&answered);
            let words = if is_same { "as before" } else { answered.trim_end() };
            let _ = writeln!(self.text, "> {asked}\n< {words}");
            self.answers.insert(asked, answered);
        }
        let _ = writeln!(self.text, "{}", result.trim_end());
    }

    /// Compares it with the one that is kept.
    pub(super) fn compare(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("src/firmware/tests/transcripts/{name}.txt"));
        if env::var_os("TRANSCRIPTS").is_some_and(|value| value == "write") {
            fs::write(&path, &self.text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let (mut ours, mut theirs) = (self.text.lines(), kept.lines());
        let mut title = "";
        for number in 1.. {
            let (our, their) = (ours.next(), theirs.next());
            title = their.filter(|line| line.starts_with("==")).unwrap_or(title);
            assert_eq!(our, their, "{} line {number}, {title}", path.display());
            if our.is_none() {
                break;
            }
        }
    }
}

/// What a command carries.
fn carried(data: &Data<'_>) -> String {
    match data {
        Data::Out(bytes) => format!(" +{}", spots(bytes)),
        Data::In(buffer) => format!(" {}", buffer.len()),
        Data::None => String::new(),
    }
}

/// The bytes that are not zero, and where they begin.
fn spots(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut is_within = false;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == 0 {
            is_within = false;
            continue;
        }
        if !is_within {
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}{at}:");
            is_within = true;
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Sends a command, and returns its answer with what it brought.
fn read<T>(data: Data<'_>, send: impl FnOnce(Data<'_>) -> T) -> (T, String) {
    match data {
        Data::In(buffer) => {
            let result = send(Data::In(&mut *buffer));
            (result, spots(buffer))
        }
        other => (send(other), String::new()),
    }
}

impl<D: ScsiDevice> ScsiDevice for Recorded<'_, D> {
    fn execute(&self, command: &[u8], data: Data<'_>, limit: Duration) -> io::Result<ScsiAnswer> {
        let asked = format!("{}{} {limit:?}", bytes::hex(command), carried(&data));
        let (result, found) = read(data, |data| self.device.execute(command, data, limit));
        let answered = match &result {
            Ok(answer) => format!("{:02x} {} {found}", answer.status, bytes::hex(&answer.sense)),
            Err(error) => format!("{:?}", error.kind()),
        };
        self.write(asked, answered);
        result
    }
}

impl<D: NvmeController> NvmeController for Recorded<'_, D> {
    fn admin(
        &self,
        command: &NvmeCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> Result<u32, NvmeFailure> {
        let NvmeCommand { opcode, nsid, dwords } = command;
        let asked = format!("{opcode:02x} {nsid:x} {dwords:x?}{} {limit:?}", carried(&data));
        let (result, found) = read(data, |data| self.device.admin(command, data, limit));
        let answered = match &result {
            Ok(dword) => format!("{dword:08x} {found}"),
            Err(error) => format!("{error:?}"),
        };
        self.write(asked, answered);
        result
    }
}

impl<D: MmcDevice> MmcDevice for Recorded<'_, D> {
    fn command(
        &self,
        command: &MmcCommand,
        data: Data<'_>,
        limit: Duration,
    ) -> io::Result<[u32; 4]> {
        let MmcCommand { index, argument, flags, is_write } = command;
        let way = if *is_write { "out" } else { "in" };
        let asked = format!("{index} {argument:08x} {flags:x} {way}{} {limit:?}", carried(&data));
        let (result, found) = read(data, |data| self.device.command(command, data, limit));
        let answered = match &result {
            Ok(words) => format!("{words:x?} {found}"),
            Err(error) => format!("{:?}", error.kind()),
        };
        self.write(asked, answered);
        result
    }

    fn secure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let result = self.device.secure_discard(offset, length);
        self.write(format!("secure discard {offset} {length}"), format!("{result:?}"));
        result
    }
}

impl<D: OpalDevice> OpalDevice for Recorded<'_, D> {
    fn status(&self) -> io::Result<OpalStatus> {
        let result = self.device.status();
        let answered = result.as_ref().map_or_else(
            |error| format!("{:?}", error.kind()),
            |status| format!("{:x}", status.flags),
        );
        self.write("status".to_owned(), answered);
        result
    }

    fn revert_with_psid(&self, psid: &[u8]) -> Result<(), OpalFailure> {
        let result = self.device.revert_with_psid(psid);
        self.write("revert with PSID".to_owned(), format!("{result:?}"));
        result
    }

    fn revert_with_sid(&self, sid: &[u8]) -> Result<(), OpalFailure> {
        let result = self.device.revert_with_sid(sid);
        self.write("revert with SID".to_owned(), format!("{result:?}"));
        result
    }
}

/// Settings of somebody who soon has waited long enough.
fn settings() -> Settings {
    Settings { patience: Duration::from_mins(5), ..super::settings() }
}

/// What somebody says, a line for each of its fields.
pub(super) fn lines(value: &dyn fmt::Debug) -> String {
    let mut text = String::new();
    for line in format!("{value:#?}").lines() {
        let is_field = line.starts_with("    ") && !line.starts_with("     ");
        if is_field && !line.trim_start().starts_with([']', '}', ')']) {
            text.push('\n');
        }
        text += line.trim_start();
    }
    text
}

/// How a technique ended, and what of it a certificate shows.
pub(super) fn ended(outcome: &TechniqueOutcome) -> String {
    let mut text = format!("= {:?} after {} ms", outcome.ended, outcome.milliseconds);
    if let Some(reason) = &outcome.reason {
        let _ = write!(text, ": {reason}");
    }
    text.push('\n');
    for RawCommand { name, command, completion } in &outcome.commands {
        let _ = writeln!(text, "| {name}: {command} {completion}");
    }
    text
}

/// Bytes by chance, the same each time: every field of what a device says holds something else.
fn chance(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Small numbers, and bits by themselves, are what fields hold.
        match state >> 61 {
            0..=2 => state.to_le_bytes()[3] & 0x0f,
            3 => 1 << (state >> 20 & 7),
            _ => state.to_le_bytes()[4],
        }
    };
    (0..4801).map(next).collect()
}
