//! The server: everything is bound and checked first, then started together, then stopped together.

pub mod state;
mod storage;
