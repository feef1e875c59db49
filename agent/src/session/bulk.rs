//! A second line to the server, for what is large: images come in over it, progress goes out.
//!
//! It has a thread and connections of its own, so that gigabytes and a slow disk hold up neither the session nor the
//! network. It shows the same key as the session: to the server both are one machine.

use std::{
    io::{self, Read},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hyper::{StatusCode, header};
use inventory::guard;
use protocol::{Event, EventKind, Level};
use tokio::{
    runtime::{Builder, Handle},
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    client::{CallError, Client, accepted, chain},
    http::{Answer, Ask},
};

/// How long a connection may be silent: a server whose disk wakes up takes ten seconds.
const SILENCE: Duration = Duration::from_secs(20);

/// A transfer that is slower than this for [`PATIENCE`] on average is given up and begun anew.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 10;

/// After this time a transfer's speed is judged.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pieces of a transfer that wait to be read. A piece is what the connection gave at once, 16 KiB with TLS.
const PIECES: usize = 16;

/// The most often that progress is told.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);

/// So often it is told at least, even where nothing moves: the answer says whether the order still stands.
pub(super) const PROGRESS_PERIOD: Duration = Duration::from_secs(5);

/// A line. Dropping it ends its thread.
#[derive(Debug)]
pub struct Bulk {
    client: Client,
    runtime: Handle,
    progress: watch::Sender<Option<EventKind>>,
    cancelled: Arc<AtomicBool>,
    /// The thread ends with it.
    _alive: oneshot::Sender<()>,
}

/// Says why nothing comes over the line.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// The thread could not be made.
    #[error("starting the thread for transfers")]
    Thread(#[source] io::Error),
    /// There was no answer in time, or the server was busy: it may work in a moment.
    #[error("{0}")]
    Again(String),
    /// The server has no such file, or knows of no such files at all: 404 or 410.
    #[error("{0}")]
    Absent(String),
    /// The server answered with something else than what was asked for.
    #[error("{0}")]
    Never(String),
}

impl Bulk {
    /// Makes the line; connects to nobody yet.
    pub(super) fn new(client: Client, cancelled: Arc<AtomicBool>) -> Result<Self, BulkError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(BulkError::Thread)?;
        let handle = runtime.handle().clone();
        let (alive, end) = oneshot::channel::<()>();
        let (progress, latest) = watch::channel(None);
        handle.spawn(tell(client.clone(), latest, Arc::clone(&cancelled)));
        let work = move || {
            // A transfer that panics has ended early: it is begun anew.
            guard::run(|| {
                let _ended = runtime.block_on(end);
                runtime.shutdown_background();
            });
        };
        let name = "transfers".to_owned();
        thread::Builder::new().name(name).spawn(work).map_err(BulkError::Thread)?;
        Ok(Self { client, runtime: handle, progress, cancelled, _alive: alive })
    }

    /// Becomes true once the server says that the order whose progress it was told of is over.
    pub fn cancelled(&self) -> &AtomicBool {
        &self.cancelled
    }

    /// Tells the server how far the work is: some time soon, and only the latest word of each second. The kind is one of
    /// progress, to which the server answers whether the order still stands.
    pub fn tell(&self, progress: EventKind) {
        self.progress.send_replace(Some(progress));
    }

    /// Reads a whole file of at most that many bytes. Blocks.
    pub fn get(&self, path: &str, limit: u64) -> Result<Vec<u8>, BulkError> {
        let mut body = self.begin(path, None).map_err(asked_again)?;
        // No more is taken than comes: a buffer that grows is there twice.
        let mut bytes = Vec::with_capacity(usize::try_from(body.left.min(limit)).unwrap_or(0));
        let read = body.by_ref().take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| BulkError::Again(format!("reading {path}: {error}")))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
            Ok(bytes)
        } else {
            Err(BulkError::Never(format!("{path} is larger than {limit} bytes")))
        }
    }

    /// Begins to read a range of a file. Blocks until the server answers.
    pub fn read(&self, path: &str, range: Range<u64>) -> Result<Body, BulkError> {
        self.begin(path, Some(range)).map_err(asked_again)
    }

    /// Begins to read a whole file. Blocks until the server answers, and says where it has none.
    pub fn open(&self, path: &str) -> Result<Body, BulkError> {
        self.begin(path, None)
    }

    fn begin(&self, path: &str, range: Option<Range<u64>>) -> Result<Body, BulkError> {
        let (tell_start, start) = oneshot::channel();
        let (give, take) = mpsc::channel(PIECES);
        let transfer = transfer(self.client.clone(), path.to_owned(), range, tell_start, give);
        self.runtime.spawn(transfer);
        let gone = || BulkError::Again("the line is closed".to_owned());
        let length = start.blocking_recv().map_err(|_| gone())??;
        Ok(Body { take, piece: Piece::default(), left: length })
    }
}

/// What an order names is in the store of images for as long as the order stands: who does not find it asks again.
fn asked_again(error: BulkError) -> BulkError {
    match error {
        BulkError::Absent(words) => BulkError::Again(words),
        error => error,
    }
}

/// What the server sends. Ends after as many bytes as it promised; ending earlier is an error.
#[derive(Debug)]
pub struct Body {
    take: mpsc::Receiver<Result<Piece, String>>,
    piece: Piece,
    left: u64,
}

type Piece = bytes::Bytes;

impl Body {
    /// Returns how many bytes are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.piece.is_empty() {
            if self.left == 0 {
                return Ok(0);
            }
            let early = |why: &str| io::Error::new(io::ErrorKind::UnexpectedEof, why.to_owned());
            match self.take.blocking_recv() {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(why)) => return Err(early(&why)),
                None => return Err(early("the transfer ended early")),
            }
            let length = u64::try_from(self.piece.len()).unwrap_or(u64::MAX);
            let Some(left) = self.left.checked_sub(length) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "more than was promised"));
            };
            self.left = left;
        }
        let length = self.piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

/// Asks for a file or a range of it, and passes on what comes.
async fn transfer(
    client: Client,
    path: String,
    range: Option<Range<u64>>,
    tell_start: oneshot::Sender<Result<u64, BulkError>>,
    give: mpsc::Sender<Result<Piece, String>>,
) {
    let (mut answer, length) = match ask(&client, &path, range).await {
        Ok(answer) => answer,
        Err(error) => {
            let _nobody_waits = tell_start.send(Err(error));
            return;
        }
    };
    if tell_start.send(Ok(length)).is_err() {
        return;
    }
    // Time in which the reader was the slow one is not the server's.
    let mut waited = Duration::ZERO;
    let mut received = 0_u64;
    loop {
        let asked = Instant::now();
        let piece = match timeout(SILENCE, answer.piece()).await {
            Ok(Ok(Some(piece))) => Ok(piece),
            Ok(Ok(None)) => return,
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("nothing came for {} seconds", SILENCE.as_secs())),
        };
        waited += asked.elapsed();
        received += piece.as_ref().map_or(0, |piece| u64::try_from(piece.len()).unwrap_or(0));
        let least = SLOWEST_BYTES_PER_SECOND.saturating_mul(waited.as_secs());
        let piece = if waited > PATIENCE && received < least {
            Err(format!("slower than {SLOWEST_BYTES_PER_SECOND} bytes in a second"))
        } else {
            piece
        };
        let ends = piece.is_err();
        if give.send(piece).await.is_err() || ends {
            return;
        }
    }
}

async fn ask(
    client: &Client,
    path: &str,
    range: Option<Range<u64>>,
) -> Result<(Answer, u64), BulkError> {
    let header = range.as_ref().map(|Range { start, end }| {
        // RFC 9110 §14.1.2: both ends belong to it.
        (header::RANGE, format!("bytes={start}-{}", end.saturating_sub(1)))
    });
    let ask = client.http.ask(Ask { path: path.to_owned(), header, ..Ask::default() });
    let answer = timeout(SILENCE, ask).await;
    let answer = answer
        .map_err(|_| BulkError::Again(format!("no answer for {} seconds", SILENCE.as_secs())))?
        .map_err(|error| BulkError::Again(CallError::Unreachable(error).to_string()))?;
    let status = answer.status;
    let temporary = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    let absent = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    let accepted = timeout(SILENCE, accepted(answer)).await;
    let accepted = accepted.map_err(|_| BulkError::Again(format!("{path}: half an answer")))?;
    let answer = accepted.map_err(|error| match error {
        _ if temporary => BulkError::Again(error.to_string()),
        _ if absent => BulkError::Absent(format!("{path}: {status}")),
        // It restarted, and the session is about to announce again.
        CallError::UnknownSession => BulkError::Again(error.to_string()),
        error => BulkError::Never(error.to_string()),
    })?;
    let length = answer.length().ok_or_else(|| {
        BulkError::Never(format!("{path}: the server does not say how long it is"))
    })?;
    if let Some(range) = range {
        let asked = range.end.saturating_sub(range.start);
        let expected = format!("bytes {}-{}/", range.start, range.end.saturating_sub(1));
        let said = answer.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        if status != StatusCode::PARTIAL_CONTENT
            || length != asked
            || !said.is_some_and(|said| said.starts_with(&expected))
        {
            let said = said.unwrap_or("no range");
            return Err(BulkError::Never(format!(
                "{path}: asked for {expected}, got {status}, {said}"
            )));
        }
    }
    Ok((answer, length))
}

/// Passes progress on, and hears whether the order still stands. What the server does not take is replaced by the
/// next word.
async fn tell(
    client: Client,
    mut latest: watch::Receiver<Option<EventKind>>,
    cancelled: Arc<AtomicBool>,
) {
    while !matches!(timeout(PROGRESS_PERIOD, latest.changed()).await, Ok(Err(_))) {
        let progress = latest.borrow_and_update().clone();
        if let Some(kind) = progress {
            let event: [Event; 1] = [super::event(Level::Info, kind)];
            if let Err(CallError::Refused { status: StatusCode::GONE, .. }) =
                client.report(&event).await
            {
                cancelled.store(true, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(PROGRESS_PAUSE).await;
    }
}
