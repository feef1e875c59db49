//! The key that signs certificates: Ed25519, its own, made at first use, kept for ever.
//!
//! Not the CA key: that one is ECDSA, and machines take whoever it signs for their server.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use protocol::Pin;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use sha2::{Digest as _, Sha256};

use crate::api::key::write_new;

/// What stands before the 32 bytes of an Ed25519 key in its `SubjectPublicKeyInfo` (RFC 8410 §4).
const BEFORE_KEY: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The key that signs certificates.
#[derive(Debug)]
pub struct SigningKey(KeyPair);

/// Says what is wrong with that key. It is never replaced silently: people know its fingerprint.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file could not be read or written.
    #[error("key of certificates {path}: {operation}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Others may read it.
    #[error("key of certificates {path} can be read by others (mode {mode:03o}); chmod 600 {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no key of ours, or none could be made.
    #[error("key of certificates {path} is damaged: restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: rcgen::Error,
    },
}

impl SigningKey {
    /// Reads the key; makes it where the file is not there.
    pub fn open(path: &Path) -> Result<Self, SigningKeyError> {
        let at = |operation| {
            move |source| SigningKeyError::Io { path: path.to_owned(), operation, source }
        };
        let damaged = |source| SigningKeyError::Damaged { path: path.to_owned(), source };
        match File::open(path) {
            Ok(file) => {
                let mode = file.metadata().map_err(at("looking at it"))?.mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(SigningKeyError::Open { path: path.to_owned(), mode });
                }
                let pem = fs::read_to_string(path).map_err(at("reading"))?;
                Self::from_pem(&pem).map_err(damaged)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = KeyPair::generate_for(&PKCS_ED25519).map_err(damaged)?;
                write_new(path, &key.serialize_pem()).map_err(at("writing"))?;
                Ok(Self(key))
            }
            Err(error) => Err(at("opening")(error)),
        }
    }

    /// Reads a key from its PEM, as a backup has it.
    pub fn from_pem(pem: &str) -> Result<Self, rcgen::Error> {
        Ok(Self(KeyPair::from_pem_and_sign_algo(pem, &PKCS_ED25519)?))
    }

    /// Returns the key as PEM: only for a file of mode 0600.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Returns the 32 bytes of the public key.
    pub fn public_key(&self) -> &[u8] {
        self.0.der_bytes()
    }

    /// Returns the fingerprint that people compare.
    pub fn fingerprint(&self) -> Pin {
        fingerprint_of(self.public_key())
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

/// Returns the fingerprint of the 32 bytes of a public key: SHA-256 of its `SubjectPublicKeyInfo`.
pub fn fingerprint_of(public_key: &[u8]) -> Pin {
    let mut hash = Sha256::new();
    hash.update(BEFORE_KEY);
    hash.update(public_key);
    Pin(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_key_as_other_programs_see_it_and_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("certificate.key");
        let key = SigningKey::open(&path).unwrap();
        let pin = Pin(Sha256::digest(key.0.subject_public_key_info()).into());
        assert_eq!(key.fingerprint(), pin);
        assert_eq!(SigningKey::open(&path).unwrap().fingerprint(), pin);
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        fs::write(&path, "x").unwrap();
        assert!(matches!(SigningKey::open(&path), Err(SigningKeyError::Damaged { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "x", "it stays as it is");
    }
}
