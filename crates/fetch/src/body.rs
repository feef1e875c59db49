//! What follows the head of an answer: its bytes, as many as were promised, and fast enough.

use std::time::{Duration, Instant};

use crate::{
    connection::{Connection, Failure},
    error::FetchError,
    head::Framing,
    limits::Limits,
};

/// How long it is waited for bytes that should not come.
const MORE_PATIENCE: Duration = Duration::from_millis(250);

/// The longest line between chunks.
const LINE: usize = 4 << 10;

/// A body that comes in.
#[derive(Debug)]
pub(crate) struct Incoming {
    connection: Connection,
    /// What came together with the head, and how much of it was read.
    early: Vec<u8>,
    taken: usize,
    ends: Ends,
    pace: Pace,
}

/// Where a body is before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    After(u64),
    /// So much is left of a chunk.
    Chunk(u64),
    /// The first chunk's length comes next.
    FirstChunk,
    WithConnection,
    Over,
}

impl Incoming {
    /// Takes what came together with the head.
    pub(crate) fn new(
        connection: Connection,
        early: Vec<u8>,
        framing: Framing,
        limits: &Limits,
    ) -> Self {
        let ends = match framing {
            Framing::Length(length) => Ends::After(length),
            Framing::Chunked => Ends::FirstChunk,
            Framing::UntilClose => Ends::WithConnection,
        };
        Self { connection, early, taken: 0, ends, pace: Pace::new(limits) }
    }

    /// Names the server.
    pub(crate) fn host(&self) -> &str {
        self.connection.host()
    }

    /// Reads some bytes; none at the end.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, FetchError> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.ends == Ends::FirstChunk {
            self.ends = self.next_chunk()?;
        }
        match self.ends {
            Ends::After(0) => {
                self.ends = Ends::Over;
                self.nothing_more()
            }
            Ends::After(left) => {
                let count = self.promised(into, left)?;
                self.ends = Ends::After(left - wide(count));
                Ok(count)
            }
            Ends::Chunk(left) => {
                let count = self.promised(into, left)?;
                self.ends = Ends::Chunk(left - wide(count));
                if left == wide(count) {
                    if !self.line()?.is_empty() {
                        return Err(self.nonsense());
                    }
                    self.ends = self.next_chunk()?;
                }
                Ok(count)
            }
            Ends::WithConnection => self.some(into),
            Ends::FirstChunk | Ends::Over => Ok(0),
        }
    }

    /// Reads all of it, up to a limit; says whether there was more.
    pub(crate) fn beginning(&mut self, limit: usize) -> Result<(Vec<u8>, bool), FetchError> {
        let mut bytes = vec![0; limit + 1];
        let mut length = 0;
        while length < bytes.len() {
            match self.read(&mut bytes[length..])? {
                0 => break,
                count => length += count,
            }
        }
        bytes.truncate(length.min(limit));
        Ok((bytes, length > limit))
    }

    /// Reads bytes of which so many are to come.
    fn promised(&mut self, into: &mut [u8], left: u64) -> Result<usize, FetchError> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        match self.some(&mut into[..most])? {
            0 => Err(FetchError::Cut { host: self.host().to_owned(), missing: left }),
            count => Ok(count),
        }
    }

    /// Makes sure that the length was the right one.
    fn nothing_more(&mut self) -> Result<usize, FetchError> {
        let is_more = self.taken < self.early.len()
            || self
                .connection
                .read(&mut [0], Instant::now() + MORE_PATIENCE)
                // However it ends, all that was promised is here.
                .is_ok_and(|count| count > 0);
        if is_more { Err(FetchError::Longer { host: self.host().to_owned() }) } else { Ok(0) }
    }

    /// Reads the line that says how long the next chunk is. RFC 9112 §7.1.
    fn next_chunk(&mut self) -> Result<Ends, FetchError> {
        let line = self.line()?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let fit = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let length = std::str::from_utf8(digits).ok().filter(|_| fit);
        match length.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
            // What stands behind it is of no interest, and the connection is not used again.
            Some(0) => Ok(Ends::Over),
            Some(length) => Ok(Ends::Chunk(length)),
            None => Err(self.nonsense()),
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, FetchError> {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.len() < LINE {
            if self.some(&mut byte)? == 0 {
                return Err(FetchError::Cut { host: self.host().to_owned(), missing: 1 });
            }
            if byte == *b"\n" {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            line.extend(byte);
        }
        Err(self.nonsense())
    }

    fn nonsense(&self) -> FetchError {
        let reason = "the chunks of its answer do not fit together";
        FetchError::NotHttp { host: self.host().to_owned(), reason }
    }

    /// Reads from what came early, then from the connection; gives up when too little comes.
    fn some(&mut self, into: &mut [u8]) -> Result<usize, FetchError> {
        let early = self.early.get(self.taken..).unwrap_or_default();
        if !early.is_empty() {
            let count = early.len().min(into.len());
            into[..count].copy_from_slice(&early[..count]);
            self.taken += count;
            return Ok(count);
        }
        loop {
            let asked = Instant::now();
            let read = self.connection.read(into, asked + self.pace.left());
            let count = match &read {
                Ok(count) => *count,
                Err(_) => 0,
            };
            if let Err(bytes) = self.pace.more(asked.elapsed(), wide(count)) {
                let host = self.host().to_owned();
                return Err(FetchError::Slow { host, bytes, window: self.pace.window });
            }
            match read {
                Ok(count) => return Ok(count),
                Err(Failure::Late) => {}
                Err(Failure::Broken(error)) => return Err(error),
            }
        }
    }
}

/// How fast bytes come. Time in which nobody reads is not the server's.
#[derive(Debug)]
struct Pace {
    window: Duration,
    least: u64,
    waited: Duration,
    arrived: u64,
}

impl Pace {
    fn new(limits: &Limits) -> Self {
        let Limits { window, least_bytes, .. } = *limits;
        Self { window, least: least_bytes, waited: Duration::ZERO, arrived: 0 }
    }

    /// How long the window still is.
    fn left(&self) -> Duration {
        self.window.saturating_sub(self.waited).max(Duration::from_millis(1))
    }

    /// Counts; fails at the end of a window in which too little came, with what came.
    fn more(&mut self, waited: Duration, arrived: u64) -> Result<(), u64> {
        self.waited += waited;
        self.arrived += arrived;
        if self.waited < self.window {
            return Ok(());
        }
        if self.arrived < self.least {
            return Err(self.arrived);
        }
        (self.waited, self.arrived) = (Duration::ZERO, 0);
        Ok(())
    }
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_is_judged_by_windows_and_by_what_came_in_each() {
        let limits =
            Limits { window: Duration::from_secs(10), least_bytes: 100, ..Limits::default() };
        let mut pace = Pace::new(&limits);
        assert_eq!(pace.more(Duration::from_secs(9), 1), Ok(()));
        assert_eq!(pace.left(), Duration::from_secs(1));
        assert_eq!(pace.more(Duration::from_secs(1), 99), Ok(()));
        assert_eq!(pace.more(Duration::from_secs(9), 98), Ok(()));
        assert_eq!(pace.more(Duration::from_secs(1), 1), Err(99));
    }
}
