//! A response body: a piece of a file or a text, in bounded chunks, whose end is told to the journal.

use std::{
    fs::File,
    future::Future as _,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::super::{
    Content, Opened, Story,
    assets::{FileState, state_of_file},
    unified::Overlay,
};

/// How much is handed to the connection at once, and so how much memory one response takes.
const CHUNK_BYTES: usize = 64 * 1024;

/// A body on its way. Dropped before its end, it tells that the client went away.
pub(super) struct Sending {
    source: Source,
    sent_bytes: u64,
    remaining_bytes: u64,
    /// Whether the file's end is sent, so that the client has all of it.
    reaches_the_end: bool,
    failure: Option<String>,
    story: Story,
}

enum Source {
    Memory(Bytes),
    File(Reading),
}

/// A file that is read chunk by chunk, on threads that may block.
struct Reading {
    file: Arc<File>,
    position: u64,
    state: FileState,
    overlay: Option<Overlay>,
    chunk: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Sending {
    /// Sends a piece of a file; the piece lies inside it.
    pub(super) fn of_file(opened: Opened, piece: Range<u64>, story: Story) -> Self {
        let source = match opened.content {
            Content::Memory(bytes) => {
                let index = |byte| usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
                Source::Memory(bytes.slice(index(piece.start)..index(piece.end)))
            }
            Content::File(file) => {
                let (file, state) = (Arc::new(file), opened.state);
                let (position, overlay) = (piece.start, opened.overlay);
                Source::File(Reading { file, position, state, overlay, chunk: None })
            }
        };
        Self {
            source,
            sent_bytes: 0,
            remaining_bytes: piece.end - piece.start,
            reaches_the_end: piece.end == opened.size_bytes,
            failure: None,
            story,
        }
    }

    /// Sends a text.
    pub(super) fn of_text(text: String, story: Story) -> Self {
        let bytes = Bytes::from(text);
        Self {
            remaining_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            source: Source::Memory(bytes),
            sent_bytes: 0,
            reaches_the_end: true,
            failure: None,
            story,
        }
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let length = usize::try_from(self.remaining_bytes).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        match &mut self.source {
            Source::Memory(bytes) => Poll::Ready(Ok(bytes.split_to(length.min(bytes.len())))),
            Source::File(reading) => reading.poll(length, self.remaining_bytes, context),
        }
    }
}

impl Reading {
    fn poll(
        &mut self,
        length: usize,
        remaining_bytes: u64,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        let (position, state) = (self.position, self.state);
        let (file, overlay) = (&self.file, &self.overlay);
        let chunk = self.chunk.get_or_insert_with(|| {
            let (file, overlay) = (Arc::clone(file), overlay.clone());
            tokio::task::spawn_blocking(move || {
                let mut chunk = vec![0; length];
                file.read_exact_at(&mut chunk, position)?;
                if let Some(overlay) = overlay {
                    overlay.lay(position, &mut chunk);
                }
                // Before the last byte: a client must not take a mixture of two states for one.
                let is_last = u64::try_from(length).is_ok_and(|length| length == remaining_bytes);
                if is_last && state_of_file(&file)? != state {
                    return Err(io::Error::other("written to while it was sent"));
                }
                Ok(Bytes::from(chunk))
            })
        });
        let read = ready!(Pin::new(chunk).poll(context));
        self.chunk = None;
        let bytes = read.map_err(io::Error::other)??;
        self.position += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        Poll::Ready(Ok(bytes))
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.remaining_bytes == 0 || self.failure.is_some() {
            return Poll::Ready(None);
        }
        let chunk = ready!(self.poll_chunk(context));
        let result = chunk.map(|chunk| {
            let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            self.sent_bytes += length;
            self.remaining_bytes = self.remaining_bytes.saturating_sub(length);
            Frame::data(chunk)
        });
        if let Err(error) = &result {
            self.failure = Some(format!("reading it: {error}"));
        }
        Poll::Ready(Some(result))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining_bytes)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let whole = self.sent_bytes + self.remaining_bytes;
        match self.failure.take() {
            Some(failure) => self.story.failed(failure),
            None if self.remaining_bytes > 0 => {
                let sent = self.sent_bytes;
                self.story.failed(format!("aborted by the client after {sent} of {whole} bytes"));
            }
            None if self.reaches_the_end => self.story.sent(whole),
            None => {}
        }
    }
}
