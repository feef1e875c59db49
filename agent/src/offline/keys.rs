//! What is typed at the consoles, line by line, each console on a thread of its own.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    thread,
    time::Duration,
};

use tokio::sync::mpsc;
use tracing::debug;

/// No name is as long. What is longer is no line but noise.
const LONGEST_LINE: usize = 256;

/// So many lines wait; a console that never stops is not heard further.
const WAITING_LINES: usize = 16;

/// How long to wait after a console was hung up, and how often that is tried.
const HANGUP_PAUSE: Duration = Duration::from_secs(2);
const MOST_FAILURES: u32 = 30;

/// Something typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    /// The number of the console.
    pub(super) console: usize,
    /// The line without its end; nothing where the console was hung up, or said what is no line.
    pub(super) line: Option<String>,
}

/// Listens to all consoles, as far as they can be read.
pub(super) fn listen() -> mpsc::Receiver<Typed> {
    let (tell, told) = mpsc::channel(WAITING_LINES);
    for (console, device) in crate::console::keyboards().into_iter().enumerate() {
        let tell = tell.clone();
        let work = move || hear(console, &device, &tell);
        // A console without a thread is one that nobody types at.
        let _heard = thread::Builder::new().name("keys".to_owned()).spawn(work);
    }
    told
}

fn hear(console: usize, device: &Path, tell: &mpsc::Sender<Typed>) {
    let mut failures = 0;
    while failures < MOST_FAILURES && !tell.is_closed() {
        let ended = linux::console::keyboard(device)
            .and_then(|keyboard| read(&keyboard, |line| say(tell, Typed { console, line })));
        debug!(?device, ?ended, "console");
        say(tell, Typed { console, line: None });
        failures += 1;
        thread::park_timeout(HANGUP_PAUSE);
    }
}

fn say(tell: &mpsc::Sender<Typed>, typed: Typed) {
    // A flood is no conversation: what does not fit is not waited for.
    let _lost = tell.try_send(typed);
}

/// Reads lines until there are no more.
fn read(mut keyboard: &File, mut say: impl FnMut(Option<String>)) -> io::Result<()> {
    let mut line = Line::default();
    let mut bytes = [0; 64];
    loop {
        let length = match keyboard.read(&mut bytes) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if length == 0 {
            return Ok(());
        }
        let lines = bytes[..length].iter().filter_map(|byte| line.take(*byte));
        lines.map(Result::ok).for_each(&mut say);
    }
}

/// What is no line: too long, or no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noise;

/// A line that is being typed.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Line {
    /// Takes a byte; returns the line that it ends.
    fn take(&mut self, byte: u8) -> Option<Result<String, Noise>> {
        if byte != b'\n' && byte != b'\r' {
            if self.bytes.len() < LONGEST_LINE {
                self.bytes.push(byte);
            } else {
                self.is_too_long = true;
            }
            return None;
        }
        let Self { bytes, is_too_long } = std::mem::take(self);
        let text = String::from_utf8(bytes).ok().filter(|_| !is_too_long);
        Some(text.filter(|text| !text.chars().any(char::is_control)).ok_or(Noise))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(typed: &[u8]) -> Vec<Result<String, Noise>> {
        let mut line = Line::default();
        typed.iter().filter_map(|byte| line.take(*byte)).collect()
    }

    #[test]
    fn a_line_ends_with_enter_and_is_nothing_before() {
        assert_eq!(lines(b"a\nbc\rd"), [Ok("a".to_owned()), Ok("bc".to_owned())]);
        assert_eq!(lines(b"\n"), [Ok(String::new())]);
    }

    #[test]
    fn noise_is_no_line_and_its_rest_is_no_line_of_its_own() {
        let long = [vec![b'x'; 300], b"S3RIAL\nnext\n".to_vec()].concat();
        assert_eq!(lines(&long), [Err(Noise), Ok("next".to_owned())]);
        for noise in [&b"\xff\xfe\n"[..], b"\x1b[A\n", b"a\0b\n"] {
            assert_eq!(lines(noise), [Err(Noise)], "{noise:?}");
        }
    }
}
