//! What a machine is made of.
#![forbid(unsafe_code)]
