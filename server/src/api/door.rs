//! The agents' door: TCP, TLS with a client key, HTTP; everything with a limit.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{AlertDescription, ServerConfig};
use tokio::{net::TcpListener, net::TcpStream, sync::Semaphore, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::warn;

use super::{rate::Rate, session};
use crate::{
    journal::{Entry, Journal, What},
    machine::Session,
};

/// Conversations at once. A waiting machine has one or two.
const CONVERSATIONS: usize = 2_048;
/// Conversations at once with one address.
const CONVERSATIONS_PER_ADDRESS: u32 = 16;
/// Handshakes at once: each costs a signature.
const HANDSHAKES: usize = 32;
/// How long a handshake may take: slow machines need a second.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a request's head may take, and an idle conversation may last.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Requests of one address: so many at once, then one in each of these times.
const REQUEST_BURST: u32 = 60;
const REQUEST_REFILL: Duration = Duration::from_millis(200);
/// Requests for pieces of images: a machine asks for many, each of some MiB. Who has no order is refused at once.
const PIECE_BURST: u32 = 256;
const PIECE_REFILL: Duration = Duration::from_millis(5);
/// What is read ahead of a request's head: agents send none above 1 KiB.
const BUFFER_BYTES: usize = 16 << 10;
/// How long to wait after the kernel refused a connection, for example for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who speaks: an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The key that the client has shown.
    pub session: Session,
    /// Where it comes from.
    pub address: IpAddr,
}

/// Serves agents until it is dropped; conversations then end with it.
pub async fn run(listener: TcpListener, tls: Arc<ServerConfig>, routes: Router, journal: Journal) {
    let door = Arc::new(Door {
        acceptor: TlsAcceptor::from(tls),
        routes,
        journal,
        handshakes: Semaphore::new(HANDSHAKES),
        rate: Mutex::new(Rate::new(REQUEST_BURST, REQUEST_REFILL)),
        pieces: Mutex::new(Rate::new(PIECE_BURST, PIECE_REFILL)),
        guests: Mutex::default(),
    });
    let mut conversations = JoinSet::new();
    loop {
        while conversations.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Refused, not queued: a queue of idle conversations would hold up every machine.
                if conversations.len() < CONVERSATIONS
                    && let Some(guest) = Guest::admit(&door, peer.ip())
                {
                    conversations.spawn(converse(Arc::clone(&door), stream, peer, guest));
                }
            }
            Err(error) => {
                warn!(%error, "accepting on the agents' door");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Door {
    acceptor: TlsAcceptor,
    routes: Router,
    journal: Journal,
    handshakes: Semaphore,
    rate: Mutex<Rate>,
    pieces: Mutex<Rate>,
    guests: Mutex<HashMap<IpAddr, u32>>,
}

/// One conversation's place among those of its address; given back when dropped.
struct Guest {
    door: Arc<Door>,
    address: IpAddr,
}

impl Guest {
    fn admit(door: &Arc<Door>, address: IpAddr) -> Option<Self> {
        let mut guests = door.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let count = guests.entry(address).or_insert(0);
        (*count < CONVERSATIONS_PER_ADDRESS).then(|| {
            *count += 1;
            Self { door: Arc::clone(door), address }
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.door.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guests.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                guests.remove(&self.address);
            }
        }
    }
}

/// The key of who speaks, its `SubjectPublicKeyInfo`: an extension of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerKey(pub Arc<[u8]>);

async fn converse(door: Arc<Door>, stream: TcpStream, peer: SocketAddr, _guest: Guest) {
    let address = peer.ip();
    let handshake = async {
        let _turn = door.handshakes.acquire().await;
        // Long polls are small and rare; what is said should arrive at once.
        stream.set_nodelay(true)?;
        door.acceptor.accept(stream).await
    };
    let stream = match tokio::time::timeout(HANDSHAKE_PATIENCE, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return door.tell_failure(address, &error),
        Err(_) => return door.tell_failure(address, &io::ErrorKind::TimedOut.into()),
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let Some(key) = certificates.first().and_then(session::public_key) else { return };
    let peer = Peer { session: Session(session::fingerprint(&key)), address };
    let key = PeerKey(key.into());
    let service = service_fn(|request| {
        let (door, key) = (Arc::clone(&door), key.clone());
        async move { Ok::<_, Infallible>(door.answer(peer, key, request).await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // A conversation that breaks off is nobody's fault: machines restart.
    drop(conversation.await);
}

impl Door {
    async fn answer(
        &self,
        peer: Peer,
        key: PeerKey,
        request: Request<hyper::body::Incoming>,
    ) -> Response {
        let granted = {
            let is_piece = request.uri().path().starts_with("/v1/images/");
            let rate = if is_piece { &self.pieces } else { &self.rate };
            let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
            rate.take(peer.address, Instant::now())
        };
        if !granted {
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response();
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(key);
        let Ok(response) = self.routes.clone().oneshot(request).await;
        response
    }

    fn tell_failure(&self, address: IpAddr, error: &io::Error) {
        let IpAddr::V4(address) = address.to_canonical() else { return };
        let (reason, pin_refused) = reason(error);
        let what = What::TlsFailed { reason, pin_refused };
        self.journal.record(Entry::about(None, Some(address), what));
    }
}

/// Says why a handshake failed, and whether the client refused our key.
fn reason(error: &io::Error) -> (String, bool) {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::AlertReceived(alert)) => {
            let pin_refused = matches!(
                alert,
                AlertDescription::BadCertificate
                    | AlertDescription::UnsupportedCertificate
                    | AlertDescription::CertificateRevoked
                    | AlertDescription::CertificateExpired
                    | AlertDescription::CertificateUnknown
                    | AlertDescription::UnknownCA
                    | AlertDescription::AccessDenied
                    | AlertDescription::DecryptError
            );
            (format!("the client said {alert:?}"), pin_refused)
        }
        Some(error) => (error.to_string(), false),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            ("the client hung up during the handshake".to_owned(), false)
        }
        None => (error.to_string(), false),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;

    use axum::{Extension, http::HeaderMap, routing::get};
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use protocol::{MacAddress, Pin};
    use rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    };
    use sha2::{Digest, Sha256};
    use tokio::task::JoinHandle;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::{api::key::ServerKey, journal::Subject};

    /// A running door. Ends when dropped.
    pub(crate) struct Harbour {
        pub(crate) address: SocketAddr,
        pub(crate) pin: Pin,
        pub(crate) journal: Journal,
        server: JoinHandle<()>,
    }

    impl Drop for Harbour {
        fn drop(&mut self) {
            self.server.abort();
        }
    }

    impl Harbour {
        pub(crate) async fn open(routes: Router, journal: Journal) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let key = ServerKey::open(&directory.path().join("ca.key")).unwrap();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let tls = Arc::new(key.tls(&[address.ip()]).unwrap());
            let server = tokio::spawn(run(listener, tls, routes, journal.clone()));
            Self { address, pin: key.pin(), journal, server }
        }
    }

    /// Looks for the pin in the chain and checks that its key signed the leaf: what the agent does.
    #[derive(Debug)]
    struct Pinned(Pin);

    impl ServerCertVerifier for Pinned {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            _server_name: &ServerName<'_>,
            _ocsp_response: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            let leaf = webpki::EndEntityCert::try_from(end_entity).unwrap();
            for certificate in intermediates {
                let authority = webpki::EndEntityCert::try_from(certificate).unwrap();
                let digest = Sha256::digest(authority.subject_public_key_info());
                if Pin(digest.into()) == self.0 {
                    let anchor = webpki::anchor_from_trusted_cert(certificate).unwrap();
                    let noon = UnixTime::since_unix_epoch(Duration::from_hours(500_000));
                    leaf.verify_for_usage(
                        webpki::ALL_VERIFICATION_ALGS,
                        &[anchor],
                        &[],
                        noon,
                        webpki::KeyUsage::server_auth(),
                        None,
                        None,
                    )
                    .unwrap();
                    return Ok(ServerCertVerified::assertion());
                }
            }
            Err(CertificateError::UnknownIssuer.into())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms =
                rustls::crypto::ring::default_provider().signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms =
                rustls::crypto::ring::default_provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::ring::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }

    /// An agent with a key of its own.
    pub(crate) struct Agent {
        config: Arc<ClientConfig>,
        key: Option<rcgen::KeyPair>,
        pub(crate) session: Session,
    }

    impl Agent {
        pub(crate) fn new(pin: Pin) -> Self {
            Self::speaking(pin, &[&rustls::version::TLS13])
        }

        fn speaking(pin: Pin, versions: &[&'static rustls::SupportedProtocolVersion]) -> Self {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate =
                rcgen::CertificateParams::default().self_signed(&key).unwrap().der().clone();
            let session =
                Session(session::fingerprint(&session::public_key(&certificate).unwrap()));
            let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let config =
                builder(pin, versions).with_client_auth_cert(vec![certificate], secret).unwrap();
            Self { config: Arc::new(config), key: Some(key), session }
        }

        /// Signs a message with the key of its certificate.
        pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
            rcgen::SigningKey::sign(self.key.as_ref().unwrap(), message).unwrap()
        }

        fn anonymous(pin: Pin) -> Self {
            let config = builder(pin, &[&rustls::version::TLS13]).with_no_client_auth();
            Self { config: Arc::new(config), key: None, session: Session([0; 32]) }
        }

        /// Makes one request; an error says how far it came.
        pub(crate) async fn ask(
            &self,
            door: SocketAddr,
            method: &str,
            path: &str,
            body: impl Into<Bytes>,
        ) -> io::Result<(StatusCode, Bytes)> {
            let json = [("content-type", "application/json")];
            let (status, _, body) = self.speak(door, method, path, &json, body.into()).await?;
            Ok((status, body))
        }

        /// Makes one request without a body, with headers; those that are empty are left out.
        pub(crate) async fn ask_with(
            &self,
            door: SocketAddr,
            method: &str,
            path: &str,
            headers: &[(&str, &str)],
        ) -> io::Result<(StatusCode, HeaderMap, Bytes)> {
            self.speak(door, method, path, headers, Bytes::new()).await
        }

        async fn speak(
            &self,
            door: SocketAddr,
            method: &str,
            path: &str,
            headers: &[(&str, &str)],
            body: Bytes,
        ) -> io::Result<(StatusCode, HeaderMap, Bytes)> {
            let stream = TcpStream::connect(door).await?;
            let name = ServerName::from(door.ip());
            let stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(io::Error::other)?;
            let connection = tokio::spawn(connection);
            let mut request =
                Request::builder().method(method).uri(path).header(header::HOST, "drydock");
            for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
                request = request.header(*name, *value);
            }
            let request = request.body(Full::new(body)).unwrap();
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
            connection.abort();
            Ok((status, headers, body))
        }
    }

    fn builder(
        pin: Pin,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned(pin)))
    }

    fn who_am_i() -> Router {
        Router::new().route(
            "/",
            get(|Extension(peer): Extension<Peer>| async move { peer.session.to_string() }),
        )
    }

    async fn failures(journal: &Journal) -> Vec<(String, bool)> {
        for _ in 0..200 {
            let told: Vec<(String, bool)> = journal
                .recent()
                .into_iter()
                .filter_map(|entry| match entry.what {
                    What::TlsFailed { reason, pin_refused } => Some((reason, pin_refused)),
                    _ => None,
                })
                .collect();
            if !told.is_empty() {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Vec::new()
    }

    #[tokio::test]
    async fn a_session_is_the_key_of_the_client_under_both_versions_of_tls() {
        let harbour = Harbour::open(who_am_i(), Journal::in_memory()).await;
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let agent = Agent::speaking(harbour.pin, &[version]);
            for _ in 0..2 {
                let (status, body) = agent.ask(harbour.address, "GET", "/", "").await.unwrap();
                assert_eq!(status, StatusCode::OK);
                assert_eq!(body, agent.session.to_string());
            }
        }
    }

    #[tokio::test]
    async fn a_client_without_a_key_is_refused() {
        let harbour = Harbour::open(who_am_i(), Journal::in_memory()).await;
        let agent = Agent::anonymous(harbour.pin);
        agent.ask(harbour.address, "GET", "/", "").await.unwrap_err();
        let told = failures(&harbour.journal).await;
        assert!(matches!(told.as_slice(), [(_, false)]), "{told:?}");
    }

    #[tokio::test]
    async fn a_client_that_refuses_our_key_is_told_as_such_and_joined_to_its_port() {
        let harbour = Harbour::open(who_am_i(), Journal::in_memory()).await;
        let mac = MacAddress([0x52, 0x54, 0, 0, 0, 1]);
        let known = What::BootLoop { rounds: 1 };
        harbour.journal.record(Entry::about(Some(mac), Some(Ipv4Addr::LOCALHOST), known));
        let agent = Agent::new(Pin([7; 32]));
        agent.ask(harbour.address, "GET", "/", "").await.unwrap_err();
        let told = failures(&harbour.journal).await;
        assert_eq!(told, [("the client said UnknownCA".to_owned(), true)]);
        let subject = Subject { machine: None, macs: vec![mac] };
        assert_eq!(harbour.journal.story_of(&subject).unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_is_no_tls_is_told_and_does_no_harm() {
        use tokio::io::AsyncWriteExt;
        let harbour = Harbour::open(who_am_i(), Journal::in_memory()).await;
        let mut stream = TcpStream::connect(harbour.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let told = failures(&harbour.journal).await;
        assert!(matches!(told.as_slice(), [(_, false)]), "{told:?}");
        let agent = Agent::new(harbour.pin);
        assert!(agent.ask(harbour.address, "GET", "/", "").await.is_ok());
    }

    #[tokio::test]
    async fn an_address_that_asks_too_often_is_told_to_wait() {
        let harbour = Harbour::open(who_am_i(), Journal::in_memory()).await;
        let agent = Agent::new(harbour.pin);
        let mut statuses = Vec::new();
        // Each request needs a handshake; on a slow machine some tokens come back meanwhile.
        for _ in 0..400 {
            let (status, _) = agent.ask(harbour.address, "GET", "/", "").await.unwrap();
            statuses.push(status);
            if status == StatusCode::TOO_MANY_REQUESTS {
                break;
            }
        }
        assert_eq!(statuses.last(), Some(&StatusCode::TOO_MANY_REQUESTS), "{}", statuses.len());
        assert!(statuses.len() > 60);
    }

    #[tokio::test]
    async fn one_address_cannot_take_all_conversations() {
        let harbour = Harbour::open(who_am_i(), Journal::in_memory()).await;
        let mut idle = Vec::new();
        for _ in 0..CONVERSATIONS_PER_ADDRESS {
            idle.push(TcpStream::connect(harbour.address).await.unwrap());
        }
        let agent = Agent::new(harbour.pin);
        agent.ask(harbour.address, "GET", "/", "").await.unwrap_err();
        drop(idle);
        for _ in 0..200 {
            if agent.ask(harbour.address, "GET", "/", "").await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("places are not given back");
    }
}
