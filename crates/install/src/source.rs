//! Where the engine gets the image's bytes from. Fetching itself is the agent's.

use std::{fmt, io::Read, ops::Range};

/// A file that can be read from any offset, over a network or not. Called from several threads at once.
pub trait Source: fmt::Debug + Send + Sync {
    /// Begins to read a range of bytes. The reader ends after the range; ending earlier is an error of kind
    /// [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof), never a clean end. It blocks, and has its own time limits.
    /// A reader that sees later that the file was replaced, or is refused, says so with
    /// `io::Error::other(FetchError::…)`; any other error counts as [`FetchError::Again`].
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError>;
}

/// Why bytes do not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It may work in a moment: no connection, a time-out, a busy server.
    #[error("{reason}")]
    Again {
        /// What happened.
        reason: String,
    },
    /// The file is not what it was when reading began, so nothing of it may be mixed with what is there.
    #[error("the image was replaced while it was read: {reason}")]
    Replaced {
        /// How that was seen.
        reason: String,
    },
    /// It will not work: refused, not found, not a file of this kind.
    #[error("{reason}")]
    Never {
        /// What happened.
        reason: String,
    },
}
