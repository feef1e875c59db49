//! An image at one or several places.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    address::{Address, digits},
    client::{Bearer, Client},
    error::{FetchError, Lasting},
    mirror::{Expected, Mirror},
    token::Token,
};

/// The pause before all mirrors are asked once more; every further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// An image at one or several places. One of them has answered.
#[derive(Debug)]
pub struct Image {
    mirrors: Vec<Mirror>,
    refused: Vec<(String, FetchError)>,
    length: u64,
    sha256: Option<[u8; 32]>,
}

impl Image {
    /// Finds an image: asks the addresses in their order until one answers. Blocks, for up to
    /// [`Limits::patience`](crate::Limits::patience) and one more attempt where it may work in a moment.
    ///
    /// With a digest, mirrors may change in the middle, and whoever reads compares the whole with
    /// [`Image::sha256`]. The token goes to the first address's server only, and over TLS only.
    pub fn open(
        client: &Client,
        urls: &[String],
        sha256: Option<[u8; 32]>,
        token: Option<Token>,
    ) -> Result<Self, FetchError> {
        let addresses = urls.iter().map(|url| address(url)).collect::<Result<Vec<_>, _>>()?;
        let first = addresses.first().ok_or(FetchError::Nowhere)?;
        let bearer = token.map(|token| Bearer::new(token, first.base())).transpose()?;
        let expected = Expected { length: None, sha256 };
        let mut waiting: Vec<Mirror> = addresses
            .into_iter()
            .map(|address| Mirror::new(client, address, bearer.clone(), expected))
            .collect();
        let mut refused: Vec<(String, FetchError)> = Vec::new();
        let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let mut passing = None;
            let mut at = 0;
            while at < waiting.len() {
                match waiting[at].find() {
                    Ok(found) => {
                        // Who has answered is the first from now on.
                        let mirror = waiting.remove(at);
                        waiting.insert(0, mirror);
                        let sha256 = sha256.or(found.sha256);
                        let expected = Expected { length: Some(found.length), sha256 };
                        for mirror in &mut waiting {
                            mirror.expect(expected);
                        }
                        return Ok(Self {
                            mirrors: waiting,
                            refused,
                            length: found.length,
                            sha256,
                        });
                    }
                    Err(error) if error.lasting() == Lasting::Passing => {
                        passing = passing.or(Some(error));
                        at += 1;
                    }
                    Err(error) => {
                        let mirror = waiting.remove(at);
                        refused.push((mirror.address().to_string(), error));
                    }
                }
            }
            let Some(error) = passing else {
                // The first one is what was meant.
                return Err(refused
                    .into_iter()
                    .next()
                    .map_or(FetchError::Nowhere, |(_, error)| error));
            };
            if began.elapsed() + pause > client.limits().patience {
                return Err(error);
            }
            thread::park_timeout(pause);
            pause *= 2;
        }
    }

    /// Returns where it is to be had, who answered first of all. The others are asked when they are read from.
    pub fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// Gives the places away, in the same order.
    pub fn into_mirrors(self) -> Vec<Mirror> {
        self.mirrors
    }

    /// Returns the addresses that are of no use, and why.
    pub fn refused(&self) -> &[(String, FetchError)] {
        &self.refused
    }

    /// Returns how many bytes it has, as it is fetched.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns what the fetched bytes must be compared with: what was ordered, else what a registry's manifest says.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.sha256
    }

    /// The same as text: 64 digits.
    pub fn sha256_digits(&self) -> Option<String> {
        self.sha256.map(|sha256| digits(&sha256))
    }
}

fn address(text: &str) -> Result<Address, FetchError> {
    let address = text.parse();
    address.map_err(|reason| FetchError::Address { shown: Address::shown(text), reason })
}
