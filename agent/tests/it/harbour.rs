//! A server that is played: it keeps what it is told, and answers what the test says.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use protocol::Pin;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _};
use ring::digest::{SHA256, digest};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring::default_provider, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Method and path.
    pub(crate) line: String,
    /// All lines before the body, in lower case.
    pub(crate) head: String,
    /// The body as text.
    pub(crate) body: String,
    /// The certificate that the client showed.
    pub(crate) certificate: Vec<u8>,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(body: &str) -> Self {
        Self { status: 200, body: body.to_owned() }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: String::new() }
    }
}

#[derive(Debug, Default)]
struct Book {
    requests: Vec<Request>,
    /// The next answers to announcements; the last one stays.
    welcomes: VecDeque<Answer>,
    /// The next answers to questions for instructions; with none, the question is held.
    instructions: VecDeque<Answer>,
    /// What is said word for word to requests with this beginning; then the connection is closed.
    words: Vec<(String, String)>,
    /// What is not taken: part of a body, and the status of the answer.
    refused: Vec<(String, u16)>,
}

/// A server with a key that may be stopped and started again.
pub(crate) struct Harbour {
    pub(crate) address: SocketAddr,
    pub(crate) pin: Pin,
    acceptor: TlsAcceptor,
    book: Arc<Mutex<Book>>,
    running: Option<JoinHandle<()>>,
}

impl Harbour {
    /// Starts on any free port.
    pub(crate) async fn open() -> Self {
        let key = KeyPair::generate().expect("a key is made");
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names are fine");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = parameters.self_signed(&key).expect("the CA is signed").der().clone();
        let leaf_key = KeyPair::generate().expect("a key is made");
        let leaf = CertificateParams::new(Vec::new()).expect("no names are fine");
        let issuer = Issuer::from_params(&parameters, &key);
        let leaf = leaf.signed_by(&leaf_key, &issuer).expect("the leaf is signed").der().clone();
        let leaf_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let provider = Arc::new(default_provider());
        let tls = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3 is there")
            .with_client_cert_verifier(Arc::new(Anyone(provider)))
            .with_single_cert(vec![leaf, authority], leaf_key)
            .expect("key and certificate fit");
        let hash = digest(&SHA256, &key.subject_public_key_info());
        let pin = Pin(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
        let address = listener.local_addr().expect("it is bound");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let mut harbour = Self { address, pin, acceptor, book: Arc::default(), running: None };
        harbour.serve(listener);
        harbour
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn welcomes(&self, answer: Answer) {
        self.book.lock().expect("nobody panics with it").welcomes.push_back(answer);
    }

    pub(crate) fn instructs(&self, answer: Answer) {
        self.book.lock().expect("nobody panics with it").instructions.push_back(answer);
    }

    /// Answers requests with this beginning with these words, head and body, and closes the connection.
    pub(crate) fn says(&self, beginning: &str, words: &str) {
        let words = (beginning.to_owned(), words.to_owned());
        self.book.lock().expect("nobody panics with it").words.insert(0, words);
    }

    /// Refuses requests whose bodies hold this.
    pub(crate) fn refuses(&self, part: &str, status: u16) {
        self.book.lock().expect("nobody panics with it").refused.push((part.to_owned(), status));
    }

    /// Returns all requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.book.lock().expect("nobody panics with it").requests.clone()
    }

    /// Waits until a request with these words came, and returns its body.
    pub(crate) async fn hears(&self, words: &str) -> String {
        let wait = async {
            loop {
                let mut requests = self.requests().into_iter();
                if let Some(request) = requests.find(|request| request.body.contains(words)) {
                    return request.body;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        let heard = timeout(PATIENCE, wait).await;
        heard.unwrap_or_else(|_| panic!("nobody said {words}: {:#?}", self.requests()))
    }

    /// Waits until requests with this beginning came `count` times, and returns the last of them.
    pub(crate) async fn waits_for(&self, beginning: &str, count: usize) -> Request {
        let wait = async {
            loop {
                let requests = self.requests();
                let mut fitting =
                    requests.into_iter().filter(|request| request.line.starts_with(beginning));
                if let Some(request) = fitting.nth(count - 1) {
                    return request;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| {
            panic!("{beginning} did not come {count} times: {:#?}", self.requests())
        })
    }

    /// Stops: connections break, the port is closed.
    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _aborted = running.await;
        }
    }

    /// Starts again on the same port.
    pub(crate) async fn start(&mut self) {
        let bind = async {
            loop {
                if let Ok(listener) = TcpListener::bind(self.address).await {
                    return listener;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let listener = timeout(PATIENCE, bind).await.expect("the port is free again");
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let (acceptor, book) = (self.acceptor.clone(), self.book.clone());
        self.running = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(acceptor.clone(), stream, book.clone()));
            }
        }));
    }
}

async fn converse(acceptor: TlsAcceptor, stream: TcpStream, book: Arc<Mutex<Book>>) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    while let Some(request) = read(&mut stream).await {
        let line = request.line.clone();
        let words = book.lock().expect("nobody panics with it").words.clone();
        let words = words.into_iter().find(|(beginning, _)| line.starts_with(beginning));
        let refused = book.lock().expect("nobody panics with it").refused.clone();
        let refused = refused.into_iter().find(|(part, _)| request.body.contains(part));
        book.lock().expect("nobody panics with it").requests.push(request);
        if let Some((_, words)) = words {
            let _gone = stream.write_all(words.as_bytes()).await;
            let _gone = stream.shutdown().await;
            return;
        }
        let answer = loop {
            if let Some((_, status)) = refused {
                break Answer::empty(status);
            }
            if let Some(answer) = next(&book, &line) {
                break answer;
            }
            let mut more = [0];
            tokio::select! {
                () = sleep(Duration::from_millis(10)) => {}
                // It said goodbye: its answer belongs to whoever asks next.
                _ = stream.get_ref().0.peek(&mut more) => return,
            }
        };
        let Answer { status, body } = answer;
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Returns the answer to a request, once there is one.
fn next(book: &Mutex<Book>, line: &str) -> Option<Answer> {
    let mut book = book.lock().expect("nobody panics with it");
    if line.starts_with("POST /v1/announce") {
        if book.welcomes.len() < 2 {
            book.welcomes.front().cloned()
        } else {
            book.welcomes.pop_front()
        }
    } else if line.contains("wait=0 ") {
        Some(Answer::empty(409))
    } else if line.starts_with("GET /v1/instruction") {
        book.instructions.pop_front()
    } else {
        Some(Answer::empty(204))
    }
}

/// Reads one request; nothing when the client has gone.
async fn read(stream: &mut TlsStream<TcpStream>) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        stream.read_buf(&mut bytes).await.ok().filter(|count| *count > 0)?;
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a client of ours"));
    while bytes.len() < head_end + 4 + length {
        stream.read_buf(&mut bytes).await.ok().filter(|count| *count > 0)?;
    }
    let text = String::from_utf8_lossy(&bytes[..head_end]);
    let certificates = stream.get_ref().1.peer_certificates()?;
    Some(Request {
        line: text.lines().next()?.to_owned(),
        head: head.clone(),
        body: String::from_utf8_lossy(&bytes[head_end + 4..]).into_owned(),
        certificate: certificates.first()?.to_vec(),
    })
}

/// Takes any client's key, as long as the client has it.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
