//! Stories of orders whose answer was lost: none of them stays open for ever, none is said twice to anybody else.

use protocol::{EventKind, OrderId};

use super::{installs::request, *};
use crate::machine::disk_order::{
    OrderState,
    tests::{installed, progress},
};

/// An approved machine that was given its order; returns both, and the number after which its agent asked.
fn given(story: &mut Story) -> (String, OrderId, u64) {
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    assert_eq!(story.given(1, after), Some(id));
    (name, id, after)
}

fn told_something_else(story: &mut Story, name: &str) {
    story.with(|fleet, now, effects| fleet.ask_again(&[name.to_owned()].into(), now, effects));
}

fn is_failed(state: &OrderState, was_touched: bool) -> bool {
    matches!(state, OrderState::Failed { touched, .. } if *touched == was_touched)
}

#[test]
fn an_order_that_never_arrived_and_was_replaced_fails_and_touched_nothing() {
    let mut story = Story::new();
    let (name, id, after) = given(&mut story);
    told_something_else(&mut story, &name);
    assert_eq!(story.given(1, after), None);
    assert!(is_failed(story.state(id), false), "{:?}", story.state(id));
    assert_eq!(story.fleet.get(&name).unwrap().load(), crate::machine::Load::Blank);
    let again = story.installs(2, &name, ONE, &request("only", false)).unwrap();
    assert_eq!(story.given(1, after), Some(again), "a new one is taken and given");
}

#[test]
fn an_order_that_never_arrived_fails_also_where_the_agent_announces_in_between() {
    let mut story = Story::new();
    let (name, id, _) = given(&mut story);
    told_something_else(&mut story, &name);
    let welcome = story.boots(1, ONE);
    assert_eq!(story.given(1, welcome.sequence), None);
    assert!(is_failed(story.state(id), false), "{:?}", story.state(id));
}

#[test]
fn an_order_that_arrived_is_not_undone_by_an_older_question() {
    let mut story = Story::new();
    let (name, id, after) = given(&mut story);
    let heard = story.fleet.get(&name).unwrap().sequence;
    assert_eq!(story.given(1, heard), None);
    assert!(matches!(story.state(id), OrderState::Given { heard: true, .. }));
    let said = story.entries.len();
    assert_eq!(story.given(1, after), None, "a question that was under way for long");
    told_something_else(&mut story, &name);
    assert_eq!(story.given(1, after), None);
    assert!(matches!(story.state(id), OrderState::Given { .. }));
    assert_eq!(story.entries.len(), said, "nothing of this is news");
    story.tells(1, &EventKind::Progress(Box::new(progress(1))));
    story.tells(1, &installed(1));
    assert!(matches!(story.state(id), OrderState::Done { .. }));
}

#[test]
fn to_be_told_to_wait_does_not_cost_a_machine_its_order() {
    let mut story = Story::new();
    let (name, id, after) = given(&mut story);
    story.order(&name, Order::Wait).unwrap();
    story.order(&name, Order::Release).unwrap();
    assert_eq!(story.given(1, after), Some(id), "it comes again");
}

#[test]
fn an_order_that_never_arrived_at_a_machine_held_since_is_over() {
    let mut story = Story::new();
    let (name, id, after) = given(&mut story);
    let reason = "a person must look".to_owned();
    story.with(|fleet, now, effects| fleet.hold(&name, reason, now, effects));
    assert!(matches!(story.state(id), OrderState::Given { .. }), "the answer may be under way");
    assert_eq!(story.given(1, after), None);
    assert!(is_failed(story.state(id), false), "{:?}", story.state(id));
}

#[test]
fn an_order_that_never_arrived_is_not_said_again_to_who_is_not_sure_of_itself() {
    let mut story = Story::new();
    let (_, id, after) = given(&mut story);
    // Another serial number in the same boot: what it says is not believed.
    story.fleet.amend("4q5hmp2", |machine| machine.session.as_mut().unwrap().complete = false);
    assert_eq!(story.given(1, after), None);
    assert!(is_failed(story.state(id), false), "{:?}", story.state(id));
}

#[test]
fn an_order_that_never_arrived_is_not_said_again_after_its_deadline() {
    let mut story = Story::new();
    let (_, id, after) = given(&mut story);
    story.seconds += 3600;
    assert_eq!(story.given(1, after), None);
    assert!(is_failed(story.state(id), false), "{:?}", story.state(id));
}

#[test]
fn an_order_of_which_nobody_says_anything_ends_after_its_deadline() {
    let mut story = Story::new();
    let (name, id, _) = given(&mut story);
    story.seconds += 3500;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Given { .. }), "its time is not over");
    story.seconds += 100;
    story.with(Fleet::expire);
    // Whoever has it may have begun, and be cut off: the worse is believed.
    assert!(is_failed(story.state(id), true), "{:?}", story.state(id));
    story.boots(2, ONE);
    story.installs(2, &name, ONE, &request("only", true)).unwrap();
}

#[test]
fn an_order_given_at_the_last_moment_has_its_minutes() {
    let mut story = Story::new();
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    story.seconds += 3580;
    assert_eq!(story.given(1, after), Some(id));
    story.seconds += 800;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Given { .. }));
    story.tells(1, &EventKind::Progress(Box::new(progress(1))));
    story.seconds += 3600;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Running { .. }), "begun in time, it goes on");
}

/// A day, after which an install of which nothing is heard is given up for lost.
const DAY: u64 = 24 * 3600;

/// An install that runs in session 1, and of which nothing was heard for a day.
fn lost(story: &mut Story) -> (String, OrderId) {
    let (name, id, _) = given(story);
    story.tells(1, &EventKind::Progress(Box::new(progress(1))));
    story.seconds += DAY / 2;
    story.tells(1, &EventKind::Progress(Box::new(progress(1))));
    story.seconds += DAY - 60;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Running { .. }), "a day since its last word");
    story.seconds += 60;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Lost { .. }), "{:?}", story.state(id));
    (name, id)
}

#[test]
fn an_install_whose_machine_never_comes_back_ends_after_a_day() {
    let mut story = Story::new();
    let (name, id) = lost(&mut story);
    let order = story.fleet.find_order(id).unwrap().1.clone();
    assert!(!order.is_open(), "who follows it hears of that");
    let words = order.words();
    assert!(words.starts_with("unknown: the machine never came back"), "{words}");
    assert!(words.contains("install") && !words.contains("password"), "{words}");
    assert_eq!(story.decides_for(mac(1)), SUNSHINE, "what is on its disk nobody knows");
    // It may be writing still: a person closes it before another is taken.
    let refused = story.installs(2, &name, ONE, &request("only", true)).unwrap_err().to_string();
    assert!(refused.contains(&format!("drydock orders cancel {id}")), "{refused}");
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)).unwrap();
    assert!(is_failed(story.state(id), true), "{:?}", story.state(id));
    story.installs(2, &name, ONE, &request("only", true)).unwrap();
}

#[test]
fn an_install_that_was_cut_off_for_days_goes_on_and_is_done() {
    let mut story = Story::new();
    let (name, id) = lost(&mut story);
    story.seconds += 2 * DAY;
    story.boots(1, ONE);
    assert!(matches!(story.state(id), OrderState::Lost { .. }), "it has said nothing of it");
    story.tells(1, &EventKind::Progress(Box::new(progress(1))));
    assert!(matches!(story.state(id), OrderState::Running { .. }), "{:?}", story.state(id));
    story.tells(1, &installed(1));
    assert!(matches!(story.state(id), OrderState::Done { .. }));
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
    assert!(story.fleet.get(&name).unwrap().told_to_wait.is_none());

    let mut story = Story::new();
    let (_, id) = lost(&mut story);
    story.boots(2, ONE);
    assert!(is_failed(story.state(id), true), "another boot: {:?}", story.state(id));
}

#[test]
fn an_install_whose_agent_asks_is_not_lost_and_one_of_an_older_server_has_its_day() {
    let mut story = Story::new();
    let (name, id, _) = given(&mut story);
    story.tells(1, &EventKind::Progress(Box::new(progress(1))));
    let after = story.fleet.get(&name).unwrap().sequence;
    story.seconds += 3 * DAY;
    story.polls(1, after).unwrap();
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Running { .. }), "it is at it");
    // What an older server stored says nothing of when it was heard, and the server was off.
    let mut stored = serde_json::to_value(story.fleet.get(&name).unwrap()).unwrap();
    for key in ["alive", "watch"] {
        stored["orders"][0].as_object_mut().unwrap().remove(key);
    }
    let bounds = Bounds { strangers: 100, stranger_bytes: 1 << 20 };
    story.fleet = Fleet::new(bounds, [serde_json::from_value(stored).unwrap()], []);
    story.asleep = story.seconds;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Running { .. }), "nobody could hear it");
    story.seconds += DAY;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Lost { .. }), "{:?}", story.state(id));
}
