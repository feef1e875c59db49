//! Commands and their neighbours: each bit of a command and of what it carries is flipped, one at a time, and what the
//! device answers and does is written down. So each field's place, each limit and each check shows, and in what is kept a
//! person can see which bits of a command mean nothing.
//!
//! ```text
//! == state: command
//! good 0:80                     answered so, with what is not zero of the data, …
//!   1.7 2.0-2.7                 where these bits are flipped (byte.bit): those of the command, …
//!   +0.0                        … of what it carries
//! ```
//!
//! `NEIGHBOURS=write` writes the files anew, to be read before they are committed.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path, time::Duration};

use crate::{Answer, NoAnswer};

/// As much of what a command carries is flipped as structures go.
const MOST_CARRIED: usize = 28;

/// What goes with a command.
#[derive(Debug, Clone)]
pub(crate) enum Carried {
    /// So many bytes may come back.
    In(usize),
    /// These go out.
    Out(Vec<u8>),
}

/// Answers to commands and to their neighbours, as they grow.
#[derive(Debug)]
pub(crate) struct Neighbours<D> {
    text: String,
    /// Sends a command, and says what was answered.
    send: fn(&mut D, &[u8], &mut [u8]) -> String,
    /// Says how a device stands, later on.
    later: fn(&mut D) -> String,
}

impl<D: Clone> Neighbours<D> {
    pub(crate) fn new(
        send: fn(&mut D, &[u8], &mut [u8]) -> String,
        later: fn(&mut D) -> String,
    ) -> Self {
        Self { text: String::new(), send, later }
    }

    /// Adds a command. Each neighbour goes to a copy of the device.
    pub(crate) fn add(&mut self, title: &str, device: &D, command: &[u8], carried: &Carried) {
        let unchanged = (self.later)(&mut device.clone());
        let data = match carried {
            Carried::In(length) => vec![0; *length],
            Carried::Out(bytes) => bytes.clone(),
        };
        let ask = |command: &[u8], mut data: Vec<u8>| {
            let mut device = device.clone();
            let answer = (self.send)(&mut device, command, &mut data);
            let later = (self.later)(&mut device);
            let answer =
                if later == unchanged { answer } else { format!("{answer}, then {later}") };
            let brought = match carried {
                Carried::In(_) => spots(&data),
                Carried::Out(_) => String::new(),
            };
            format!("{answer} {brought}").trim().to_owned()
        };
        // In the order in which they were found.
        let mut answers: Vec<(String, Vec<String>)> =
            vec![(ask(command, data.clone()), Vec::new())];
        let mut note = |answer: String, place: String| match answers
            .iter_mut()
            .find(|(known, _)| *known == answer)
        {
            Some((_, places)) => places.push(place),
            None => answers.push((answer, vec![place])),
        };
        for (at, bit) in bits(command.len()) {
            let mut command = command.to_vec();
            command[at] ^= 1 << bit;
            note(ask(&command, data.clone()), format!("{at}.{bit}"));
        }
        if let Carried::Out(bytes) = carried {
            for (at, bit) in bits(bytes.len().min(MOST_CARRIED)) {
                let mut data = bytes.clone();
                data[at] ^= 1 << bit;
                note(ask(command, data), format!("+{at}.{bit}"));
            }
            // Blocks are never cut off: no host does that.
            if bytes.len() < 512 {
                note(ask(command, bytes[..bytes.len() - 1].to_vec()), "+short".to_owned());
            }
        }
        let _ = writeln!(self.text, "== {title}");
        for (answer, places) in answers {
            let _ = writeln!(self.text, "{answer}");
            for line in ranges(&places).chunks(16) {
                let _ = writeln!(self.text, "  {}", line.join(" "));
            }
        }
    }

    /// Compares them with those that are kept.
    pub(crate) fn compare(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{name}/neighbours.txt"));
        if env::var_os("NEIGHBOURS").is_some_and(|value| value == "write") {
            fs::write(&path, &self.text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let mut title = "";
        let (mut ours, mut theirs) = (self.text.lines(), kept.lines());
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

fn bits(bytes: usize) -> impl Iterator<Item = (usize, u8)> {
    (0..bytes).flat_map(|at| (0..8).map(move |bit| (at, bit)))
}

/// `1.0 1.1 1.2` is `1.0-1.2`.
fn ranges(places: &[String]) -> Vec<String> {
    let number = |place: &str| {
        let (at, bit) = place.trim_start_matches('+').split_once('.')?;
        Some(at.parse::<usize>().ok()? * 8 + bit.parse::<usize>().ok()?)
    };
    let mut found: Vec<(String, String)> = Vec::new();
    for place in places {
        let follows = |last: &str| {
            last.starts_with('+') == place.starts_with('+')
                && number(last).zip(number(place)).is_some_and(|(last, this)| last + 1 == this)
        };
        match found.last_mut() {
            Some((_, last)) if follows(last) => last.clone_from(place),
            _ => found.push((place.clone(), place.clone())),
        }
    }
    let words = |(first, last): (String, String)| {
        if first == last { first } else { format!("{first}-{last}") }
    };
    found.into_iter().map(words).collect()
}

/// The bytes that are not zero, and where they begin; many of the same are written once.
pub(crate) fn spots(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 0;
    for run in bytes.chunk_by(|one, next| one == next) {
        if run[0] != 0 {
            if at == 0 || bytes[at - 1] == 0 {
                let _ = write!(text, " {at}:");
            }
            if run.len() > 4 {
                let _ = write!(text, "({:02x}*{})", run[0], run.len());
            } else {
                for byte in run {
                    let _ = write!(text, "{byte:02x}");
                }
            }
        }
        at += run.len();
    }
    text.trim_start().to_owned()
}

/// What a SCSI command was answered, and how long that took.
pub(crate) fn answered(answer: Result<Answer, NoAnswer>, took: Duration) -> String {
    match answer {
        Ok(Answer { status, sense, transferred }) => {
            format!("{status:02x} {} {transferred} {took:?}", spots(&sense))
        }
        Err(NoAnswer) => "no answer".to_owned(),
    }
}

/// What a medium holds: how many of its pages hold nothing but one byte, by that byte, and how many are mixed.
pub(crate) fn holds(medium: &[u8]) -> String {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for page in medium.chunks(512) {
        let is_even = page[1..] == page[..page.len() - 1];
        let kind = if is_even { format!("{:02x}", page[0]) } else { "mixed".to_owned() };
        *kinds.entry(kind).or_default() += 1;
    }
    let words: Vec<_> = kinds.into_iter().map(|(kind, count)| format!("{count}*{kind}")).collect();
    words.join(" ")
}
