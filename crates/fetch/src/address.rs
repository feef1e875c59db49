//! Where an image is said to be.

use std::{fmt, str::FromStr};

use crate::url::Url;

/// How much of what is no address is shown.
const SHOWN: usize = 200;

/// Where an image is said to be. Its `Display` shows neither query nor fragment, which often are signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A file behind a URL: `http` or `https`.
    File(Url),
    /// A layer in a registry: `oci`, or `oci+http` without TLS.
    Registry(Registry),
}

/// An artefact in a registry, by the digest of its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// The registry: `https`, or `http` for `oci+http`; no path.
    pub(crate) base: Url,
    /// What it is called there. OCI distribution specification 1.1, "Pulling manifests".
    pub(crate) name: String,
    /// SHA-256 of its manifest.
    pub(crate) digest: [u8; 32],
}

/// Why a text is no address of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has another scheme, or none.
    #[error("images come over http, https, oci or oci+http")]
    Scheme,
    /// It cannot be read.
    #[error("not a URL")]
    Url,
    /// It has a user or a password in it.
    #[error("no user or password stands in a URL: give a token by itself")]
    Credentials,
    /// A tag, or nothing, instead of a digest.
    #[error("an image in a registry is named by its digest, as in oci://HOST/NAME@sha256:…")]
    NotPinned,
    /// It is no name of the distribution specification.
    #[error("not the name of an image in a registry")]
    Name,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(AddressError::Url);
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => Url::parse(text).map(Self::File),
            "oci" => Registry::parse("https", rest).map(Self::Registry),
            "oci+http" => Registry::parse("http", rest).map(Self::Registry),
            _ => Err(AddressError::Scheme),
        }
    }
}

impl Address {
    /// Returns what may be shown of a text that was meant to be an address: neither query nor password.
    pub fn shown(text: &str) -> String {
        let text = text.split(['?', '#']).next().unwrap_or_default();
        let (scheme, rest) = text.split_at(text.find("://").map_or(0, |at| at + 3));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        format!("{scheme}{host}{path}").chars().take(SHOWN).collect()
    }

    /// Returns the host that it names first, as a URL without a path.
    pub(crate) fn base(&self) -> &Url {
        match self {
            Self::File(url) => url,
            Self::Registry(registry) => &registry.base,
        }
    }

    /// Holds where the first server proves who it is, so that it may be told a secret.
    pub fn is_private(&self) -> bool {
        self.base().is_tls()
    }
}

impl Registry {
    fn parse(scheme: &str, rest: &str) -> Result<Self, AddressError> {
        let (host, rest) = rest.split_once('/').ok_or(AddressError::Name)?;
        let base = Url::parse(&format!("{scheme}://{host}/"))?;
        let (name, digest) = rest.split_once('@').ok_or(AddressError::NotPinned)?;
        let digest = sha256(digest).ok_or(AddressError::NotPinned)?;
        // With a digest, a tag says nothing.
        let name = match name.rsplit_once(':') {
            Some((name, tag)) if is_tag(tag) => name,
            Some(_) => return Err(AddressError::Name),
            None => name,
        };
        if !is_name(name) {
            return Err(AddressError::Name);
        }
        Ok(Self { base, name: name.to_owned(), digest })
    }
}

/// OCI distribution specification 1.1: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, parts between slashes.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = part.bytes().next().is_some_and(fit) && part.bytes().last().is_some_and(fit);
        let between = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let joined = |joint: &str| {
            matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-')
        };
        ends && between.into_iter().all(joined)
    };
    name.len() <= 255 && name.split('/').all(is_part)
}

fn is_tag(tag: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&tag.len()) && tag.bytes().all(fit)
}

/// Reads `sha256:` and 64 digits.
pub(crate) fn sha256(digest: &str) -> Option<[u8; 32]> {
    let digits = digest.strip_prefix("sha256:")?;
    let fit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    if digits.len() != 64 || !digits.bytes().all(fit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Writes 64 digits.
pub(crate) fn digits(digest: &[u8]) -> String {
    use fmt::Write as _;

    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(url) => url.fmt(f),
            Self::Registry(Registry { base, name, digest }) => {
                let scheme = if base.is_tls() { "oci" } else { "oci+http" };
                write!(f, "{scheme}://{}/{name}@sha256:{}", base.authority(), digits(digest))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5";

    #[test]
    fn an_address_reads_and_shows_no_signature() {
        let shown = |text: &str| text.parse::<Address>().unwrap().to_string();
        assert_eq!(shown("https://a.example/x.raw?sig=secret#f"), "https://a.example/x.raw");
        assert_eq!(shown("HTTP://[::1]:8080/x"), "http://[::1]:8080/x");
        let pinned = format!("oci://r.example:5000/a/b-c@{DIGEST}");
        assert_eq!(shown(&pinned), pinned);
        assert_eq!(
            shown(&format!("oci://r.example/a:13@{DIGEST}")),
            format!("oci://r.example/a@{DIGEST}")
        );
        assert_eq!(
            shown(&format!("oci+http://[::1]:5000/a@{DIGEST}")),
            format!("oci+http://[::1]:5000/a@{DIGEST}")
        );
    }

    #[test]
    fn no_secret_is_shown_of_what_is_no_address() {
        assert_eq!(Address::shown("ftp://u:secret@a/b?c"), "ftp://a/b");
        assert_eq!(Address::shown("u:secret@a?c"), "a");
        assert_eq!(Address::shown("oci://a/b@md5:c"), "oci://a/b@md5:c");
    }

    #[test]
    fn what_is_no_address_says_why() {
        let error = |text: &str| text.parse::<Address>().unwrap_err();
        for text in ["", "x", "file:///etc/shadow", "ftp://a/b", "://a"] {
            assert_eq!(error(text), AddressError::Scheme, "{text}");
        }
        for text in ["http://", "https://a b/c", "http://a/\r\nb", "http://a:b/"] {
            assert_eq!(error(text), AddressError::Url, "{text:?}");
        }
        assert_eq!(error("https://user:secret@a/b"), AddressError::Credentials);
        assert_eq!(error(&format!("oci://u:p@a/b@{DIGEST}")), AddressError::Credentials);
        for text in ["oci://a/b", "oci://a/b:13", "oci://a/b@sha256:a5", "oci://a/b@md5:a5"] {
            assert_eq!(error(text), AddressError::NotPinned, "{text}");
        }
        let name = |name: &str| error(&format!("oci://a/{name}@{DIGEST}"));
        for text in ["", "A", "a//b", "../a", "a/", "a___b", "-a", "a:b:c", "a%2fb", "a?b"] {
            assert_eq!(name(text), AddressError::Name, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", scheme in "(http|https|oci|oci\\+http)") {
            drop(text.parse::<Address>());
            drop(format!("{scheme}://{text}").parse::<Address>());
        }

        #[test]
        fn what_reads_is_shown_and_reads_again(text in "(oci|http)://[a-z0-9.:/@_-]{1,90}") {
            if let Ok(address) = text.parse::<Address>() {
                let again: Address = address.to_string().parse().unwrap();
                prop_assert_eq!(again.to_string(), address.to_string());
            }
        }
    }
}
