//! Somebody else's web server on the lab's network: one file, with TLS or without, to whoever asks, and nothing that HTTP could do besides.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivateKeyDer};

use crate::lab::Station;

/// Where it listens.
const PORT: u16 = 8098;
/// How long a machine may neither ask nor take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first byte of a TLS connection: RFC 8446 §5.1.
const HANDSHAKE: u8 = 22;

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// Where the file is, without TLS and with it.
    pub(crate) urls: [String; 2],
    /// The certificate authority that says so, in PEM; nobody else knows it.
    pub(crate) authority: String,
    given: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Shelf {
    /// Begins to serve a file on a computer of the lab.
    pub(crate) fn with(station: &Station, file: &Path) -> Result<Shelf> {
        let address = station.address;
        let name = file.file_name().and_then(|name| name.to_str()).context("a file's name")?;
        let urls = ["http", "https"].map(|scheme| format!("{scheme}://{address}:{PORT}/{name}"));
        let (tls, authority) = certified(&address.to_string())?;
        let door = station.namespace.inside(|| {
            let door = TcpListener::bind((address, PORT)).context("listening")?;
            door.set_nonblocking(true).context("listening without waiting")?;
            Ok(door)
        })?;
        let (given, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counts, ending, file) = (Arc::clone(&given), Arc::clone(&ends), file.to_owned());
        let thread = thread::spawn(move || {
            thread::scope(|scope| {
                while !ending.load(Ordering::Relaxed) {
                    let Ok((stream, _)) = door.accept() else {
                        thread::sleep(Duration::from_millis(100));
                        continue;
                    };
                    let (counts, file, tls) = (&counts, &file, &tls);
                    scope.spawn(move || {
                        // Whoever leaves early has not taken it.
                        if serve(stream, tls, file).is_ok() {
                            counts.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            });
        });
        Ok(Shelf { urls, authority, given, ends, thread: Some(thread) })
    }

    /// Returns how often somebody took all of it.
    pub(crate) fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Returns what proves to be a server at an address, and the authority behind it.
fn certified(address: &str) -> Result<(Arc<ServerConfig>, String)> {
    let key = KeyPair::generate().context("making an authority's key")?;
    let mut params = CertificateParams::new(Vec::new()).context("describing an authority")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).context("making an authority")?.pem();
    let own = KeyPair::generate().context("making a server's key")?;
    let leaf = CertificateParams::new(vec![address.to_owned()]).context("describing a server")?;
    let leaf = leaf.signed_by(&own, &Issuer::new(params, key)).context("certifying a server")?;
    let own = PrivateKeyDer::try_from(own.serialize_der()).map_err(anyhow::Error::msg)?;
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], own)?;
    Ok((Arc::new(tls), authority))
}

/// Answers one request, in the clear if it comes so.
fn serve(stream: TcpStream, tls: &Arc<ServerConfig>, file: &Path) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut first = [0];
    stream.peek(&mut first)?;
    if first[0] != HANDSHAKE {
        return answer(stream, file).map(drop);
    }
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
    let mut stream = answer(StreamOwned::new(connection, stream), file)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Sends the whole file, whatever part of it was asked for: RFC 9110 §14.2 allows that.
fn answer<S: Read + Write>(mut stream: S, file: &Path) -> io::Result<S> {
    let mut lines = BufReader::new(&mut stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    io::copy(&mut file, &mut stream)?;
    Ok(stream)
}
