//! A disk that something is to be written to: opened, checked against an order, held. Knows devices, never policy.
#![forbid(unsafe_code)]

mod medium;

pub use self::medium::{Medium, Zeroing};
