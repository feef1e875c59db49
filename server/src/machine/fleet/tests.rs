//! Stories of machines that come, come again, change and collide.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use protocol::{
    Announce, BootReport, Bytes, Inventory, MacAddress, Verb, Welcome,
    inventory::{Content, Disk, Port, Transport},
};

use super::*;
use crate::{
    decision::{Boot, Lists, System, Traveller},
    journal::Silence,
    machine::Approval,
};

mod awaited;
mod bounds;
mod installs;
mod medium;
mod orders;
mod succeeded;
mod unheard;
mod wipes;

/// The first machine: sound in everything.
const ONE: &str =
    "uuid=4c4c4544-0051-3510-8048-b4c04f4d5032 serial=4Q5HMP2 mac=1 mac=2 disk=a:blank";
/// Another.
const TWO: &str = "uuid=4c4c4544-0051-3510-8048-b4c04f4d5033 serial=4Q5HMP3 mac=3 disk=b:blank";
/// A board whose maker wrote nothing.
const GARBAGE: &str = "uuid=03000200-0400-0500-0006-000700080009 serial=Default_string";

/// Sound addresses for numbers, so that stories stay short.
fn mac(number: u8) -> MacAddress {
    MacAddress([0x3c, 0xec, 0xef, 0x01, 0x02, number])
}

/// Reads `uuid=… serial=… board=… awaits=… mac=1 made-up=1 usb=1 disk=name:blank|data|unread`, and `lun=…` as a disk.
fn inventory(text: &str) -> Inventory {
    let mut inventory = Inventory::default();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap();
        let number = || value.parse().unwrap();
        let mut port = |address: MacAddress, removable| {
            inventory.ports.push(Port {
                permanent_mac: Some(address),
                removable,
                ..Port::default()
            });
        };
        match key {
            "uuid" => inventory.system.uuid = Some(value.to_owned()),
            "serial" => inventory.system.serial = Some(value.replace('_', " ")),
            "board" => inventory.board.serial = Some(value.to_owned()),
            "awaits" => inventory.awaited.push(value.to_owned()),
            "mac" => port(mac(number()), false),
            "made-up" => port(MacAddress([0x52, 0x54, 0, 1, 2, number()]), false),
            "usb" => port(mac(number()), true),
            "disk" | "lun" => {
                let (name, state) = value.split_once(':').unwrap();
                inventory.disks.push(Disk {
                    serial: Some(format!("S3Z1NB0K-{name}")),
                    model: Some("PM883".to_owned()),
                    transport: Some(if key == "lun" { Transport::Network } else { Transport::Ata }),
                    size_bytes: Bytes(480 << 30),
                    content: (state != "unread")
                        .then(|| Content { blank: state == "blank", ..Content::default() }),
                    ..Disk::default()
                });
            }
            other => panic!("{other}"),
        }
    }
    inventory
}

/// A fleet and a clock.
struct Story {
    fleet: Fleet,
    seconds: u64,
    /// So long of that the server's host slept.
    asleep: u64,
    lists: Lists,
    entries: Vec<Entry>,
}

impl Story {
    fn new() -> Self {
        Self::with_room_for(100)
    }

    fn with_room_for(strangers: usize) -> Self {
        let bounds = Bounds { strangers, stranger_bytes: 1 << 20 };
        let fleet = Fleet::new(bounds, [], []);
        Self { fleet, seconds: 1_000_000, asleep: 0, lists: Lists::default(), entries: vec![] }
    }

    fn now(&self) -> Now {
        Now {
            unix_milliseconds: i64::try_from(self.seconds * 1000).unwrap(),
            uptime: Duration::from_secs(self.seconds - self.asleep),
        }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Fleet, Now, &mut Effects) -> T) -> T {
        self.seconds += 5;
        let mut effects = Effects::default();
        let now = self.now();
        let result = act(&mut self.fleet, now, &mut effects);
        self.entries.extend(effects.entries);
        result
    }

    fn says(
        &mut self,
        session: u8,
        text: &str,
        through: MacAddress,
        complete: bool,
    ) -> Result<Welcome, AnnounceError> {
        self.says_as(session, text, through, complete, None)
    }

    fn says_as(
        &mut self,
        session: u8,
        text: &str,
        through: MacAddress,
        complete: bool,
        system: Option<&str>,
    ) -> Result<Welcome, AnnounceError> {
        let announce = Announce {
            system: system.map(str::to_owned),
            agent_version: "0.1.0".to_owned(),
            kernel_release: None,
            boot: BootReport { mac: Some(through), ..BootReport::default() },
            inventory: inventory(text),
            complete,
        };
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, session));
        self.with(|fleet, now, effects| {
            let session = Session([session; 32]);
            let grant = fleet.admit(address, now)?;
            let picture = Picture::of(&announce, address, Bytes(1000));
            fleet.announce(session, grant, &picture, now, effects)
        })
        .map(|(welcome, _)| welcome)
    }

    /// A machine boots through its first port and reports completely.
    fn boots(&mut self, session: u8, text: &str) -> Welcome {
        let through = inventory(text).ports.first().and_then(|port| port.permanent_mac);
        self.says(session, text, through.unwrap_or(mac(200)), true).unwrap()
    }

    fn polls(&mut self, session: u8, after: u64) -> Result<Option<Verb>, UnknownSession> {
        self.with(|fleet, now, effects| fleet.poll(Session([session; 32]), after, now, effects))
            .map(|instruction| instruction.map(|instruction| instruction.verb))
    }

    fn approve(&mut self, name: &str) -> Result<(), OrderError> {
        self.with(|fleet, now, effects| fleet.approve(name, "uid 0", now, effects))
    }

    fn order(&mut self, name: &str, order: Order) -> Result<(), OrderError> {
        self.with(|fleet, now, effects| fleet.order(name, order, "uid 0", now, effects))
    }

    fn decides(&mut self, traveller: &Traveller) -> Boot {
        let lists = self.lists.clone();
        self.with(|fleet, now, effects| fleet.decide(&lists, traveller, now, effects))
    }

    fn decides_for(&mut self, through: MacAddress) -> Boot {
        self.decides(&Traveller { mac: Some(through), ..Traveller::default() })
    }

    fn approval(&self, name: &str) -> &Approval {
        &self.fleet.get(name).unwrap().approval
    }

    fn was_held(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.what, What::Held { .. })).count()
    }
}

const SUNSHINE: Boot = Boot::System(System::Sunshine);

#[test]
fn a_blank_stranger_waits_and_nobody_approved_it() {
    let mut story = Story::new();
    let welcome = story.boots(1, ONE);
    assert_eq!((welcome.machine.as_str(), welcome.verb), ("4q5hmp2", Verb::Wait {}));
    assert_eq!(story.approval("4q5hmp2"), &Approval::Pending);
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
}

#[test]
fn a_stranger_with_data_restarts_once_and_then_has_its_disk() {
    let mut story = Story::new();
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    let welcome = story.boots(1, &ONE.replace("blank", "data"));
    assert_eq!(welcome.verb, Verb::RebootAfter { seconds: 60 });
    for port in [1, 2] {
        assert_eq!(story.decides_for(mac(port)), Boot::OwnDisk, "port {port}");
    }
}

#[test]
fn nothing_is_decided_on_disks_before_the_report_is_complete() {
    let mut story = Story::new();
    let data = ONE.replace("blank", "data");
    let welcome = story.says(1, &data, mac(1), false).unwrap();
    assert_eq!(welcome.verb, Verb::Wait {});
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    assert_eq!(
        story.approve("4q5hmp2"),
        Err(OrderError::Incomplete { name: "4q5hmp2".to_owned() })
    );
    let welcome = story.says(1, &data, mac(1), true).unwrap();
    assert_eq!(welcome.verb, Verb::RebootAfter { seconds: 60 });
    // Known, and in a later boot not yet complete.
    let welcome =
        story.says(2, "uuid=4c4c4544-0051-3510-8048-b4c04f4d5032 mac=1 mac=2", mac(1), false);
    assert_eq!(welcome.unwrap().verb, Verb::Wait {});
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
}

#[test]
fn a_disk_that_cannot_be_read_counts_as_data_and_none_as_nothing() {
    let mut story = Story::new();
    let unread = ONE.replace("blank", "unread");
    assert_eq!(story.boots(1, &unread).verb, Verb::RebootAfter { seconds: 60 });
    assert_eq!(story.boots(3, &TWO.replace("disk=b:blank", "")).verb, Verb::Wait {});
    assert_eq!(story.decides_for(mac(3)), SUNSHINE);
}

#[test]
fn a_second_port_a_disk_more_and_a_card_more_are_the_same_machine() {
    let mut story = Story::new();
    story.boots(1, ONE);
    let through_second = story.says(2, ONE, mac(2), true).unwrap();
    let disk_more = story.boots(3, &format!("{ONE} disk=c:blank"));
    let card_more = story.boots(4, &format!("{ONE} disk=c:blank mac=7"));
    for welcome in [through_second, disk_more, card_more] {
        assert_eq!(welcome.machine, "4q5hmp2");
    }
    let machine = story.fleet.get("4q5hmp2").unwrap();
    assert_eq!(machine.first_mac, Some(mac(1)), "the port first booted through stays");
    assert_eq!((machine.boots, story.fleet.machines().count()), (4, 1));
}

#[test]
fn two_machines_with_the_same_garbage_uuid_are_two() {
    let mut story = Story::new();
    let one = story.boots(1, &format!("{GARBAGE} mac=1 disk=a:blank"));
    let two = story.boots(2, &format!("{GARBAGE} mac=2 disk=b:blank"));
    assert_eq!(one.machine, "m-3c-ec-ef-01-02-01");
    assert_eq!(two.machine, "m-3c-ec-ef-01-02-02");
    let again = story.boots(3, &format!("{GARBAGE} mac=1 disk=a:blank"));
    assert_eq!(again.machine, one.machine);
}

#[test]
fn two_machines_booted_in_turn_through_one_usb_card_are_two() {
    let mut story = Story::new();
    let (first, second) =
        (format!("{GARBAGE} usb=9 disk=a:blank"), format!("{GARBAGE} usb=9 disk=b:blank"));
    let one = story.boots(1, &first);
    let two = story.boots(2, &second);
    assert_ne!(one.machine, two.machine);
    assert_eq!(two.machine, "m-3c-ec-ef-01-02-09-2");
    assert_eq!(story.boots(3, &first).machine, one.machine);
    assert_eq!(story.boots(4, &second).machine, two.machine);
    assert_eq!(story.decides_for(mac(9)), SUNSHINE, "the card says nothing");
}

#[test]
fn a_machine_behind_a_usb_card_still_loses_one_reboot_only() {
    let mut story = Story::new();
    let text = format!("{GARBAGE} usb=9 disk=a:data");
    assert_eq!(story.decides_for(mac(9)), SUNSHINE);
    assert_eq!(story.boots(1, &text).verb, Verb::RebootAfter { seconds: 60 });
    story.seconds += 120;
    for _ in 0..4 {
        assert_eq!(story.decides_for(mac(9)), Boot::OwnDisk, "DISCOVER, REQUEST, script");
    }
    story.seconds += 120;
    assert_eq!(story.decides_for(mac(9)), SUNSHINE, "the card may hang on another machine");
}

#[test]
fn identical_strangers_with_the_same_serial_number_get_names_of_their_own() {
    let mut story = Story::new();
    let one = story.boots(1, "serial=ACME-7 mac=1 disk=a:blank");
    let two = story.boots(2, "serial=ACME-7 mac=2 disk=b:blank");
    assert_eq!((one.machine.as_str(), two.machine.as_str()), ("acme-7", "acme-7-2"));
    assert_eq!(
        two.notice.as_deref(),
        Some("it shares its system serial number with acme-7, but is another machine")
    );
    assert_eq!(story.boots(3, "serial=ACME-7 mac=2 disk=b:blank").machine, "acme-7-2");
}

#[test]
fn an_approval_survives_a_reboot_and_a_blank_disk_that_was_filled() {
    let mut story = Story::new();
    story.boots(1, ONE);
    story.approve("4q5hmp2").unwrap();
    story.boots(2, ONE);
    story.boots(3, &ONE.replace("blank", "data"));
    assert!(story.fleet.get("4q5hmp2").unwrap().is_approved());
    assert_eq!(story.was_held(), 0);
}

#[test]
fn another_board_uuid_or_disk_set_takes_approval_and_orders_back() {
    for changed in [
        ONE.replace("5032", "5099"),
        ONE.replace("4Q5HMP2", "Default_string"),
        format!("{ONE} disk=c:blank"),
        ONE.replace("disk=a:blank", "disk=c:blank"),
        ONE.replace("disk=a:blank", ""),
        format!("{ONE} board=BRD77123"),
    ] {
        let mut story = Story::new();
        story.boots(1, ONE);
        story.approve("4q5hmp2").unwrap();
        story.order("4q5hmp2", Order::Wait).unwrap();
        let welcome = story.boots(2, &changed);
        assert_eq!(welcome.machine, "4q5hmp2", "{changed}");
        assert!(welcome.notice.is_some(), "{changed}");
        let machine = story.fleet.get("4q5hmp2").unwrap();
        assert_eq!(machine.approval, Approval::Pending, "{changed}");
        assert_eq!(machine.told_to_wait, None, "{changed}");
        assert_eq!(story.was_held(), 1, "{changed}");
    }
}

#[test]
fn a_machine_of_weak_identity_keeps_its_approval_only_unchanged() {
    let mut story = Story::new();
    let weak = "made-up=1 disk=a:blank";
    let name = story.boots(1, weak).machine;
    story.approve(&name).unwrap();
    assert_eq!(story.boots(2, weak).machine, name);
    assert!(story.fleet.get(&name).unwrap().is_approved());
    let other = story.boots(3, "made-up=1 disk=b:blank").machine;
    assert_ne!(other, name, "a made-up address makes no machine");
    assert_eq!(story.approval(&other), &Approval::Pending);
}

#[test]
fn a_rule_approves_only_what_is_strong_and_blank() {
    let mut story = Story::new();
    let mut outcome = |session, text: &str| {
        let name = story.boots(session, text).machine;
        story.with(|fleet, now, effects| fleet.approve_by_rule(&name, "rule", now, effects)).is_ok()
    };
    assert!(outcome(1, ONE));
    assert!(!outcome(2, &TWO.replace("blank", "data")));
    assert!(!outcome(3, "made-up=1 made-up=2 usb=3 disk=w:blank"), "weak");
    assert!(!outcome(4, "mac=8 disk=z:unread"));
    assert!(!outcome(5, "serial=4Q5HMP2 mac=11 disk=y:blank"), "shares a serial number");
}

#[test]
fn two_live_sessions_of_one_machine_are_held_and_a_reboot_is_not() {
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    story.approve(&name).unwrap();
    story.polls(1, 0).unwrap();
    let welcome = story.boots(2, ONE);
    assert!(story.fleet.get(&name).unwrap().is_approved(), "a reboot");
    story.polls(2, welcome.sequence).unwrap();
    story.polls(1, 0).unwrap();
    assert!(matches!(story.approval(&name), Approval::Held { .. }), "the old one speaks again");
    assert_eq!(story.was_held(), 1);
    // Said once, however often both poll; and neither is told anything but to wait.
    assert_eq!(story.polls(1, 0), Ok(None));
    assert_eq!(story.polls(2, welcome.sequence), Ok(Some(Verb::Wait {})));
    assert_eq!(story.was_held(), 1);
    let again = story.boots(1, ONE);
    assert_eq!(again.verb, Verb::Wait {});
    assert!(again.notice.unwrap().contains("two agents"));
    // A person decides.
    story.approve(&name).unwrap();
    assert!(story.fleet.get(&name).unwrap().is_approved());
}

#[test]
fn a_held_machine_waits_even_with_data() {
    let mut story = Story::new();
    let data = ONE.replace("blank", "data");
    let name = story.boots(1, &data).machine;
    story.boots(2, &data);
    story.polls(1, 0).unwrap();
    assert_eq!(story.polls(2, 0), Ok(Some(Verb::Wait {})), "the countdown is stopped");
    assert_eq!(story.boots(3, &data).verb, Verb::Wait {});
    assert!(matches!(story.approval(&name), Approval::Held { .. }));
}

#[test]
fn two_known_machines_are_never_merged_silently() {
    let mut story = Story::new();
    let one = story.boots(1, "mac=1 disk=a:blank serial=AAAA7").machine;
    let two = story.boots(2, "mac=2 disk=b:blank serial=BBBB7").machine;
    for name in [&one, &two] {
        story.approve(name).unwrap();
    }
    let both = story.boots(3, "mac=1 mac=2 disk=a:blank disk=b:blank");
    assert!(both.machine != one && both.machine != two);
    assert!(both.notice.unwrap().contains("aaaa7, bbbb7"));
    assert!(matches!(story.approval(&both.machine), Approval::Held { .. }));
    assert_eq!(story.was_held(), 1);
    for name in [&one, &two] {
        assert!(story.fleet.get(name).unwrap().is_approved(), "{name} itself did not change");
    }
}

#[test]
fn one_session_cannot_be_two_machines() {
    let mut story = Story::new();
    let (one, two) = (story.boots(1, ONE).machine, story.boots(2, TWO).machine);
    assert_eq!(story.boots(1, TWO).machine, one);
    for name in [&one, &two] {
        assert!(matches!(story.approval(name), Approval::Held { .. }), "{name}");
    }
    let mut story = Story::new();
    let one = story.boots(1, ONE).machine;
    story.boots(1, TWO);
    assert!(matches!(story.approval(&one), Approval::Held { .. }));
    assert_eq!(story.fleet.machines().count(), 1);
}

#[test]
fn a_first_glance_that_is_not_enough_becomes_the_known_machine_later() {
    let mut story = Story::new();
    let text = format!("{GARBAGE} usb=9 disk=a:blank");
    let name = story.boots(1, &text).machine;
    let glance = story.says(2, &format!("{GARBAGE} usb=9"), mac(9), false).unwrap();
    assert_ne!(glance.machine, name);
    assert_eq!(story.says(2, &text, mac(9), true).unwrap().machine, name);
    assert_eq!(story.fleet.machines().count(), 1);
}

#[test]
fn a_port_and_a_uuid_of_different_machines_make_a_stranger() {
    let mut story = Story::new();
    story.boots(1, &ONE.replace("blank", "data"));
    story.boots(2, &TWO.replace("blank", "data"));
    let uuid = |text: &str| inventory(text).system.uuid;
    let through =
        |port, text: &str| Traveller { mac: Some(mac(port)), uuid: uuid(text), serial: None };
    assert_eq!(story.decides(&through(1, ONE)), Boot::OwnDisk);
    assert_eq!(story.decides(&through(1, GARBAGE)), Boot::OwnDisk);
    assert_eq!(story.decides(&through(99, ONE)), SUNSHINE, "a card that it has not shown");
    assert_eq!(story.was_held(), 0);
    for _ in 0..5 {
        assert_eq!(story.decides(&through(1, TWO)), SUNSHINE);
    }
    assert_eq!(story.was_held(), 1, "said once");
    let swapped = Traveller {
        uuid: Some("44454c4c-5100-1035-8048-b4c04f4d5032".to_owned()),
        ..Traveller::default()
    };
    assert_eq!(story.decides(&swapped), Boot::OwnDisk, "in the other byte order");
    let by_serial = Traveller { serial: Some("4q5hmp3".to_owned()), ..Traveller::default() };
    assert_eq!(story.decides(&by_serial), Boot::OwnDisk);
}

#[test]
fn a_uuid_that_two_machines_show_finds_neither() {
    let mut story = Story::new();
    let text = "uuid=4c4c4544-0051-3510-8048-b4c04f4d5032";
    story.boots(1, &format!("{text} mac=1 disk=a:data"));
    story.boots(2, &format!("{text} mac=2 disk=b:data"));
    assert_eq!(story.fleet.machines().count(), 2);
    let by_uuid = Traveller { uuid: inventory(text).system.uuid, ..Traveller::default() };
    assert_eq!(story.decides(&by_uuid), SUNSHINE);
    assert_eq!(story.decides(&Traveller { mac: Some(mac(2)), ..by_uuid }), Boot::OwnDisk);
}

#[test]
fn a_card_that_was_moved_belongs_to_the_machine_seen_last() {
    let mut story = Story::new();
    story.boots(1, &format!("{ONE} mac=7"));
    story.boots(2, &format!("{} mac=7", TWO.replace("blank", "data")));
    assert_eq!(story.decides_for(mac(7)), Boot::OwnDisk);
    assert_eq!(story.fleet.machines().count(), 2);
}

#[test]
fn ignored_machines_are_silent_through_every_port() {
    let mut story = Story::new();
    story.boots(1, ONE);
    story.lists.ignored = vec![mac(1).to_string().parse().unwrap()];
    assert_eq!(story.decides_for(mac(2)), Boot::Silence(Silence::Ignored));
    let listed = Some(vec!["4q5hmp2".parse().unwrap()]);
    story.lists = Lists { listed, ..Lists::default() };
    assert_eq!(story.decides_for(mac(2)), SUNSHINE);
    assert_eq!(story.decides_for(mac(50)), Boot::Silence(Silence::NotListed));
}

#[test]
fn what_another_controller_owns_is_silent_and_a_waiting_agent_restarts() {
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    story.fleet.amend(&name, |machine| machine.claimed_by = Some("capi".to_owned()));
    assert!(matches!(story.decides_for(mac(1)), Boot::Silence(Silence::ClaimedByOther { .. })));
    assert_eq!(story.boots(1, ONE).verb, Verb::Reboot {});
}

#[test]
fn a_flood_of_sessions_does_not_hide_the_one_that_runs() {
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    story.approve(&name).unwrap();
    for session in 2..=11 {
        story.boots(session, ONE);
    }
    assert!(matches!(story.approval(&name), Approval::Held { .. }));
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    story.approve(&name).unwrap();
    for session in 2..=30 {
        story.seconds += 60;
        story.boots(session, ONE);
    }
    assert!(story.fleet.get(&name).unwrap().is_approved(), "a machine that restarts for an hour");
}

#[test]
fn a_sled_that_shows_its_chassis_uuid_and_serial_number_is_discovered_all_the_same() {
    let mut story = Story::new();
    story.boots(1, &ONE.replace("blank", "data"));
    let uuid = inventory(ONE).system.uuid;
    let sled =
        Traveller { mac: Some(mac(77)), uuid: uuid.clone(), serial: Some("4Q5HMP2".to_owned()) };
    assert_eq!(story.decides(&sled), SUNSHINE);
    let another = inventory(TWO).system.uuid;
    assert_eq!(story.decides(&Traveller { uuid: another, ..sled.clone() }), SUNSHINE);
    // The machine itself, through a card that it has shown: what USB tells is enough beside its UUID.
    story.says(2, &format!("{} usb=77", ONE.replace("blank", "data")), mac(77), true).unwrap();
    assert_eq!(story.decides(&sled), Boot::OwnDisk);
    assert_eq!(story.decides_for(mac(77)), Boot::OwnDisk, "expected back");
    story.seconds += 3600;
    assert_eq!(story.decides_for(mac(77)), SUNSHINE);
}
