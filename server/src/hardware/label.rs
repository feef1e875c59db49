//! Facts as label values: at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.

/// The longest label value in Kubernetes.
const VALUE: usize = 63;

/// Spells a text as a label value; nothing when too little is left of it.
pub(super) fn value(text: &str) -> Option<String> {
    let mut value = String::new();
    for character in text.trim().chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-' => value.push(character),
            _ if value.ends_with('-') => {}
            _ => value.push('-'),
        }
    }
    let is_inner = |character: char| !character.is_ascii_alphanumeric();
    let mut value = value.trim_start_matches(is_inner);
    value = value.get(..VALUE).unwrap_or(value).trim_end_matches(is_inner);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn facts_stay_readable() {
        assert_eq!(value("Dell Inc.").as_deref(), Some("Dell-Inc"));
        assert_eq!(value(" PowerEdge R630 / (rev 2) ").as_deref(), Some("PowerEdge-R630-rev-2"));
        assert_eq!(value("x86_64").as_deref(), Some("x86_64"));
        assert_eq!(value(" -- ü -- "), None);
    }

    proptest! {
        #[test]
        fn every_value_is_one_that_kubernetes_takes(text in "\\PC{0,100}") {
            if let Some(value) = value(&text) {
                prop_assert!(value.len() <= 63);
                prop_assert!(value.starts_with(|c: char| c.is_ascii_alphanumeric()));
                prop_assert!(value.ends_with(|c: char| c.is_ascii_alphanumeric()));
                let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                prop_assert!(value.chars().all(inner));
            }
        }
    }
}
