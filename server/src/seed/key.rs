//! A public SSH key as it stands in `authorized_keys` (sshd(8)): kind, base64, comment.

/// The longest line: a key of 16,384 bits with a long comment.
const LINE_BYTES: usize = 8192;
/// The kinds that OpenSSH takes.
const KINDS: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
];

/// Why a text is no public key. Nothing of the text is repeated: it may be a private one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Somebody took the wrong file.
    #[error("that is a private key; the public one ends in .pub")]
    Private,
    /// It begins with something else.
    #[error("not a public key: it begins with none of ssh-ed25519, ssh-rsa, ecdsa-sha2-…, sk-…")]
    Kind,
    /// OpenSSH refuses it since 2015.
    #[error("DSA keys are refused by every OpenSSH since 2015")]
    Dsa,
    /// It was cut, or spoilt by copying.
    #[error("not a public key: what follows its kind is damaged")]
    Damaged,
    /// There is more than a key.
    #[error("not a public key: longer than one line of {LINE_BYTES} bytes")]
    Long,
}

/// Holds for a text that begins as public keys do: it is the key itself, not a file's name.
pub fn looks_like_key(text: &str) -> bool {
    text.split_once([' ', '\t']).is_some_and(|(kind, _)| KINDS.contains(&kind))
}

/// Checks one key.
pub fn check_key(line: &str) -> Result<(), KeyProblem> {
    if line.contains("PRIVATE KEY") {
        return Err(KeyProblem::Private);
    }
    if line.len() > LINE_BYTES || line.contains(['\n', '\r', '\0']) {
        return Err(KeyProblem::Long);
    }
    let mut words = line.split_ascii_whitespace();
    let kind = words.next().filter(|kind| KINDS.contains(kind)).ok_or(KeyProblem::Kind)?;
    if kind == "ssh-dss" {
        return Err(KeyProblem::Dsa);
    }
    let blob = words.next().and_then(decode).ok_or(KeyProblem::Damaged)?;
    let mut rest = blob.as_slice();
    // RFC 4253 §6.6: strings with their lengths, the first of which is the kind again.
    let mut strings = 0;
    while !rest.is_empty() {
        let (length, text) = rest.split_first_chunk::<4>().ok_or(KeyProblem::Damaged)?;
        let length =
            usize::try_from(u32::from_be_bytes(*length)).map_err(|_| KeyProblem::Damaged)?;
        let (text, after) = text.split_at_checked(length).ok_or(KeyProblem::Damaged)?;
        if strings == 0 && text != kind.as_bytes() {
            return Err(KeyProblem::Damaged);
        }
        strings += 1;
        rest = after;
    }
    if strings < 2 { Err(KeyProblem::Damaged) } else { Ok(()) }
}

/// Decodes base64 (RFC 4648 §4), padded as OpenSSH writes it.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of nobody.
    pub(crate) const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody@example";

    #[test]
    fn a_public_key_is_taken_with_or_without_comment() {
        assert_eq!(check_key(KEY), Ok(()));
        let (bare, _) = KEY.rsplit_once(' ').unwrap();
        assert_eq!(check_key(bare), Ok(()));
        assert!(looks_like_key(KEY) && !looks_like_key("id_ed25519.pub"));
    }

    #[test]
    fn no_key_that_was_cut_or_spoilt_is_taken() {
        let (bare, _) = KEY.rsplit_once(' ').unwrap();
        for length in 0..bare.len() {
            assert!(check_key(&bare[..length]).is_err(), "{length}");
        }
        let other = bare.replace("ssh-ed25519 ", "ssh-rsa ");
        assert_eq!(check_key(&other), Err(KeyProblem::Damaged));
        assert_eq!(check_key(&format!("{bare}\n{bare}")), Err(KeyProblem::Long));
        assert_eq!(check_key("ssh-dss AAAAB3NzaC1kc3M="), Err(KeyProblem::Dsa));
        assert_eq!(check_key("command=\"x\" ssh-rsa AAAA"), Err(KeyProblem::Kind));
    }

    #[test]
    fn a_private_key_is_named_and_not_repeated() {
        let text = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n";
        let problem = check_key(text).unwrap_err();
        assert_eq!(problem, KeyProblem::Private);
        assert!(!problem.to_string().contains("b3Blb"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", blob in "[A-Za-z0-9+/=]{0,200}") {
            let damaged = check_key(&format!("ssh-rsa {blob}")).is_err();
            proptest::prop_assert!(damaged || blob.len() >= 20);
            proptest::prop_assert!(check_key(&text).is_err());
        }
    }
}
