//! One connection: TCP, or TLS over it, where no read or write lasts longer than it may.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    error::{FetchError, Untrusted},
    limits::Limits,
    url::Url,
};
use rustls::{
    CertificateError, ClientConfig, ClientConnection,
    pki_types::{InvalidDnsNameError, ServerName},
};

/// A connection to a web server.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    host: String,
}

impl Connection {
    /// Connects to the server of a URL. TLS is negotiated with the first write.
    pub(crate) fn open(
        url: &Url,
        tls: Option<&Arc<ClientConfig>>,
        limits: &Limits,
    ) -> Result<Self, FetchError> {
        let (host, name) = (url.authority(), url.name());
        let tls = match (url.is_tls(), tls) {
            (true, Some(tls)) => Some(Box::new(negotiation(tls, name, &host)?)),
            (true, None) => {
                return Err(FetchError::NoCertificates { places: crate::Trust::places() });
            }
            _ => None,
        };
        let addresses = (name, url.port()).to_socket_addrs();
        let addresses =
            addresses.map_err(|source| FetchError::Lookup { host: host.clone(), source })?;
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(&address, limits.connect) {
                Ok(socket) => {
                    // A request is one write; waiting for more would only delay it.
                    drop(socket.set_nodelay(true));
                    return Ok(Self { socket, tls, host });
                }
                Err(error) => failure = error,
            }
        }
        Err(FetchError::Connect { host, source: failure })
    }

    /// Names the server, as people do.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Sends all of it.
    pub(crate) fn send(&mut self, bytes: &[u8], until: Instant) -> Result<(), Failure> {
        let mut timed = Timed { socket: &self.socket, until };
        match &mut self.tls {
            None => timed.write_all(bytes),
            Some(tls) => {
                let mut stream = rustls::Stream::new(tls.as_mut(), &mut timed);
                stream.write_all(bytes).and_then(|()| stream.flush())
            }
        }
        .map_err(|error| self.failure(error))
    }

    /// Reads some bytes; none at the end.
    pub(crate) fn read(&mut self, into: &mut [u8], until: Instant) -> Result<usize, Failure> {
        loop {
            let mut timed = Timed { socket: &self.socket, until };
            let read = match &mut self.tls {
                None => timed.read(into),
                Some(tls) => rustls::Stream::new(tls.as_mut(), &mut timed).read(into),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Many servers leave TLS without a word; whether something is missing, the length tells.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other.map_err(|error| self.failure(error)),
            }
        }
    }

    fn failure(&self, error: io::Error) -> Failure {
        if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
            return Failure::Late;
        }
        let host = self.host.clone();
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        Failure::Broken(match cause {
            Some(rustls::Error::InvalidCertificate(problem)) => {
                FetchError::Untrusted { host, why: distrust(problem) }
            }
            Some(other) => FetchError::Tls { host, reason: other.to_string() },
            None => FetchError::Broken { host, source: error },
        })
    }
}

/// Why nothing was read or written.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The time is over. Going on is possible.
    Late,
    /// The connection is of no use any more.
    Broken(FetchError),
}

fn negotiation(
    tls: &Arc<ClientConfig>,
    name: &str,
    host: &str,
) -> Result<ClientConnection, FetchError> {
    let failed = |reason: String| FetchError::Tls { host: host.to_owned(), reason };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|error: InvalidDnsNameError| failed(error.to_string()))?;
    ClientConnection::new(Arc::clone(tls), name).map_err(|error| failed(error.to_string()))
}

fn distrust(problem: &CertificateError) -> Untrusted {
    match problem {
        CertificateError::UnknownIssuer => Untrusted::Issuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Untrusted::Name
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Untrusted::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Untrusted::NotYet
        }
        CertificateError::Revoked => Untrusted::Revoked,
        CertificateError::BadSignature => Untrusted::Signature,
        _ => Untrusted::Certificate,
    }
}

/// A socket on which everything is over at a moment, however many reads and writes TLS makes of it.
struct Timed<'a> {
    socket: &'a TcpStream,
    until: Instant,
}

impl Timed<'_> {
    /// Returns what is left, never nothing: that would mean "for ever" to the kernel.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(into)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
