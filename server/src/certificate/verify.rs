//! Looks whether a certificate is what was signed: off-line, anywhere, from its bytes alone.

use protocol::{Pin, wipe::canonical};
use ring::signature::{ED25519, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Certificate, DOMAIN, Signed, Subject, digits, fingerprint_of, undigits};
use crate::{machine::Session, seed::decode_base64};

/// The longest certificate that is read: a job of a thousand disks has some MiB.
const LONGEST_BYTES: usize = 64 << 20;

/// A certificate that is what its signer signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// What it says.
    pub certificate: Certificate,
    /// The fingerprint of the key that signed it.
    pub signer: Pin,
    /// Whether that is the key that was asked for; false where none was.
    pub is_known: bool,
}

/// Why a certificate is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is larger than any is.
    #[error("larger than any certificate is")]
    TooLarge,
    /// It is no certificate, or something was added to it.
    #[error("not a certificate: {0}")]
    Form(String),
    /// It was written again by something else: every byte counts.
    #[error("not written as certificates are: at least one byte was changed, added or removed")]
    NotCanonical,
    /// The signature is not one of these bytes.
    #[error("the signature does not fit: something was changed")]
    Signature,
    /// It names another key than the one that signed it.
    #[error("it names another key than the one that signed it")]
    OtherKey,
    /// Another key than the one that was asked for signed it.
    #[error("signed by another key than {asked}: {signer}")]
    Stranger {
        /// Which was asked for.
        asked: Pin,
        /// Which signed it.
        signer: Pin,
    },
    /// The agent's own signature is not one of the report.
    #[error("the agent's signature does not fit the report")]
    Agent,
}

/// Looks whether a certificate is what was signed. With `key`, by whom.
pub fn verify(bytes: &[u8], key: Option<Pin>) -> Result<Verified, Problem> {
    if bytes.len() > LONGEST_BYTES {
        return Err(Problem::TooLarge);
    }
    let form = |error: serde_json::Error| Problem::Form(error.to_string());
    let value: Value = serde_json::from_slice(bytes).map_err(form)?;
    let mut again = canonical(&value).map_err(form)?;
    again.push(b'\n');
    if again != bytes {
        return Err(Problem::NotCanonical);
    }
    let signed_part = value.get("certificate").unwrap_or(&Value::Null);
    let mut message = DOMAIN.to_vec();
    message.extend(canonical(signed_part).map_err(form)?);
    let Signed { certificate, public_key, signature } =
        serde_json::from_value(value).map_err(form)?;
    let public_key = undigits(&public_key).ok_or(Problem::Signature)?;
    let signature = undigits(&signature).ok_or(Problem::Signature)?;
    UnparsedPublicKey::new(&ED25519, &public_key)
        .verify(&message, &signature)
        .map_err(|_| Problem::Signature)?;
    let signer = fingerprint_of(&public_key);
    if certificate.server.key != signer {
        return Err(Problem::OtherKey);
    }
    if let Some(asked) = key.filter(|asked| *asked != signer) {
        return Err(Problem::Stranger { asked, signer });
    }
    if let Subject::Job { report, .. } = &certificate.subject {
        let agent = &certificate.agent;
        let public_key = undigits(&agent.public_key).ok_or(Problem::Agent)?;
        let report = canonical(report).map_err(form)?;
        let is_its_boot = Session(Sha256::digest(&public_key).into()) == agent.session;
        let is_its_report = digits(&Sha256::digest(&report)) == agent.report_sha256;
        if !is_its_boot || !is_its_report || !verify_agent(&public_key, &report, &agent.signature) {
            return Err(Problem::Agent);
        }
    }
    Ok(Verified { certificate, signer, is_known: key.is_some() })
}

/// Looks whether an agent signed a message: ECDSA over P-256 with SHA-256, as ASN.1, or Ed25519.
pub fn verify_agent(public_key: &[u8], message: &[u8], signature: &str) -> bool {
    let Some(signature) = decode_base64(signature) else { return false };
    let public_key = SubjectPublicKeyInfoDer::from(public_key);
    let Ok(entity) = webpki::RawPublicKeyEntity::try_from(&public_key) else { return false };
    [webpki::ring::ECDSA_P256_SHA256, webpki::ring::ED25519]
        .into_iter()
        .any(|algorithm| entity.verify_signature(algorithm, message, &signature).is_ok())
}
