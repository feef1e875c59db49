//! See `strangers::http_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::http_path::check(bytes));
