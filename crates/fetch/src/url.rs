//! URLs of `http` and `https`: as much of RFC 3986 as fetching needs.
//!
//! Not the crate `url`: its tables for international names would be in the agent, and nobody boots from such a name.
//! What is beyond ASCII stands in a URL percent-encoded.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::address::AddressError;

/// A URL of `http` or `https`, without user, password and fragment. What is shown of it ends before the query.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    is_tls: bool,
    /// In lower case; in brackets where it is an address of IPv6.
    host: String,
    port: u16,
    /// Path and query: begins with a slash, has neither blanks nor control characters.
    target: String,
}

impl Url {
    /// Reads a URL.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        // RFC 3986 knows no backslash, and programs disagree on what it means.
        if text.contains('\\') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AddressError::Url);
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(AddressError::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(AddressError::Credentials);
        }
        let (host, port) = authority_of(authority).ok_or(AddressError::Url)?;
        let port = port.unwrap_or(if is_tls { 443 } else { 80 });
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        Ok(Self { is_tls, host, port, target: format!("{}{query}", without_dots(path)) })
    }

    /// Reads what a redirect leads to, from here. RFC 3986 §5.2.
    pub(crate) fn join(&self, reference: &str) -> Option<Self> {
        let reference = encoded(reference.split('#').next().unwrap_or_default())?;
        let scheme = reference.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
            let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
            scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
                && scheme.bytes().all(fit)
        });
        if scheme.is_some() {
            return Self::parse(&reference).ok();
        }
        let scheme = if self.is_tls { "https" } else { "http" };
        if reference.starts_with("//") {
            return Self::parse(&format!("{scheme}:{reference}")).ok();
        }
        let path = self.path();
        let target = match reference.bytes().next() {
            None => self.target.clone(),
            Some(b'/') => reference,
            Some(b'?') => format!("{path}{reference}"),
            Some(_) => {
                let parent = path.rfind('/').map_or("/", |slash| &path[..=slash]);
                format!("{parent}{reference}")
            }
        };
        Self::parse(&format!("{scheme}://{}{target}", self.authority())).ok()
    }

    /// Returns the same server's URL with another path.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        Self { target: path.to_owned(), ..self.clone() }
    }

    /// Returns it with one more value in its query.
    pub(crate) fn with_value(&self, name: &str, value: &str) -> Self {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        let mut target = format!("{}{separator}{name}=", self.target);
        for byte in value.bytes() {
            push(&mut target, byte, |byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
            });
        }
        Self { target, ..self.clone() }
    }

    /// Holds for `https`.
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Returns the name or address to connect to, without brackets.
    pub(crate) fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the host, with its port where it is unusual: as people and the header `Host` name it.
    pub(crate) fn authority(&self) -> String {
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// Returns path and query, as a request has them.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Holds for two URLs of one server, by name: RFC 6454's origin.
    pub(crate) fn is_same_server(&self, other: &Self) -> bool {
        (self.is_tls, &self.host, self.port) == (other.is_tls, &other.host, other.port)
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Reads a host and its port.
fn authority_of(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), port)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(fit) {
            return None;
        }
        // Resolvers read "127.1" and "0x7f000001" as addresses; here an address looks like one.
        let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
        if is_number && host.parse::<Ipv4Addr>().is_err() && !last.bytes().any(is_letter_but_hex) {
            return None;
        }
        (host.to_ascii_lowercase(), port)
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Some((host, None)),
        None => None,
        Some(digits) => {
            let fit = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            let port = digits.parse().ok().filter(|port| fit && *port != 0)?;
            Some((host, Some(port)))
        }
    }
}

fn is_letter_but_hex(byte: u8) -> bool {
    byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit() && !byte.eq_ignore_ascii_case(&b'x')
}

/// Percent-encodes what servers forget to; nothing where there are control characters.
fn encoded(text: &str) -> Option<String> {
    let mut encoded = String::new();
    for byte in text.trim().bytes() {
        if byte.is_ascii_control() {
            return None;
        }
        push(&mut encoded, byte, |byte| byte.is_ascii_graphic());
    }
    Some(encoded)
}

/// Appends a byte, as it is where it may stand there.
fn push(text: &mut String, byte: u8, fit: impl Fn(u8) -> bool) {
    use fmt::Write as _;

    if fit(byte) {
        text.push(char::from(byte));
    } else {
        // Writing to a text does not fail.
        write!(text, "%{byte:02X}").unwrap_or_default();
    }
}

/// Takes `.` and `..` out of a path. RFC 3986 §5.2.4.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let rest = path.strip_prefix('/').unwrap_or(path);
    for part in rest.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let ends_open = rest.ends_with("/..") || rest.ends_with("/.") || matches!(rest, "." | "..");
    let end = if ends_open && !parts.is_empty() { "/" } else { "" };
    format!("/{}{end}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a request to it says.
    fn full(url: &Url) -> String {
        let scheme = if url.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", url.authority(), url.target())
    }

    #[test]
    fn a_url_reads_and_its_query_is_not_shown() {
        for (text, expected) in [
            ("http://A.Example", "http://a.example/"),
            ("HTTPS://a.example:443?x=/..", "https://a.example/?x=/.."),
            ("http://a:8080/b/./c/../d?e#f", "http://a:8080/b/d?e"),
            ("http://[FE80:0::1]:81/", "http://[fe80::1]:81/"),
            ("http://127.0.0.1/..", "http://127.0.0.1/"),
            ("http://7-zip.example/", "http://7-zip.example/"),
            ("https://a/b%2f..%20", "https://a/b%2f..%20"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(full(&url), expected);
            assert!(!format!("{url} {url:?}").contains('?'));
        }
    }

    #[test]
    fn what_programs_disagree_on_is_no_url() {
        for text in [
            "http://",
            "http:///a",
            "http://a:/",
            "http://a:0/",
            "http://a:65536/",
            "http://a:+1/",
            "http://[::1/",
            "http://[::1]a/",
            "http://a b/",
            "http://a/\u{e9}",
            "http://a\\@b/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://a%2eb/",
            "http://a;b/",
        ] {
            assert_eq!(Url::parse(text), Err(AddressError::Url), "{text}");
        }
        assert_eq!(Url::parse("http://a:b@c/"), Err(AddressError::Credentials));
        assert_eq!(Url::parse("file:///etc/shadow"), Err(AddressError::Scheme));
    }

    #[test]
    fn a_redirect_leads_where_it_says() {
        let base = Url::parse("https://a.example/b/c/d?q").unwrap();
        let to = |reference: &str| base.join(reference).map(|url| full(&url));
        for (reference, expected) in [
            ("e", "https://a.example/b/c/e"),
            ("../e?f", "https://a.example/b/e?f"),
            ("../../../e", "https://a.example/e"),
            ("./", "https://a.example/b/c/"),
            ("..", "https://a.example/b/"),
            ("/e:f", "https://a.example/e:f"),
            ("?x", "https://a.example/b/c/d?x"),
            ("", "https://a.example/b/c/d?q"),
            ("//e.example/f", "https://e.example/f"),
            ("http://e.example:81/f#g", "http://e.example:81/f"),
            ("/a b/\u{e9}", "https://a.example/a%20b/%C3%A9"),
        ] {
            assert_eq!(to(reference).as_deref(), Some(expected), "{reference}");
        }
        for reference in
            ["file:///etc/shadow", "javascript:x", "//", "http://u:p@a/", "/a\r\nb", "ftp://a/"]
        {
            assert_eq!(to(reference), None, "{reference:?}");
        }
    }

    #[test]
    fn a_value_in_a_query_is_a_value_only() {
        let url = Url::parse("https://a/token").unwrap();
        let url = url.with_value("service", "a b&c").with_value("scope", "x:y/z");
        assert_eq!(url.target(), "/token?service=a%20b%26c&scope=x%3Ay%2Fz");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_a_request_of_two_lines(text in ".*", tail in "[ -~é\n]{0,40}") {
            let base = Url::parse("http://a/b/c").unwrap();
            let parsed = [Url::parse(&text).ok(), Url::parse(&format!("http://{tail}")).ok()];
            for url in parsed.into_iter().chain([base.join(&text), base.join(&tail)]).flatten() {
                prop_assert!(full(&url).bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(Url::parse(&full(&url)), Ok(url));
            }
        }
    }
}
