//! The operators' side of the operators' door: what the commands speak.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, sync::mpsc};

/// How long an answer may take: the server may be reading a slow disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody is there.
    #[error("no drydock answers on {path}: is `drydock serve` running with this state directory?")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It belongs to somebody else.
    #[error("{path} is for user {owner} and root only")]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// The conversation broke off.
    #[error("speaking to the server")]
    Conversation(#[source] hyper::Error),
    /// The server did not answer in time.
    #[error("the server did not answer within {} seconds", PATIENCE.as_secs())]
    TimedOut,
    /// It said no.
    #[error("{reason}")]
    Refused {
        /// What it said.
        status: StatusCode,
        /// Why.
        reason: String,
    },
    /// Its answer could not be read: another version.
    #[error("reading the server's answer")]
    Answer(#[source] serde_json::Error),
}

/// Makes one request and reads its JSON answer; no body is `null`.
pub async fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: &str,
    path: &str,
) -> Result<T, ClientError> {
    tell(socket, method, path, Bytes::new()).await
}

/// The same, with a body of JSON.
pub async fn tell<T: DeserializeOwned>(
    socket: &Path,
    method: &str,
    path: &str,
    body: Bytes,
) -> Result<T, ClientError> {
    tokio::time::timeout(PATIENCE, converse(socket, method, path, Full::new(body)))
        .await
        .map_err(|_| ClientError::TimedOut)?
}

/// The same, with a body that comes in pieces and an answer that may take as long as it takes.
///
/// The sender's error ends the conversation. Whoever gives the pieces may be told that nobody wants more of them.
pub async fn send<T: DeserializeOwned>(
    socket: &Path,
    method: &str,
    path: &str,
    pieces: Pieces,
) -> Result<T, ClientError> {
    converse(socket, method, path, pieces).await
}

/// A body that comes in pieces.
#[derive(Debug)]
pub struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl Pieces {
    /// Returns where pieces are put, and the body. It is over when the sender is dropped.
    pub fn new(waiting: usize) -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, pieces) = mpsc::channel(waiting);
        (sender, Self(pieces))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

async fn converse<T, B>(socket: &Path, method: &str, path: &str, body: B) -> Result<T, ClientError>
where
    T: DeserializeOwned,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(socket, error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(ClientError::Conversation)?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "drydock")
        .body(body)
        .expect("paths are built from encoded names");
    let response = sender.send_request(request).await.map_err(ClientError::Conversation)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(ClientError::Conversation)?.to_bytes();
    connection.abort();
    if !status.is_success() {
        let refusal: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let reason = refusal.as_ref().and_then(|refusal| refusal.get("error")?.as_str());
        let reason = reason.map_or_else(|| format!("the server answered {status}"), str::to_owned);
        return Err(ClientError::Refused { status, reason });
    }
    let body = if body.is_empty() { Bytes::from_static(b"null") } else { body };
    serde_json::from_slice(&body).map_err(ClientError::Answer)
}

fn unreachable(socket: &Path, source: io::Error) -> ClientError {
    use std::os::unix::fs::MetadataExt;
    let path = socket.to_owned();
    if source.kind() == io::ErrorKind::PermissionDenied {
        let owner = std::fs::metadata(socket)
            .or_else(|_| std::fs::metadata(socket.parent().unwrap_or(socket)))
            .map_or_else(|_| "unknown".to_owned(), |metadata| metadata.uid().to_string());
        return ClientError::Forbidden { path, owner };
    }
    ClientError::Unreachable { path, source }
}

/// Writes a name as one segment of a path.
pub fn segment(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b':' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
