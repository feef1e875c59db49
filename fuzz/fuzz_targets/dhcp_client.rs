//! See `strangers::dhcp_client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::dhcp_client::check(bytes));
