//! See `strangers::ethernet_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::ethernet_frame::check(bytes));
