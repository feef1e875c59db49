//! HTTP/1.1 over the pinned TLS, to one server: connections that are used again, bodies that come piece by piece.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::{Body as _, Incoming},
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_TYPE, HOST, HeaderName},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Connections that are kept for the next request.
const IDLE_LIMIT: usize = 2;

type Connection = SendRequest<Full<Bytes>>;

/// One server, and the connections to it that are not used.
#[derive(Clone)]
pub(super) struct Http {
    server: Arc<str>,
    tls: Arc<ClientConfig>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// Says why a request had no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// What the command line names is no server.
    #[error("{server} is not the address of a server")]
    Address {
        /// What it says.
        server: Arc<str>,
    },
    /// There is no connection.
    #[error("connecting to {server}")]
    Connect {
        /// To whom.
        server: Arc<str>,
        /// Why not; holds the verdict on its certificates.
        source: io::Error,
    },
    /// Nothing happened in time.
    #[error("no answer for {} seconds", .0.as_secs())]
    Late(Duration),
    /// The connection broke, or the answer is no HTTP.
    #[error("speaking to the server")]
    Http(#[source] hyper::Error),
    /// The request cannot be said in HTTP.
    #[error("asking the server")]
    Request(#[source] hyper::http::Error),
}

/// A request.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) header: Option<(HeaderName, String)>,
    /// JSON.
    pub(super) body: Option<Vec<u8>>,
}

impl HttpError {
    /// Holds where nothing leaves this machine: its link is down, or it has no route to the server.
    pub(super) fn has_no_way(&self) -> bool {
        use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkDown, NetworkUnreachable};
        let Self::Connect { source, .. } = self else { return false };
        matches!(
            source.kind(),
            AddrNotAvailable | HostUnreachable | NetworkDown | NetworkUnreachable
        )
    }
}

impl Http {
    /// Connects to nobody yet.
    pub(super) fn new(server: &str, tls: Arc<ClientConfig>) -> Self {
        Self { server: server.trim_end_matches('/').into(), tls, idle: Arc::default() }
    }

    /// Returns where the server is.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Returns the same server, with connections of its own: they belong to the runtime that makes them.
    pub(super) fn apart(&self) -> Self {
        Self { idle: Arc::default(), ..self.clone() }
    }

    /// Asks, and waits for the head of the answer. It has no limit in time but for the connection.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Answer, HttpError> {
        let authority = self.uri()?.authority().map(ToString::to_string).unwrap_or_default();
        let mut request = Request::builder().method(ask.method).uri(ask.path);
        request = request.header(HOST, authority);
        if let Some((name, value)) = ask.header {
            request = request.header(name, value);
        }
        if ask.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::from(ask.body.unwrap_or_default());
        let mut request = request.body(body).map_err(HttpError::Request)?;
        while let Some(mut connection) = self.take_idle() {
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(response) => return Ok(self.answer(response, connection)),
                // It was closed before anything was said.
                Err(mut error) => match error.take_message() {
                    Some(unsaid) => request = unsaid,
                    None => return Err(HttpError::Http(error.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.send_request(request).await.map_err(HttpError::Http)?;
        Ok(self.answer(response, connection))
    }

    fn answer(&self, response: Response<Incoming>, connection: Connection) -> Answer {
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        let (connection, idle) = (Some(connection), self.idle.clone());
        let mut answer = Answer { status, headers, body, connection, idle };
        if answer.body.is_end_stream() {
            answer.keep_connection();
        }
        answer
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn uri(&self) -> Result<Uri, HttpError> {
        let uri: Option<Uri> = self.server.parse().ok();
        let is_right = |uri: &Uri| uri.scheme_str() == Some("https") && uri.path() == "/";
        uri.filter(is_right).ok_or_else(|| HttpError::Address { server: self.server.clone() })
    }

    /// Connects to the server, and asks nothing.
    pub(super) async fn knock(&self) -> Result<(), HttpError> {
        self.connect().await.map(drop)
    }

    async fn connect(&self) -> Result<Connection, HttpError> {
        let failed = |source| HttpError::Connect { server: self.server.clone(), source };
        let uri = self.uri()?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone())
            .map_err(|_| HttpError::Address { server: self.server.clone() })?;
        let connect = async {
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(self.tls.clone()).connect(name, stream).await
        };
        let stream = match timeout(CONNECT_PATIENCE, connect).await {
            Ok(stream) => stream.map_err(failed)?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        let (connection, work) = handshake(TokioIo::new(stream)).await.map_err(HttpError::Http)?;
        // Ends with the connection; what fails shows in the request.
        tokio::spawn(work);
        Ok(connection)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("server", &self.server).finish_non_exhaustive()
    }
}

/// An answer whose body is still to come. Dropped before its end, it closes its connection.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Answer {
    /// Returns how long the body is; nothing where the server does not say.
    pub(super) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Returns the next piece of the body, nothing at its end. It has no limit in time of its own.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, HttpError> {
        while let Some(frame) = self.body.frame().await {
            // Trailers say nothing here.
            if let Ok(piece) = frame.map_err(HttpError::Http)?.into_data() {
                return Ok(Some(piece));
            }
        }
        self.keep_connection();
        Ok(None)
    }

    fn keep_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_LIMIT {
                idle.push(connection);
            }
        }
    }
}
