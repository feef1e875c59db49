//! What must never depend on what: ARCHITECTURE.md, "Invariants"; and what documents say of the sources.
//!
//! A rule that fails here is changed here and there in the same commit, or not at all.
#![forbid(unsafe_code)]

#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod sources;
