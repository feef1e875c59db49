//! The server's key: made at first start, kept for ever, known to machines by its pin.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    net::IpAddr,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use protocol::Pin;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SigningKey,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    version::{TLS12, TLS13},
};
use sha2::{Digest, Sha256};

use super::session::AnyKey;

/// The CA key of the agents' door, ECDSA over P-256.
///
/// Agents take whoever shows a certificate signed by it for their server: it must sign none but that of the agents' door.
/// Certificates of operators need a key of their own (docs/security.md).
#[derive(Debug)]
pub struct ServerKey {
    key: KeyPair,
    pin: Pin,
}

/// Says what is wrong with the server's key. It is never replaced silently: every machine knows its pin.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or written.
    #[error("key {path}: {operation}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Others may read it.
    #[error("key {path} can be read by others (mode {mode:03o}); chmod 600 {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no key of ours.
    #[error(
        "key {path} is damaged: restore it from a backup; it is never replaced by itself, because machines know its pin"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: rcgen::Error,
    },
    /// A key or certificate could not be made.
    #[error("making a key or certificate")]
    Make(#[source] rcgen::Error),
    /// The TLS configuration was refused.
    #[error("preparing TLS")]
    Tls(#[source] rustls::Error),
}

impl ServerKey {
    /// Reads the key; makes it where the file is not there.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let at =
            |operation| move |source| KeyError::Io { path: path.to_owned(), operation, source };
        match File::open(path) {
            Ok(file) => {
                let mode = file.metadata().map_err(at("looking at it"))?.mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(KeyError::Open { path: path.to_owned(), mode });
                }
                let pem = fs::read_to_string(path).map_err(at("reading"))?;
                Self::from_pem(&pem)
                    .map_err(|source| KeyError::Damaged { path: path.to_owned(), source })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(KeyError::Make)?;
                write_new(path, &key.serialize_pem()).map_err(at("writing"))?;
                Ok(Self::from(key))
            }
            Err(error) => Err(at("opening")(error)),
        }
    }

    /// Reads a key from its PEM, as a backup has it.
    pub fn from_pem(pem: &str) -> Result<Self, rcgen::Error> {
        Ok(Self::from(KeyPair::from_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256)?))
    }

    /// Returns the key as PEM. It is the harbour's secret: only for a file of mode 0600.
    pub fn to_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Returns the SHA-256 of the key's `SubjectPublicKeyInfo`.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// Returns the key's `SubjectPublicKeyInfo`, whose SHA-256 is the pin.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// Signs a message: ECDSA over P-256 with SHA-256, as ASN.1.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(message)
    }

    /// Makes the certificates of this start, and the configuration of the agents' door with them.
    ///
    /// The chain is leaf and CA. Dates and names are there for other people's tools: agents look at keys only.
    pub fn tls(&self, addresses: &[IpAddr]) -> Result<ServerConfig, KeyError> {
        let mut authority = parameters("Drydock harbour");
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority_certificate = authority.self_signed(&self.key).map_err(KeyError::Make)?;
        let mut leaf = parameters("Drydock server");
        leaf.subject_alt_names = addresses.iter().copied().map(SanType::IpAddress).collect();
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(KeyError::Make)?;
        let leaf_certificate = leaf
            .signed_by(&leaf_key, &Issuer::from_params(&authority, &self.key))
            .map_err(KeyError::Make)?;
        let chain = vec![leaf_certificate.der().clone(), authority_certificate.der().clone()];
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(AnyKey::new(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(KeyError::Tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, secret)
            .map_err(KeyError::Tls)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl From<KeyPair> for ServerKey {
    fn from(key: KeyPair) -> Self {
        let pin = Pin(Sha256::digest(key.subject_public_key_info()).into());
        Self { key, pin }
    }
}

fn parameters(name: &str) -> CertificateParams {
    // The default validity is 1975 to 4096: a machine with a dead clock must not be kept out.
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.remove(DnType::CommonName);
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

/// So many leftovers of writing that cannot be removed are passed over.
const LEFTOVERS: u32 = 100;

/// Writes a secret to a file that must not exist yet: whole or not at all.
pub(crate) fn write_new(path: &Path, secret: &str) -> io::Result<()> {
    let (mut file, unfinished) = unfinished(path)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    // Not rename: it would replace what another process made meanwhile.
    let linked = fs::hard_link(&unfinished, path);
    if let Err(error) = fs::remove_file(&unfinished) {
        // A second name of what is there, or what nobody reads: neither makes the file itself fail.
        tracing::warn!(path = %unfinished.display(), %error, "what is left of writing cannot be removed");
    }
    linked?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Makes a file beside one that is to be. What an earlier attempt left goes; where it does not go, another name is taken.
fn unfinished(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut refused = None;
    for number in 0..LEFTOVERS {
        let extension = if number == 0 { "new".to_owned() } else { format!("{number}.new") };
        let unfinished = path.with_extension(extension);
        // What is in the way by then is said by opening.
        drop(fs::remove_file(&unfinished));
        let opened = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&unfinished);
        match opened {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => refused = Some(error),
            opened => return Ok((opened?, unfinished)),
        }
    }
    Err(refused.unwrap_or_else(|| ErrorKind::AlreadyExists.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_pin_is_that_of_the_ca_in_the_chain_and_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.key");
        let pin = ServerKey::open(&path).unwrap().pin();
        let again = ServerKey::open(&path).unwrap();
        assert_eq!(again.pin(), pin);
        let mut authority = parameters("Drydock harbour");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&again.key).unwrap();
        let parsed = webpki::EndEntityCert::try_from(certificate.der()).unwrap();
        let digest = Sha256::digest(parsed.subject_public_key_info());
        assert_eq!(Pin(digest.into()), pin);
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.key");
        let whole = {
            ServerKey::open(&path).unwrap();
            fs::read_to_string(&path).unwrap()
        };
        for length in 0..whole.trim_end().len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(ServerKey::open(&path), Err(KeyError::Damaged { .. })), "{length}");
            assert_eq!(fs::read_to_string(&path).unwrap().len(), length);
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.key");
        ServerKey::open(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(ServerKey::open(&path), Err(KeyError::Open { mode: 0o640, .. })));
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.key");
        write_new(&path, "first").unwrap();
        assert_eq!(write_new(&path, "second").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    }
}
