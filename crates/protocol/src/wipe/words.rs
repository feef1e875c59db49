//! Levels and obstacles as people type them, and what is said of one disk: `DISK=WHAT`.

use std::{fmt, str::FromStr};

use super::{Despite, Obstacle, PowerLevel};

/// Says why something that was typed means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// No such word.
    #[error("nothing is called {text:?}: it is one of {known}")]
    Unknown {
        /// What was typed.
        text: String,
        /// What can be.
        known: String,
    },
    /// It is not said of which disk, or not what.
    #[error("not of the form DISK={what}: {text:?}")]
    Form {
        /// What was typed.
        text: String,
        /// What has to stand behind the equals sign.
        what: &'static str,
    },
}

/// Splits `DISK=WHAT`, of which neither is empty; `what` names the second for who typed something else.
pub fn of_disk<'t>(text: &'t str, what: &'static str) -> Result<(&'t str, &'t str), WordError> {
    // No serial number, WWN, EUI-64 or NGUID has an equals sign; a file's name may.
    match text.split_once('=') {
        Some((disk, said)) if !disk.trim().is_empty() && !said.is_empty() => {
            Ok((disk.trim(), said))
        }
        _ => Err(WordError::Form { text: text.to_owned(), what }),
    }
}

impl PowerLevel {
    /// All levels, the gentlest first.
    pub const ALL: [Self; 5] =
        [Self::Idle, Self::Harbour, Self::Working, Self::Full, Self::Redline];

    /// Returns the level as people type it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Harbour => "harbour",
            Self::Working => "working",
            Self::Full => "full",
            Self::Redline => "redline",
        }
    }

    /// Says what the level is for, for help texts.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Idle => "Writes nothing: says what the other levels would do",
            Self::Harbour => "Removes ephemeral state of the installed system only",
            Self::Working => "Clears tables and signatures, for re-provisioning",
            Self::Full => "The whole disk: aims at clear",
            Self::Redline => "The disk's own erasure, or several passes: aims at purge",
        }
    }
}

impl Obstacle {
    /// All obstacles.
    pub const ALL: [Self; 6] = [
        Self::BootMedium,
        Self::SharedStorage,
        Self::Reservations,
        Self::Network,
        Self::Multipath,
        Self::Removable,
    ];

    /// Returns the obstacle as people type it.
    pub fn word(self) -> &'static str {
        match self {
            Self::BootMedium => "bootMedium",
            Self::SharedStorage => "sharedStorage",
            Self::Reservations => "reservations",
            Self::Network => "network",
            Self::Multipath => "multipath",
            Self::Removable => "removable",
        }
    }
}

impl fmt::Display for PowerLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for PowerLevel {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        one_of(&Self::ALL, Self::word, text)
    }
}

impl FromStr for Obstacle {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        one_of(&Self::ALL, Self::word, text)
    }
}

impl FromStr for Despite {
    type Err = WordError;

    /// Reads `DISK=OBSTACLE`.
    fn from_str(text: &str) -> Result<Self, WordError> {
        let (disk, obstacle) = of_disk(text, "OBSTACLE")?;
        Ok(Self { disk: disk.to_owned(), obstacle: obstacle.parse()? })
    }
}

fn one_of<T: Copy>(all: &[T], word: fn(T) -> &'static str, text: &str) -> Result<T, WordError> {
    all.iter().copied().find(|one| word(*one) == text).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|one| word(*one)).collect();
        WordError::Unknown { text: text.to_owned(), known: known.join(", ") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_same_at_a_terminal_and_on_the_wire() {
        for level in PowerLevel::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
            assert_eq!(serde_json::to_value(level).unwrap(), level.word());
        }
        for obstacle in Obstacle::ALL {
            assert_eq!(obstacle.to_string().parse(), Ok(obstacle));
            assert_eq!(serde_json::to_value(obstacle).unwrap(), obstacle.word());
        }
    }

    #[test]
    fn a_word_that_means_nothing_is_answered_with_those_that_do() {
        let error = "gentle".parse::<PowerLevel>().unwrap_err().to_string();
        let known = "it is one of idle, harbour, working, full, redline";
        assert_eq!(error, format!("nothing is called \"gentle\": {known}"));
        assert!("Full".parse::<PowerLevel>().is_err() && "".parse::<Obstacle>().is_err());
    }

    #[test]
    fn an_obstacle_belongs_to_a_disk() {
        let read: Despite = "S3Z1NB0K=bootMedium".parse().unwrap();
        assert_eq!((read.disk.as_str(), read.obstacle), ("S3Z1NB0K", Obstacle::BootMedium));
        for text in ["bootMedium", "S3Z1NB0K=boot", "S3Z1NB0K=", "=bootMedium", " =removable", ""] {
            assert!(text.parse::<Despite>().is_err(), "{text}");
        }
        assert_eq!(of_disk("A=dir/b=c", "FILE"), Ok(("A", "dir/b=c")));
    }
}
