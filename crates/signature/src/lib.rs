//! What is on a disk.
#![forbid(unsafe_code)]
