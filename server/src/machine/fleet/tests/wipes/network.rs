//! Stories of disks on a network: HerculesOS sees them only where its order is for one.

use protocol::wipe::{Despite, Obstacle};

use super::*;

/// What SunshineOS shows, which looks for such disks, and what a system does that does not.
const WITH: &str =
    "uuid=4c4c4544-0051-3510-8048-b4c04f4d5032 serial=4Q5HMP2 mac=1 mac=2 disk=a:data lun=n:data";
const WITHOUT: &str =
    "uuid=4c4c4544-0051-3510-8048-b4c04f4d5032 serial=4Q5HMP2 mac=1 mac=2 disk=a:data";

impl Story {
    fn looks(&mut self, system: System) -> bool {
        let lists = Lists { network_storage: vec!["4q5hmp2".parse().unwrap()], ..Lists::default() };
        let traveller = Traveller { mac: Some(mac(1)), ..Traveller::default() };
        let now = self.now();
        self.fleet.has_network_storage(&lists, &traveller, system, now)
    }
}

#[test]
fn an_order_for_the_machines_own_disk_shows_herculesos_no_other() {
    let mut story = Story::new();
    let (name, _) = story.stands_ready(1, WITH);
    assert!(story.looks(System::Sunshine) && !story.looks(System::Hercules));
    let id = story.wipes(1, &name, WITH, &request(&["S3Z1NB0K-a"])).unwrap();
    assert!(!story.looks(System::Hercules), "whatever the configuration says");
    let welcome = story.boots_hercules(2, WITHOUT);
    let wipe = story.given_wipe(2, welcome.sequence).unwrap();
    assert_eq!(
        wipe.order.inventory,
        InventoryDigest::of(&inventory(WITHOUT)),
        "as its agent checks"
    );
    story.journals(2, id, WipeStepKind::Canaries {}).unwrap();
    assert!(story.reports(2, id, Verdict::Erased));
    story.boots(3, WITH);
    assert!(story.fleet.get(&name).unwrap().is_approved(), "they come and go with their drivers");
    // One that shows another disk of its own is not that machine.
    story.boots(4, &format!("{WITH} disk=b:data"));
    assert!(!story.fleet.get(&name).unwrap().is_approved());
}

#[test]
fn an_order_for_a_disk_on_a_network_has_herculesos_look_for_it() {
    let despite = |disk: &str| Despite { disk: disk.to_owned(), obstacle: Obstacle::Network };
    let options = WipeOptions { despite: vec![despite("S3Z1NB0K-n")], ..WipeOptions::default() };
    let wanted = WipeRequest { options, ..request(&["S3Z1NB0K-n"]) };
    let mut story = Story::new();
    let (name, _) = story.stands_ready(1, WITH);
    let refused = story.wipes(1, &name, WITH, &request(&["S3Z1NB0K-n"])).unwrap_err();
    assert!(matches!(refused, WipeRefusal::Disk(ChoiceError::Network(_))), "{refused}");
    let id = story.wipes(1, &name, WITH, &wanted).unwrap();
    assert!(story.looks(System::Hercules));
    let welcome = story.boots_hercules(2, WITH);
    assert!(story.given_wipe(2, welcome.sequence).is_some());
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)).unwrap();
    assert!(!story.looks(System::Hercules), "only for its order");

    let mut story = Story::new();
    let (name, _) = story.stands_ready(1, WITH);
    let id = story.wipes(1, &name, WITH, &wanted).unwrap();
    let welcome = story.boots_hercules(2, WITHOUT);
    assert_eq!(story.given_wipe(2, welcome.sequence), None, "it is not there");
    assert!(matches!(story.state(id), OrderState::Cancelled { .. }), "{:?}", story.state(id));
}
