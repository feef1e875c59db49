//! Writes archives that the kernel unpacks into its first file system, the same bytes each time.
//!
//! ```
//! use initramfs::{Archive, Kind};
//!
//! let mut archive = Archive::new(Vec::new());
//! archive.directory("etc")?;
//! archive.file("etc/hostname", Kind::Plain, b"dock\n")?;
//! let bytes = archive.finish()?;
//! assert!(bytes.starts_with(b"070701"));
//! # Ok::<(), std::io::Error>(())
//! ```
#![forbid(unsafe_code)]

mod archive;

pub use self::archive::{Archive, Kind, pack};
