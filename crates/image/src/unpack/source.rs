//! The source's own errors, told apart from the decoders'.

use std::io::{self, ErrorKind, Read};

/// Marks every error of a source.
pub(super) struct Source<R> {
    inner: R,
}

/// An error of the source, on its way through the decoders.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Original(io::Error);

impl<R> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner }
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::new(error.kind(), Original(error))),
                Ok(count) => return Ok(count),
            }
        }
    }
}

pub(super) fn is_original(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Original>)
}

/// Returns the source's error as it was, any other as it is.
pub(super) fn original(error: io::Error) -> io::Error {
    match error.downcast::<Original>() {
        Ok(Original(error)) | Err(error) => error,
    }
}
