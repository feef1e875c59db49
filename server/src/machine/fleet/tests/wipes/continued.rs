//! Stories of wipes that a power cut interrupts: who continues them, and how long.

use super::*;

#[test]
fn the_boot_after_a_power_cut_continues_with_the_journal() {
    let mut story = Story::new();
    let (_, data, id) = ordered(&mut story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    story.journals(2, id, password()).unwrap();
    assert_eq!(story.decides_for(mac(1)), HERCULES);
    let welcome = story.boots_hercules(3, &data);
    assert!(matches!(story.state(id), OrderState::Interrupted { .. }));
    story.falls_silent();
    let wipe = story.given_wipe(3, welcome.sequence).unwrap();
    assert_eq!(wipe.order.id, id);
    assert_eq!(wipe.journal, [WipeStep { disk: 0, kind: password() }]);
    assert_eq!(wipe.seed, Seed([1; 32]), "what the boot before wrote is known");
    let boots = story.fleet.find_order(id).unwrap().1.wipe().unwrap().boots.clone();
    assert_eq!(boots, [Session([2; 32]), Session([3; 32])]);
}

/// A day, as long as a wipe that was begun is continued after it was last heard of.
pub(super) const DAY: u64 = 24 * 3600;

/// A wipe that was given to session 2, which took a step, and that is days beyond its deadline.
fn goes_on_for_days(story: &mut Story) -> (String, String, OrderId) {
    let (name, data, id) = ordered(story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    story.journals(2, id, password()).unwrap();
    for _ in 0..3 {
        story.seconds += DAY - 60;
        story.tells(2, &progress(id));
        story.with(Fleet::expire);
        assert!(matches!(story.state(id), OrderState::Running { .. }), "begun in time, it goes on");
    }
    (name, data, id)
}

pub(super) fn progress(id: OrderId) -> EventKind {
    let progress =
        protocol::wipe::WipeProgress { order: id, elapsed_milliseconds: 1, disks: vec![] };
    EventKind::WipeProgress(Box::new(progress))
}

fn is_interrupted_for_good(story: &Story, id: OrderId) {
    let OrderState::Failed { reason, touched: true, .. } = story.state(id) else {
        panic!("{:?}", story.state(id))
    };
    assert!(reason.starts_with("interrupted"), "{reason}");
}

#[test]
fn a_wipe_that_was_begun_is_continued_for_a_day_after_its_last_sign_of_life() {
    // The boot itself takes five seconds of a story, and each word.
    for (seconds_away, is_continued) in [(DAY - 20, true), (DAY, false)] {
        for is_step in [true, false] {
            let mut story = Story::new();
            let (_, data, id) = goes_on_for_days(&mut story);
            if is_step {
                let mark = WipeStepKind::Watermark { pass: 0, bytes: Bytes(1 << 40) };
                story.journals(2, id, mark).unwrap();
            } else {
                story.tells(2, &progress(id));
            }
            story.seconds += seconds_away;
            let welcome = story.boots_hercules(3, &data);
            if is_continued {
                let wipe = story.given_wipe(3, welcome.sequence).unwrap();
                assert!(wipe.journal.contains(&WipeStep { disk: 0, kind: password() }));
            } else {
                assert_eq!(story.given_wipe(3, welcome.sequence), None);
                is_interrupted_for_good(&story, id);
            }
        }
    }
}

#[test]
fn whoever_continues_a_wipe_and_says_nothing_does_not_prolong_it() {
    let mut story = Story::new();
    let (_, data, id) = goes_on_for_days(&mut story);
    story.tells(2, &progress(id));
    let end = story.fleet.find_order(id).unwrap().1.end();
    for session in 3..6 {
        let welcome = story.boots_hercules(session, &data);
        story.falls_silent();
        assert!(story.given_wipe(session, welcome.sequence).is_some());
    }
    assert_eq!(story.fleet.find_order(id).unwrap().1.end(), end);
    story.seconds += DAY;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Failed { touched: true, .. }));
}

#[test]
fn a_wipe_of_which_no_step_was_told_is_over_at_its_deadline() {
    let mut story = Story::new();
    let (_, data, id) = ordered(&mut story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    story.tells(2, &progress(id));
    story.seconds += 3600;
    let welcome = story.boots_hercules(3, &data);
    assert_eq!(story.given_wipe(3, welcome.sequence), None);
    is_interrupted_for_good(&story, id);
}

#[test]
fn a_wipe_beyond_its_deadline_is_continued_by_its_own_machine_only_and_not_when_it_was_cancelled() {
    let mut story = Story::new();
    let (_, data, id) = goes_on_for_days(&mut story);
    story.tells(2, &progress(id));
    story.falls_silent();
    let other = story.says_as(7, TWO, mac(3), true, Some("HerculesOS")).unwrap();
    assert_eq!(story.given_wipe(7, other.sequence), None);
    let changed = format!("{data} disk=z:data");
    let welcome = story.boots_hercules(3, &changed);
    assert_eq!(story.given_wipe(3, welcome.sequence), None, "another set of disks");
    assert!(matches!(story.state(id), OrderState::Failed { touched: true, .. }));

    let mut story = Story::new();
    let (_, data, id) = goes_on_for_days(&mut story);
    story.tells(2, &progress(id));
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)).unwrap();
    story.falls_silent();
    let welcome = story.boots_hercules(3, &data);
    assert_eq!(story.given_wipe(3, welcome.sequence), None);

    let mut story = Story::new();
    let (_, data, id) = goes_on_for_days(&mut story);
    story.tells(2, &progress(id));
    story.with(|fleet, now, effects| fleet.end_orders("it was restored", now, effects));
    story.falls_silent();
    let welcome = story.boots_hercules(3, &data);
    assert_eq!(story.given_wipe(3, welcome.sequence), None, "the state directory was restored");

    let mut story = Story::new();
    let (_, data, id) = goes_on_for_days(&mut story);
    story.tells(2, &progress(id));
    let welcome = story.boots_hercules(3, &data);
    story.falls_silent();
    let doubt = Err("the clock is behind its own newest entry".to_owned());
    assert_eq!(story.asks(3, welcome.sequence, doubt), Ok(None));
    assert!(story.given_wipe(3, welcome.sequence).is_some());
}

#[test]
fn a_server_that_starts_again_continues_a_wipe_beyond_its_deadline() {
    let mut story = Story::new();
    let (name, data, id) = goes_on_for_days(&mut story);
    let mut effects = Effects::default();
    story.seconds += 600;
    let now = story.now();
    story.fleet.agent_says(Session([2; 32]), &progress(id), now, &mut effects);
    assert!(effects.touched.contains(&name), "it is stored that it was heard");
    let stored = serde_json::to_vec(story.fleet.get(&name).unwrap()).unwrap();
    let bounds = Bounds { strangers: 100, stranger_bytes: 1 << 20 };
    let started = story.seconds;
    story.fleet = Fleet::new(bounds, [serde_json::from_slice(&stored).unwrap()], []);
    let at = |seconds: u64| Now {
        unix_milliseconds: i64::try_from(seconds * 1000).unwrap(),
        uptime: Duration::from_secs(seconds - started),
    };
    let announced = story.boots_hercules(3, &data);
    let session = Session([3; 32]);
    let ask = |story: &mut Story, seconds| {
        let (mut effects, now) = (Effects::default(), at(seconds));
        let next = story.fleet.poll(session, announced.sequence, now, &mut effects).unwrap();
        let handing = story.fleet.hand_out(session, &next.unwrap(), Ok(()), now, &mut effects);
        matches!(handing, Handing::Out(Instruction { verb: Verb::Wipe(_), .. }))
    };
    assert!(!ask(&mut story, started + 89), "whom it had heard before it started, nobody knows");
    assert!(ask(&mut story, started + 90));
}

#[test]
fn who_copies_a_machine_gets_its_wipe_only_when_the_machine_was_silent() {
    let mut story = Story::new();
    let (name, data, id) = ordered(&mut story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    story.journals(2, id, password()).unwrap();
    let heard = story.now();
    let welcome = story.boots_hercules(3, &data);
    assert_eq!(story.given_wipe(3, welcome.sequence), None, "it may run still");
    let held_back = story.fleet.find_order(id).unwrap().1.held_back.clone();
    assert_eq!(held_back.as_deref(), Some(silence::STILL_HEARD));
    let waits = story.fleet.until_silent(Session([3; 32]), story.now()).unwrap();
    assert_eq!(story.now().uptime + waits, heard.uptime + ALIVE);
    assert!(story.fleet.get(&name).unwrap().is_approved(), "a power cut looks like that, too");
    story.tells(2, &progress(id));
    assert!(!story.fleet.get(&name).unwrap().is_approved(), "there are two: both are held");
    story.falls_silent();
    assert_eq!(story.given_wipe(3, welcome.sequence), None);
    assert!(matches!(story.state(id), OrderState::Failed { .. }));
}

#[test]
fn who_still_wipes_after_it_was_replaced_holds_the_machine() {
    for (is_given, says_step) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut story = Story::new();
        let (name, data, id) = ordered(&mut story);
        let welcome = story.boots_hercules(2, &data);
        story.given_wipe(2, welcome.sequence).unwrap();
        story.journals(2, id, password()).unwrap();
        let welcome = story.boots_hercules(3, &data);
        assert!(matches!(story.state(id), OrderState::Interrupted { .. }));
        if is_given {
            story.falls_silent();
            story.given_wipe(3, welcome.sequence).unwrap();
        }
        assert!(story.fleet.get(&name).unwrap().is_approved());
        if says_step {
            let gone = story.journals(2, id, WipeStepKind::Verify {});
            assert_eq!(gone, Err(StepError::NotItsOrder), "whoever had it is over");
        } else {
            story.tells(2, &progress(id));
        }
        assert!(!story.fleet.get(&name).unwrap().is_approved(), "there are two");
        assert_eq!(story.given_wipe(3, welcome.sequence), None);
    }
}

#[test]
fn an_interrupted_wipe_that_nobody_continues_is_over_after_a_day() {
    let mut story = Story::new();
    let (name, data, id) = ordered(&mut story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    story.journals(2, id, password()).unwrap();
    story.boots(3, &data);
    assert!(matches!(story.state(id), OrderState::Interrupted { .. }));
    assert_eq!(story.polls(3, 0).unwrap(), Some(Verb::Reboot {}));
    story.seconds += 3600;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Interrupted { .. }));
    assert_eq!(story.decides_for(mac(1)), HERCULES);
    story.seconds += DAY;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Failed { touched: true, .. }));
    assert_eq!(story.decides_for(mac(1)), SUNSHINE, "it waits where it can be reached");
    // The next order for that disk knows the password.
    let next = story.wipes(2, &name, &data, &request(&["only"])).unwrap();
    let welcome = story.boots_hercules(4, &data);
    let wipe = story.given_wipe(4, welcome.sequence).unwrap();
    assert_eq!((wipe.order.id, wipe.journal), (next, vec![WipeStep { disk: 0, kind: password() }]));
}
