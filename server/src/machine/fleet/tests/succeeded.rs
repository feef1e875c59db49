//! Stories of orders that follow one whose boot may be at it still: nobody else gets them before that is silent.

use protocol::{EventKind, OrderId};

use super::{installs::request, wipes, *};
use crate::machine::disk_order::{OrderState, tests::progress};

/// An install that runs in session 1.
fn runs(story: &mut Story) -> (String, OrderId) {
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    assert_eq!(story.given(1, after), Some(id));
    story.tells(1, &EventKind::Progress(Box::new(progress(1))));
    (name, id)
}

fn cancels(story: &mut Story, id: OrderId) {
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)).unwrap();
}

fn held_back(story: &Story, id: OrderId) -> String {
    story.fleet.find_order(id).unwrap().1.held_back.clone().unwrap_or_default()
}

#[test]
fn the_order_after_a_cancelled_one_waits_until_its_boot_was_silent() {
    let mut story = Story::new();
    let (name, id) = runs(&mut story);
    cancels(&mut story, id);
    let heard = story.now();
    story.tells(1, &EventKind::Progress(Box::new(progress(1))));
    let welcome = story.boots(2, ONE);
    let next = story.installs(2, &name, ONE, &request("only", true)).unwrap();
    assert_eq!(story.given(2, welcome.sequence), None, "the other may be writing still");
    let reason = held_back(&story, next);
    assert!(reason.contains("silent") || reason.contains("for 90 s"), "{reason}");
    let left = story.fleet.until_silent(Session([2; 32]), story.now()).unwrap();
    assert!(story.now().uptime + left > heard.uptime + ALIVE);
    story.seconds += left.as_secs();
    assert_eq!(story.given(2, welcome.sequence), Some(next));
}

#[test]
fn two_that_speak_as_one_machine_after_a_cancelled_order_get_none() {
    let mut story = Story::new();
    let (name, id) = runs(&mut story);
    cancels(&mut story, id);
    let welcome = story.boots(2, ONE);
    let next = story.installs(2, &name, ONE, &request("only", true)).unwrap();
    assert_eq!(story.given(2, welcome.sequence), None);
    story.polls(1, 0).unwrap();
    assert!(!story.fleet.get(&name).unwrap().is_approved(), "both are held");
    story.seconds += 600;
    assert_eq!(story.given(2, welcome.sequence), None);
    assert!(matches!(story.state(next), OrderState::Cancelled { .. }), "{:?}", story.state(next));
}

#[test]
fn the_order_after_one_whose_machine_restarted_waits_too() {
    let mut story = Story::new();
    let (name, id) = runs(&mut story);
    let welcome = story.boots(2, ONE);
    assert!(matches!(story.state(id), OrderState::Failed { touched: true, .. }));
    let next = story.installs(2, &name, ONE, &request("only", true)).unwrap();
    assert_eq!(story.given(2, welcome.sequence), None);
    story.seconds += ALIVE.as_secs();
    assert_eq!(story.given(2, welcome.sequence), Some(next));
}

#[test]
fn whoever_says_that_it_ended_or_leaves_is_not_waited_for() {
    let failed =
        |id| EventKind::OrderFailed { order: id, reason: "ended".to_owned(), touched: true };
    let leaves = EventKind::Leaves { reason: "as told".to_owned() };
    for says_end in [true, false] {
        let mut story = Story::new();
        let (name, id) = runs(&mut story);
        cancels(&mut story, id);
        let kind = if says_end { failed(id) } else { leaves.clone() };
        story.tells(1, &kind);
        let welcome = story.boots(2, ONE);
        let next = story.installs(2, &name, ONE, &request("only", true)).unwrap();
        assert_eq!(story.given(2, welcome.sequence), Some(next));
    }
    // The end of another order is not the end of this one.
    let mut story = Story::new();
    let (name, id) = runs(&mut story);
    cancels(&mut story, id);
    story.tells(1, &failed(OrderId([9; 16])));
    let welcome = story.boots(2, ONE);
    story.installs(2, &name, ONE, &request("only", true)).unwrap();
    assert_eq!(story.given(2, welcome.sequence), None);
}

#[test]
fn an_order_after_one_that_ended_by_its_own_word_waits_for_nobody() {
    let mut story = Story::new();
    let (name, id) = runs(&mut story);
    let kind = EventKind::OrderFailed { order: id, reason: "no disk".to_owned(), touched: true };
    story.tells(1, &kind);
    let welcome = story.boots(2, ONE);
    let next = story.installs(2, &name, ONE, &request("only", true)).unwrap();
    assert_eq!(story.given(2, welcome.sequence), Some(next));
}

#[test]
fn a_wipe_after_a_cancelled_install_waits_too_and_over_a_restart_of_the_server() {
    let mut story = Story::new();
    let (name, id) = runs(&mut story);
    cancels(&mut story, id);
    let stored = serde_json::to_vec(story.fleet.get(&name).unwrap()).unwrap();
    let bounds = Bounds { strangers: 100, stranger_bytes: 1 << 20 };
    story.fleet = Fleet::new(bounds, [serde_json::from_slice(&stored).unwrap()], []);
    // Hours in one clock, moments in the other.
    story.asleep = story.seconds;
    let next = story.wipes(2, &name, ONE, &wipes::request(&["only"])).unwrap();
    let welcome = story.says_as(2, ONE, mac(1), true, Some("HerculesOS")).unwrap();
    assert_eq!(story.asks(2, welcome.sequence, Ok(())), Ok(None), "whom it heard nobody knows");
    assert!(matches!(story.state(next), OrderState::Ordered {}));
    story.seconds += ALIVE.as_secs();
    let asked = story.asks(2, welcome.sequence, Ok(())).unwrap();
    assert!(matches!(asked.map(|next| next.verb), Some(Verb::Wipe(_))));
}
