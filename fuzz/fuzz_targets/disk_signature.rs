//! See `strangers::disk_signature`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::disk_signature::check(bytes));
