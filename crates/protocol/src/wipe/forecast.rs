//! What each level would do to a disk, and what stands in the way: what `idle` is for.

use serde::{Deserialize, Serialize};

use super::{CleanedFilesystem, Exception, Outcome, PowerLevel, Technique};

/// What would become of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskForecast {
    /// What lies behind its addresses.
    pub medium: MediumWord,
    /// Each level that does something, in ascending order.
    pub levels: Vec<LevelForecast>,
    /// What the device says of itself that limits or hinders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<Exception>,
    /// What was not asked or not looked at, and why, for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_asked: Vec<String>,
}

/// What lies behind a disk's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MediumWord {
    /// Magnetic platters.
    Magnetic,
    /// Flash.
    Flash,
    /// A volume of a RAID controller, a virtual disk: nobody knows.
    #[serde(other)]
    Unknown,
}

/// What a level would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelForecast {
    /// Which.
    pub level: PowerLevel,
    /// Ways, in the order in which they would be tried: the next one only where the one before came to nothing. Empty
    /// where there is none.
    pub ways: Vec<WayForecast>,
    /// What the level aims at.
    pub asked: Outcome,
    /// What the first way reaches, when it goes through.
    pub reaches: Outcome,
    /// Why it would be refused, or not come to its aim, for a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_the_way: Vec<String>,
    /// What `harbour` would remove; absent at other levels, and where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_remove: Option<Vec<CleanedFilesystem>>,
    /// What `harbour` would leave of what its list names, and what it would not go into; at most 64 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Exception>,
}

/// One way to do what a level asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WayForecast {
    /// What is done, one after the other; one for each pass.
    pub techniques: Vec<Technique>,
    /// The same for a person, commands as their specification calls them: `NVMe Sanitize, block erase`.
    pub words: String,
    /// About how long it takes with reading back; absent where nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// How far data is gone when it went through.
    pub reaches: Outcome,
}

impl Outcome {
    /// Returns the outcome in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Signatures => "signatures",
            Self::Logical => "logical",
            Self::Clear => "clear",
            Self::Purge => "purge",
        }
    }
}

impl MediumWord {
    /// Returns it in a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Magnetic => "magnetic",
            Self::Flash => "flash",
            Self::Unknown => "medium unknown",
        }
    }
}

/// How many of `harbour`'s notes a person is shown.
const SHOWN: usize = 8;

impl DiskForecast {
    /// Returns it in lines for a person, indented by two spaces a step. What machines and disks say of themselves cannot
    /// move the cursor.
    pub fn lines(&self) -> Vec<String> {
        let is_everywhere =
            |why: &String| self.levels.iter().all(|level| level.in_the_way.contains(why));
        let first = self.levels.first().map_or(&[][..], |level| level.in_the_way.as_slice());
        let everywhere: Vec<&String> = first.iter().filter(|why| is_everywhere(why)).collect();
        let mut lines = Vec::new();
        for level in &self.levels {
            lines.push(format!("  {}", level.level.word()));
            let words = level.words(&everywhere);
            lines.extend(words.into_iter().map(|words| format!("    {words}")));
        }
        for why in everywhere {
            lines.push(format!("  in the way of every level: {why}"));
        }
        lines.extend(self.obstacles.iter().map(|one| format!("  the disk says: {}", one.words)));
        lines.extend(self.not_asked.iter().map(|why| format!("  not asked: {why}")));
        lines.iter().map(|line| printable(line)).collect()
    }
}

impl LevelForecast {
    /// Returns it in lines for a person. What machines and disks say of themselves cannot move the cursor.
    pub fn lines(&self) -> Vec<String> {
        self.words(&[]).iter().map(|line| printable(line)).collect()
    }

    fn words(&self, everywhere: &[&String]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut put = |words: String| lines.push(words);
        if self.ways.is_empty() {
            put("there is no way".to_owned());
        }
        for (number, way) in self.ways.iter().enumerate() {
            let time = way.seconds.map_or("nobody can tell how long".to_owned(), about);
            put(format!("{} {}: {time}", if number == 0 { "by" } else { "else by" }, way.words));
        }
        if self.reaches < self.asked {
            let (reached, asked) = (self.reaches.word(), self.asked.word());
            put(format!("reaches {reached}, not {asked}"));
        }
        for filesystem in self.would_remove.iter().flatten() {
            put(format!("would remove {}", removed(filesystem)));
        }
        let more = self.notes.len().saturating_sub(SHOWN);
        for note in self.notes.iter().take(SHOWN) {
            put(format!("note: {}", note.words));
        }
        if more > 0 {
            put(format!("and {more} more notes"));
        }
        for why in self.in_the_way.iter().filter(|why| !everywhere.contains(why)) {
            put(format!("in the way: {why}"));
        }
        lines
    }
}

/// Says what would go from a filesystem.
fn removed(filesystem: &CleanedFilesystem) -> String {
    let sum = |of: fn(&super::RemovedFiles) -> u64| -> u64 {
        filesystem.removed.iter().map(of).fold(0, u64::saturating_add)
    };
    let files = sum(|one| one.files.saturating_add(one.others));
    let (folders, bytes) = (sum(|one| one.folders), crate::Bytes(sum(|one| one.bytes.0)));
    let (name, at) = (&filesystem.name, &filesystem.mounted_at);
    format!("{files} files and {folders} directories, {bytes}, from {at} ({name})")
}

/// Says about how long something takes.
fn about(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60) {
        (0, 0) => "less than a minute".to_owned(),
        (0, minutes) => format!("about {minutes} min"),
        (hours, minutes) => format!("about {hours} h {} min", minutes % 60),
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bytes, wipe::RemovedFiles};

    fn way(words: &str, seconds: Option<u64>, reaches: Outcome) -> WayForecast {
        WayForecast {
            techniques: vec![Technique::Zeros],
            words: words.to_owned(),
            seconds,
            reaches,
        }
    }

    fn level(level: PowerLevel, ways: Vec<WayForecast>) -> LevelForecast {
        LevelForecast {
            level,
            asked: level.asked(),
            reaches: ways.first().map_or(Outcome::None, |way| way.reaches),
            ways,
            in_the_way: Vec::new(),
            would_remove: None,
            notes: Vec::new(),
        }
    }

    fn forecast() -> DiskForecast {
        let removed = RemovedFiles {
            rule: "/tmp".to_owned(),
            files: 12,
            folders: 3,
            others: 0,
            bytes: Bytes(4096),
        };
        let root = CleanedFilesystem {
            name: "partition 2".to_owned(),
            mounted_at: "/".to_owned(),
            removed: vec![removed],
            free_before_bytes: Bytes(1),
            free_after_bytes: None,
        };
        let left = |number: usize| Exception {
            code: "left".to_owned(),
            words: format!("partition 2: /tmp/{number} is left"),
        };
        let mut harbour = level(PowerLevel::Harbour, vec![way("removing it", None, Outcome::None)]);
        harbour.would_remove = Some(vec![root]);
        harbour.notes = (0..10).map(left).collect();
        let mut full =
            level(PowerLevel::Full, vec![way("zeros", Some(14 * 3600), Outcome::Logical)]);
        full.in_the_way = vec!["sda\x1b[2J is mounted".to_owned()];
        DiskForecast {
            medium: MediumWord::Unknown,
            levels: vec![harbour, full, level(PowerLevel::Redline, Vec::new())],
            obstacles: vec![Exception { code: "frozen".to_owned(), words: "it is".to_owned() }],
            not_asked: vec!["what it can".to_owned()],
        }
    }

    #[test]
    fn a_person_reads_it() {
        insta::assert_snapshot!(forecast().lines().join("\n"), @"
        harbour
          by removing it: nobody can tell how long
          would remove 12 files and 3 directories, 4 KiB, from / (partition 2)
          note: partition 2: /tmp/0 is left
          note: partition 2: /tmp/1 is left
          note: partition 2: /tmp/2 is left
          note: partition 2: /tmp/3 is left
          note: partition 2: /tmp/4 is left
          note: partition 2: /tmp/5 is left
          note: partition 2: /tmp/6 is left
          note: partition 2: /tmp/7 is left
          and 2 more notes
        full
          by zeros: about 14 h 0 min
          reaches logical, not clear
          in the way: sda [2J is mounted
        redline
          there is no way
          reaches nothing, not purge
        the disk says: it is
        not asked: what it can
        ");
    }

    #[test]
    fn what_stands_in_the_way_of_every_level_is_said_once() {
        let mut all = forecast();
        for level in &mut all.levels {
            level.in_the_way.push("it is in use".to_owned());
        }
        let lines = all.lines();
        let said: Vec<&String> = lines.iter().filter(|line| line.contains("in use")).collect();
        assert_eq!(said, ["  in the way of every level: it is in use"]);
    }

    #[test]
    fn it_travels_and_a_newer_medium_is_unknown() {
        let text = serde_json::to_string(&forecast()).unwrap();
        assert_eq!(serde_json::from_str::<DiskForecast>(&text).unwrap(), forecast());
        assert!(!text.contains("null"), "{text}");
        let newer = text.replace(r#""medium":"unknown""#, r#""medium":"glass""#);
        assert_eq!(serde_json::from_str::<DiskForecast>(&newer).unwrap(), forecast());
    }

    #[test]
    fn time_is_told_as_people_tell_it() {
        let told = [59, 61, 53_280].map(about);
        assert_eq!(told, ["less than a minute", "about 1 min", "about 14 h 48 min"]);
    }
}
