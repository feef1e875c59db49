//! What can go wrong between a program and a medium: which operation, where, and whether the disk is still there.

use std::{fmt, io};

/// An operation on a medium that failed. Stands inside the [`io::Error`] that a [`Medium`](crate::Medium) returns.
#[derive(Debug, thiserror::Error)]
#[error("{is_gone}{operation} {length} bytes at {offset}", is_gone = if *.is_gone { "the disk is gone: " } else { "" })]
pub struct Fault {
    /// What was being done.
    pub operation: Operation,
    /// From where on the medium, in bytes: where it stopped, not where it was begun.
    pub offset: u64,
    /// How many bytes were left to do.
    pub length: u64,
    /// Whether the disk was taken out, or has died so thoroughly that the kernel let go of it.
    pub is_gone: bool,
    /// What the kernel said.
    pub source: io::Error,
}

/// What is done to a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reading from the medium.
    Read,
    /// Writing to it.
    Write,
    /// Having it zero a range.
    Zero,
    /// Waiting until all is on it.
    Flush,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Zero => "zeroing",
            Self::Flush => "flushing",
        })
    }
}

impl Fault {
    /// Finds the fault inside a medium's error.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(fault.source.kind(), fault)
    }
}

/// Holds for what the kernel says of a device that is no longer there: `ENXIO`, `ENODEV`, `ENOMEDIUM`.
pub(crate) fn says_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(6 | 19 | 123))
}

/// Returns what to say of a transfer to a disk that is gone. The kernel answers as for one that is too short, since a
/// disk that was taken out has no bytes: "no space left" to writers, an early end to readers.
pub(crate) fn of_gone(error: io::Error) -> io::Error {
    if says_gone(&error) { error } else { io::Error::from_raw_os_error(19) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_that_a_disk_is_full_that_was_taken_out() {
        for error in [
            io::Error::from_raw_os_error(28),
            io::Error::from_raw_os_error(5),
            io::ErrorKind::UnexpectedEof.into(),
        ] {
            assert_eq!(of_gone(error).raw_os_error(), Some(19));
        }
        assert_eq!(of_gone(io::Error::from_raw_os_error(6)).raw_os_error(), Some(6));
    }
}
