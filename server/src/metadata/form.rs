//! What cloud-init's `phone_home` says: a form (`application/x-www-form-urlencoded`). Anybody's text.

use crate::text::{one_line, shorten};

/// The longest name that is kept.
const NAME_BYTES: usize = 253;

/// What is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Said {
    pub(super) hostname: Option<String>,
    pub(super) instance_id: Option<String>,
}

/// Reads a form. Whatever is no form says nothing.
pub(super) fn read(body: &[u8]) -> Said {
    let mut said = Said::default();
    let mut full_name = None;
    for field in body.split(|byte| *byte == b'&') {
        let Some(at) = field.iter().position(|byte| *byte == b'=') else { continue };
        let (key, value) = (&field[..at], &field[at + 1..]);
        let place = match key {
            b"hostname" => &mut said.hostname,
            b"fqdn" => &mut full_name,
            b"instance_id" => &mut said.instance_id,
            _ => continue,
        };
        let mut text = one_line(&decoded(value));
        shorten(&mut text, NAME_BYTES);
        // cloud-init writes N/A for what it does not know.
        if !text.is_empty() && text != "N/A" && place.is_none() {
            *place = Some(text);
        }
    }
    said.hostname = full_name.or(said.hostname);
    said
}

fn decoded(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len().min(1024));
    let mut rest = value;
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = byte {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cloud_init_posts_is_read() {
        let said = read(b"instance_id=4q5hmp2-17&hostname=db1&fqdn=db1.example.org&pub_key_rsa=x");
        assert_eq!(said.hostname.as_deref(), Some("db1.example.org"));
        assert_eq!(said.instance_id.as_deref(), Some("4q5hmp2-17"));
        assert_eq!(read(b"hostname=a&fqdn=N%2FA").hostname.as_deref(), Some("a"));
    }

    #[test]
    fn nothing_that_a_terminal_obeys_and_nothing_long_is_kept() {
        let said = read(b"hostname=%1b%5d0%3bx%07%0aevil+%e2%80%ae%ff&instance_id=%");
        assert_eq!(
            said.hostname.as_deref(),
            Some("\u{fffd}]0;x\u{fffd}\u{fffd}evil \u{fffd}\u{fffd}")
        );
        assert_eq!(said.instance_id.as_deref(), Some("%"));
        let long = [b"hostname=".as_slice(), &b"a".repeat(10_000)].concat();
        assert_eq!(read(&long).hostname.map(|name| name.len()), Some(NAME_BYTES));
        for nothing in [&b""[..], b"&&&", b"=", b"hostname", b"hostname=", b"{\"a\": 1}"] {
            assert_eq!(read(nothing), Said::default());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let said = read(&[b"hostname=".as_slice(), &body].concat());
            proptest::prop_assert!(said.hostname.is_none_or(|name| name.len() <= NAME_BYTES));
        }
    }
}
