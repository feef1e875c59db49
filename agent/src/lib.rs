//! What both PID 1s share.
#![forbid(unsafe_code)]
