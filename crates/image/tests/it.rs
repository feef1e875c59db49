//! Against files that the real tools made, whole, cut and damaged.

#[path = "it/samples.rs"]
mod samples;
#[path = "it/tar.rs"]
mod tar;
#[path = "it/unpack.rs"]
mod unpack;
