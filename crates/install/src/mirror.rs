//! Fetching from several mirrors with patience: what fails is tried again, elsewhere, a little later.

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    FetchError, Source,
    chance::Chance,
    crew::{Crew, Ended},
    failure::Failure,
    gauge::Gauge,
    options::{Options, Patience, SLOWEST_BYTES},
    stop::Stop,
};

/// What is read at once. Small, so that a source that sends a byte now and then is noticed.
const PIECE_BYTES: usize = 256 << 10;

/// Where the same file is to be had.
#[derive(Debug)]
pub(crate) struct Mirrors<'a> {
    sources: &'a [&'a dyn Source],
    refused: Vec<AtomicBool>,
    preferred: AtomicUsize,
    /// Holds once bytes have come that nothing vouches for: those of another mirror would not fit them.
    is_fixed: AtomicBool,
    patience: Patience,
    stop: Stop<'a>,
    chance: Mutex<Chance>,
}

impl<'a> Mirrors<'a> {
    pub(crate) fn new(sources: &'a [&'a dyn Source], options: &Options<'a>) -> Self {
        Self {
            sources,
            refused: sources.iter().map(|_| AtomicBool::new(false)).collect(),
            preferred: AtomicUsize::new(0),
            is_fixed: AtomicBool::new(false),
            patience: options.patience,
            stop: options.stop,
            chance: Mutex::new(Chance(options.seed)),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.sources.len()
    }

    /// Begins to read a range at the mirror that worked last.
    pub(crate) fn open(&self, range: Range<u64>) -> (usize, Result<Reading<'a>, FetchError>) {
        let mirror = self.preferred.load(Ordering::Relaxed);
        (mirror, self.open_at(mirror, range))
    }

    fn open_at(&self, mirror: usize, range: Range<u64>) -> Result<Reading<'a>, FetchError> {
        let Some(source) = self.sources.get(mirror) else {
            return Err(FetchError::Never { reason: "there is no mirror".to_owned() });
        };
        let reader = source.fetch(range)?;
        let Patience { stall, .. } = self.patience;
        Ok(Reading { reader, stop: self.stop, stall, since: Instant::now(), arrived: 0 })
    }

    /// Stays with the mirror that works, from now on.
    pub(crate) fn fix(&self) {
        self.is_fixed.store(true, Ordering::Relaxed);
    }

    /// Goes on to the next mirror, if nobody else has done so already.
    pub(crate) fn leave(&self, mirror: usize) {
        if self.is_fixed.load(Ordering::Relaxed) {
            return;
        }
        let count = self.sources.len().max(1);
        let others = (1..=count).map(|step| (mirror + step) % count);
        let usable = |mirror: &usize| {
            self.refused.get(*mirror).is_none_or(|refused| !refused.load(Ordering::Relaxed))
        };
        let next = others.clone().find(usable).unwrap_or(mirror);
        let quickest =
            self.preferred.compare_exchange(mirror, next, Ordering::Relaxed, Ordering::Relaxed);
        // That another thread was quicker is as good.
        quickest.unwrap_or_default();
    }

    /// Marks a mirror as of no use; says whether one is left.
    fn refuse(&self, mirror: usize) -> bool {
        if let Some(refused) = self.refused.get(mirror) {
            refused.store(true, Ordering::Relaxed);
        }
        self.leave(mirror);
        let is_fixed = self.is_fixed.load(Ordering::Relaxed);
        !is_fixed && self.refused.iter().any(|refused| !refused.load(Ordering::Relaxed))
    }
}

/// Attempts at the same bytes.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    mirrors: &'a Mirrors<'a>,
    failures: u32,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(mirrors: &'a Mirrors<'a>) -> Self {
        Self { mirrors, failures: 0 }
    }

    /// Says that bytes have arrived: patience begins anew.
    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
    }

    /// Chooses another mirror and waits a little, or says why it is of no use to go on.
    pub(crate) fn failed(
        &mut self,
        mirror: usize,
        offset: u64,
        error: FetchError,
        crew: &Crew<'_>,
    ) -> Result<(), Ended> {
        // That it was ended from outside comes before what that has caused.
        crew.pause(Duration::ZERO)?;
        match error {
            FetchError::Replaced { reason } => Err(Failure::Replaced { reason }.into()),
            FetchError::Never { reason } => {
                if self.mirrors.refuse(mirror) {
                    return Ok(());
                }
                Err(Failure::Refused { reason }.into())
            }
            FetchError::Again { reason } => {
                self.failures += 1;
                let attempts = self.failures;
                if attempts >= self.mirrors.patience.attempts {
                    return Err(Failure::Unreachable { offset, attempts, reason }.into());
                }
                self.mirrors.leave(mirror);
                Ok(crew.pause(self.pause())?)
            }
        }
    }

    /// Returns a pause that doubles with every failure, cut by up to a half so that not all machines come at once.
    fn pause(&self) -> Duration {
        let Patience { first_pause, longest_pause, .. } = self.mirrors.patience;
        let doublings = (self.failures - 1).min(16);
        let pause = first_pause.saturating_mul(1 << doublings).min(longest_pause);
        let mut chance = self.mirrors.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let share = u32::try_from(chance.next() % 1000).unwrap_or(0);
        pause * (2000 - share) / 2000
    }
}

/// A range that is being read.
pub(crate) struct Reading<'a> {
    reader: Box<dyn Read + Send>,
    stop: Stop<'a>,
    stall: Duration,
    since: Instant,
    arrived: u64,
}

impl fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("arrived", &self.arrived).finish_non_exhaustive()
    }
}

impl Reading<'_> {
    /// Fills a buffer.
    pub(crate) fn fill(&mut self, mut into: &mut [u8], gauge: &Gauge) -> Result<(), FetchError> {
        while !into.is_empty() {
            let length = self.some(into)?;
            if length == 0 {
                let reason = format!("it ended {} bytes early", into.len());
                return Err(FetchError::Again { reason });
            }
            gauge.fetched.add(length);
            into = &mut into[length..];
        }
        Ok(())
    }

    /// Reads some bytes; none at the end.
    pub(crate) fn some(&mut self, into: &mut [u8]) -> Result<usize, FetchError> {
        self.stop.check().map_err(|stopped| FetchError::Again { reason: stopped.to_string() })?;
        let limit = into.len().min(PIECE_BYTES);
        let length = loop {
            match self.reader.read(&mut into[..limit]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| cause(&error))?,
            }
        };
        self.arrived += u64::try_from(length).expect("a length fits 64 bits");
        if self.since.elapsed() > self.stall {
            if self.arrived < SLOWEST_BYTES {
                let reason = format!("only {} bytes in {:?}", self.arrived, self.stall);
                return Err(FetchError::Again { reason });
            }
            (self.since, self.arrived) = (Instant::now(), 0);
        }
        Ok(length)
    }

    /// Makes sure that nothing follows: who sends more than was asked for has not understood.
    pub(crate) fn end(&mut self) -> Result<(), FetchError> {
        match self.some(&mut [0])? {
            0 => Ok(()),
            _ => Err(FetchError::Again { reason: "more came than was asked for".to_owned() }),
        }
    }
}

/// Returns the [`FetchError`] that a reader has put into its error, or takes it as one that may pass.
fn cause(error: &io::Error) -> FetchError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<FetchError>());
    inner.cloned().unwrap_or_else(|| FetchError::Again { reason: error.to_string() })
}
