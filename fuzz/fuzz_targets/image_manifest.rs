//! See `strangers::image_manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::image_manifest::check(bytes));
