//! See `strangers::command_line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| strangers::command_line::check(bytes));
