//! Which of two versions is newer, as boot loaders judge it (UAPI Version Format Specification).

use std::cmp::Ordering;

/// Compares two versions; the greater one is the newer.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        one = skip(one);
        other = skip(other);
        // A tilde makes older than even the end does.
        match (strip(one, b'~'), strip(other, b'~')) {
            (Some(a), Some(b)) => {
                (one, other) = (a, b);
                continue;
            }
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (None, None) => {}
        }
        if one.is_empty() || other.is_empty() {
            return one.len().min(1).cmp(&other.len().min(1));
        }
        if let Some(order) = separator(&mut one, &mut other) {
            match order {
                Ordering::Equal => continue,
                order => return order,
            }
        }
        let order = if one[0].is_ascii_digit() || other[0].is_ascii_digit() {
            let (a, b) = (take(&mut one, u8::is_ascii_digit), take(&mut other, u8::is_ascii_digit));
            let (a, b) = (trim_zeros(a), trim_zeros(b));
            // Only one has digits: the other part is empty, and older.
            a.map(<[u8]>::len).cmp(&b.map(<[u8]>::len)).then_with(|| a.cmp(&b))
        } else {
            take(&mut one, u8::is_ascii_alphabetic).cmp(take(&mut other, u8::is_ascii_alphabetic))
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn separator(one: &mut &[u8], other: &mut &[u8]) -> Option<Ordering> {
    for mark in *b"-^." {
        match (strip(one, mark), strip(other, mark)) {
            (Some(a), Some(b)) => {
                (*one, *other) = (a, b);
                return Some(Ordering::Equal);
            }
            (Some(_), None) => return Some(Ordering::Less),
            (None, Some(_)) => return Some(Ordering::Greater),
            (None, None) => {}
        }
    }
    None
}

fn skip(text: &[u8]) -> &[u8] {
    let counts = |byte: &u8| byte.is_ascii_alphanumeric() || b"~-^.".contains(byte);
    let start = text.iter().position(counts).unwrap_or(text.len());
    &text[start..]
}

fn strip(text: &[u8], mark: u8) -> Option<&[u8]> {
    text.split_first().and_then(|(first, rest)| (*first == mark).then_some(rest))
}

fn take<'t>(text: &mut &'t [u8], holds: impl Fn(&u8) -> bool) -> &'t [u8] {
    let end = text.iter().position(|byte| !holds(byte)).unwrap_or(text.len());
    let (taken, rest) = text.split_at(end);
    *text = rest;
    taken
}

fn trim_zeros(digits: &[u8]) -> Option<&[u8]> {
    let start = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    (!digits.is_empty()).then(|| &digits[start..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_ordered_as_the_specification_has_it() {
        let ascending = [
            "~1",
            "",
            "ab",
            "abb",
            "abc",
            "0001",
            "002",
            "12",
            "122",
            "122.9",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-a1",
            "123-a1-1",
            "123-3",
            "123-3.1",
            "123^patch1",
            "123^1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("6.12.48+deb13-amd64", "6.12.100+deb13-amd64"), Ordering::Less);
        assert_eq!(compare("1_2", "1_2"), Ordering::Equal);
        assert_eq!(compare("001", "1"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn any_two_texts_have_one_order(one in "[~^.a-c0-2_-]{0,12}", other in "[~^.a-c0-2_-]{0,12}") {
            prop_assert_eq!(compare(&one, &other), compare(&other, &one).reverse());
            prop_assert_eq!(compare(&one, &one), Ordering::Equal);
        }

        #[test]
        fn whatever_stands_there_is_no_reason_to_panic(one: String, other: String) {
            compare(&one, &other);
        }
    }
}
