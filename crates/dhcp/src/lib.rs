//! DHCP messages and options as values.
#![forbid(unsafe_code)]
