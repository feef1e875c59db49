//! A table of contents.
#![forbid(unsafe_code)]
fn main() {}
