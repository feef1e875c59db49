//! Reads images from other people's servers: HTTP, HTTPS, and registries of the OCI distribution specification.
//!
//! ```text
//!  address ─► redirects, registry ─► where the bytes are, how many, which version ─► ranges of them
//! ```
//!
//! It blocks, holds no more than a few kilobytes, and never mixes two versions of a file: a read goes on only where the
//! server vouches, by a strong validator, that the file is what it was, or where a digest of the whole will tell.
//! Every failure has its own cause, and says by [`FetchError::lasting`] whether trying again is of use.
//!
//! ```no_run
//! use std::io::Read;
//!
//! let cryptography = rustls::crypto::ring::default_provider().into();
//! let client = fetch::Client::new(&fetch::Trust::System, fetch::Limits::default(), cryptography);
//! let urls = ["https://images.example/debian-13.raw.zst".to_owned()];
//! let image = fetch::Image::open(&client, &urls, None, None)?;
//! let mut body = image.mirrors()[0].read(0..image.length())?;
//! let mut bytes = Vec::new();
//! body.read_to_end(&mut bytes)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod address;
mod body;
mod client;
mod connection;
mod error;
mod exchange;
mod head;
mod image;
mod limits;
mod mirror;
mod oci;
mod page;
mod token;
mod trust;
mod url;
mod validator;

pub use self::{
    address::{Address, AddressError, Registry},
    client::Client,
    error::{FetchError, Lasting, Untrusted},
    image::Image,
    limits::Limits,
    mirror::{Body, Mirror},
    token::{Token, TokenError},
    trust::Trust,
    url::Url,
};
