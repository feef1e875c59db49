//! The operators' door: HTTP over a Unix socket of mode 0600. The kernel says who speaks.

use std::{
    convert::Infallible,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::{Uid, User};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};
use tower::ServiceExt;
use tracing::warn;

/// Conversations at once.
const CONVERSATIONS: usize = 64;
/// How long an idle conversation may last.
const HEAD_PATIENCE: Duration = Duration::from_mins(1);
/// How long to wait after the kernel refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who gives an order: an extension of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// For the journal: `alice (uid 1000)`.
    pub name: String,
}

/// Says why the operators' door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("another drydock is running: it answers on {0}")]
    InUse(PathBuf),
    /// It could not be made.
    #[error("operators' socket {path}")]
    Bind {
        /// Its path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The bound socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It may be gone already; a file that stays is replaced at the next start.
        drop(fs::remove_file(&self.path));
    }
}

impl Socket {
    /// Binds a socket. The one of a dead server is replaced, that of a living one is not.
    pub async fn bind(path: &Path) -> Result<Self, SocketError> {
        let at = |source| SocketError::Bind { path: path.to_owned(), source };
        match UnixStream::connect(path).await {
            Ok(_) => return Err(SocketError::InUse(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(at)?;
            }
            Err(error) => return Err(at(error)),
        }
        let listener = UnixListener::bind(path).map_err(at)?;
        fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(at)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves operators until it is dropped.
    pub async fn run(self, routes: Router) {
        let places = Arc::new(Semaphore::new(CONVERSATIONS));
        let mut conversations = JoinSet::new();
        loop {
            while conversations.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let routes = routes.clone();
                    conversations.spawn(async move {
                        let _place = place;
                        converse(stream, routes).await;
                    });
                }
                Err(error) => {
                    warn!(%error, "accepting on the operators' door");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn converse(stream: UnixStream, routes: Router) {
    // SO_PEERCRED: who connected, by the kernel's word. Without it nobody gives orders.
    let Ok(credentials) = stream.peer_cred() else { return };
    let operator = Operator { name: name_of(credentials.uid()) };
    let service = service_fn(|request: Request<Incoming>| {
        let (routes, operator) = (routes.clone(), operator.clone());
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(operator);
            let answer: Result<Response, Infallible> = routes.oneshot(request).await;
            answer
        }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    // An operator who hangs up is nobody's fault.
    drop(conversation.await);
}

fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("{} (uid {uid})", user.name),
        _ => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn the_socket_of_a_dead_server_is_replaced_and_that_of_a_living_one_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("drydock.sock");
        let dead = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(dead);
        assert!(path.exists());
        let living = Socket::bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(Socket::bind(&path).await, Err(SocketError::InUse(_))));
        drop(living);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_named_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("no/drydock.sock");
        let error = Socket::bind(&path).await.unwrap_err();
        assert!(error.to_string().contains("drydock.sock"), "{error}");
    }
}
