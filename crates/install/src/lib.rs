//! Puts an image on a disk: every chunk checked before it is written, nothing bootable before all of it is there.
#![forbid(unsafe_code)]

mod source;

pub use self::source::{FetchError, Source};
