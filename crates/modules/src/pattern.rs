//! Patterns as modules name devices with them.

/// Holds when a text fits a pattern with `*`, `?` and `[…]`, as `fnmatch(3)` without flags has it.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut place) = (0, 0);
    // Where the last star stands, and up to where it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        let step = match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[at..], text[place]),
            Some(byte) => (*byte == text[place]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(length), _) => {
                at += length;
                place += 1;
            }
            (None, Some((star_at, eaten))) => {
                star = Some((star_at, eaten + 1));
                at = star_at + 1;
                place = eaten + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Returns the length of the class in brackets that `pattern` begins with, where `byte` is in it.
/// An opening bracket that nobody closes stands for itself.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let Some(end) = pattern.iter().skip(2).position(|byte| *byte == b']').map(|end| end + 2) else {
        return (byte == b'[').then_some(1);
    };
    let (negated, mut members) = match &pattern[1..end] {
        [b'!' | b'^', members @ ..] => (true, members),
        members => (false, members),
    };
    let mut found = false;
    while let [first, rest @ ..] = members {
        match rest {
            [b'-', last, rest @ ..] => {
                found |= (*first..=*last).contains(&byte);
                members = rest;
            }
            rest => {
                found |= *first == byte;
                members = rest;
            }
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_the_shell_does() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("m[4-9a]*", "ma", true),
            ("m[4-9a]*", "m3", false),
            ("m[!4-9]", "m3", true),
            ("m[^4-9]", "m5", false),
            ("m[]]", "m]", true),
            ("m[", "m[", true),
            ("*ab", "aab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[ab*?\\[\\]!-]{0,12}", text in "[ab\\[\\]-]{0,12}") {
            let _matched = matches(&pattern, &text);
        }

        #[test]
        fn a_literal_matches_itself_only(text in "[a-z0-9]{1,12}", other in "[a-z0-9]{1,12}") {
            prop_assert!(matches(&text, &text));
            prop_assert_eq!(matches(&text, &other), text == other);
        }
    }
}
