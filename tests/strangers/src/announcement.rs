//! Any body posted to the agents' door.

use protocol::{Announce, Event, Instruction, Inventory, MacAddress};

/// What is read can be written and is then read alike; nothing panics.
pub fn check(bytes: &[u8]) {
    if let Ok(announce) = serde_json::from_slice::<Announce>(bytes) {
        let written = serde_json::to_vec(&announce).expect("what was read can be written");
        let again: Announce = serde_json::from_slice(&written).expect("what we write can be read");
        assert_eq!(again, announce);
    }
    let _events = serde_json::from_slice::<Vec<Event>>(bytes);
    let _instruction = serde_json::from_slice::<Instruction>(bytes);
}

/// An announcement with a boot report, events and instructions.
pub fn seeds() -> Vec<Vec<u8>> {
    let announce = Announce {
        system: None,
        agent_version: "0.1.0".to_owned(),
        kernel_release: Some("6.12.48-amd64".to_owned()),
        boot: protocol::BootReport {
            mac: Some(MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56])),
            clock_unix_seconds: Some(1_800_000_000),
            phases: vec![protocol::Phase { name: "devices".to_owned(), ended_milliseconds: 1234 }],
            from_medium: false,
        },
        inventory: Inventory::default(),
        complete: true,
    };
    let announce = serde_json::to_vec(&announce).expect("an announcement is JSON");
    vec![announce]
}
