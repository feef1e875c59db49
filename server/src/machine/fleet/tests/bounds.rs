//! Stories of floods and of what is forgotten.

use super::*;

#[test]
fn strangers_are_bounded_and_known_machines_served() {
    let mut story = Story::with_room_for(3);
    let name = story.boots(1, ONE).machine;
    story.approve(&name).unwrap();
    for number in 20..23 {
        story.boots(number, &format!("made-up={number} usb={number}"));
    }
    let stranger = |story: &mut Story| story.says(30, "made-up=30", mac(30), true);
    assert_eq!(stranger(&mut story), Err(AnnounceError::Full));
    assert_eq!(story.boots(2, ONE).machine, name);
    assert_eq!(story.boots(40, "made-up=21 usb=21").machine, "m-52-54-00-01-02-15");
    // An hour later the one that was silent longest makes room.
    story.seconds += 3700;
    story.polls(22, 0).unwrap();
    assert!(stranger(&mut story).is_ok());
    assert!(story.fleet.get("m-52-54-00-01-02-14").is_none(), "the oldest went");
    assert_eq!(story.fleet.machines().count(), 4);
}

#[test]
fn strangers_with_data_or_a_strong_identity_never_make_room() {
    let mut story = Story::with_room_for(2);
    story.boots(1, ONE);
    story.boots(2, "made-up=1 disk=x:data");
    story.seconds += 100_000;
    assert_eq!(story.says(3, "made-up=3", mac(3), true), Err(AnnounceError::Full));
}

#[test]
fn their_inventories_are_bounded_too() {
    let mut story = Story::with_room_for(1000);
    story.fleet.bounds.stranger_bytes = 2500;
    story.boots(1, ONE);
    story.boots(2, TWO);
    assert_eq!(story.says(3, "mac=77", mac(77), true), Err(AnnounceError::Full));
}

#[test]
fn a_flood_from_one_address_is_refused_and_others_are_served() {
    let mut story = Story::with_room_for(100_000);
    story.fleet.bounds.stranger_bytes = u64::MAX;
    let mut granted = 0;
    for number in 0..10_000_u16 {
        let [high, low] = number.to_be_bytes();
        let mut made_up = inventory("");
        made_up.ports.push(Port {
            permanent_mac: Some(MacAddress([0x3c, 0xec, 0xef, 9, high, low])),
            ..Port::default()
        });
        let announce = Announce {
            system: None,
            agent_version: String::new(),
            kernel_release: None,
            boot: BootReport::default(),
            inventory: made_up,
            complete: true,
        };
        let mut session = [0; 32];
        session[..2].copy_from_slice(&number.to_be_bytes());
        let now = story.now();
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let result = story.fleet.admit(address, now).and_then(|grant| {
            let picture = Picture::of(&announce, address, Bytes(1));
            let effects = &mut Effects::default();
            story.fleet.announce(Session(session), grant, &picture, now, effects)
        });
        granted += usize::from(result.is_ok());
    }
    assert!(granted <= 20, "{granted}");
    story.boots(1, ONE);
}

#[test]
fn the_indexes_forget_with_the_machine() {
    let mut story = Story::new();
    for (session, text) in [(1, ONE), (2, TWO), (3, ONE)] {
        story.boots(session, text);
    }
    for name in ["4q5hmp2", "4q5hmp3"] {
        story.with(|fleet, now, effects| fleet.forget(name, "uid 0", now, effects)).unwrap();
    }
    let fleet = &story.fleet;
    assert!(fleet.items.is_empty() && fleet.sessions.is_empty() && fleet.machines.is_empty());
    assert_eq!((fleet.strangers, fleet.stranger_bytes), (0, 0));
}

#[test]
fn a_chosen_disk_must_be_there_and_is_forgotten_with_a_change() {
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    let disk = story.fleet.get(&name).unwrap().disks[0].identity.clone();
    let choose = |story: &mut Story, disk: &str| {
        story.with(|fleet, now, effects| fleet.choose_disk(&name, disk, "uid 0", now, effects))
    };
    assert!(matches!(choose(&mut story, "wwn:1"), Err(OrderError::NoDisk { .. })));
    choose(&mut story, &disk).unwrap();
    assert_eq!(story.fleet.get(&name).unwrap().chosen_disks, [disk]);
    let unnamed = "unnamed:disk:1";
    story.fleet.amend(&name, |machine| machine.disks[0].identity = unnamed.to_owned());
    assert!(matches!(choose(&mut story, unnamed), Err(OrderError::NoDisk { .. })));
    story.boots(2, &format!("{ONE} disk=c:blank"));
    assert!(story.fleet.get(&name).unwrap().chosen_disks.is_empty());
}

#[test]
fn the_story_keeps_no_more_of_a_version_than_a_version_needs() {
    let mut story = Story::new();
    let mut announce: Announce =
        serde_json::from_str(r#"{"agentVersion":"","inventory":{},"complete":true}"#).unwrap();
    announce.agent_version = "9".repeat(1 << 20);
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    story.with(|fleet, now, effects| {
        let picture = Picture::of(&announce, address, Bytes(1));
        let grant = fleet.admit(address, now).unwrap();
        fleet.announce(Session([1; 32]), grant, &picture, now, effects).map(|_| ()).unwrap();
    });
    let said = story.entries.iter().find_map(|entry| match &entry.what {
        What::Announced { agent_version, .. } => Some(agent_version.len()),
        _ => None,
    });
    assert_eq!(said, Some(64));
}
