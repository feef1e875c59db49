//! Pages for people, in the place of an image.

/// How much of a page's words is shown.
const WORDS: usize = 100;

/// Returns the words of a page for people: its title, else its first line; nothing where it is none.
pub(crate) fn says(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.contains('\0') {
        return String::new();
    }
    let line = match title(text) {
        Some(title) => title,
        None if text.starts_with('<') => "",
        None => text.lines().next().unwrap_or_default(),
    };
    let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|character| !character.is_control()).take(WORDS).collect()
}

/// Says whether these are the first bytes of a page, and what it calls itself.
///
/// By its content: servers send images as `text/html` and pages as `application/octet-stream`.
pub(crate) fn page(bytes: &[u8]) -> Option<String> {
    let begin = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let begin = begin.get(..begin.len().min(15)).unwrap_or_default().to_ascii_lowercase();
    let kinds: [&[u8]; 4] = [b"<!doctype html", b"<html", b"<head", b"<body"];
    kinds.iter().any(|kind| begin.starts_with(kind)).then(|| says(bytes))
}

fn title(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    let begin = lower.find("<title")?;
    let begin = begin + lower.get(begin..)?.find('>')? + 1;
    let end = begin + lower.get(begin..)?.find("</title")?;
    text.get(begin..end).map(str::trim).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_is_known_by_its_content_and_says_its_title() {
        let text =
            b"\xef\xbb\xbf\n<!DOCTYPE HTML><head><title lang=en>\n Log in\n to go on </title>";
        assert_eq!(page(text).as_deref(), Some("Log in to go on"));
        assert_eq!(page(b"<html><body>busy").as_deref(), Some(""));
        assert_eq!(page(b"{\"errors\":[]}"), None);
        assert_eq!(page(&[0x1f, 0x8b, 8]), None);
        assert_eq!(page(b""), None);
        assert_eq!(says(b"not here\r\nat all"), "not here");
        assert_eq!(says(b"\x1b[31mred"), "[31mred");
        assert_eq!(says(b"a\0b"), "");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "(<title>|>|</title>|é|<|a){0,9}") {
            page(&bytes);
            page(text.as_bytes());
            says(text.as_bytes());
        }
    }
}
