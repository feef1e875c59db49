//! What can be wrong with a line of our lists.

/// A list of ours that cannot be used, by its first bad line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {number}: {fault}")]
pub struct ListError {
    /// The line, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It has too few or too many words.
    #[error("not of this shape: {0}")]
    Shape(&'static str),
    /// A digest is not 64 lower-case hexadecimal digits.
    #[error("no SHA-256: {0:?}")]
    Digest(String),
    /// A length is no number, nought, or more than [`crate::LONGEST_FILE`].
    #[error("no length of a file: {0:?}")]
    Length(String),
    /// A path leads elsewhere than to modules or firmware.
    #[error("no path of the store's: {0:?}")]
    Path(String),
    /// The firmware's name is none.
    #[error("no name of a firmware: {0:?}")]
    Name(String),
    /// The fourth word is unknown.
    #[error("unknown mark: {0:?}")]
    Mark(String),
    /// Another line says something about the same file.
    #[error("named twice: {0}")]
    Twice(String),
}

/// The longest path or name.
const LONGEST: usize = 240;

/// Holds for paths that stay below where they begin: printable, without blanks, and every part of them a name.
pub(crate) fn is_tame(path: &str) -> bool {
    path.len() <= LONGEST
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Reads a text line by line, and says of the first bad line which it is.
pub(crate) fn each<'t>(
    text: &'t str,
    mut read: impl FnMut(&'t str) -> Result<(), Fault>,
) -> Result<(), ListError> {
    for (line, number) in text.lines().zip(1..) {
        read(line).map_err(|fault| ListError { number, fault })?;
    }
    Ok(())
}
