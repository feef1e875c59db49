//! See `strangers::announcement`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::announcement::check(bytes));
