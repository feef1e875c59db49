//! Firmware that starts only what is signed with one's own key: Secure Boot.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::variables::{GLOBAL, IMAGE_SECURITY};

/// `EFI_CERT_X509_GUID`, a5c059a1-94e4-4aa7-87b5-ab155c2bf072: UEFI 2.10 §32.4.1.
const X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// Who put the certificates there. Firmware does not look at it.
const OWNER: [u8; 16] = *b"drydock's tests!";
/// What stands before a list of signatures: its type, its size, the sizes of its header and of each signature.
const LIST_HEADER_BYTES: usize = 28;

/// A variable's name, its vendor and what it holds.
pub(super) type Variable = (&'static str, [u8; 16], Vec<u8>);

/// Returns the variables that hold the certificates of `make keys`, with their vendors. With them Secure Boot is on.
pub(super) fn variables(keys: &Path) -> Result<Vec<Variable>> {
    let names = [("PK", GLOBAL), ("KEK", GLOBAL), ("db", IMAGE_SECURITY)];
    let read = |(name, vendor): (&'static str, [u8; 16])| {
        let path = keys.join(format!("{name}.cer"));
        let certificate = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok((name, vendor, list(&certificate)?))
    };
    names.into_iter().map(read).collect()
}

/// A list of one certificate. UEFI 2.10 §32.4.1.
fn list(certificate: &[u8]) -> Result<Vec<u8>> {
    let signature = u32::try_from(OWNER.len() + certificate.len())?;
    let whole = u32::try_from(LIST_HEADER_BYTES)? + signature;
    let mut bytes = X509.to_vec();
    bytes.extend([whole, 0, signature].iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend(OWNER);
    bytes.extend(certificate);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_how_long_it_is() {
        let bytes = list(b"certificate").unwrap();
        assert_eq!(bytes.len(), 28 + 16 + 11);
        assert_eq!(bytes[16..28], [55, 0, 0, 0, 0, 0, 0, 0, 27, 0, 0, 0]);
        assert!(bytes.ends_with(b"tests!certificate"));
    }
}
