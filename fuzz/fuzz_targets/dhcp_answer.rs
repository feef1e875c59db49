//! See `strangers::dhcp_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::dhcp_answer::check(bytes));
