//! A person at a terminal as who keeps an order. Nobody else writes down what happens, so what must not be lost goes to a
//! file.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use linux::suspend::Alarm;
use protocol::{
    inventory::Disk,
    wipe::{WipeProgress, WipeStep, WipeStepKind},
};
use wipe::{Stopped, job::Keeper};

use crate::{
    chain,
    wipe::{SLEEP_SECONDS, Screen},
};

/// Shows how far it is on standard error, where that is a terminal.
#[derive(Debug)]
pub(super) struct TerminalKeeper {
    screen: Mutex<Screen>,
    /// Where ATA passwords are kept, and the file once there is one.
    path: PathBuf,
    passwords: Mutex<Option<File>>,
    /// What each disk of the order is called.
    disks: Vec<String>,
}

impl TerminalKeeper {
    /// Makes one that keeps ATA passwords in a file, which is made with the first of them.
    pub(super) fn new(path: PathBuf, disks: &[&Disk]) -> Self {
        let label = |disk: &&Disk| {
            let serial = disk.serial.as_deref().unwrap_or("without serial number");
            format!("{} ({serial})", disk.name)
        };
        let disks = disks.iter().map(label).collect();
        Self { screen: Mutex::default(), path, passwords: Mutex::default(), disks }
    }

    /// Has the password on a disk before it locks another, and tells it.
    fn keep(&self, disk: u32, password: &str, terminal: &mut dyn io::Write) -> io::Result<()> {
        let label = usize::try_from(disk).ok().and_then(|disk| self.disks.get(disk));
        let label = label.map_or("a disk", String::as_str);
        let mut kept = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &mut *kept {
            Some(file) => file,
            none => none.insert(create(&self.path)?),
        };
        writeln!(file, "{label}: ATA user password, 32 bytes in hexadecimal digits: {password}")?;
        file.sync_all()?;
        let path = self.path.display();
        writeln!(
            terminal,
            "\r\x1b[K{label} gets the ATA password {password} while it erases itself; {path} keeps it"
        )
    }
}

/// Makes a file that only its owner reads, and that is still there after a power cut.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file)
}

impl Keeper for TerminalKeeper {
    fn stopped(&self) -> Option<Stopped> {
        None
    }

    fn journal(&self, step: WipeStep) -> Result<(), Stopped> {
        let WipeStepKind::AtaPassword { password } = &step.kind else { return Ok(()) };
        let mut terminal = io::stderr();
        self.keep(step.disk, password, &mut terminal).map_err(|error| {
            let path = self.path.display();
            let _nobody_reads = writeln!(terminal, "\r\x1b[K{path}: {error}");
            Stopped::Unjournaled
        })
    }

    fn note(&self, _step: WipeStep) {}

    fn progress(&self, progress: WipeProgress) {
        let shown = self
            .screen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next(Instant::now(), &progress);
        let mut terminal = io::stderr();
        if terminal.is_terminal() {
            // Goes to the beginning of the line and clears it. ECMA-48, "erase in line".
            let table = shown.table.unwrap_or_default();
            let _nobody_reads = write!(terminal, "\r\x1b[K{table}{}", shown.line);
        }
    }

    fn sleep(&self) -> Result<(), String> {
        let alarm = Alarm::prove().map_err(|error| chain(&error))?;
        alarm.sleep(SLEEP_SECONDS).map(drop).map_err(|error| chain(&error))
    }

    fn unix_milliseconds(&self) -> i64 {
        linux::clock::unix_milliseconds()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn keeper(path: &Path) -> TerminalKeeper {
        let disk = |name: &str, serial: &str| Disk {
            name: name.to_owned(),
            serial: Some(serial.to_owned()),
            ..Disk::default()
        };
        TerminalKeeper::new(path.to_owned(), &[&disk("sda", "A"), &disk("sdb", "B")])
    }

    fn password(disk: u32, digits: &str) -> WipeStep {
        WipeStep { disk, kind: WipeStepKind::AtaPassword { password: digits.repeat(32) } }
    }

    #[test]
    fn a_password_is_in_a_file_of_its_owner_before_it_is_set() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwords");
        let keeper = keeper(&path);
        let canaries = WipeStep { disk: 0, kind: WipeStepKind::Canaries {} };
        assert_eq!(keeper.journal(canaries), Ok(()));
        assert!(!path.exists());
        assert_eq!(keeper.journal(password(1, "a5")), Ok(()));
        assert_eq!(keeper.journal(password(0, "5a")), Ok(()));
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        for (line, (label, digits)) in lines.iter().zip([("sdb (B)", "a5"), ("sda (A)", "5a")]) {
            assert!(line.starts_with(label) && line.ends_with(&digits.repeat(32)), "{line}");
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_password_that_cannot_be_kept_is_not_set() {
        let nowhere = Path::new("/proc/self/nowhere/passwords");
        assert_eq!(keeper(nowhere).journal(password(0, "a5")), Err(Stopped::Unjournaled));
        // Whoever made that file may read it.
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(keeper(file.path()).journal(password(0, "a5")), Err(Stopped::Unjournaled));
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "");
        // A full filesystem.
        let keeper = keeper(nowhere);
        *keeper.passwords.lock().unwrap() =
            Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        assert_eq!(keeper.journal(password(0, "a5")), Err(Stopped::Unjournaled));
    }

    #[test]
    fn a_password_is_shown_with_where_it_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwords");
        let mut shown = Vec::new();
        keeper(&path).keep(0, "a5a5", &mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        for part in ["sda (A)", "a5a5", path.to_str().unwrap()] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}
