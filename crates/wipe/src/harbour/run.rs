//! One disk: its systems found, their filesystems mounted one after the other, cleaned, and looked at again.

use std::io;

use linux::{block::Access, rooted::Folder};
use protocol::{
    Bytes,
    wipe::{CleanedFilesystem, Ended, Exception, RemovedFiles, Technique, TechniqueOutcome},
};
use signature::Content;

use super::{
    clean::{Mode, clean},
    cleaned::{Cleaned, Count},
    heard::Heard,
    mounting::Filesystems,
    system::{Candidate, Place, candidates, chain, find, note, volumes},
};
use crate::{Stopped, Watch};

/// What was done to one disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Filesystems that were walked.
    pub filesystems: Vec<Filesystem>,
    /// What was left alone as a whole, and what happened beside.
    pub notes: Vec<Exception>,
    /// Why it ended early.
    pub stopped: Option<Stopped>,
    /// What could not be done although it should have been.
    pub failures: Vec<String>,
}

/// What was done to one filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// `partition 3`.
    pub name: String,
    /// Where the system mounts it.
    pub at: String,
    /// What was removed and left.
    pub cleaned: Cleaned,
    /// Bytes that were free before.
    pub free_before: u64,
    /// And when it was mounted once more; nothing where that was not done.
    pub free_after: Option<u64>,
}

/// Cleans the installed systems of a disk, or says what that would do: `content` is what a probe just found on it.
///
/// [`Mode::Look`] writes nothing. With [`Mode::Remove`] a filesystem that was not unmounted cleanly is repaired by its
/// driver; each one is mounted once more afterwards, read-only, and whether all is gone is looked at there.
pub fn run(
    content: &Content,
    size_bytes: u64,
    filesystems: &dyn Filesystems,
    mode: Mode,
    watch: &dyn Watch,
) -> Report {
    let filesystems = &Heard { filesystems, watch };
    let (mut candidates, mut notes) = candidates(content, size_bytes);
    let (logical, left) = volumes(content, size_bytes, filesystems);
    candidates.extend(logical);
    notes.extend(left);
    let repair = match mode {
        Mode::Look => Access::ReadOnly,
        Mode::Remove => Access::Writable,
    };
    let mut report = Report { notes, ..Report::default() };
    if let Err(stopped) = watch.check() {
        report.stopped = Some(stopped);
        return report;
    }
    let system = find(&candidates, filesystems, repair);
    report.notes.extend(system.notes);
    if system.places.is_empty() {
        let words = "no installed system was found whose filesystems can be mounted";
        report.notes.push(note("noSystem", words.to_owned()));
    }
    for place in system.places {
        if report.stopped.is_some() {
            break;
        }
        let Some(candidate) = candidates.get(place.candidate) else { continue };
        one(candidate, &place, filesystems, mode, watch, &mut report);
    }
    report
}

/// Cleans one filesystem.
fn one(
    candidate: &Candidate,
    place: &Place,
    filesystems: &dyn Filesystems,
    mode: Mode,
    watch: &dyn Watch,
    report: &mut Report,
) {
    let at = String::from_utf8_lossy(&place.at).into_owned();
    let name = match &place.subvolume {
        Some(subvolume) => format!("{}, subvolume {subvolume}", candidate.name),
        None => candidate.name.clone(),
    };
    let access = match mode {
        Mode::Look => Access::ReadOnly,
        Mode::Remove => Access::Writable,
    };
    let walked = within(candidate, place, filesystems, access, |root| {
        let free = root.free_bytes()?;
        let cleaned = clean(root, &place.at, &place.list, mode, watch, &mut |_| {});
        if mode == Mode::Remove {
            let synced = root.sync();
            watch.heard();
            synced?;
        }
        Ok((free, cleaned))
    });
    let (free_before, cleaned) = match walked {
        Ok(walked) => walked,
        Err(error) => {
            report.failures.push(format!("{name}, mounted at {at}: {error}"));
            return;
        }
    };
    report.stopped = cleaned.stopped;
    let mut free_after = None;
    if mode == Mode::Remove && report.stopped.is_none() {
        let again = within(candidate, place, filesystems, Access::ReadOnly, |root| {
            let free = root.free_bytes()?;
            Ok((free, clean(root, &place.at, &place.list, Mode::Look, watch, &mut |_| {})))
        });
        match again {
            Ok((free, again)) => {
                free_after = Some(free);
                report.stopped = again.stopped;
                let total = again.total();
                let still = total.files + total.folders + total.others;
                if still > 0 {
                    let words = format!("{still} files are still there that were removed");
                    report.failures.push(format!("{name}, mounted at {at}: {words}"));
                }
            }
            Err(error) => {
                report.failures.push(format!("looking again at {name}: {error}"));
            }
        }
    }
    report.filesystems.push(Filesystem { name, at, cleaned, free_before, free_after });
}

/// Does something in a filesystem while it is mounted.
fn within<T>(
    candidate: &Candidate,
    place: &Place,
    filesystems: &dyn Filesystems,
    access: Access,
    act: impl FnOnce(&Folder) -> io::Result<T>,
) -> Result<T, String> {
    let mounted = filesystems
        .mount(candidate, place.subvolume.as_deref(), access)
        .map_err(|error| chain(&error))?;
    let done = mounted.root().and_then(|root| act(&root.folder()?));
    let ended = mounted.end();
    let done = done.map_err(|error| error.to_string())?;
    ended.map_err(|error| format!("unmounting it: {error}"))?;
    Ok(done)
}

impl Report {
    /// Returns it as what was done to the disk. Harbour erases nothing: what the disk reached is `none`.
    pub fn technique(&self, milliseconds: u64) -> TechniqueOutcome {
        let mut reasons = self.failures.clone();
        reasons.extend(self.stopped.map(|stopped| stopped.to_string()));
        let ended = if reasons.is_empty() { Ended::Done } else { Ended::Failed };
        TechniqueOutcome {
            technique: Technique::EphemeralFiles,
            pass: 0,
            ended,
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            commands: Vec::new(),
            milliseconds,
        }
    }

    /// Returns what was removed.
    pub fn filesystems(&self) -> Vec<CleanedFilesystem> {
        let rules = |cleaned: &Cleaned| -> Vec<RemovedFiles> {
            let one = |(rule, count): (&super::list::Rule, Count)| RemovedFiles {
                rule: rule.path.to_owned(),
                files: count.files,
                folders: count.folders,
                others: count.others,
                bytes: Bytes(count.bytes),
            };
            cleaned.by_rule().map(one).collect()
        };
        let one = |filesystem: &Filesystem| CleanedFilesystem {
            name: filesystem.name.clone(),
            mounted_at: filesystem.at.clone(),
            removed: rules(&filesystem.cleaned),
            free_before_bytes: Bytes(filesystem.free_before),
            free_after_bytes: filesystem.free_after.map(Bytes),
        };
        self.filesystems.iter().map(one).collect()
    }

    /// Returns what was left, and why.
    pub fn exceptions(&self) -> Vec<Exception> {
        let mut all = self.notes.clone();
        all.extend(self.failures.iter().map(|words| note("failed", words.clone())));
        for filesystem in &self.filesystems {
            let cleaned = &filesystem.cleaned;
            for left in &cleaned.left {
                let words = format!("{}: {} is left: {}", filesystem.name, left.path, left.why);
                all.push(note("left", words));
            }
            let named = u64::try_from(cleaned.left.len()).unwrap_or(u64::MAX);
            let more = cleaned.left_count.saturating_sub(named);
            if more > 0 {
                let words = format!("{}: {more} more places are left", filesystem.name);
                all.push(note("left", words));
            }
        }
        all
    }
}
