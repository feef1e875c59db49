//! Who vouches for a manifest.

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::{
    Chunk, DESCRIPTION_LIMIT, DOMAIN, Description, MAGIC, Manifest, ManifestError, VERSION, sha256,
    table,
};

/// How the `SubjectPublicKeyInfo` of every P-256 key begins (RFC 5480 §2); an uncompressed point follows.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Why nobody vouches for a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Signed with another key than one of those that are pinned.
    #[error("the manifest is signed with a key that is not pinned")]
    Stranger,
    /// The key is of another kind than the server's.
    #[error("the manifest's key is no P-256 key")]
    Key,
    /// The key did not sign this.
    #[error("the manifest's signature is wrong: it was changed after it was signed")]
    Wrong,
}

/// Why a manifest is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError<E> {
    /// The key's owner did not sign.
    #[error("signing the manifest")]
    Sign(#[source] E),
    /// What was to be signed is no manifest.
    #[error(transparent)]
    Manifest(ManifestError),
}

impl Manifest {
    /// Checks that one of the pinned keys signed it: `pins` are SHA-256 digests of `SubjectPublicKeyInfo`.
    pub fn verify(&self, pins: &[[u8; 32]]) -> Result<(), SignatureError> {
        let signer = &self.bytes[self.signer.clone()];
        if !pins.contains(&sha256(signer)) {
            return Err(SignatureError::Stranger);
        }
        let point = signer.strip_prefix(P256).ok_or(SignatureError::Key)?;
        let message = message(&self.bytes[..self.signer.end]);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(&message, &self.bytes[self.signature.clone()])
            .map_err(|_| SignatureError::Wrong)
    }

    /// Makes a manifest and has it signed.
    ///
    /// `chunks` come with the lengths of their frames, in order. `signer` is the key's `SubjectPublicKeyInfo`;
    /// `sign` signs the message that it is given with ECDSA P-256 and SHA-256, in ASN.1.
    pub fn sign<E>(
        description: &Description,
        chunks: impl IntoIterator<Item = (Chunk, u32)>,
        signer: &[u8],
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Self, SignError<E>> {
        let wrong = |reason| SignError::Manifest(ManifestError::Contradiction { reason });
        let json = serde_json::to_vec(description)
            .map_err(|error| SignError::Manifest(ManifestError::Description(error)))?;
        let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= DESCRIPTION_LIMIT);
        let length = length.ok_or_else(|| wrong("a description of more than 256 KiB"))?;
        let mut bytes = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &length.to_le_bytes()].concat();
        bytes.extend_from_slice(&json);
        for (chunk, frame_bytes) in chunks {
            table::encode(&chunk, frame_bytes, &mut bytes);
        }
        push(&mut bytes, signer).ok_or_else(|| wrong("a key without end"))?;
        let signature = sign(&message(&bytes)).map_err(SignError::Sign)?;
        push(&mut bytes, &signature).ok_or_else(|| wrong("a signature without end"))?;
        Self::parse(bytes).map_err(SignError::Manifest)
    }
}

fn message(signed: &[u8]) -> Vec<u8> {
    [DOMAIN, &sha256(signed)].concat()
}

fn push(bytes: &mut Vec<u8>, field: &[u8]) -> Option<()> {
    bytes.extend_from_slice(&u16::try_from(field.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(field);
    Some(())
}
