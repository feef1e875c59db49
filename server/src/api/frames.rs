//! The agents' route for images: to the session whose order names one, and to nobody else.

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

use axum::{
    Extension, Router,
    body::{Body, HttpBody},
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use super::{agents::refuse, door::Peer};
use crate::{
    boot::conditions::{self, Validators, Verdict},
    image::{Images, Part},
    machine::{Registry, Session},
};

/// How much is read at once, and so what one answer holds in memory: two of these, and what TLS makes of one.
const PIECE_BYTES: u64 = 128 << 10;
/// Answers at once to one session: the sum over all machines is what the server's memory pays.
const ANSWERS: usize = 8;

/// What the route needs.
#[derive(Debug, Clone)]
struct Quay {
    registry: Registry,
    images: Images,
    guests: Arc<Mutex<HashMap<Session, usize>>>,
}

/// Returns the route. Every request must carry a [`Peer`].
pub(super) fn routes(registry: Registry, images: Images) -> Router {
    let guests = Arc::default();
    Router::new().route("/v1/images/{manifest}/{part}", get(part)).with_state(Quay {
        registry,
        images,
        guests,
    })
}

async fn part(
    State(quay): State<Quay>,
    Extension(peer): Extension<Peer>,
    method: Method,
    headers: HeaderMap,
    Path((manifest, name)): Path<(String, String)>,
) -> Response {
    // Before all else: whether an image is there is nobody's business whose order does not name it.
    if !quay.registry.may_fetch(peer.session, &manifest) {
        return refuse(StatusCode::FORBIDDEN, &"this session has no order for this image");
    }
    let Some(part) = Part::named(&name) else {
        return refuse(StatusCode::NOT_FOUND, &"an image has a manifest and frames");
    };
    let Some(turn) = Turn::take(&quay, peer.session) else {
        return refuse(StatusCode::TOO_MANY_REQUESTS, &format!("more than {ANSWERS} at once"));
    };
    let (images, whose) = (quay.images.clone(), manifest.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let file = images.file(&whose, part).map_err(|error| error.to_string())?;
        let size_bytes = file.metadata().map_err(|error| error.to_string())?.len();
        Ok::<_, String>((file, size_bytes))
    });
    let (file, size_bytes) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(problem)) => return refuse(StatusCode::NOT_FOUND, &problem),
        Err(_) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &"the server stops"),
    };
    // The manifest's digest stands for every byte of both files.
    let validators = Validators::new(&format!("{manifest}-{}", part.name()), size_bytes);
    let (status, range) = match conditions::judge(&method, &headers, &validators) {
        Verdict::Whole => (StatusCode::OK, 0..size_bytes),
        Verdict::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Verdict::NotModified => return StatusCode::NOT_MODIFIED.into_response(),
        Verdict::Failed => return refuse(StatusCode::PRECONDITION_FAILED, &"another image"),
        Verdict::Unsatisfiable => {
            let mut refusal = refuse(StatusCode::RANGE_NOT_SATISFIABLE, &"no such range");
            conditions::put(
                refusal.headers_mut(),
                header::CONTENT_RANGE,
                &format!("bytes */{size_bytes}"),
            );
            return refusal;
        }
    };
    let length = range.end - range.start;
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::new(Sending::new(file, range.clone(), turn))
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    validators.put(headers);
    if status == StatusCode::PARTIAL_CONTENT {
        let (first, last) = (range.start, range.end.saturating_sub(1));
        let text = format!("bytes {first}-{last}/{size_bytes}");
        conditions::put(headers, header::CONTENT_RANGE, &text);
    }
    response
}

/// One answer's place among those of its session; given back when dropped.
#[derive(Debug)]
struct Turn {
    guests: Arc<Mutex<HashMap<Session, usize>>>,
    session: Session,
}

impl Turn {
    fn take(quay: &Quay, session: Session) -> Option<Self> {
        let mut guests = quay.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let count = guests.entry(session).or_default();
        (*count < ANSWERS).then(|| {
            *count += 1;
            Self { guests: Arc::clone(&quay.guests), session }
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
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
struct Sending {
    file: Arc<File>,
    range: Range<u64>,
    piece: Option<JoinHandle<io::Result<Bytes>>>,
    _turn: Turn,
}

impl Sending {
    fn new(file: File, range: Range<u64>, turn: Turn) -> Self {
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
mod tests;
