//! Against files that the real tools made, whole, cut and damaged.

#[cfg(feature = "convert")]
#[path = "it/bmap.rs"]
mod bmap;
#[cfg(feature = "convert")]
#[path = "it/convert.rs"]
mod convert;
#[path = "it/manifest.rs"]
mod manifest;
#[cfg(feature = "convert")]
#[path = "it/qcow2.rs"]
mod qcow2;
#[path = "it/samples.rs"]
mod samples;
#[path = "it/tar.rs"]
mod tar;
#[path = "it/unpack.rs"]
mod unpack;
