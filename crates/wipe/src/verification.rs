//! Canaries before, reading back after.
