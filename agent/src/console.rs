//! Where words go: every console that the kernel was given, and the kernel's log.

use std::{
    fmt::{self, Write as _},
    fs,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use linux::{clock, console::Console, kernel_log::KernelLog};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// The names of the consoles that the kernel writes to.
const ACTIVE: &str = "/sys/class/tty/console/active";

/// The longest line that is written; an error of a server may be long.
const LINE_LIMIT: usize = 900;

/// How long the consoles may take to show the last lines.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

static OUTPUTS: OnceLock<Outputs> = OnceLock::new();

/// Whether the last line is one that is drawn over.
static IS_DRAWN_OVER: AtomicBool = AtomicBool::new(false);

/// Goes to the beginning of the line and clears it. ECMA-48, "erase in line".
const CLEAR_LINE: &str = "\r\x1b[K";

#[derive(Debug)]
struct Outputs {
    consoles: Vec<Console>,
    log: Option<KernelLog>,
}

#[cfg(feature = "offline")]
/// Returns the devices that people may type at, as far as they are there.
pub(crate) fn keyboards() -> Vec<std::path::PathBuf> {
    let names = fs::read_to_string(ACTIVE).unwrap_or_default();
    names.split_whitespace().map(device).filter(|device| device.exists()).collect()
}

/// Opens all consoles and the kernel's log, and has everything that is traced written there. To be called once.
pub fn open() {
    let names = fs::read_to_string(ACTIVE).unwrap_or_default();
    let mut consoles: Vec<Console> =
        names.split_whitespace().filter_map(|name| Console::open(&device(name)).ok()).collect();
    if consoles.is_empty() {
        consoles.extend(Console::open(Path::new("/dev/console")));
    }
    let outputs = Outputs { consoles, log: KernelLog::open().ok() };
    if OUTPUTS.set(outputs).is_ok() {
        let _already_set = tracing::subscriber::set_global_default(Lines);
    }
}

/// Names the device of a console. `tty0` is whichever screen is shown.
fn device(name: &str) -> std::path::PathBuf {
    Path::new("/dev").join(name)
}

/// Writes text to all consoles, as it is.
pub fn show(text: &str) {
    if IS_DRAWN_OVER.swap(false, Ordering::Relaxed) {
        write(&format!("{CLEAR_LINE}{text}"));
    } else {
        write(text);
    }
}

/// Shows a line that the next one, of whatever kind, is drawn over. It stands in no log.
pub fn show_for_now(line: &str) {
    IS_DRAWN_OVER.store(true, Ordering::Relaxed);
    write(&format!("{CLEAR_LINE}{}", shortened(line)));
}

fn write(text: &str) {
    let Some(outputs) = OUTPUTS.get() else { return };
    for console in &outputs.consoles {
        // There is nobody left to tell about a console that does not work.
        let _lost = console.write(text);
    }
}

/// Writes one line to all consoles and to the kernel's log.
pub fn say(level: Level, text: &str) {
    let line = Line { level, text, since_boot: clock::since_boot() }.to_string();
    if level <= Level::INFO {
        show(&format!("{line}\n"));
    }
    if let Some(log) = OUTPUTS.get().and_then(|outputs| outputs.log.as_ref()) {
        let _lost = log.write(&format!("drydock: {}", shortened(text)));
    }
}

/// Waits until the consoles have shown everything, for a limited time.
pub fn drain() {
    let Some(outputs) = OUTPUTS.get() else { return };
    let end = Instant::now() + DRAIN_PATIENCE;
    for console in &outputs.consoles {
        while Instant::now() < end && console.waiting_bytes().is_ok_and(|bytes| bytes > 0) {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// A line as a person reads it.
struct Line<'t> {
    level: Level,
    text: &'t str,
    since_boot: Duration,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.level {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "",
        };
        let (seconds, milliseconds) = (self.since_boot.as_secs(), self.since_boot.subsec_millis());
        write!(f, "[{seconds:5}.{milliseconds:03}] {word}{}", shortened(self.text))
    }
}

/// Cuts a text, and keeps what a server said from moving the cursor.
fn shortened(text: &str) -> String {
    let printable = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().take(LINE_LIMIT).map(printable).collect()
}

/// The part of tracing that this program needs: events as lines, no spans.
struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        say(*event.metadata().level(), &format!("{}{}", words.message, words.fields));
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _infallible = write!(self.fields, " {}={value}", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _infallible = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(level: Level, text: &str, expected: &str) {
        let line = Line { level, text, since_boot: Duration::from_millis(1234) };
        assert_eq!(line.to_string(), expected);
    }

    #[test]
    fn lines_are_short_and_stamped() {
        check(Level::INFO, "waiting", "[    1.234] waiting");
        check(Level::ERROR, "no way on", "[    1.234] error: no way on");
    }

    #[test]
    fn what_others_say_cannot_move_the_cursor() {
        check(Level::INFO, "a\x1b[2Jb\nc", "[    1.234] a [2Jb c");
    }
}
