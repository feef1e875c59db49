//! Files on other people's servers, as the writer reads them.

use std::{
    io::{self, Read},
    ops::Range,
};

use fetch::{Lasting, Mirror};
use install::{FetchError, Source};

/// A file on somebody's server.
#[derive(Debug)]
pub(crate) struct Elsewhere(pub(crate) Mirror);

impl Source for Elsewhere {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        let body = self.0.read(range).map_err(|error| said(&error))?;
        Ok(Box::new(Body(body)))
    }
}

/// What such a server sends, with its errors as the writer knows them.
struct Body(fetch::Body);

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match fetch::FetchError::of(&error) {
            Some(cause) => io::Error::other(said(cause)),
            None => error,
        })
    }
}

fn said(error: &fetch::FetchError) -> FetchError {
    let reason = error.chain();
    match error.lasting() {
        Lasting::Passing => FetchError::Again { reason },
        Lasting::Replaced => FetchError::Replaced { reason },
        Lasting::Lasting => FetchError::Never { reason },
    }
}
