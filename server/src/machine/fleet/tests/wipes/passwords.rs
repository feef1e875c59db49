//! Stories of passwords that wipes left on disks: nobody forgets one before its disk is erased.

use super::*;

/// A machine whose only disk was left with a password by an order that was cancelled then.
fn leaves_a_password(story: &mut Story) -> (String, String) {
    let (name, data, id) = ordered(story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    story.journals(2, id, password()).unwrap();
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)).unwrap();
    (name, data)
}

fn inherited(story: &Story, name: &str, text: &str) -> Vec<WipeStep> {
    let request = request(&["only"]);
    story.fleet.plan_wipe(name, &inventory(text), &request, story.now()).unwrap().inherited
}

fn only_that() -> [WipeStep; 1] {
    [WipeStep { disk: 0, kind: password() }]
}

/// Another machine, with the disk of the first.
const OTHER: &str = "uuid=4c4c4544-0051-3510-8048-b4c04f4d5033 serial=4Q5HMP3 mac=3 disk=a:data";

#[test]
fn a_disk_that_is_moved_to_another_machine_takes_its_password_along() {
    let mut story = Story::new();
    let (name, _) = leaves_a_password(&mut story);
    let empty = ONE.replace("disk=a:blank", "");
    story.boots(3, &empty);
    let (other, _) = story.stands_ready(4, OTHER);
    assert_eq!(inherited(&story, &other, OTHER), only_that());
    // Another disk of the same kind has none of it.
    let third = TWO.replace("5033", "5034").replace("4Q5HMP3", "4Q5HMP4");
    let (third_name, _) = story.stands_ready(5, &third);
    assert_eq!(inherited(&story, &third_name, &third), []);
    // Erased there, it is of no use where it was set.
    let id = story.wipes(9, &other, OTHER, &request(&["only"])).unwrap();
    let welcome = story.says_as(6, OTHER, mac(3), true, Some("HerculesOS")).unwrap();
    assert_eq!(story.given_wipe(6, welcome.sequence).unwrap().journal, only_that());
    story.journals(6, id, WipeStepKind::Over { verdict: Verdict::Erased }).unwrap();
    assert_eq!(story.fleet.passwords().len(), 1, "that is the agent's word");
    assert!(story.reports(6, id, Verdict::Erased));
    assert!(story.fleet.passwords().is_empty());
    assert!(story.fleet.get(&name).unwrap().passwords.is_empty());
}

#[test]
fn a_machine_that_is_forgotten_leaves_its_passwords_to_its_disks() {
    let mut story = Story::new();
    let (name, data) = leaves_a_password(&mut story);
    story.with(|fleet, now, effects| fleet.forget(&name, "uid 0", now, effects)).unwrap();
    assert_eq!(story.fleet.passwords().len(), 1);
    let (again, _) = story.stands_ready(3, &data);
    assert_ne!(again, name);
    assert_eq!(inherited(&story, &again, &data), only_that());
    let id = story.wipes(9, &again, &data, &request(&["only"])).unwrap();
    let welcome = story.boots_hercules(4, &data);
    story.given_wipe(4, welcome.sequence).unwrap();
    story.journals(4, id, WipeStepKind::Over { verdict: Verdict::Erased }).unwrap();
    let mut effects = Effects::default();
    let (now, session) = (story.now(), Session([4; 32]));
    story.fleet.take_report(session, id, result(Verdict::Erased), now, &mut effects);
    assert!(effects.touched.contains(&name), "nor does it come back from the database");
    assert!(story.fleet.retired_name(&name).unwrap().passwords.is_empty());
}

#[test]
fn a_backup_of_a_machine_has_its_passwords_although_not_its_orders() {
    let mut story = Story::new();
    let (name, data) = leaves_a_password(&mut story);
    let saved = story.fleet.get(&name).unwrap().clone();
    let mut later = Story::new();
    later.with(|fleet, now, effects| fleet.restore(vec![saved], "uid 0", now, effects));
    assert!(later.fleet.get(&name).unwrap().orders.is_empty());
    later.seconds += 1;
    let welcome = later.boots(3, &data);
    assert_eq!(welcome.machine, name);
    drop(later.approve(&name));
    assert_eq!(inherited(&later, &name, &data), only_that());
}

#[test]
fn a_password_outlives_its_order_until_its_disk_is_erased() {
    let mut story = Story::new();
    let (name, data) = leaves_a_password(&mut story);
    let idle = WipeRequest { level: PowerLevel::Idle, ..request(&["only"]) };
    for number in 2..20 {
        let other = story.wipes(number, &name, &data, &idle).unwrap();
        story.with(|fleet, now, effects| fleet.cancel_order(other, "uid 0", now, effects)).unwrap();
    }
    assert_eq!(inherited(&story, &name, &data), only_that());
    // Once it is erased, the password is of no use any more.
    let last = story.wipes(20, &name, &data, &request(&["only"])).unwrap();
    let welcome = story.boots_hercules(3, &data);
    story.given_wipe(3, welcome.sequence).unwrap();
    story.journals(3, last, WipeStepKind::Over { verdict: Verdict::Erased }).unwrap();
    assert!(story.reports(3, last, Verdict::Erased));
    assert_eq!(inherited(&story, &name, &data), []);
}

#[test]
fn what_the_server_judges_otherwise_than_its_agent_releases_no_password() {
    for verdict in [Verdict::ErasedWithExceptions, Verdict::NotErased, Verdict::UnknownStillRunning]
    {
        let mut story = Story::new();
        let (_, data, id) = ordered(&mut story);
        let welcome = story.boots_hercules(2, &data);
        story.given_wipe(2, welcome.sequence).unwrap();
        story.journals(2, id, password()).unwrap();
        story.journals(2, id, WipeStepKind::Over { verdict: Verdict::Erased }).unwrap();
        assert!(story.reports(2, id, verdict));
        assert_eq!(story.fleet.passwords().len(), 1, "{verdict:?}: it may not have come off");
    }
}

#[test]
fn a_disk_that_is_erased_with_exceptions_keeps_no_password_that_is_seen_to_be_gone() {
    let mut story = Story::new();
    let (_, data, id) = ordered(&mut story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    story.journals(2, id, password()).unwrap();
    let mut result = result(Verdict::ErasedWithExceptions);
    result.disks[0].password_went = true;
    let session = Session([2; 32]);
    story.with(|fleet, now, effects| fleet.take_report(session, id, result, now, effects));
    assert!(story.fleet.passwords().is_empty());
}

#[test]
fn a_report_that_comes_late_releases_no_password_that_was_set_since() {
    let mut story = Story::new();
    let (name, data) = leaves_a_password(&mut story);
    let next = story.wipes(2, &name, &data, &request(&["only"])).unwrap();
    let next_password = WipeStepKind::AtaPassword { password: "b6".repeat(32) };
    let after = story.fleet.get(&name).unwrap().sequence - 1;
    assert_eq!(story.given_wipe(2, after).unwrap().order.id, next);
    story.journals(2, next, next_password).unwrap();
    assert!(story.reports(2, OrderId([1; 16]), Verdict::Erased), "of the one before");
    let left: Vec<_> = story.fleet.passwords().iter().map(|left| left.order).collect();
    assert_eq!(left, [next]);
}
