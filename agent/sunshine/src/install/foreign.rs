//! An image on somebody else's server.

use fetch::{Limits, Token, Trust};
use image::bmap::{Bmap, Mapped};
use install::Foreign;
use protocol::{ImageMap, ImageMapError, install::Secret};

use crate::elsewhere::Elsewhere;

/// Finds a file on other people's servers. Blocks, for a minute where none answers.
pub(super) fn find(
    urls: &[String],
    sha256: Option<&str>,
    token: Option<&Secret>,
) -> Result<(Foreign, Vec<Elsewhere>), String> {
    let sha256 = sha256.map(digest).transpose()?;
    let token = token.map(|Secret(word)| Token::new(word)).transpose();
    let token = token.map_err(|error| error.to_string())?;
    let client = fetch::Client::new(&Trust::System, Limits::default(), agent::cipher::provider());
    let found = fetch::Image::open(&client, urls, sha256, token).map_err(|error| error.chain())?;
    let foreign = Foreign { file_bytes: Some(found.length()), sha256: found.sha256() };
    Ok((foreign, found.into_mirrors().into_iter().map(Elsewhere).collect()))
}

/// Reads what an order says of an image's parts.
pub(super) fn map(text: &str) -> Result<Bmap, String> {
    let map: ImageMap = text.parse().map_err(|error: ImageMapError| error.to_string())?;
    let parts = map.parts.iter().map(|part| Mapped {
        bytes: part.start_bytes..part.start_bytes.saturating_add(part.length_bytes),
        sha256: part.sha256,
    });
    Bmap::new(map.image_bytes, parts.collect()).map_err(|error| error.to_string())
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    // An order's inventory is known by a digest of the same form.
    let digest = text.parse::<protocol::InventoryDigest>().map_err(|error| error.to_string())?;
    Ok(digest.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_an_order_that_contradicts_itself_is_none() {
        let ordered = |start, length, digit: &str| {
            map(&format!("8192\n{start} {length} {}", digit.repeat(64)))
        };
        let right = ordered(4096, 4096, "5").unwrap();
        assert_eq!(right.image_bytes(), 8192);
        assert_eq!(right.ranges()[0].bytes, 4096..8192);
        assert_eq!(right.ranges()[0].sha256, [0x55; 32]);
        for (start, length, digit) in
            [(4096, 4097, "5"), (8192, 0, "5"), (u64::MAX, 2, "5"), (0, 512, "g"), (0, 512, "")]
        {
            ordered(start, length, digit).unwrap_err();
        }
    }

    #[test]
    fn an_order_for_a_file_elsewhere_that_makes_no_sense_asks_nobody() {
        let url = ["http://127.0.0.1:9/image".to_owned()];
        let check = |urls: &[String], sha256: Option<&str>, token: Option<&str>, says: &str| {
            let token = token.map(|word| Secret(word.to_owned()));
            let error = find(urls, sha256, token.as_ref()).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        };
        check(&[], None, None, "");
        check(&["file:///etc/passwd".to_owned()], None, None, "");
        check(&url, Some("abc"), None, "hexadecimal");
        check(&url, None, Some("hunter2\r\nHost: x"), "one line");
        check(&url, None, Some("hunter2"), "https only");
    }
}
