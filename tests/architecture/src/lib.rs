//! What must never depend on what: ARCHITECTURE.md, "Invariants".
//!
//! A rule that fails here is changed here and there in the same commit, or not at all.
#![forbid(unsafe_code)]

#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod sources;
