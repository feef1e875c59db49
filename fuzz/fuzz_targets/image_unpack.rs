//! See `strangers::image_unpack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::image_unpack::check(bytes));
