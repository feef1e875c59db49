//! Servers that prove who they are, and those that cannot.

use std::sync::Arc;

use fetch::{Client, FetchError, Image, Trust, Untrusted};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{
    bytes, client_of, limits, read,
    server::{Server, Step, answer, sound},
};

/// Somebody who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().expect("ring makes keys");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("it signs itself"))
    }

    pub(crate) fn client(&self) -> Client {
        client_of(&Trust::Only(vec![self.0.der().clone()]), limits())
    }

    /// Returns what a server of that name shows, valid in these years.
    pub(crate) fn server(&self, name: &str, years: (i32, i32)) -> Arc<ServerConfig> {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        parameters.not_before = date_time_ymd(years.0, 1, 1);
        parameters.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().expect("ring makes keys");
        let certificate = parameters.signed_by(&key, &self.0).expect("it signs");
        config(certificate.der().clone(), &key)
    }
}

fn config(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.expect("key and certificate fit"))
}

const YEARS: (i32, i32) = (2020, 2090);

fn fetched(client: &Client, server: &Server) -> Result<Vec<u8>, FetchError> {
    let image = Image::open(client, &[server.url("/image")], None, None)?;
    read(&image.mirrors()[0], 0, image.length())
}

fn serving(tls: Arc<ServerConfig>) -> Server {
    Server::start(Some(tls), |request, _| {
        vec![Step::Send(sound(&bytes(100_000), "ETag: \"a\"", request))]
    })
}

fn why(client: &Client, tls: Arc<ServerConfig>) -> Untrusted {
    let server = serving(tls);
    match fetched(client, &server).expect_err("it is not trusted") {
        FetchError::Untrusted { why, host } => {
            assert_eq!(host, server.address.to_string());
            assert!(server.asked().is_empty(), "it heard what was wanted");
            why
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_server_that_is_trusted_is_read_from() {
    let authority = Authority::new();
    let server = serving(authority.server("127.0.0.1", YEARS));
    assert_eq!(fetched(&authority.client(), &server).unwrap(), bytes(100_000));
}

#[test]
fn a_server_with_the_wrong_key_or_certificate_is_not_and_says_why() {
    let (authority, other) = (Authority::new(), Authority::new());
    let client = authority.client();
    assert_eq!(why(&client, authority.server("127.0.0.2", YEARS)), Untrusted::Name);
    assert_eq!(why(&client, authority.server("127.0.0.1", (2020, 2021))), Untrusted::Expired);
    assert_eq!(why(&client, authority.server("127.0.0.1", (2080, 2090))), Untrusted::NotYet);
    // Of the same name, and of another key.
    let wrong = why(&client, other.server("127.0.0.1", YEARS));
    assert!(matches!(wrong, Untrusted::Issuer | Untrusted::Signature), "{wrong}");
    let key = KeyPair::generate().unwrap();
    let alone = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let alone = alone.self_signed(&key).unwrap();
    assert_eq!(why(&client, config(alone.der().clone(), &key)), Untrusted::Issuer);
}

#[test]
fn what_is_not_tls_is_named_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let greeting = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        stream
    });
    let error = Image::open(&Authority::new().client(), &[url], None, None).unwrap_err();
    assert!(matches!(error, FetchError::Tls { .. }), "{error}");
    drop(greeting.join().unwrap());
}

#[test]
fn nothing_leads_from_tls_into_the_open() {
    let authority = Authority::new();
    let open = Server::start(None, |request, _| {
        vec![Step::Send(sound(&bytes(10), "ETag: \"a\"", request))]
    });
    let location = open.url("/");
    let server = Server::start(Some(authority.server("127.0.0.1", YEARS)), move |_, _| {
        let head = format!("302 Found\r\nLocation: {location}\r\nContent-Length: 0");
        vec![Step::Send(answer(&head, b""))]
    });
    let error = fetched(&authority.client(), &server).unwrap_err();
    assert!(matches!(error, FetchError::Downgrade { .. }), "{error}");
    assert!(open.asked().is_empty());
}
