//! See `strangers::image_qcow2`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::image_qcow2::check(bytes));
