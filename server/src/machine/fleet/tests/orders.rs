//! Stories of orders: given, fetched, void.

use super::*;

#[test]
fn told_to_wait_holds_for_every_boot_until_released() {
    let mut story = Story::new();
    let data = ONE.replace("blank", "data");
    let name = story.boots(1, &data).machine;
    story.order(&name, Order::Wait).unwrap();
    assert_eq!(story.polls(1, 0), Ok(Some(Verb::Wait {})), "the countdown is stopped");
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    assert_eq!(story.boots(2, &data).verb, Verb::Wait {});
    story.order(&name, Order::Release).unwrap();
    assert_eq!(story.polls(2, 0), Ok(Some(Verb::RebootAfter { seconds: 60 })));
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
}

#[test]
fn a_reboot_is_handed_out_once_and_never_to_a_later_boot() {
    let mut story = Story::new();
    let welcome = story.boots(1, ONE);
    let name = welcome.machine;
    story.order(&name, Order::Reboot).unwrap();
    let poll = |story: &mut Story, session: u8, after| {
        story.with(|fleet, now, effects| fleet.poll(Session([session; 32]), after, now, effects))
    };
    let first = poll(&mut story, 1, welcome.sequence).unwrap().unwrap();
    assert_eq!(poll(&mut story, 1, welcome.sequence), Ok(Some(first.clone())), "an answer lost");
    assert_eq!(poll(&mut story, 1, first.sequence), Ok(None), "it was heard");
    assert_eq!(poll(&mut story, 1, 0), Ok(None));
    story.order(&name, Order::PowerOff).unwrap();
    let welcome = story.boots(2, ONE);
    assert_eq!(story.polls(2, 0), Ok(None), "not this boot's");
    assert!(welcome.sequence > first.sequence);
}

#[test]
fn an_order_for_now_needs_an_agent_that_runs() {
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    story.seconds += 600;
    for order in [Order::Reboot, Order::PowerOff, Order::Announce] {
        assert_eq!(story.order(&name, order), Err(OrderError::Offline { name: name.clone() }));
    }
    assert_eq!(story.order(&name, Order::Wait), Ok(()));
    assert!(matches!(story.order("nobody", Order::Wait), Err(OrderError::NoMachine { .. })));
}

#[test]
fn sequence_numbers_rise_even_over_a_lost_database_and_a_clock_set_back() {
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    story.polls(1, 9_000_000_000_000).unwrap();
    story.order(&name, Order::Reboot).unwrap();
    assert_eq!(story.polls(1, 9_000_000_000_000), Ok(Some(Verb::Reboot {})));
    let machines: Vec<_> = story.fleet.machines().cloned().collect();
    let mut later = Story { seconds: 5, ..Story::new() };
    later.fleet = Fleet::new(story.fleet.bounds, machines, []);
    assert_eq!(later.polls(1, 9_000_000_000_000), Ok(Some(Verb::Reboot {})), "after a restart");
}

#[test]
fn a_forgotten_machine_is_met_anew_under_another_name() {
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    story.approve(&name).unwrap();
    story.with(|fleet, now, effects| fleet.forget(&name, "uid 0", now, effects)).unwrap();
    assert_eq!(story.polls(1, 0), Err(UnknownSession));
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    let again = story.boots(1, ONE);
    assert_eq!(again.machine, "4q5hmp2-2");
    assert_eq!(story.approval("4q5hmp2-2"), &Approval::Pending);
}

#[test]
fn what_is_restored_has_no_orders_and_takes_no_name() {
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    story.boots(2, TWO);
    story.approve(&name).unwrap();
    story.order(&name, Order::Wait).unwrap();
    let backup: Vec<Machine> = story.fleet.machines().cloned().collect();
    let mut later = Story::new();
    later.boots(3, TWO);
    later.approve("4q5hmp3").unwrap();
    let restored = later.with(|fleet, now, effects| fleet.restore(backup, "uid 0", now, effects));
    assert_eq!(restored, 1);
    assert!(later.fleet.get("4q5hmp3").unwrap().is_approved(), "as it is, not as it was");
    let machine = later.fleet.get(&name).unwrap();
    assert!(machine.is_approved());
    assert_eq!(
        (&machine.told_to_wait, &machine.instruction, &machine.session),
        (&None, &None, &None)
    );
    assert_eq!(later.polls(1, 0), Err(UnknownSession));
    assert_eq!(later.boots(4, ONE).machine, name);
}

#[test]
fn no_agent_can_count_so_far_that_later_boots_hear_nothing() {
    let mut story = Story::new();
    let name = story.boots(1, ONE).machine;
    story.polls(1, u64::MAX).unwrap();
    let welcome = story.boots(2, ONE);
    story.order(&name, Order::Reboot).unwrap();
    assert_eq!(story.polls(2, welcome.sequence), Ok(Some(Verb::Reboot {})));
}
