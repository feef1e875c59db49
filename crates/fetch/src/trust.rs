//! Whom to believe that a server is who it says.
//!
//! None are compiled in: those of the web would grow the agent, get old with it, and leave out the certificate
//! authority of one's own network. A system's file is what its owner decided; in `SunshineOS` it is there if the image holds it.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Where systems keep the certificates that they trust: Debian and Alpine, Fedora, SUSE, BSD.
const PLACES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whom to believe that a server is who it says.
#[derive(Clone)]
pub enum Trust {
    /// Those whom this system trusts: the first of its usual files that holds a certificate.
    System,
    /// These only.
    Only(Vec<CertificateDer<'static>>),
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("System"),
            Self::Only(roots) => write!(f, "Only({})", roots.len()),
        }
    }
}

impl Trust {
    /// Prepares TLS; nothing where there is nobody to trust.
    pub(crate) fn tls(&self, cryptography: Arc<CryptoProvider>) -> Option<Arc<ClientConfig>> {
        let roots = match self {
            Self::System => {
                PLACES.iter().map(|place| read(Path::new(place))).find(|r| !r.is_empty())?
            }
            Self::Only(certificates) => store(certificates.iter().cloned()),
        };
        if roots.is_empty() {
            return None;
        }
        let tls = ClientConfig::builder_with_provider(cryptography)
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Some(Arc::new(tls))
    }

    /// Lists where certificates are looked for.
    pub(crate) fn places() -> String {
        PLACES.join(", ")
    }
}

fn read(path: &Path) -> RootCertStore {
    match CertificateDer::pem_file_iter(path) {
        Ok(certificates) => store(certificates.filter_map(Result::ok)),
        Err(_) => RootCertStore::empty(),
    }
}

/// What cannot be read is left out: one odd certificate in a system's file takes nothing from the others.
fn store(certificates: impl Iterator<Item = CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    roots
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;

    use super::*;

    #[test]
    fn one_odd_certificate_takes_nothing_from_the_others() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let good = authority.self_signed(&key).unwrap().pem();
        let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.crt");
        std::fs::write(&path, format!("# by hand\n{odd}{good}")).unwrap();
        assert_eq!(read(&path).len(), 1);
        assert!(read(&directory.path().join("none")).is_empty());
        assert!(Trust::Only(Vec::new()).tls(Arc::new(ring::default_provider())).is_none());
    }
}
