//! Stories of machines that never come back from a wipe, or later than anybody waits.

use super::{
    continued::{DAY, progress},
    *,
};

/// A wipe that runs in session 2, and has set a password.
fn runs(story: &mut Story) -> (String, String, OrderId) {
    let (name, data, id) = ordered(story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    story.journals(2, id, password()).unwrap();
    (name, data, id)
}

/// The same, and nothing was heard of it for a day.
fn is_lost(story: &mut Story) -> (String, String, OrderId) {
    let (name, data, id) = runs(story);
    story.seconds += DAY - 60;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Running { .. }), "not yet");
    story.seconds += 60;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Lost { .. }), "{:?}", story.state(id));
    (name, data, id)
}

#[test]
fn a_wipe_whose_machine_never_comes_back_ends_after_a_day_with_all_that_is_known_of_it() {
    let mut story = Story::new();
    let (name, data, id) = is_lost(&mut story);
    let order = story.fleet.find_order(id).unwrap().1.clone();
    assert!(!order.is_open(), "who follows it hears of that");
    assert!(order.words().starts_with("unknown: the machine never came back"), "{}", order.words());
    assert_eq!(order.wipe().unwrap().journal, [WipeStep { disk: 0, kind: password() }]);
    assert_eq!(story.fleet.passwords().len(), 1);
    assert_eq!(story.decides_for(mac(1)), SUNSHINE, "what is on its disks nobody knows");
    // It may be ordered anew once a person has closed this one.
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)).unwrap();
    assert!(matches!(story.state(id), OrderState::Failed { touched: true, .. }));
    let next = story.wipes(2, &name, &data, &request(&["only"])).unwrap();
    assert!(story.fleet.find_order(id).unwrap().1.verb().is_none());
    let welcome = story.boots_hercules(3, &data);
    let wipe = story.given_wipe(3, welcome.sequence).unwrap();
    assert_eq!((wipe.order.id, wipe.journal), (next, vec![WipeStep { disk: 0, kind: password() }]));
    assert_eq!(story.journals(2, id, WipeStepKind::Verify {}), Err(StepError::NotItsOrder));
}

#[test]
fn a_wipe_that_may_come_back_is_ended_by_no_new_order_but_by_a_person_only() {
    let mut story = Story::new();
    let (name, data, id) = is_lost(&mut story);
    let idle = WipeRequest { level: PowerLevel::Idle, ..request(&["only"]) };
    for refused in [
        story.wipes(2, &name, &data, &request(&["only"])).unwrap_err().to_string(),
        story.wipes(2, &name, &data, &idle).unwrap_err().to_string(),
        story.installs(2, &name, &data, &installs::request("only", true)).unwrap_err().to_string(),
    ] {
        assert!(refused.contains(&format!("drydock orders cancel {id}")), "{refused}");
    }
    assert!(matches!(story.state(id), OrderState::Lost { .. }), "{:?}", story.state(id));
    // It is back, and at its disks: nobody restarts it by the way.
    let session = story.fleet.get(&name).unwrap().session.as_ref().unwrap().session;
    let after = story.fleet.get(&name).unwrap().sequence;
    story.with(|fleet, now, effects| fleet.poll(session, after, now, effects)).unwrap();
    for order in [Order::Reboot, Order::PowerOff] {
        assert_eq!(story.order(&name, order), Err(OrderError::Busy { name: name.clone() }));
    }
    story.order(&name, Order::Release).unwrap();
    assert_eq!(story.polls(2, after), Ok(None), "nor is it sent to a disk");
    assert_eq!(story.boots_hercules(2, &data).verb, Verb::Wait {});
    story.tells(2, &progress(id));
    assert!(matches!(story.state(id), OrderState::Running { .. }), "{:?}", story.state(id));

    let mut story = Story::new();
    let (name, data, id) = is_lost(&mut story);
    let by = "uid 0";
    story.with(|fleet, now, effects| fleet.cancel_order(id, by, now, effects)).unwrap();
    let OrderState::Failed { reason, touched: true, .. } = story.state(id) else {
        panic!("{:?}", story.state(id))
    };
    assert_eq!(reason, "given up by uid 0");
    story.tells(2, &progress(id));
    assert!(matches!(story.state(id), OrderState::Failed { .. }), "it hears that it is over");
    let again = story.with(|fleet, now, effects| fleet.cancel_order(id, by, now, effects));
    assert!(matches!(again, Err(CancelError::Over { .. })), "{again:?}");
    story.wipes(2, &name, &data, &request(&["only"])).unwrap();
}

#[test]
fn a_server_that_slept_counts_that_before_whatever_it_hears_first() {
    // The announcement of another boot, and the question of a machine's firmware.
    for is_announced in [true, false] {
        let mut story = Story::new();
        let (_, data, id) = runs(&mut story);
        story.with(Fleet::expire);
        (story.seconds, story.asleep) = (story.seconds + 3 * DAY, 3 * DAY);
        if !is_announced {
            // It had lost its power before the server slept.
            story = Story::new();
            let (_, data, _) = runs(&mut story);
            story.boots_hercules(3, &data);
            story.with(Fleet::expire);
            (story.seconds, story.asleep) = (story.seconds + 3 * DAY, 3 * DAY);
            assert_eq!(story.decides_for(mac(1)), HERCULES, "it is continued");
        }
        let welcome = story.boots_hercules(4, &data);
        assert!(matches!(story.state(id), OrderState::Interrupted { .. }), "{:?}", story.state(id));
        story.falls_silent();
        assert!(story.given_wipe(4, welcome.sequence).is_some());
    }
    // A question, with the order before it.
    let mut story = Story::new();
    let (_, data, _) = runs(&mut story);
    let welcome = story.boots_hercules(3, &data);
    story.falls_silent();
    story.with(Fleet::expire);
    (story.seconds, story.asleep) = (story.seconds + 3 * DAY, 3 * DAY);
    assert!(story.given_wipe(3, welcome.sequence).is_some());
}

#[test]
fn a_boot_that_was_cut_off_for_days_goes_on_with_its_wipe_and_reports_it() {
    for is_step in [true, false] {
        let mut story = Story::new();
        let (_, data, id) = is_lost(&mut story);
        story.seconds += 2 * DAY;
        story.says_as(2, &data, mac(1), true, Some("HerculesOS")).unwrap();
        assert!(matches!(story.state(id), OrderState::Lost { .. }), "it has said nothing of it");
        if is_step {
            story.journals(2, id, WipeStepKind::Verify {}).unwrap();
        } else {
            story.tells(2, &progress(id));
        }
        assert!(matches!(story.state(id), OrderState::Running { .. }), "{:?}", story.state(id));
        assert!(story.reports(2, id, Verdict::Erased));
        assert!(matches!(story.state(id), OrderState::Wiped { .. }));
    }
    let mut story = Story::new();
    let (_, _, id) = is_lost(&mut story);
    assert!(story.reports(2, id, Verdict::Erased), "or with its report");
    assert!(matches!(story.state(id), OrderState::Wiped { .. }));
}

#[test]
fn a_wipe_that_came_back_and_loses_its_power_then_is_continued_without_secrets() {
    let mut story = Story::new();
    let (_, data, id) = is_lost(&mut story);
    story.tells(2, &progress(id));
    let welcome = story.boots_hercules(3, &data);
    story.falls_silent();
    let wipe = story.given_wipe(3, welcome.sequence).unwrap();
    assert_eq!(wipe.journal, [WipeStep { disk: 0, kind: password() }]);
}

#[test]
fn a_machine_that_comes_back_after_days_in_another_boot_is_said_to_have_been_interrupted() {
    let mut story = Story::new();
    let (_, data, id) = is_lost(&mut story);
    let welcome = story.boots_hercules(3, &data);
    assert_eq!(story.given_wipe(3, welcome.sequence), None);
    let OrderState::Failed { reason, touched: true, .. } = story.state(id) else {
        panic!("{:?}", story.state(id))
    };
    assert!(reason.starts_with("interrupted"), "{reason}");
    assert_eq!(story.fleet.passwords().len(), 1);
}

#[test]
fn a_boot_that_asks_is_not_lost_however_long_a_disk_needs() {
    let mut story = Story::new();
    let (_, _, id) = runs(&mut story);
    let after = story.fleet.of_session(Session([2; 32])).unwrap().sequence;
    story.seconds += 3 * DAY;
    story.polls(2, after).unwrap();
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Running { .. }));
    story.falls_silent();
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Lost { .. }));
}

#[test]
fn a_day_in_which_the_server_was_off_is_none() {
    let mut story = Story::new();
    let (name, data, id) = runs(&mut story);
    story.with(Fleet::expire);
    let restart = |story: &mut Story| {
        let stored = serde_json::to_vec(story.fleet.get(&name).unwrap()).unwrap();
        let bounds = Bounds { strangers: 100, stranger_bytes: 1 << 20 };
        story.fleet = Fleet::new(bounds, [serde_json::from_slice(&stored).unwrap()], []);
        story.asleep = story.seconds;
        story.with(Fleet::expire);
    };
    story.seconds += 3 * DAY;
    restart(&mut story);
    assert!(matches!(story.state(id), OrderState::Running { .. }), "nobody could hear it");
    story.seconds += 23 * 3600;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Running { .. }));
    story.seconds += 3600;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Lost { .. }), "{:?}", story.state(id));

    // One that lost its power in such a time is continued, too.
    let mut story = Story::new();
    let (_, _, id) = runs(&mut story);
    story.with(Fleet::expire);
    story.seconds += 3 * DAY;
    restart(&mut story);
    let welcome = story.boots_hercules(3, &data);
    assert!(matches!(story.state(id), OrderState::Interrupted { .. }), "{:?}", story.state(id));
    story.falls_silent();
    assert!(story.given_wipe(3, welcome.sequence).is_some());
}
