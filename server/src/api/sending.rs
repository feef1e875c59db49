//! Large files for agents: so many at once to each session, read in pieces on threads that may block.

use std::{
    collections::HashMap,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::machine::Session;

/// How much is read at once, and so what one answer holds in memory: two of these, and what TLS makes of one.
const PIECE_BYTES: u64 = 128 << 10;
/// Answers at once to one session: the sum over all machines is what the server's memory pays.
pub(super) const ANSWERS: usize = 8;

/// How many answers each session is being sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<Session, usize>>>);

/// One answer's place among those of its session; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    session: Session,
}

impl Turns {
    /// Takes a place; nothing where the session has [`ANSWERS`] already.
    pub(super) fn take(&self, session: Session) -> Option<Turn> {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = guests.entry(session).or_default();
        (*count < ANSWERS).then(|| {
            *count += 1;
            Turn { turns: self.clone(), session }
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut guests = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guests.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                guests.remove(&self.session);
            }
        }
    }
}

/// A piece of a file on its way, read on threads that may block.
#[derive(Debug)]
pub(super) struct Sending {
    file: Arc<File>,
    range: Range<u64>,
    piece: Option<JoinHandle<io::Result<Bytes>>>,
    _turn: Turn,
}

impl Sending {
    /// Sends a range of a file, which must be as long.
    pub(super) fn new(file: File, range: Range<u64>, turn: Turn) -> Self {
        Self { file: Arc::new(file), range, piece: None, _turn: turn }
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.range.is_empty() {
            return Poll::Ready(None);
        }
        let (file, start) = (Arc::clone(&self.file), self.range.start);
        let length = (self.range.end - start).min(PIECE_BYTES);
        let piece = self.piece.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                file.read_exact_at(&mut piece, start)?;
                Ok(Bytes::from(piece))
            })
        });
        let read = ready!(Pin::new(piece).poll(context));
        self.piece = None;
        let read = read.map_err(io::Error::other).flatten();
        match &read {
            Ok(_) => self.range.start += length,
            // Nothing follows an error.
            Err(_) => self.range.start = self.range.end,
        }
        Poll::Ready(Some(read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end.saturating_sub(self.range.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_so_many_answers_at_once_and_takes_none_of_anothers() {
        let turns = Turns::default();
        let (one, two) = (Session([1; 32]), Session([2; 32]));
        let taken: Vec<Turn> = (0..ANSWERS).filter_map(|_| turns.take(one)).collect();
        assert_eq!(taken.len(), ANSWERS);
        assert!(turns.take(one).is_none());
        assert!(turns.take(two).is_some(), "another machine is served");
        drop(taken);
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
