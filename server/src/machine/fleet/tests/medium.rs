//! Machines that somebody started from a CD or a stick.

use super::*;

/// A machine boots from a medium through its first port, and reports completely.
fn starts_from_medium(story: &mut Story, session: u8, inventory: Inventory) -> Verb {
    let announce = Announce {
        system: Some("SunshineOS".to_owned()),
        agent_version: "0.1.0".to_owned(),
        kernel_release: None,
        boot: BootReport { mac: Some(mac(1)), from_medium: true, ..BootReport::default() },
        inventory,
        complete: true,
    };
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, session));
    let came = story.with(|fleet, now, effects| {
        let grant = fleet.admit(address, now)?;
        let picture = Picture::of(&announce, address, Bytes(1000));
        fleet.announce(Session([session; 32]), grant, &picture, now, effects)
    });
    came.unwrap().0.verb
}

#[test]
fn a_machine_with_data_that_started_from_a_medium_is_not_sent_back_to_it() {
    let mut story = Story::new();
    let data = ONE.replace("blank", "data");
    assert_eq!(starts_from_medium(&mut story, 1, inventory(&data)), Verb::Wait {});
    // Over the network it has its disk, and what it started from last time does not count.
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
    assert_eq!(story.boots(2, &data).verb, Verb::RebootAfter { seconds: 60 });
}

#[test]
fn the_stick_that_a_machine_started_from_is_none_of_its_disks() {
    let mut story = Story::new();
    let mut with_stick = inventory(&[ONE, " disk=stick:data"].concat());
    for disk in &mut with_stick.disks {
        disk.boot_medium = disk.serial.as_deref() == Some("S3Z1NB0K-stick");
    }
    starts_from_medium(&mut story, 1, with_stick);
    assert_eq!(story.decides_for(mac(1)), SUNSHINE, "its own disks are blank");
    story.approve("4q5hmp2").unwrap();
    // Without it no disk has gone, and the machine is still approved.
    assert_eq!(story.boots(2, ONE).verb, Verb::Wait {});
    assert!(story.fleet.get("4q5hmp2").unwrap().is_approved());
}

#[test]
fn a_machine_that_started_from_a_medium_is_not_restarted_for_the_other_system() {
    let mut story = Story::new();
    starts_from_medium(&mut story, 1, inventory(ONE));
    story.approve("4q5hmp2").unwrap();
    story.wipes(1, "4q5hmp2", ONE, &wipes::request(&["only"])).unwrap();
    let machine = story.fleet.get("4q5hmp2").unwrap();
    assert_eq!(machine.instruction, None, "it would start from the medium again");
    let waits = machine.open_order().and_then(|order| order.held_back.clone()).unwrap_or_default();
    assert!(waits.contains("from a medium"), "{waits}");
    // Over the network it gets the system that the order is for.
    assert_eq!(story.decides_for(mac(1)), Boot::System(System::Hercules));
}
