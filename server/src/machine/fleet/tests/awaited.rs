//! Stories of machines whose drivers come late: nothing is decided by what is not there yet.

use super::{installs::request, *};
use crate::machine::{Load, awaited::StillAwaited, install::InstallRefusal};

/// The same machine, whose disk controller has no driver yet.
const LATE: &str =
    "uuid=4c4c4544-0051-3510-8048-b4c04f4d5032 serial=4Q5HMP2 mac=1 mac=2 awaits=mpt3sas";

impl Story {
    fn load(&self, name: &str) -> Load {
        self.fleet.get(name).unwrap().load()
    }

    /// The server looks for what is overdue, so many seconds later, and the machine is heard meanwhile.
    fn waits(&mut self, session: u8, seconds: u64) {
        for _ in 0..seconds / 60 {
            self.seconds += 60;
            self.polls(session, 0).unwrap();
        }
        self.with(Fleet::expire);
    }

    fn awaited(&self) -> Vec<(Vec<String>, bool)> {
        let told = self.entries.iter().filter_map(|entry| match &entry.what {
            What::DriversAwaited { modules, overdue } => Some((modules.clone(), *overdue)),
            _ => None,
        });
        told.collect()
    }
}

#[test]
fn a_machine_without_its_disks_is_not_taken_for_one_without_disks() {
    let mut story = Story::new();
    let welcome = story.boots(1, LATE);
    let name = welcome.machine.clone();
    assert_eq!(welcome.verb, Verb::Wait {});
    assert_eq!(story.load(&name), Load::Unreported);
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    let error = story.approve(&name).unwrap_err();
    assert_eq!(
        error.to_string(),
        "drivers of this machine are on their way or did not come (mpt3sas), so disks may be missing from its report; \
         try again in a moment, or see its gaps in drydock machines show 4q5hmp2 -o json"
    );
    let by_rule = story.with(|fleet, now, effects| fleet.approve_by_rule(&name, "r", now, effects));
    assert_eq!(by_rule, Err(OrderError::NotForRules { name: name.clone() }));
    // Its driver comes, and its disk has data.
    let welcome = story.boots(1, &ONE.replace("blank", "data"));
    assert_eq!(welcome.verb, Verb::RebootAfter { seconds: 60 });
    assert_eq!(story.load(&name), Load::Data);
    assert_eq!(story.awaited(), [(vec!["mpt3sas".to_owned()], false)]);
}

#[test]
fn data_that_is_seen_sends_nobody_home_while_drivers_are_on_their_way() {
    let mut story = Story::new();
    let welcome = story.boots(1, &format!("{LATE} disk=a:data"));
    assert_eq!(welcome.verb, Verb::Wait {});
    assert_eq!(story.load(&welcome.machine), Load::Unreported);
}

#[test]
fn an_approved_machine_keeps_its_approval_and_gets_no_order_before_its_drivers() {
    let mut story = Story::new();
    let (name, _) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    // It restarts, and its first report lacks the disk.
    let welcome = story.boots(2, LATE);
    assert!(story.fleet.get(&name).unwrap().is_approved());
    assert_eq!(story.given(2, welcome.sequence), None);
    let welcome = story.boots(2, ONE);
    assert_eq!(story.given(2, welcome.sequence), Some(id));
}

#[test]
fn an_order_waits_for_a_driver_of_a_card_that_came_later() {
    let mut story = Story::new();
    let (name, after) = story.stands_ready(1, ONE);
    let more = format!("{ONE} awaits=ixgbe");
    story.boots(1, &more);
    let refused = story.installs(1, &name, ONE, &request("only", false)).unwrap_err();
    let modules = "ixgbe".to_owned();
    assert_eq!(
        refused,
        InstallRefusal::DriversAwaited(StillAwaited::Drivers { machine: name.clone(), modules })
    );
    assert_eq!(story.load(&name), Load::Unreported, "not blank, for all that is known");
    let welcome = story.boots(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    // Offered, and then the card comes.
    story.boots(1, &more);
    assert_eq!(story.given(1, after), None);
    let order = story.fleet.find_order(id).unwrap().1;
    let held_back = order.held_back.clone().unwrap_or_default();
    assert!(held_back.contains("ixgbe") && order.is_open(), "{held_back}");
    story.boots(1, ONE);
    assert_eq!(story.given(1, welcome.sequence), Some(id));
}

#[test]
fn drivers_that_never_come_are_said_once_and_data_that_is_seen_counts_then() {
    let mut story = Story::new();
    let (blank, data) = (format!("{LATE} disk=a:blank"), format!("{LATE} disk=a:data"));
    let name = story.boots(1, &data).machine;
    story.waits(1, 540);
    assert_eq!(story.awaited().len(), 1, "it may take a while");
    story.waits(1, 120);
    story.waits(1, 120);
    let modules = vec!["mpt3sas".to_owned()];
    assert_eq!(story.awaited(), [(modules.clone(), false), (modules.clone(), true)]);
    assert_eq!(story.load(&name), Load::Data);
    assert_eq!(story.polls(1, 0), Ok(Some(Verb::RebootAfter { seconds: 60 })));
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);

    // What is missing may have data, so an empty disk says nothing, however long it takes.
    let mut story = Story::new();
    let name = story.boots(1, &blank).machine;
    story.waits(1, 1200);
    assert_eq!(story.awaited().len(), 2);
    assert_eq!(story.load(&name), Load::Unreported);
    assert_eq!(story.polls(1, 0), Ok(None));
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    // The next boot begins anew.
    story.boots(2, ONE);
    assert_eq!(story.load(&name), Load::Blank);
}

#[test]
fn a_machine_that_is_away_is_not_said_to_wait() {
    let mut story = Story::new();
    story.boots(1, LATE);
    story.seconds += 3600;
    story.with(Fleet::expire);
    assert_eq!(story.awaited().len(), 1);
    assert!(matches!(story.approve("4q5hmp2"), Err(OrderError::Incomplete { .. })));
}

#[test]
fn an_order_that_waits_for_drivers_from_the_first_word_of_a_boot_on_says_so() {
    let mut story = Story::new();
    let (name, _) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    let held_back = |story: &Story| story.fleet.find_order(id).unwrap().1.held_back.clone();
    story.boots(2, LATE);
    let reason = held_back(&story).unwrap_or_default();
    assert!(reason.contains("drivers are on their way") && reason.contains("mpt3sas"), "{reason}");
    let said = |story: &Story| {
        let of_order = |entry: &&Entry| matches!(&entry.what, What::Order { .. });
        story.entries.iter().filter(of_order).count()
    };
    let before = said(&story);
    story.boots(2, LATE);
    assert_eq!(said(&story), before, "once");
    // They came: it waits for the machine's question only.
    let welcome = story.boots(2, ONE);
    assert_eq!(held_back(&story), None);
    assert_eq!(story.given(2, welcome.sequence), Some(id));
}

#[test]
fn a_machine_that_wipes_nothing_leaves_herculesos_although_a_driver_never_comes() {
    let mut story = Story::new();
    let blank = format!("{LATE} disk=a:blank");
    let welcome = story.says_as(1, &blank, mac(1), true, Some("HerculesOS")).unwrap();
    assert_eq!(welcome.verb, Verb::Wait {}, "it may show a disk yet");
    story.waits(1, 540);
    assert_eq!(story.polls(1, 0), Ok(None));
    story.waits(1, 120);
    assert_eq!(story.polls(1, 0), Ok(Some(Verb::RebootAfter { seconds: 60 })));
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    // Told to wait, it does.
    let name = story.says_as(2, &blank, mac(1), true, Some("HerculesOS")).unwrap().machine;
    story.order(&name, Order::Wait).unwrap();
    let told = story.fleet.get(&name).unwrap().sequence;
    story.waits(2, 1200);
    assert!(!matches!(story.polls(2, told), Ok(Some(Verb::RebootAfter { .. }))));
}

/// The same machine, whose initramfs was cut off: it sees no disk.
const CUT: &str =
    "uuid=4c4c4544-0051-3510-8048-b4c04f4d5032 serial=4Q5HMP2 mac=1 mac=2 awaits=initramfs";

const AGAIN: Verb = Verb::RebootAfter { seconds: 60 };

#[test]
fn who_has_half_an_initramfs_starts_again_and_then_from_its_disk_which_nobody_saw() {
    let mut story = Story::new();
    let still_probing = story.says(1, CUT, mac(1), false).unwrap();
    assert_eq!(still_probing.verb, Verb::Wait {}, "it may show data yet");
    let name = still_probing.machine;
    for session in 1..=3 {
        assert_eq!(story.decides_for(mac(1)), SUNSHINE, "boot {session}");
        assert_eq!(story.boots(session, CUT).verb, AGAIN, "boot {session}");
        // Saying it again is no other boot.
        assert_eq!(story.boots(session, CUT).verb, AGAIN, "boot {session}");
    }
    assert_eq!(story.load(&name), Load::Data, "what could not be read three times is not empty");
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
    let refused = story.approve(&name).unwrap_err().to_string();
    assert!(refused.contains("initramfs") && !refused.contains("drivers"), "{refused}");
    // A person has it started once more; it waits for them. With all of it, all begins anew.
    story.order(&name, Order::Wait).unwrap();
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    assert_eq!(story.boots(4, CUT).verb, Verb::Wait {});
    story.boots(5, ONE);
    assert_eq!(story.load(&name), Load::Blank);
    assert_eq!(story.fleet.get(&name).unwrap().cut_boots, 0);
}

#[test]
fn half_an_initramfs_sends_home_at_once_who_shows_data_or_has_shown_it() {
    let mut story = Story::new();
    let name = story.boots(1, &format!("{CUT} disk=a:data")).machine;
    assert_eq!(story.load(&name), Load::Data);
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
    let mut story = Story::new();
    story.boots(1, &ONE.replace("blank", "data"));
    assert_eq!(story.boots(2, CUT).verb, AGAIN);
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
}

#[test]
fn an_empty_or_wiped_machine_with_half_an_initramfs_starts_again_three_times_and_then_waits() {
    for was_wiped in [false, true] {
        let mut story = Story::new();
        let disk = if was_wiped { "data" } else { "blank" };
        let name = story.boots(1, &ONE.replace("blank", disk)).machine;
        story.with(|fleet, _, _| fleet.amend(&name, |machine| machine.was_wiped = was_wiped));
        for session in 2..=3 {
            assert_eq!(story.boots(session, CUT).verb, AGAIN);
        }
        for session in 4..=5 {
            assert_eq!(story.decides_for(mac(1)), SUNSHINE);
            assert_eq!(story.boots(session, CUT).verb, Verb::Wait {}, "boot {session}");
            story.waits(session, 1200);
            assert_eq!(story.polls(session, 0), Ok(None));
        }
    }
}

#[test]
fn who_has_an_order_and_half_an_initramfs_starts_again_for_it_and_no_more_than_three_times() {
    let mut story = Story::new();
    let (name, _) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    assert_eq!(story.boots(2, CUT).verb, AGAIN);
    assert_eq!(story.boots(3, CUT).verb, AGAIN);
    assert_eq!(story.boots(4, CUT).verb, Verb::Wait {});
    let held_back = story.fleet.find_order(id).unwrap().1.held_back.clone().unwrap_or_default();
    assert!(held_back.contains("initramfs"), "{held_back}");
    let welcome = story.boots(5, ONE);
    assert_eq!(story.given(5, welcome.sequence), Some(id));
}

#[test]
fn half_an_initramfs_disturbs_nobody_who_is_held_or_was_told_to_wait() {
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    story.order(&name, Order::Wait).unwrap();
    assert_eq!(story.boots(2, CUT).verb, Verb::Wait {});
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    let reason = "two boots".to_owned();
    story.with(|fleet, now, effects| fleet.hold(&name, reason, now, effects));
    assert_eq!(story.boots(2, CUT).verb, Verb::Wait {});
}

#[test]
fn a_driver_that_is_on_its_way_beside_half_an_initramfs_may_still_show_data() {
    let mut story = Story::new();
    let both = format!("{CUT} awaits=mpt3sas");
    assert_eq!(story.boots(1, &both).verb, Verb::Wait {});
    story.waits(1, 660);
    assert_eq!(story.polls(1, 0), Ok(Some(AGAIN)));
    assert_eq!(story.fleet.get("4q5hmp2").unwrap().cut_boots, 1);
}

#[test]
fn whom_nothing_names_is_not_started_again_and_again() {
    let mut story = Story::new();
    // Recognised by nothing the next time, it would be a stranger whose boots are counted anew.
    assert_eq!(story.boots(1, "mac=1 awaits=initramfs").verb, Verb::Wait {});
}

#[test]
fn a_boot_that_came_whole_begins_the_count_anew_whatever_driver_it_awaits() {
    let mut story = Story::new();
    for session in 1..=3 {
        story.boots(session, CUT);
    }
    let name = story.boots(4, &CUT.replace("initramfs", "mpt3sas")).machine;
    assert_eq!(story.fleet.get(&name).unwrap().cut_boots, 0);
    assert_eq!(story.boots(5, CUT).verb, AGAIN);
}
