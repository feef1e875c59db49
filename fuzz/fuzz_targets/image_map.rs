//! See `strangers::image_map`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::image_map::check(bytes));
