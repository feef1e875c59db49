//! What tells one version of a file from every other.

use std::time::Duration;

use crate::head::Head;

/// A file that was changed so long before it was sent was not changed twice in that second. RFC 9110 §8.8.2.2.
const SETTLED: Duration = Duration::from_mins(1);

/// What tells one version of a file from every other, by the server's own word. RFC 9110 §8.8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Validator {
    /// A strong `ETag`.
    Tag(String),
    /// A `Last-Modified` that lies long enough before `Date`.
    Date(String),
}

impl Validator {
    /// Returns the best that an answer has.
    pub(crate) fn of(head: &Head) -> Option<Self> {
        if let Some(tag) = head.field("etag")
            && tag.len() > 2
            && tag.starts_with('"')
            && tag.ends_with('"')
            && tag.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Some(Self::Tag(tag.to_owned()));
        }
        let text = head.field("last-modified")?;
        let modified = httpdate::parse_http_date(text).ok()?;
        let sent = httpdate::parse_http_date(head.field("date")?).ok()?;
        let settled = sent.duration_since(modified).is_ok_and(|age| age >= SETTLED);
        settled.then(|| Self::Date(text.to_owned()))
    }

    /// Returns it as `If-Range` takes it.
    pub(crate) fn word(&self) -> &str {
        let (Self::Tag(word) | Self::Date(word)) = self;
        word
    }

    /// Says whether an answer is of this version; nothing where it does not say which one it is of.
    pub(crate) fn is_of(&self, head: &Head) -> Option<bool> {
        let name = match self {
            Self::Tag(_) => "etag",
            Self::Date(_) => "last-modified",
        };
        head.field(name).map(|word| word == self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strong_validators_count() {
        let of = |fields: &str| {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
            Validator::of(&crate::head::parse(text.as_bytes()).unwrap().unwrap().0)
        };
        assert_eq!(of("ETag: \"a\""), Some(Validator::Tag("\"a\"".to_owned())));
        for weak in
            ["ETag: W/\"a\"", "ETag: a", "ETag: \"a", "ETag: \"\"", "ETag: \"a\"\r\nETag: \"b\""]
        {
            assert_eq!(of(weak), None, "{weak}");
        }
        let modified = "Sat, 21 Nov 2026 09:00:00 GMT";
        let dated = |date: &str| of(&format!("Last-Modified: {modified}\r\nDate: {date}"));
        assert_eq!(
            dated("Sat, 21 Nov 2026 09:01:00 GMT"),
            Some(Validator::Date(modified.to_owned()))
        );
        assert_eq!(dated("Sat, 21 Nov 2026 09:00:59 GMT"), None, "it may be changed once more");
        assert_eq!(dated("yesterday"), None);
        assert_eq!(of(&format!("Last-Modified: {modified}")), None);
    }
}
