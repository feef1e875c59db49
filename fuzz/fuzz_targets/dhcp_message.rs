//! See `strangers::dhcp_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::dhcp_message::check(bytes));
