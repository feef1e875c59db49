//! Devices that QEMU does not have, as state machines written from their specifications: raw commands in, raw answers
//! out. Shares nothing with what it tests, so that a bit which one side has wrong is seen.
#![forbid(unsafe_code)]
