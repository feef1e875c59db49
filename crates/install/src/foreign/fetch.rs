//! Fetches a file from its start to its end, going on where a connection broke, and hashes it.

use std::{
    io::{self, Read},
    sync::Mutex,
};

use sha2::{Digest as _, Sha256};

use super::{Work, lock};
use crate::{
    FetchError,
    crew::{Crew, Ended},
    mirror::{Attempts, Reading},
    queue::Queue,
};

/// Some bytes of the file.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Box<[u8]>,
    length: usize,
}

impl Piece {
    pub(super) fn new(length: usize) -> Self {
        Self { bytes: vec![0; length].into_boxed_slice(), length: 0 }
    }
}

/// The stage.
#[derive(Debug)]
pub(super) struct Fetch<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) crew: &'a Crew<'a>,
    pub(super) empty: &'a Queue<Piece>,
    pub(super) out: &'a Queue<Piece>,
    pub(super) hash: &'a Mutex<Sha256>,
}

impl Fetch<'_> {
    pub(super) fn run(&self) -> Result<(), Ended> {
        let mut end = self.work.foreign.file_bytes.unwrap_or(u64::MAX);
        let mut attempts = Attempts::new(self.work.mirrors);
        let mut at = 0;
        while at < end {
            let before = at;
            let (mirror, opened) = self.work.mirrors.open(at..end);
            let result = match opened {
                Ok(reading) => self.read(reading, &mut at)?,
                Err(error) => Err(error),
            };
            if at > before {
                attempts.progressed();
            }
            match result {
                Ok(()) => end = at,
                Err(error) => attempts.failed(mirror, at, error, self.crew)?,
            }
        }
        self.out.done();
        Ok(())
    }

    /// Passes on what comes, and says why nothing more does; `at` moves on.
    fn read(
        &self,
        mut reading: Reading<'_>,
        at: &mut u64,
    ) -> Result<Result<(), FetchError>, Ended> {
        let told = self.work.foreign.file_bytes;
        let end = told.unwrap_or(u64::MAX);
        while *at < end {
            let Some(mut piece) = self.empty.pop()? else { return Err(Ended::Aborted) };
            let left = usize::try_from(end - *at).unwrap_or(usize::MAX).min(piece.bytes.len());
            match reading.some(&mut piece.bytes[..left]) {
                Ok(0) => {
                    self.empty.give_back(piece);
                    if told.is_none() {
                        return Ok(Ok(()));
                    }
                    let reason = format!("it ended {} bytes early", end - *at);
                    return Ok(Err(FetchError::Again { reason }));
                }
                Ok(length) => {
                    if self.work.foreign.sha256.is_none() {
                        self.work.mirrors.fix();
                    }
                    lock(self.hash).update(&piece.bytes[..length]);
                    self.work.gauge.fetched.add(length);
                    piece.length = length;
                    self.out.push(*at, piece)?;
                    *at += u64::try_from(length).expect("a length fits 64 bits");
                }
                Err(error) => {
                    self.empty.give_back(piece);
                    return Ok(Err(error));
                }
            }
        }
        // With more than was announced it is another file; what came of it is not believed without a digest.
        match reading.end() {
            Err(error) if self.work.foreign.sha256.is_none() => {
                let reason = format!("its length is not the one that was announced: {error}");
                Ok(Err(FetchError::Replaced { reason }))
            }
            _ => Ok(Ok(())),
        }
    }
}

/// What the decoder reads.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    full: &'a Queue<Piece>,
    empty: &'a Queue<Piece>,
    current: Option<(Piece, usize)>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(full: &'a Queue<Piece>, empty: &'a Queue<Piece>) -> Self {
        Self { full, empty, current: None }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.current.is_none() {
            let next = self.full.pop().map_err(|_| io::Error::other("the fetching failed"))?;
            let Some(piece) = next else { return Ok(0) };
            self.current = Some((piece, 0));
        }
        let Some((piece, at)) = &mut self.current else { return Ok(0) };
        let length = into.len().min(piece.length - *at);
        into[..length].copy_from_slice(&piece.bytes[*at..*at + length]);
        *at += length;
        if *at == piece.length
            && let Some((piece, _)) = self.current.take()
        {
            self.empty.give_back(piece);
        }
        Ok(length)
    }
}
