//! What works on whole media, on media that fail in every way we know.
#![forbid(unsafe_code)]

mod bent;
mod cuts;
mod pass;
mod stuck;
mod trial;
mod verification;

#[expect(dead_code, reason = "installs need more of it")]
#[path = "../../../install/tests/it/medium.rs"]
mod medium;
