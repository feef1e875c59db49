//! Images made up, and sources that serve them in every wrong way.

use std::{
    io::{self, Read},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use image::Chunk;
use install::{FetchError, Plan, Source, Table};

use crate::medium::Chance;

/// An image, its frames, and the plan that tells them.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: Arc<Vec<u8>>,
    pub(crate) plan: Plan,
}

impl Image {
    pub(crate) fn of(bytes: Vec<u8>, chunk_bytes: u32, sector_bytes: Option<u32>) -> Self {
        let (mut frames, mut chunks) = (Vec::new(), Table::default());
        let pieces = bytes.chunks(usize::try_from(chunk_bytes).expect("small"));
        for chunk in pieces {
            let mut frame = vec![0; zstd_safe::compress_bound(chunk.len())];
            let length = zstd_safe::compress(&mut frame[..], chunk, 1).expect("there is room");
            frames.extend(&frame[..length]);
            let is_zeros = chunk.iter().all(|byte| *byte == 0);
            let digest = *blake3::hash(chunk).as_bytes();
            let content = if is_zeros { Chunk::Zeros } else { Chunk::Data { digest } };
            chunks.push(&content, u32::try_from(length).expect("frames are short"));
        }
        let image_bytes = wide(bytes.len());
        let plan = Plan { image_bytes, chunk_bytes, smallest_disk_bytes: 0, sector_bytes, chunks };
        Self { bytes, frames: Arc::new(frames), plan }
    }

    /// Makes up an image in which about two of three chunks hold something.
    pub(crate) fn by_chance(length: usize, chunk_bytes: u32, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut bytes = Vec::with_capacity(length);
        let chunk = usize::try_from(chunk_bytes).expect("small");
        while bytes.len() < length {
            let piece = chunk.min(length - bytes.len());
            if bytes.is_empty() || chance.below(3) > 0 {
                let random = chance.bytes(piece / 4);
                bytes.extend(random.iter().cycle().take(piece));
            } else {
                bytes.resize(bytes.len() + piece, 0);
            }
        }
        crate::table::make(&mut bytes, 512, &[(128, wide(length / 512) - 64)]);
        Self::of(bytes, chunk_bytes, Some(512))
    }

    pub(crate) fn source(&self) -> Server {
        Server::new(self.frames.clone(), Fault::None)
    }

    pub(crate) fn faulty(&self, fault: Fault) -> Server {
        Server::new(self.frames.clone(), fault)
    }
}

pub(crate) fn wide(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits 64 bits")
}

/// How a source fails.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    None,
    /// The first so many requests end early.
    CutShort {
        requests: u64,
    },
    /// The first so many requests are not answered.
    Down {
        requests: u64,
    },
    /// A bit of the file is wrong, always.
    FlippedBit {
        at: u64,
    },
    /// The first so many requests have a wrong bit at their start.
    FlippedOnce {
        requests: u64,
    },
    /// From this byte on the file is another one, and nobody says so.
    Other {
        from: u64,
    },
    /// From this request on the file is another one, and the source notices.
    Replaced {
        from_request: u64,
    },
    /// The same, noticed while reading.
    ReplacedMidway {
        from_request: u64,
    },
    Refused,
    /// An error page instead of the file.
    ErrorPage,
    /// Sends a byte now and then.
    Slow {
        pause: Duration,
    },
    /// Sends more than was asked for.
    TooMuch,
    /// Reads fail as when a time limit is over.
    TimesOut {
        requests: u64,
    },
    /// Nothing comes for a time after so many bytes; then all is well.
    Away {
        after_bytes: u64,
        requests: u64,
    },
    /// The first request breaks in the middle, and from then on all are refused.
    RefusedMidway,
    /// After so many bytes in all, nothing comes any more.
    DiesAfter {
        bytes: u64,
    },
}

/// A server in memory.
#[derive(Debug)]
pub(crate) struct Server {
    file: Arc<Vec<u8>>,
    fault: Fault,
    pub(crate) requests: AtomicU64,
    failed: AtomicU64,
    pub(crate) served: Arc<AtomicU64>,
}

impl Server {
    pub(crate) fn new(file: Arc<Vec<u8>>, fault: Fault) -> Self {
        Self {
            file,
            fault,
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            served: Arc::new(AtomicU64::new(0)),
        }
    }

    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl Source for Server {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let again = |reason: &str| Err(FetchError::Again { reason: reason.to_owned() });
        let replaced = || FetchError::Replaced { reason: "another ETag".to_owned() };
        let at = |offset: u64| usize::try_from(offset).expect("files of tests are small");
        let mut bytes = self.file[at(range.start)..at(range.end).min(self.file.len())].to_vec();
        let mut end = End::Clean;
        let mut pause = Duration::ZERO;
        match self.fault {
            Fault::Down { requests } if request <= requests => return again("connection refused"),
            Fault::Refused => return Err(FetchError::Never { reason: "403".to_owned() }),
            Fault::Replaced { from_request } if request >= from_request => return Err(replaced()),
            Fault::ReplacedMidway { from_request } if request >= from_request => {
                bytes.truncate(bytes.len() / 2);
                end = End::Error(io::Error::other(replaced()));
            }
            Fault::CutShort { requests } if request <= requests => {
                bytes.truncate(bytes.len() / 2);
                end = End::Error(io::ErrorKind::UnexpectedEof.into());
            }
            Fault::TimesOut { requests } if request <= requests => {
                bytes.clear();
                end = End::Error(io::ErrorKind::TimedOut.into());
            }
            Fault::FlippedBit { at: place } if range.contains(&place) => {
                bytes[at(place - range.start)] ^= 1;
            }
            Fault::FlippedOnce { requests } if request <= requests => bytes[0] ^= 1,
            Fault::Other { from } => {
                let skip = at(from.saturating_sub(range.start)).min(bytes.len());
                let other = Chance(range.end).bytes(bytes.len() - skip);
                bytes[skip..].copy_from_slice(&other);
            }
            Fault::ErrorPage => bytes = b"<html><h1>Not here</h1></html>".to_vec(),
            Fault::Slow { pause: time } => pause = time,
            Fault::Away { after_bytes, requests }
                if self.served() >= after_bytes
                    && self.failed.fetch_add(1, Ordering::Relaxed) < requests =>
            {
                return again("no route to host");
            }
            Fault::RefusedMidway if request > 1 => {
                return Err(FetchError::Never { reason: "401".to_owned() });
            }
            Fault::RefusedMidway => {
                bytes.truncate(bytes.len() / 2);
                end = End::Error(io::ErrorKind::ConnectionReset.into());
            }
            Fault::TooMuch => bytes.extend([0; 100]),
            Fault::DiesAfter { bytes: limit } => {
                let left = limit.saturating_sub(self.served());
                if left == 0 {
                    return again("connection reset");
                }
                bytes.truncate(at(left));
            }
            _ => {}
        }
        let served = self.served.clone();
        Ok(Box::new(Body { bytes: io::Cursor::new(bytes), end, pause, served }))
    }
}

#[derive(Debug)]
enum End {
    Clean,
    Error(io::Error),
    Over,
}

#[derive(Debug)]
struct Body {
    bytes: io::Cursor<Vec<u8>>,
    end: End,
    pause: Duration,
    served: Arc<AtomicU64>,
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let limit = if self.pause.is_zero() { into.len() } else { 1.min(into.len()) };
        if !self.pause.is_zero() {
            std::thread::park_timeout(self.pause);
        }
        let length = self.bytes.read(&mut into[..limit])?;
        self.served.fetch_add(wide(length), Ordering::Relaxed);
        if length == 0
            && let End::Error(error) = std::mem::replace(&mut self.end, End::Over)
        {
            return Err(error);
        }
        Ok(length)
    }
}
