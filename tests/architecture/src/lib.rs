//! What must never depend on what.
#![forbid(unsafe_code)]
