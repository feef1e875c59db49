//! What client and server agree on before a transfer: RFC 2347, 2348, 2349, 7440.

use std::time::Duration;

/// RFC 1350's block, without options.
const PLAIN_BLOCK_BYTES: u16 = 512;
/// An Ethernet frame's payload less IPv4, UDP and TFTP headers: many boot ROMs cannot put fragments together.
const LARGEST_BLOCK_BYTES: u16 = 1468;
/// Blocks in flight. EDK2 asks for 4; more than this drowns the buffers of small clients.
const LARGEST_WINDOW: u16 = 32;
/// The longest timeout that a client may ask for. RFC 2349 allows 255 s, which would hold a lost client's place for half an hour.
const LONGEST_TIMEOUT_SECONDS: u64 = 10;

/// The terms of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    /// Bytes in a block: 8 to 1468.
    pub(super) block_bytes: u16,
    /// Blocks in flight: 1 to 32.
    pub(super) window: u16,
    /// When to send again, where the client says.
    pub(super) timeout: Option<Duration>,
    /// What is told to the client, in its own spelling. Empty: nothing is told, and blocks follow at once.
    pub(super) granted: Vec<(String, String)>,
    /// Whether it asked for the size: it may want to know only that.
    pub(super) asked_for_size: bool,
}

/// Settles the terms for a file. What is unknown or makes no sense is left out, as if it had not been asked for; of doubles the first counts.
pub(super) fn settle(options: &[(String, String)], size_bytes: usize) -> Terms {
    let mut terms = Terms {
        block_bytes: PLAIN_BLOCK_BYTES,
        window: 1,
        timeout: None,
        granted: Vec::new(),
        asked_for_size: false,
    };
    for (name, value) in options {
        let is_double = |granted: &[(String, String)]| {
            granted.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        if is_double(&terms.granted) {
            continue;
        }
        let Some(number) = number(value) else { continue };
        let granted = match name.to_ascii_lowercase().as_str() {
            "blksize" if (8..=65_464).contains(&number) => {
                terms.block_bytes = at_most(number, LARGEST_BLOCK_BYTES);
                terms.block_bytes.to_string()
            }
            "windowsize" if (1..=65_535).contains(&number) => {
                terms.window = at_most(number, LARGEST_WINDOW);
                terms.window.to_string()
            }
            "timeout" if (1..=LONGEST_TIMEOUT_SECONDS).contains(&number) => {
                terms.timeout = Some(Duration::from_secs(number));
                number.to_string()
            }
            "tsize" => {
                terms.asked_for_size = true;
                size_bytes.to_string()
            }
            _ => continue,
        };
        terms.granted.push((name.clone(), granted));
    }
    terms
}

fn number(text: &str) -> Option<u64> {
    let is_number =
        (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn at_most(number: u64, most: u16) -> u16 {
    u16::try_from(number).unwrap_or(most).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: &[(&str, &str)], granted: &[(&str, &str)]) -> Terms {
        let owned = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let terms = settle(&owned(asked), 284_672);
        assert_eq!(terms.granted, owned(granted));
        terms
    }

    #[test]
    fn values_may_fall_and_never_rise() {
        let asked = [("tsize", "0"), ("blksize", "8192"), ("windowsize", "64")];
        let granted = [("tsize", "284672"), ("blksize", "1468"), ("windowsize", "32")];
        let terms = check(&asked, &granted);
        assert_eq!((terms.block_bytes, terms.window), (1468, 32));
        let asked = [("blksize", "8"), ("windowsize", "1"), ("timeout", "3")];
        let terms = check(&asked, &asked);
        assert_eq!((terms.block_bytes, terms.window), (8, 1));
        assert_eq!(terms.timeout, Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_clients_spelling_is_kept_and_doubles_count_once() {
        check(&[("BlkSize", "1456"), ("blksize", "512")], &[("BlkSize", "1456")]);
    }

    #[test]
    fn what_makes_no_sense_was_not_asked_for() {
        let terms = check(
            &[
                ("blksize", "7"),
                ("blksize", "65465"),
                ("blksize", "-1"),
                ("blksize", ""),
                ("windowsize", "0"),
                ("timeout", "0"),
                ("timeout", "255"),
                ("tsize", "x"),
                ("multicast", ""),
                ("rollover", "1"),
            ],
            &[],
        );
        assert_eq!((terms.block_bytes, terms.window, terms.timeout), (512, 1, None));
        assert!(!terms.asked_for_size);
    }
}
