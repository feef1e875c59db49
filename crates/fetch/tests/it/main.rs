//! Fetching from a real web server on loopback that fails in every way.
#![forbid(unsafe_code)]

mod faults;
mod registry;
mod secrets;
mod server;
mod sound;
mod tls;

use std::{io::Read, time::Duration};

use fetch::{Client, FetchError, Image, Limits, Mirror, Trust};
use rustls::crypto::ring;

/// Limits that even a machine with much else to do keeps.
pub(crate) fn limits() -> Limits {
    let long = Duration::from_secs(20);
    let patience = Duration::ZERO;
    Limits { connect: long, answer: long, window: long, least_bytes: 1000, patience }
}

/// Limits that a test can wait for.
pub(crate) fn impatient() -> Client {
    let short = Duration::from_secs(1);
    client_of(&Trust::Only(Vec::new()), Limits { answer: short, window: short, ..limits() })
}

pub(crate) fn client() -> Client {
    client_of(&Trust::Only(Vec::new()), limits())
}

pub(crate) fn client_of(trust: &Trust, limits: Limits) -> Client {
    Client::new(trust, limits, ring::default_provider().into())
}

pub(crate) fn open(url: &str) -> Result<Image, FetchError> {
    Image::open(&client(), &[url.to_owned()], None, None)
}

/// Opens a URL that is soon given up.
pub(crate) fn open_soon(url: &str) -> Result<Image, FetchError> {
    Image::open(&impatient(), &[url.to_owned()], None, None)
}

/// Reads a range of the file at one place.
pub(crate) fn read(mirror: &Mirror, start: u64, end: u64) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    let mut body = mirror.read(start..end)?;
    match body.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => match error.downcast::<FetchError>() {
            Ok(error) => Err(error),
            Err(error) => panic!("an error without a cause: {error}"),
        },
    }
}

/// Opens a URL and reads all of it.
pub(crate) fn whole(url: &str) -> Result<Vec<u8>, FetchError> {
    let image = open(url)?;
    read(&image.mirrors()[0], 0, image.length())
}

/// Bytes that are no page and no two of which are alike nearby.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * at + at / 251) % 256).unwrap_or(0)).collect()
}
