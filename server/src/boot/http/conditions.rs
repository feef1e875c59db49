//! Conditional and partial requests (RFC 9110, sections 13 and 14), as a pure function of headers and file.

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::super::assets::Opened;

/// HTTP dates end with the year 9999.
const LAST_DATE_SECONDS: u64 = 253_402_300_799;

/// What tells one state of a file from another, to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validators {
    /// The entity tag, in its quotes. Always a strong one.
    tag: String,
    /// Whole seconds, as the header has them.
    modified: Option<SystemTime>,
    size_bytes: u64,
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// 200.
    Whole,
    /// 206.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 416.
    Unsatisfiable,
}

impl Validators {
    /// Returns those of a file that never changes: its tag stands for every byte of it.
    pub(crate) fn new(tag: &str, size_bytes: u64) -> Self {
        Self { tag: format!("\"{tag}\""), modified: None, size_bytes }
    }

    pub(super) fn of(opened: &Opened) -> Self {
        let modified = opened.modified.and_then(|modified| {
            let seconds = modified.duration_since(UNIX_EPOCH).ok()?.as_secs();
            (seconds <= LAST_DATE_SECONDS).then(|| UNIX_EPOCH + Duration::from_secs(seconds))
        });
        Self { tag: format!("\"{}\"", opened.tag), modified, size_bytes: opened.size_bytes }
    }

    /// Puts them into a response.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        put(headers, header::ETAG, &self.tag);
        if let Some(modified) = self.modified {
            put(headers, header::LAST_MODIFIED, &httpdate::fmt_http_date(modified));
        }
    }

    /// Holds where a list of entity tags names this state. A weak tag never does where bytes are to be joined.
    fn is_among(&self, list: &str, weak: Weak) -> bool {
        list.split(',').map(str::trim).any(|tag| {
            let strong = match weak {
                Weak::Counts => tag.strip_prefix("W/").unwrap_or(tag),
                Weak::DoesNot => tag,
            };
            strong == "*" || strong == self.tag
        })
    }
}

#[derive(Clone, Copy)]
enum Weak {
    Counts,
    DoesNot,
}

/// Puts a header that is never empty and always text.
pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Judges a request, in the order of RFC 9110, section 13.2.2.
pub(crate) fn judge(method: &Method, headers: &HeaderMap, validators: &Validators) -> Verdict {
    let text = |name: HeaderName| {
        // Several lines of one list are one list.
        let lines: Vec<&str> =
            headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (!lines.is_empty()).then(|| lines.join(","))
    };
    let date = |name: HeaderName| text(name).and_then(|date| httpdate::parse_http_date(&date).ok());
    if let Some(list) = text(header::IF_MATCH) {
        if !validators.is_among(&list, Weak::DoesNot) {
            return Verdict::Failed;
        }
    } else if let (Some(since), Some(modified)) =
        (date(header::IF_UNMODIFIED_SINCE), validators.modified)
        && modified > since
    {
        return Verdict::Failed;
    }
    if let Some(list) = text(header::IF_NONE_MATCH) {
        if validators.is_among(&list, Weak::Counts) {
            return Verdict::NotModified;
        }
    } else if let (Some(since), Some(modified)) =
        (date(header::IF_MODIFIED_SINCE), validators.modified)
        && modified <= since
    {
        return Verdict::NotModified;
    }
    let Some(range) = text(header::RANGE).filter(|_| *method == Method::GET) else {
        return Verdict::Whole;
    };
    if let Some(condition) = text(header::IF_RANGE) {
        let same = validators.is_among(&condition, Weak::DoesNot) && condition != "*"
            || httpdate::parse_http_date(&condition)
                .is_ok_and(|date| Some(date) == validators.modified);
        if !same {
            return Verdict::Whole;
        }
    }
    part(&range, validators.size_bytes)
}

/// Reads one range of bytes. Several at once, other units and rubbish are ignored, as section 14.2 allows.
fn part(range: &str, size_bytes: u64) -> Verdict {
    let Some((first, last)) = range
        .trim()
        .split_once('=')
        .filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"))
        .and_then(|(_, range)| range.split_once('-'))
    else {
        return Verdict::Whole;
    };
    let number = |text: &str| {
        let text = text.trim();
        // `parse` would take a sign.
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())
    };
    let (Some(first_byte), Some(last_byte)) = (number(first), number(last)) else {
        return Verdict::Whole;
    };
    let range = match (first_byte, last_byte) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size_bytes),
        (Some(first), None) if last.trim().is_empty() => first..size_bytes,
        (None, Some(count)) if first.trim().is_empty() => {
            size_bytes.saturating_sub(count)..size_bytes
        }
        _ => return Verdict::Whole,
    };
    if range.start < range.end { Verdict::Part(range) } else { Verdict::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn validators() -> Validators {
        let modified = httpdate::parse_http_date(DATE).ok();
        Validators { tag: "\"abc\"".to_owned(), modified, size_bytes: 1000 }
    }

    #[track_caller]
    fn check(headers: &[(HeaderName, &str)], verdict: &Verdict) {
        let map: HeaderMap =
            headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        assert_eq!(judge(&Method::GET, &map, &validators()), *verdict, "{headers:?}");
    }

    #[test]
    fn ranges() {
        for (range, verdict) in [
            ("bytes=0-0", Verdict::Part(0..1)),
            ("bytes=10-19", Verdict::Part(10..20)),
            ("Bytes=990-", Verdict::Part(990..1000)),
            ("bytes=-1", Verdict::Part(999..1000)),
            ("bytes=-5000", Verdict::Part(0..1000)),
            ("bytes=0-99999999999", Verdict::Part(0..1000)),
            ("bytes=0-18446744073709551615", Verdict::Part(0..1000)),
            ("bytes=1000-", Verdict::Unsatisfiable),
            ("bytes=1000-1001", Verdict::Unsatisfiable),
            ("bytes=-0", Verdict::Unsatisfiable),
            ("bytes=2-1", Verdict::Whole),
            ("bytes=-", Verdict::Whole),
            ("bytes=+1-2", Verdict::Whole),
            ("bytes=0-1,5-6", Verdict::Whole),
            ("bytes=99999999999999999999-", Verdict::Whole),
            ("bytes=0-99999999999999999999", Verdict::Whole),
            ("lines=0-1", Verdict::Whole),
            ("", Verdict::Whole),
        ] {
            check(&[(header::RANGE, range)], &verdict);
        }
    }

    #[test]
    fn a_range_of_another_state_is_the_whole() {
        let range = (header::RANGE, "bytes=10-19");
        let part = Verdict::Part(10..20);
        check(&[range.clone(), (header::IF_RANGE, "\"abc\"")], &part);
        check(&[range.clone(), (header::IF_RANGE, DATE)], &part);
        check(&[range.clone(), (header::IF_RANGE, "\"abd\"")], &Verdict::Whole);
        check(&[range.clone(), (header::IF_RANGE, "W/\"abc\"")], &Verdict::Whole);
        check(&[range.clone(), (header::IF_RANGE, "*")], &Verdict::Whole);
        check(&[range, (header::IF_RANGE, EARLIER)], &Verdict::Whole);
    }

    #[test]
    fn firmware_that_resumes_gets_the_rest_of_the_same_file_or_nothing() {
        let range = (header::RANGE, "bytes=10-");
        check(&[range.clone(), (header::IF_MATCH, "\"abc\"")], &Verdict::Part(10..1000));
        check(&[range.clone(), (header::IF_MATCH, "\"x\", \"abc\"")], &Verdict::Part(10..1000));
        check(&[range.clone(), (header::IF_MATCH, "\"abd\"")], &Verdict::Failed);
        check(&[range.clone(), (header::IF_UNMODIFIED_SINCE, DATE)], &Verdict::Part(10..1000));
        check(&[range, (header::IF_UNMODIFIED_SINCE, EARLIER)], &Verdict::Failed);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        check(&[(header::IF_NONE_MATCH, "W/\"abc\"")], &Verdict::NotModified);
        check(&[(header::IF_NONE_MATCH, "*")], &Verdict::NotModified);
        check(&[(header::IF_NONE_MATCH, "\"x\"")], &Verdict::Whole);
        check(&[(header::IF_MODIFIED_SINCE, DATE)], &Verdict::NotModified);
        check(&[(header::IF_MODIFIED_SINCE, EARLIER)], &Verdict::Whole);
        check(&[(header::IF_MODIFIED_SINCE, "yesterday")], &Verdict::Whole);
    }

    #[test]
    fn head_knows_no_ranges() {
        let map: HeaderMap = [(header::RANGE, "bytes=0-0".parse().unwrap())].into_iter().collect();
        assert_eq!(judge(&Method::HEAD, &map, &validators()), Verdict::Whole);
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_outside(range in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in 0_u64..2000) {
            if let Verdict::Part(part) = part(&range, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn no_header_panics(value in "[ -~]{0,60}") {
            let value: HeaderValue = value.parse().unwrap();
            for name in [header::RANGE, header::IF_RANGE, header::IF_MATCH, header::IF_MODIFIED_SINCE] {
                let map: HeaderMap =
                    [(header::RANGE, value.clone()), (name, value.clone())].into_iter().collect();
                let _verdict = judge(&Method::GET, &map, &validators());
            }
        }
    }
}
