//! Where an image comes from: the server's own store, or somebody else's server.

use std::{
    io::{self, Read},
    ops::Range,
};

use agent::session::{Bulk, BulkError, Session};
use fetch::{Lasting, Limits, Mirror, Token, Trust};
use image::Manifest;
use install::{FetchError, Foreign, Plan, Source};
use protocol::{Pin, install::Secret};

use super::chain;

/// Gets the manifest that was ordered, and checks who vouches for it. Returns its plan, and the file of frames.
pub(super) fn stored<'b>(
    bulk: &'b Bulk,
    session: &Session,
    digest: &str,
) -> Result<(Plan, Frames<'b>), String> {
    let directory = format!("/v1/images/{digest}");
    let limit = u64::try_from(Manifest::LIMIT_BYTES).unwrap_or(u64::MAX);
    let bytes = bulk.get(&format!("{directory}/manifest"), limit).map_err(|error| chain(&error))?;
    let manifest = vouched(bytes, digest, session.pins())?;
    Ok((Plan::from(&manifest), Frames { bulk, path: format!("{directory}/frames") }))
}

/// Believes a manifest that has the digest of the order and the signature of a pinned key.
fn vouched(bytes: Vec<u8>, digest: &str, pins: &[Pin]) -> Result<Manifest, String> {
    let manifest = Manifest::parse(bytes).map_err(|error| chain(&error))?;
    let found = hexadecimal(&manifest.sha256());
    if found != digest {
        return Err(format!("the server sent manifest {found} instead of {digest}"));
    }
    let pins: Vec<[u8; 32]> = pins.iter().map(|pin| pin.0).collect();
    manifest.verify(&pins).map_err(|error| chain(&error))?;
    Ok(manifest)
}

/// The file of frames, on the server.
#[derive(Debug)]
pub(super) struct Frames<'b> {
    bulk: &'b Bulk,
    path: String,
}

impl Source for Frames<'_> {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        match self.bulk.read(&self.path, range) {
            Ok(body) => Ok(Box::new(body)),
            Err(BulkError::Never(reason)) => Err(FetchError::Never { reason }),
            Err(error) => Err(FetchError::Again { reason: error.to_string() }),
        }
    }
}

/// Finds a file on other people's servers. Blocks, for a minute where none answers.
pub(super) fn foreign(
    urls: &[String],
    sha256: Option<&str>,
    token: Option<&Secret>,
) -> Result<(Foreign, Vec<Elsewhere>), String> {
    let sha256 = sha256.map(digest).transpose()?;
    let token = token.map(|Secret(word)| Token::new(word)).transpose();
    let token = token.map_err(|error| error.to_string())?;
    let client = fetch::Client::new(&Trust::System, Limits::default());
    let found = fetch::Image::open(&client, urls, sha256, token).map_err(|error| error.chain())?;
    let foreign = Foreign { file_bytes: found.length(), sha256: found.sha256() };
    Ok((foreign, found.into_mirrors().into_iter().map(Elsewhere).collect()))
}

/// One of other people's servers.
#[derive(Debug)]
pub(super) struct Elsewhere(Mirror);

impl Source for Elsewhere {
    fn fetch(&self, range: Range<u64>) -> Result<Box<dyn Read + Send>, FetchError> {
        let body = self.0.read(range).map_err(|error| said(&error))?;
        Ok(Box::new(Body(body)))
    }
}

/// What such a server sends, with its errors as the writer knows them.
struct Body(fetch::Body);

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match fetch::FetchError::of(&error) {
            Some(cause) => io::Error::other(said(cause)),
            None => error,
        })
    }
}

fn said(error: &fetch::FetchError) -> FetchError {
    let reason = error.chain();
    match error.lasting() {
        Lasting::Passing => FetchError::Again { reason },
        Lasting::Replaced => FetchError::Replaced { reason },
        Lasting::Lasting => FetchError::Never { reason },
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    // An order's inventory is known by a digest of the same form.
    let digest = text.parse::<protocol::InventoryDigest>().map_err(|error| error.to_string())?;
    Ok(digest.0)
}
