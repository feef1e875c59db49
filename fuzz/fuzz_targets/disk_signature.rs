//! Any disk: its first bytes and its last bytes are whatever the fuzzer says, and 4 KiB sectors are tried too.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let sector = if first & 1 == 0 { 512 } else { 4096 };
    let size = u64::try_from(bytes.len()).expect("a slice's length fits");
    let claimed = if first & 2 == 0 { size } else { size * 2 };
    let _content = signature::probe(&mut Cursor::new(bytes), claimed, sector);
});
