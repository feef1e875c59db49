//! An image from standard input: it comes once, and cannot be asked for again.

use std::{
    fmt,
    fs::File,
    io::{self, IsTerminal as _, Read, Seek as _},
    ops::Range,
    os::fd::AsFd as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use install::{FetchError, Source};

use super::source::Opened;

/// Whoever fills a pipe may be silent so long.
pub(super) const PATIENCE: Duration = Duration::from_hours(24);

/// So much of the start can be read again: to see what it is, and with which sectors. More than the engine reads ahead.
const REMEMBERED: usize = 8 << 20;

/// Opens standard input; returns its length too, where it is a file.
pub(super) fn standard_input(sha256: Option<[u8; 32]>) -> Result<(Opened, Option<u64>), String> {
    let input = io::stdin();
    if input.is_terminal() {
        return Err("--image -: standard input is a terminal".to_owned());
    }
    let failed = |error: io::Error| format!("opening standard input: {error}");
    let mut file = File::from(input.as_fd().try_clone_to_owned().map_err(failed)?);
    let metadata = file.metadata().map_err(failed)?;
    let bytes = if metadata.is_file() {
        Some(metadata.len().saturating_sub(file.stream_position().map_err(failed)?))
    } else {
        None
    };
    let place = Box::new(Stream::new(Box::new(file)));
    Ok((Opened { place, bytes: bytes.unwrap_or(u64::MAX), sha256 }, bytes))
}

/// Bytes that come once.
struct Stream(Arc<Mutex<Coming>>);

struct Coming {
    input: Box<dyn Read + Send>,
    start: Vec<u8>,
    position: u64,
}

impl Stream {
    fn new(input: Box<dyn Read + Send>) -> Self {
        Self(Arc::new(Mutex::new(Coming { input, start: Vec::new(), position: 0 })))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl Source for Stream {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        if range.start > 0 {
            return Err(once());
        }
        let part = Part { coming: Arc::clone(&self.0), position: 0 };
        Ok(Box::new(part.take(range.end)))
    }
}

fn once() -> FetchError {
    FetchError::Never { reason: "standard input can be read once only".to_owned() }
}

/// A reader from the start.
struct Part {
    coming: Arc<Mutex<Coming>>,
    position: u64,
}

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = usize::try_from(self.position).ok().and_then(|at| coming.start.get(at..));
        let length = match remembered {
            Some(remembered) if !remembered.is_empty() => {
                let length = remembered.len().min(into.len());
                into[..length].copy_from_slice(&remembered[..length]);
                length
            }
            _ if self.position == coming.position => coming.next(into)?,
            _ => return Err(io::Error::other(once())),
        };
        self.position += u64::try_from(length).expect("a length fits 64 bits");
        Ok(length)
    }
}

impl Coming {
    fn next(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let failed = |error: io::Error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let reason = format!("reading standard input: {error}");
            io::Error::other(FetchError::Never { reason })
        };
        let length = self.input.read(into).map_err(failed)?;
        self.position += u64::try_from(length).expect("a length fits 64 bits");
        // Filled without a gap, or not at all any more.
        if self.start.len() + length <= REMEMBERED
            && u64::try_from(self.start.len() + length).is_ok_and(|end| end == self.position)
        {
            self.start.extend_from_slice(&into[..length]);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_can_be_read_again_and_what_is_behind_it_once() {
        let bytes: Vec<u8> = (0..REMEMBERED + 1000).map(|at| at.to_le_bytes()[0]).collect();
        let stream = Stream::new(Box::new(io::Cursor::new(bytes.clone())));
        let mut start = vec![0; 5000];
        for _ in 0..2 {
            stream.fetch(0..u64::MAX).unwrap().read_exact(&mut start).unwrap();
            assert_eq!(start, bytes[..5000]);
        }
        let mut all = Vec::new();
        stream.fetch(0..u64::MAX).unwrap().read_to_end(&mut all).unwrap();
        assert!(all == bytes);
        let again = stream.fetch(0..u64::MAX).unwrap().read_to_end(&mut all).unwrap_err();
        assert!(again.to_string().contains("once only"), "{again}");
        assert!(stream.fetch(1..2).is_err());
    }
}
