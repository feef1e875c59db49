//! Writes a pattern over a whole medium, around what cannot be written.
