//! See `strangers::smbios_table`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::smbios_table::check(bytes));
