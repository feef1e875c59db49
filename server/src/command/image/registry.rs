//! Fetches an image from a registry, for the store: by its digest, so that a cut is mended at any mirror of it.

use std::{
    io::{self, Read},
    thread,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use fetch::{Client, FetchError, Image, Lasting, Limits, Trust};
use tokio::sync::mpsc;

use super::{Given, PIECE_BYTES, gone};

/// How often a download that was cut is taken up again, without a byte of progress in between.
const ATTEMPTS: u32 = 5;
/// How long is waited before that.
const PAUSE: Duration = Duration::from_secs(2);

/// Finds an image in a registry.
pub(super) fn open(source: &str, sha256: Option<&str>) -> anyhow::Result<Image> {
    let cryptography = rustls::crypto::ring::default_provider().into();
    let client = Client::new(&Trust::System, Limits::default(), cryptography);
    let image = Image::open(&client, &[source.to_owned()], None, None)?;
    let found = image.sha256_digits();
    if let (Some(expected), Some(found)) = (sha256, found)
        && !found.eq_ignore_ascii_case(expected.trim())
    {
        let error = FetchError::OtherDigest {
            image: source.to_owned(),
            found,
            expected: expected.trim().to_owned(),
        };
        return Err(error).context("nothing was added");
    }
    Ok(image)
}

/// Takes away what names the version: a digest, and the tag before it.
pub(super) fn without_digest(source: &str) -> &str {
    let Some((name, _)) = source.split_once("@sha256:") else { return source };
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// Reads all of it and gives it away piece by piece.
pub(super) fn give(image: &Image, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let outcome = give_all(image, sender, PAUSE);
    if let Err(error) = &outcome {
        // The conversation must not end as if that were all.
        drop(sender.blocking_send(Err(error.kind().into())));
    }
    outcome
}

fn give_all(
    image: &Image,
    sender: &mpsc::Sender<io::Result<Bytes>>,
    pause: Duration,
) -> io::Result<()> {
    let mut given = Given::new(Some(image.length()));
    let mut attempts = 0;
    while given.bytes < image.length() {
        let before = given.bytes;
        let Err(error) = give_rest(image, sender, &mut given) else { continue };
        attempts = if given.bytes > before { 0 } else { attempts + 1 };
        let passes = FetchError::of(&error).is_some_and(|e| e.lasting() == Lasting::Passing);
        if !passes || attempts >= ATTEMPTS {
            return Err(error);
        }
        thread::park_timeout(pause);
    }
    Ok(())
}

fn give_rest(
    image: &Image,
    sender: &mpsc::Sender<io::Result<Bytes>>,
    given: &mut Given,
) -> io::Result<()> {
    let Some(mirror) = image.mirrors().first() else { return Ok(()) };
    let mut body = mirror.read(given.bytes..image.length())?;
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let count = body.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        piece.truncate(count);
        sender.blocking_send(Ok(piece.into())).map_err(|_| gone())?;
        given.more(count);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
    };

    use sha2::{Digest, Sha256};

    use super::*;

    /// Answers requests one after the other, each on its own connection.
    fn serve(answer: impl Fn(&str, usize) -> Vec<u8> + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream: TcpStream = stream.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
                // Whoever has heard enough leaves.
                drop(stream.write_all(&answer(&request, number)));
            }
        });
        address
    }

    fn digits(bytes: &[u8]) -> String {
        format!("{:x}", Sha256::digest(bytes))
    }

    #[test]
    fn an_artefact_comes_whole_over_a_line_that_is_cut() {
        let blob: Vec<u8> =
            (0..3_000_000_u32).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect();
        let layer = format!(r#"{{"digest":"sha256:{}","size":{}}}"#, digits(&blob), blob.len());
        let manifest = format!(r#"{{"schemaVersion":2,"layers":[{layer}]}}"#);
        let digest = digits(manifest.as_bytes());
        let (there, expected) = (blob.clone(), digits(&blob));
        let address = serve(move |request, number| {
            if request.contains("/manifests/") {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", manifest.len());
                return format!("{head}{manifest}").into_bytes();
            }
            let range = request.split("bytes=").nth(1).unwrap().lines().next().unwrap();
            let (first, last) = range.split_once('-').unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let head = format!(
                "HTTP/1.1 206 Partial\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
                last + 1 - first,
                there.len()
            );
            // Of each answer but a glance a megabyte arrives.
            let end = if number < 2 { last + 1 } else { (first + 1_000_000).min(last + 1) };
            [head.as_bytes(), &there[first..end]].concat()
        });
        let url = format!("oci+http://{address}/os/debian:13@sha256:{digest}");
        let image = open(&url, None).unwrap();
        assert_eq!(image.sha256_digits(), Some(expected));
        let (sender, mut pieces) = mpsc::channel(1);
        let giving = thread::spawn(move || give_all(&image, &sender, Duration::from_millis(1)));
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.blocking_recv() {
            bytes.extend_from_slice(&piece.unwrap());
        }
        giving.join().unwrap().unwrap();
        assert!(bytes == blob);
        let other = open(&url, Some(&"a5".repeat(32))).unwrap_err();
        assert!(format!("{other:#}").contains("was asked for"), "{other:#}");
        assert_eq!(without_digest(&url).rsplit('/').next(), Some("debian"));
        assert_eq!(without_digest("http://a:80/b.raw"), "http://a:80/b.raw");
    }

    #[test]
    fn what_is_not_pinned_is_not_fetched() {
        let error = open("oci://registry.example/os/debian:13", None).unwrap_err();
        assert!(error.to_string().contains("by its digest"), "{error}");
    }
}
