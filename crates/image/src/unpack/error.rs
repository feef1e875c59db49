//! Why an image does not come out of its packing.

use std::io::{self, ErrorKind};

use super::source;
use crate::recognise::{Format, NotAnImage};

/// Why an image does not come out of its packing.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The source itself failed.
    #[error("reading the image")]
    Read(#[source] io::Error),
    /// It is no image, or none that is understood.
    #[error(transparent)]
    NotAnImage(#[from] NotAnImage),
    /// It was cut.
    #[error("the {format} data ends too early")]
    Truncated {
        /// What was cut.
        format: Format,
    },
    /// It is not what was packed, or something follows it.
    #[error("the {format} data is damaged, or followed by something else: {detail}")]
    Damaged {
        /// What is damaged.
        format: Format,
        /// What the decoder says.
        detail: String,
    },
    /// Unpacking would take too much memory.
    #[error(
        "the {format} data needs more than {limit_bytes} bytes of window: convert it once with `drydock image add`"
    )]
    Window {
        /// What needs it.
        format: Format,
        /// What there is.
        limit_bytes: u64,
    },
    /// Compressed twice.
    #[error("there is {inner} inside the {outer} data: take one off")]
    Nested {
        /// The outer compression.
        outer: Format,
        /// The inner one.
        inner: Format,
    },
    /// A format that is read by seeking.
    #[error("a qcow2 image cannot be streamed: convert it once with `drydock image add`")]
    Qcow2,
    /// The archive is not one image and its documentation.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A disk ends where a sector ends.
    #[error(
        "the image ends in the middle of a sector, after {bytes} bytes: it was cut, or is no image"
    )]
    NotWholeSectors {
        /// Its length.
        bytes: u64,
    },
    /// The format's library has no memory left.
    #[error("there is no memory to unpack {format} data")]
    Memory {
        /// What could not be unpacked.
        format: Format,
    },
    /// Somebody went on reading after an error.
    #[error("unpacking failed before")]
    AlreadyFailed,
}

impl UnpackError {
    /// Returns the reason in an error of [`Read`](io::Read) that an [`Unpacked`](super::Unpacked) returned;
    /// nothing if the source itself failed, whose errors are passed on as they are.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(super) fn from_read(error: io::Error) -> Self {
        match source::original(error).downcast::<Self>() {
            Ok(reason) => reason,
            Err(error) => Self::Read(error),
        }
    }
}

impl From<UnpackError> for io::Error {
    fn from(error: UnpackError) -> Self {
        let kind = match error {
            UnpackError::Truncated { .. } => ErrorKind::UnexpectedEof,
            UnpackError::Window { .. } | UnpackError::Memory { .. } => ErrorKind::OutOfMemory,
            UnpackError::AlreadyFailed => ErrorKind::Other,
            _ => ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Why an archive does not hold an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    /// Nothing in it could be one.
    #[error(
        "the archive holds no image: no file whose length is a multiple of 512 bytes and which is no text"
    )]
    NoImage,
    /// More than one thing in it could be one.
    #[error("the archive holds more than one image: {first:?} and {second:?}")]
    SeveralImages {
        /// The first one's name.
        first: String,
        /// The second one's name.
        second: String,
    },
    /// What could be the image is something else.
    #[error("in the archive, {name:?} is no image")]
    NotAnImage {
        /// Its name.
        name: String,
        /// What it is.
        source: NotAnImage,
    },
    /// Compressed inside of the archive.
    #[error("in the archive, {name:?} is {format}: take it out of the archive")]
    Packed {
        /// Its name.
        name: String,
        /// How it is packed.
        format: Format,
    },
    /// A way to describe holes that is not understood.
    #[error(
        "in the archive, the holes of {name:?} are described in a way that is not understood: {detail}"
    )]
    Sparse {
        /// Its name.
        name: String,
        /// Which way.
        detail: &'static str,
    },
    /// A member of a kind that no archive of an image has.
    #[error("in the archive, {name:?} is of a kind that is not understood: {kind:?}")]
    Kind {
        /// Its name.
        name: String,
        /// The letter of its kind.
        kind: char,
    },
}

impl From<TarError> for io::Error {
    fn from(error: TarError) -> Self {
        UnpackError::Tar(error).into()
    }
}

/// Makes a decoder's error one of ours, unless it is one or the source's own.
pub(super) fn explain(error: io::Error, format: Format) -> io::Error {
    if UnpackError::of(&error).is_some() || source::is_original(&error) {
        return error;
    }
    match error.kind() {
        ErrorKind::UnexpectedEof => UnpackError::Truncated { format }.into(),
        _ => damaged(format, error.to_string()),
    }
}

pub(super) fn damaged(format: Format, detail: impl Into<String>) -> io::Error {
    UnpackError::Damaged { format, detail: detail.into() }.into()
}
