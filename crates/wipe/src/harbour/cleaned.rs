//! What a walk removed, what it left, and why.

use std::{collections::BTreeMap, io};

use super::list::{RULES, Rule};
use crate::Stopped;

/// How many of the places that were left are named; all are counted.
const NAMED_LIMIT: usize = 64;

/// How much of a path is shown.
const SHOWN_BYTES: usize = 256;

/// Linux, `include/uapi/asm-generic/errno-base.h` and `errno.h`.
const EPERM: i32 = 1;
const EXDEV: i32 = 18;
const ENOTDIR: i32 = 20;
const ELOOP: i32 = 40;

/// How much a rule removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub folders: u64,
    /// Links, sockets, FIFOs and device nodes.
    pub others: u64,
    /// The room that they took, but for files with more names; those give up nothing.
    pub bytes: u64,
}

/// Something that a rule names and that was left all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Where, for a person: what is not UTF-8 is replaced.
    pub path: String,
    /// Why.
    pub why: Why,
}

/// Why something was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Why {
    /// The list keeps it.
    #[error("it is kept: it can be user data")]
    Kept,
    /// A filesystem is mounted there.
    #[error("something is mounted there")]
    Mount,
    /// It is a Btrfs subvolume of its own.
    #[error("it is a subvolume of its own")]
    Subvolume,
    /// A link stands where a directory should: where it leads is not what the rule means.
    #[error("a link stands there, and none is followed")]
    Link,
    /// It is immutable or only grows.
    #[error("it is immutable or only grows")]
    Unchangeable,
    /// Somebody exchanged it during the walk.
    #[error("it was changed meanwhile")]
    Changed,
    /// The kernel refused.
    #[error("the kernel refused: {0}")]
    Refused(io::ErrorKind),
}

/// What a walk did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cleaned {
    /// What was removed, by the rule's number in [`RULES`].
    pub removed: BTreeMap<usize, Count>,
    /// The first 64 places that were left.
    pub left: Vec<Left>,
    /// How many were left.
    pub left_count: u64,
    /// Why it ended early; what was removed before is gone.
    pub stopped: Option<Stopped>,
}

impl Cleaned {
    pub(super) fn leave(&mut self, path: &[u8], why: Why) {
        let left = Left { path: shown(path), why };
        // Several rules stop at the same link.
        if self.left.contains(&left) {
            return;
        }
        self.left_count += 1;
        if self.left.len() < NAMED_LIMIT {
            self.left.push(left);
        }
    }

    /// Adds what another walk did.
    pub fn add(&mut self, other: Self) {
        for (rule, count) in other.removed {
            let sum = self.removed.entry(rule).or_default();
            sum.files += count.files;
            sum.folders += count.folders;
            sum.others += count.others;
            sum.bytes = sum.bytes.saturating_add(count.bytes);
        }
        self.left_count += other.left_count;
        let room = NAMED_LIMIT.saturating_sub(self.left.len());
        self.left.extend(other.left.into_iter().take(room));
        self.stopped = self.stopped.or(other.stopped);
    }

    /// Returns how much was removed in all.
    pub fn total(&self) -> Count {
        self.removed.values().fold(Count::default(), |sum, count| Count {
            files: sum.files + count.files,
            folders: sum.folders + count.folders,
            others: sum.others + count.others,
            bytes: sum.bytes.saturating_add(count.bytes),
        })
    }

    /// Returns the rules that removed something, with how much.
    pub fn by_rule(&self) -> impl Iterator<Item = (&'static Rule, Count)> {
        self.removed.iter().filter_map(|(index, count)| Some((RULES.get(*index)?, *count)))
    }
}

impl Why {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(EPERM) => Self::Unchangeable,
            Some(EXDEV) => Self::Mount,
            Some(ELOOP | ENOTDIR) => Self::Changed,
            _ => Self::Refused(error.kind()),
        }
    }
}

/// Returns a path for a person: its start, without what would disturb a terminal.
fn shown(path: &[u8]) -> String {
    let start = path.get(..SHOWN_BYTES).unwrap_or(path);
    let mut text: String = String::from_utf8_lossy(start)
        .chars()
        .map(|one| if one.is_control() { char::REPLACEMENT_CHARACTER } else { one })
        .collect();
    if start.len() < path.len() {
        text.push('…');
    }
    if text.is_empty() { "/".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_so_that_no_terminal_minds() {
        assert_eq!(shown(b""), "/");
        assert_eq!(shown("/tmp/ä\x1b[2J\n".as_bytes()), "/tmp/ä\u{fffd}[2J\u{fffd}");
        assert_eq!(shown(b"/\xff"), "/\u{fffd}");
        assert!(shown(&[b'a'; 5000]).len() < 300);
    }

    #[test]
    fn what_is_left_is_counted_beyond_what_is_named() {
        let mut cleaned = Cleaned::default();
        for number in 0..100 {
            let path = format!("/tmp/{number}");
            cleaned.leave(path.as_bytes(), Why::Kept);
            // The same place again.
            if number < 10 {
                cleaned.leave(path.as_bytes(), Why::Kept);
            }
        }
        assert_eq!((cleaned.left.len(), cleaned.left_count), (64, 100));
        let mut sum = cleaned.clone();
        sum.add(cleaned);
        assert_eq!((sum.left.len(), sum.left_count), (64, 200));
    }
}
