//! See `strangers::tftp_packet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::tftp_packet::check(bytes));
