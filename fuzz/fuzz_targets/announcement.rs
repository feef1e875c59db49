//! Any body posted to the agents' door.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{Announce, CommandLine, Event, Instruction};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(announce) = serde_json::from_slice::<Announce>(bytes) {
        let written = serde_json::to_vec(&announce).expect("what was read can be written");
        let again: Announce = serde_json::from_slice(&written).expect("what was written can be read");
        assert_eq!(again, announce);
    }
    let _events = serde_json::from_slice::<Vec<Event>>(bytes);
    let _instruction = serde_json::from_slice::<Instruction>(bytes);
    let _words = std::str::from_utf8(bytes).map(CommandLine::parse);
});
