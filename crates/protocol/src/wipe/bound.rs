//! How long a report may be, so that no wipe is too large to be certified: agents shorten, servers take as much.
//!
//! What verdicts rest on is never left out: disks, what was reached, what was done, what was read back.

use super::{
    Capability, CleanedFilesystem, DiskForecast, DiskReport, Ended, Exception, RawCommand,
    RemovedFiles, Technique, WipeReport,
};
use crate::Bytes;

/// The most bytes that a report has as JSON.
pub const REPORT_BYTES: usize = 6 << 20;

/// The most disks of one order: more than any machine has, and few enough for what verdicts rest on.
pub const MOST_DISKS: usize = 1024;

/// How much of what only explains is kept of one disk.
#[derive(Debug, Clone, Copy)]
struct Kept {
    /// Raw commands of each technique.
    commands: usize,
    /// Entries of any other list.
    entries: usize,
    /// Bytes of a sentence.
    words: usize,
    /// Whether each pass is told by itself.
    each_pass: bool,
}

/// From what any disk of a rack may say to what thousands together may.
const STEPS: [Kept; 4] = [
    Kept { commands: 60, entries: 200, words: 1000, each_pass: true },
    Kept { commands: 12, entries: 40, words: 300, each_pass: true },
    Kept { commands: 2, entries: 8, words: 120, each_pass: false },
    Kept { commands: 0, entries: 2, words: 60, each_pass: false },
];

impl WipeReport {
    /// Leaves out what only explains, and says how much, as far as the report is longer than [`REPORT_BYTES`]. A report of
    /// up to [`MOST_DISKS`] fits.
    pub fn shorten(&mut self) {
        if self.bytes() <= REPORT_BYTES {
            return;
        }
        // Each step begins with the whole, so that what is said to be left out is counted once.
        let whole = self.clone();
        for kept in STEPS {
            self.clone_from(&whole);
            for extra in &mut self.extras {
                entries(&mut extra.removed, 20 * kept.entries, |more| format!("and {more} more"));
                extra.removed.iter_mut().for_each(|text| words(text, kept.words));
                extra.failure.iter_mut().for_each(|text| words(text, kept.words));
            }
            entries(&mut self.hiding, 20 * kept.entries, |more| format!("and {more} more"));
            self.disks.iter_mut().for_each(|disk| disk.shorten(kept));
            if self.bytes() <= REPORT_BYTES {
                return;
            }
        }
    }

    /// Returns its length as JSON, canonical or not.
    fn bytes(&self) -> usize {
        serde_json::to_vec(self).map_or(0, |text| text.len())
    }
}

impl DiskReport {
    fn shorten(&mut self, kept: Kept) {
        entries(&mut self.capabilities, kept.entries, |more| Capability {
            name: LEFT_OUT.to_owned(),
            value: format!("{more:x}"),
        });
        notes(&mut self.exceptions, kept);
        reasons(&mut self.out_of_scope, kept);
        if !kept.each_pass {
            self.join_passes();
        }
        for technique in &mut self.techniques {
            technique.reason.iter_mut().for_each(|text| words(text, kept.words));
            for command in &mut technique.commands {
                words(&mut command.command, 4 * kept.words);
                words(&mut command.completion, 4 * kept.words);
            }
            // How it began and how it ended says most.
            let more = technique.commands.len().saturating_sub(kept.commands);
            if more > 1 {
                let begin = kept.commands / 2;
                let completion = format!("{more} commands");
                let (name, command) = (LEFT_OUT.to_owned(), String::new());
                let mark = RawCommand { name, command, completion };
                technique.commands.splice(begin..begin + more, [mark]);
            }
        }
        self.filesystems.iter_mut().for_each(|cleaned| cleaned.shorten(kept));
        match &mut self.forecast {
            // It is only told: `idle` can be ordered again, for fewer disks.
            Some(_) if kept.commands == 0 => {
                self.forecast = None;
                let words = "what each level would do".to_owned();
                self.exceptions.push(Exception { code: LEFT_OUT.to_owned(), words });
            }
            Some(forecast) => forecast.shorten(kept),
            None => {}
        }
    }

    /// Keeps one of several passes with one technique that ended alike: the last, which says how many they were.
    fn join_passes(&mut self) {
        let all: Vec<_> = self.techniques.iter().map(|one| (one.technique, one.ended)).collect();
        let mut place = 0;
        self.techniques.retain(|_| {
            let is_last = !all[place + 1..].contains(&all[place]);
            place += 1;
            is_last
        });
        for technique in &mut self.techniques {
            let is_such =
                |one: &&(Technique, Ended)| **one == (technique.technique, technique.ended);
            let such = all.iter().filter(is_such).count();
            if such > 1 {
                let reason = technique.reason.take().unwrap_or_default();
                technique.reason = Some(format!("the last of {such} such passes. {reason}"));
            }
        }
    }
}

impl DiskForecast {
    fn shorten(&mut self, kept: Kept) {
        notes(&mut self.obstacles, kept);
        reasons(&mut self.not_asked, kept);
        for level in &mut self.levels {
            reasons(&mut level.in_the_way, kept);
            notes(&mut level.notes, kept);
            level.ways.iter_mut().for_each(|way| words(&mut way.words, kept.words));
            let looked_at = level.would_remove.iter_mut().flatten();
            looked_at.for_each(|cleaned| cleaned.shorten(kept));
        }
    }
}

impl CleanedFilesystem {
    fn shorten(&mut self, kept: Kept) {
        let left: Vec<RemovedFiles> = self.removed.split_off(kept.entries.min(self.removed.len()));
        let sum = |of: fn(&RemovedFiles) -> u64| left.iter().map(of).fold(0, u64::saturating_add);
        if !left.is_empty() {
            self.removed.push(RemovedFiles {
                rule: format!("{} more", left.len()),
                files: sum(|one| one.files),
                folders: sum(|one| one.folders),
                others: sum(|one| one.others),
                bytes: Bytes(sum(|one| one.bytes.0)),
            });
        }
    }
}

fn notes(list: &mut Vec<Exception>, kept: Kept) {
    entries(list, kept.entries, |more| Exception {
        code: LEFT_OUT.to_owned(),
        words: format!("{more} more"),
    });
    for one in list {
        words(&mut one.words, kept.words);
    }
}

fn reasons(list: &mut Vec<String>, kept: Kept) {
    entries(list, kept.entries, |more| format!("and {more} more"));
    for text in list {
        words(text, kept.words);
    }
}

/// Stands where something was left out.
const LEFT_OUT: &str = "leftOut";

/// Cuts a list, where more than one entry goes, and says how many went.
fn entries<T>(list: &mut Vec<T>, kept: usize, mark: impl FnOnce(usize) -> T) {
    let more = list.len().saturating_sub(kept);
    if more > 1 {
        list.truncate(kept);
        list.push(mark(more));
    }
}

/// Cuts a text at a character's boundary.
fn words(text: &mut String, kept: usize) {
    if text.len() > kept {
        text.truncate(text.floor_char_boundary(kept));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        InventoryDigest, OrderId,
        order::{DiskIdentity, MachineEvidence},
        wipe::{
            Expected, Extra, ExtraOutcome, LevelForecast, MediumWord, Outcome, PowerLevel, Seed,
            TechniqueOutcome, Unwritten, Validation, Verdict, Verification, VerificationPlan,
            WayForecast,
        },
    };

    fn filled(text: &str, count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{text} {number}")).collect()
    }

    /// A disk that has everything to say.
    fn disk(number: usize, passes: u32, commands: usize, entries: usize) -> DiskReport {
        let technique = |pass: u32| TechniqueOutcome {
            technique: if pass + 1 == passes { Technique::Zeros } else { Technique::KeyedStream },
            pass,
            ended: Ended::Done,
            reason: Some("ü".repeat(100)),
            commands: (0..commands)
                .map(|number| RawCommand {
                    name: format!("SANITIZE {number}"),
                    command: "5a".repeat(32),
                    completion: "72".repeat(252),
                })
                .collect(),
            milliseconds: u64::MAX,
        };
        let removed =
            |rule: String| RemovedFiles { rule, files: 1, folders: 1, others: 1, bytes: Bytes(1) };
        let level = LevelForecast {
            level: PowerLevel::Redline,
            ways: vec![
                WayForecast {
                    techniques: vec![Technique::KeyedStream; 35],
                    words: "by writing it ".repeat(10),
                    seconds: Some(u64::MAX),
                    reaches: Outcome::Clear,
                };
                6
            ],
            asked: Outcome::Purge,
            reaches: Outcome::Clear,
            in_the_way: filled("it is in use", entries),
            would_remove: None,
            notes: vec![],
        };
        DiskReport {
            forecast: Some(DiskForecast {
                medium: MediumWord::Flash,
                levels: vec![level; 4],
                obstacles: vec![],
                not_asked: filled("it was not asked", entries),
            }),
            disk: DiskIdentity {
                model: Some("M".repeat(40)),
                serial: Some(format!("{number:020}")),
                wwn: Some("5".repeat(16)),
                eui64: Some("5".repeat(16)),
                nguid: Some("5".repeat(32)),
                size_bytes: Bytes(u64::MAX),
                logical_sector_bytes: Some(4096),
            },
            name: format!("nvme{number}n1"),
            transport: Some("nvme".to_owned()),
            firmware: Some("F".repeat(8)),
            verdict: Verdict::ErasedWithExceptions,
            asked: Outcome::Purge,
            reached: Outcome::Signatures,
            accessible_bytes: Bytes(u64::MAX),
            native_bytes: Some(Bytes(u64::MAX)),
            capabilities: filled("SANICAP", entries)
                .into_iter()
                .map(|name| Capability { name, value: "ff".repeat(8) })
                .collect(),
            techniques: (0..passes).map(technique).collect(),
            filesystems: vec![CleanedFilesystem {
                name: "partition 3".to_owned(),
                mounted_at: "/var".to_owned(),
                removed: filled("/var/log", entries).into_iter().map(removed).collect(),
                free_before_bytes: Bytes(u64::MAX),
                free_after_bytes: Some(Bytes(u64::MAX)),
            }],
            verification: Some(Verification {
                plan: VerificationPlan::Sample { samples: 46_050, detects_per_100_000: 10 },
                expected: Expected::NoSignature,
                seed: Seed([0xff; 32]),
                places_read: u64::MAX,
                bytes_read: Bytes(u64::MAX),
                canaries: u64::MAX,
                canaries_found: u64::MAX,
                differing: u64::MAX,
                unreadable: u64::MAX,
                first_offsets: vec![1 << 44; 16],
            }),
            unwritten: Some(Unwritten { bytes: Bytes(u64::MAX), ranges: 65_536 }),
            exceptions: filled("partitionLost", entries)
                .into_iter()
                .map(|code| Exception { code, words: "why ".repeat(100) })
                .collect(),
            out_of_scope: filled("RPMB", entries),
            validation: Validation::EmulatedOnly,
            begun_unix_milliseconds: i64::MAX,
            ended_unix_milliseconds: i64::MAX,
        }
    }

    fn report(disks: Vec<DiskReport>) -> WipeReport {
        WipeReport {
            order: OrderId([1; 16]),
            machine: MachineEvidence::default(),
            inventory: InventoryDigest([7; 32]),
            level: PowerLevel::Redline,
            disks,
            missing: vec![],
            untouched: vec![],
            hiding: vec![],
            extras: vec![ExtraOutcome {
                extra: Extra::Pstore,
                removed: filled("dmesg", 4000),
                failure: None,
            }],
            is_complete: false,
            agent: String::new(),
            kernel: String::new(),
            begun_unix_milliseconds: 1,
            ended_unix_milliseconds: 2,
            clock: String::new(),
            clock_offset_milliseconds: Some(i64::MIN),
        }
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let whole = report((0..40).map(|number| disk(number, 3, 20, 10)).collect());
        let mut shortened = whole.clone();
        shortened.shorten();
        assert_eq!(shortened, whole);
    }

    #[test]
    fn the_largest_job_fits_and_keeps_what_verdicts_rest_on() {
        for (disks, passes, commands, entries) in
            [(MOST_DISKS, 35, 0, 2), (MOST_DISKS, 3, 1, 10), (24, 3, 200, 20)]
        {
            let whole: Vec<DiskReport> =
                (0..disks).map(|number| disk(number, passes, commands, entries)).collect();
            let mut shortened = report(whole);
            let before = shortened.disks[0].clone();
            assert!(shortened.bytes() > REPORT_BYTES, "{disks} disks are no test");
            shortened.shorten();
            let bytes = shortened.bytes();
            assert!(bytes <= REPORT_BYTES, "{disks} disks: {bytes} bytes");
            assert_eq!(shortened.disks.len(), disks);
            let after = &shortened.disks[0];
            assert_eq!((&after.disk, after.verdict), (&before.disk, before.verdict));
            assert_eq!(after.verification, before.verification);
            assert_eq!(after.unwritten, before.unwritten);
            for technique in [Technique::KeyedStream, Technique::Zeros] {
                assert!(after.techniques.iter().any(|one| one.technique == technique));
            }
            assert!(!after.exceptions.is_empty());
            let text = serde_json::to_string(after).unwrap();
            let counts = ["leftOut", " more", "such passes"];
            assert!(counts.iter().any(|count| text.contains(count)), "what went is counted");
        }
    }

    #[test]
    fn what_is_left_out_is_counted_once() {
        let mut shortened = report((0..MOST_DISKS).map(|number| disk(number, 3, 1, 10)).collect());
        shortened.extras[0].removed = filled("dmesg", 4000);
        shortened.shorten();
        let removed = &shortened.extras[0].removed;
        let left = 4000 - (removed.len() - 1);
        assert_eq!(removed.last().unwrap(), &format!("and {left} more"));
    }

    #[test]
    fn commands_keep_their_beginning_and_their_end() {
        let mut disk = disk(0, 1, 100, 1);
        disk.shorten(STEPS[1]);
        let names: Vec<&str> =
            disk.techniques[0].commands.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names.len(), 13);
        assert_eq!((names[5], names[6], names[7]), ("SANITIZE 5", "leftOut", "SANITIZE 94"));
        assert_eq!(disk.techniques[0].commands[6].completion, "88 commands");
    }
}
