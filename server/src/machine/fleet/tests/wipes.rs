//! Stories of orders to wipe: which system gets them, who continues, what is left of them.

use std::collections::HashMap;

use protocol::{
    EventKind, InventoryDigest, OrderId,
    wipe::{Outcome, PowerLevel, Seed, Verdict, WipeFinish, WipeOptions, WipeStep, WipeStepKind},
};

use super::{installs::Chance, *};
use crate::machine::{
    disk_order::OrderState,
    install::{Choice, ChoiceError, InstallRefusal},
    wipe::{Lot, StepError, WipeRefusal, WipeRequest, WipeResult, WipedDisk},
};

const HERCULES: Boot = Boot::System(System::Hercules);

fn request(disks: &[&str]) -> WipeRequest {
    WipeRequest {
        level: PowerLevel::Full,
        disks: disks.iter().map(|disk| disk.parse::<Choice>().unwrap()).collect(),
        all: disks.is_empty(),
        overwrite: true,
        options: WipeOptions::default(),
        missing: vec![],
        extras: vec![],
        finish: WipeFinish::Reboot,
        within_seconds: 3600,
        ticket: None,
        confirm: None,
        dry_run: false,
    }
}

impl Story {
    fn wipes(
        &mut self,
        number: u8,
        name: &str,
        text: &str,
        request: &WipeRequest,
    ) -> Result<OrderId, WipeRefusal> {
        let lot = Lot { id: OrderId([number; 16]), seed: Seed([number; 32]) };
        self.with(|fleet, now, effects| {
            let plan = fleet.plan_wipe(name, &inventory(text), request, now)?;
            let order = plan.order(lot, "uid 0", now.unix_milliseconds, request);
            fleet.take_disk_order(name, order, now, effects);
            Ok(lot.id)
        })
    }

    /// A machine boots HerculesOS and reports completely.
    fn boots_hercules(&mut self, session: u8, text: &str) -> Welcome {
        self.says_as(session, text, mac(1), true, Some("HerculesOS")).unwrap()
    }

    fn given_wipe(&mut self, session: u8, after: u64) -> Option<protocol::Wipe> {
        match self.asks(session, after, Ok(())).unwrap()?.verb {
            Verb::Wipe(wipe) => Some(*wipe),
            _ => None,
        }
    }

    fn journals(&mut self, session: u8, id: OrderId, kind: WipeStepKind) -> Result<(), StepError> {
        let step = WipeStep { disk: 0, kind };
        let session = Session([session; 32]);
        self.with(|fleet, now, effects| fleet.journal_step(session, id, &step, now, effects))
    }

    fn reports(&mut self, session: u8, id: OrderId, verdict: Verdict) -> bool {
        let disk = WipedDisk { identity: String::new(), verdict, reached: Outcome::Clear };
        let result = WipeResult {
            level: PowerLevel::Full,
            is_done: verdict == Verdict::Erased,
            is_complete: true,
            disks: vec![disk],
            findings: vec![],
            undone: Vec::new(),
            certificate: 1,
        };
        let session = Session([session; 32]);
        self.with(|fleet, now, effects| {
            let may = fleet.reports(session, id).is_some();
            fleet.take_report(session, id, result, now, effects);
            may
        })
    }
}

fn password() -> WipeStepKind {
    WipeStepKind::AtaPassword { password: "a5".repeat(32) }
}

/// A machine with data, which waits in SunshineOS and is ordered to be wiped; returns its name and the order.
fn ordered(story: &mut Story) -> (String, String, OrderId) {
    let data = ONE.replace("blank", "data");
    let (name, _) = story.stands_ready(1, &data);
    let id = story.wipes(1, &name, &data, &request(&["only"])).unwrap();
    (name, data, id)
}

#[test]
fn a_waiting_machine_restarts_into_herculesos_is_wiped_and_then_looked_at_by_sunshineos() {
    let mut story = Story::new();
    let (name, data, id) = ordered(&mut story);
    assert_eq!(story.polls(1, 0).unwrap(), Some(Verb::Reboot {}), "SunshineOS is not told to wipe");
    assert_eq!(story.decides_for(mac(1)), HERCULES);
    let welcome = story.boots_hercules(2, &data);
    assert_eq!(welcome.verb, Verb::Wait {});
    let wipe = story.given_wipe(2, welcome.sequence).unwrap();
    assert_eq!((wipe.order.id, wipe.level, wipe.journal.len()), (id, PowerLevel::Full, 0));
    assert!(wipe.order.disks[0].overwrite);
    story.journals(2, id, WipeStepKind::Canaries {}).unwrap();
    assert!(matches!(story.state(id), OrderState::Running { .. }));
    assert!(story.reports(2, id, Verdict::Erased));
    assert!(matches!(story.state(id), OrderState::Wiped { .. }));
    assert!(!story.reports(2, id, Verdict::NotErased), "once");
    assert_eq!(story.decides_for(mac(1)), SUNSHINE, "what is on its disks nobody knows");
    let after = story.boots(3, &data);
    assert_eq!(after.verb, Verb::RebootAfter { seconds: 60 }, "there is something still");
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
    assert!(story.fleet.get(&name).unwrap().open_order().is_none());
}

#[test]
fn the_boot_after_a_power_cut_continues_with_the_journal_until_the_deadline() {
    let mut story = Story::new();
    let (_, data, id) = ordered(&mut story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    story.journals(2, id, password()).unwrap();
    assert_eq!(story.decides_for(mac(1)), HERCULES);
    let welcome = story.boots_hercules(3, &data);
    assert!(matches!(story.state(id), OrderState::Interrupted { .. }));
    let wipe = story.given_wipe(3, welcome.sequence).unwrap();
    assert_eq!(wipe.order.id, id);
    assert_eq!(wipe.journal, [WipeStep { disk: 0, kind: password() }]);
    assert_eq!(wipe.seed, Seed([1; 32]), "what the boot before wrote is known");
    let boots = story.fleet.find_order(id).unwrap().1.wipe().unwrap().boots.clone();
    assert_eq!(boots, [Session([2; 32]), Session([3; 32])]);
    story.journals(3, id, WipeStepKind::Verify {}).unwrap();
    story.seconds += 40_000;
    story.with(Fleet::expire);
    assert!(matches!(story.state(id), OrderState::Running { .. }), "begun in time, it goes on");
    story.boots_hercules(4, &data);
    let OrderState::Failed { reason, touched: true, .. } = story.state(id) else {
        panic!("{:?}", story.state(id))
    };
    assert!(reason.starts_with("interrupted"), "{reason}");
}

#[test]
fn who_still_wipes_after_it_was_replaced_holds_the_machine() {
    let progress = |id| {
        let progress =
            protocol::wipe::WipeProgress { order: id, elapsed_milliseconds: 1, disks: vec![] };
        EventKind::WipeProgress(Box::new(progress))
    };
    for (is_given, says_step) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut story = Story::new();
        let (name, data, id) = ordered(&mut story);
        let welcome = story.boots_hercules(2, &data);
        story.given_wipe(2, welcome.sequence).unwrap();
        story.journals(2, id, password()).unwrap();
        let welcome = story.boots_hercules(3, &data);
        assert!(matches!(story.state(id), OrderState::Interrupted { .. }));
        if is_given {
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
fn an_interrupted_wipe_that_nobody_continues_is_over_at_its_deadline() {
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
    assert!(matches!(story.state(id), OrderState::Failed { touched: true, .. }));
    assert_eq!(story.decides_for(mac(1)), SUNSHINE, "it waits where it can be reached");
    // The next order for that disk knows the password.
    let next = story.wipes(2, &name, &data, &request(&["only"])).unwrap();
    let welcome = story.boots_hercules(4, &data);
    let wipe = story.given_wipe(4, welcome.sequence).unwrap();
    assert_eq!((wipe.order.id, wipe.journal), (next, vec![WipeStep { disk: 0, kind: password() }]));
}

#[test]
fn a_password_outlives_its_order_until_its_disk_is_erased() {
    let mut story = Story::new();
    let (name, data, id) = ordered(&mut story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    story.journals(2, id, password()).unwrap();
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)).unwrap();
    let idle = WipeRequest { level: PowerLevel::Idle, ..request(&["only"]) };
    for number in 2..20 {
        let other = story.wipes(number, &name, &data, &idle).unwrap();
        story.with(|fleet, now, effects| fleet.cancel_order(other, "uid 0", now, effects)).unwrap();
    }
    let plan = story.fleet.plan_wipe(&name, &inventory(&data), &idle, story.now()).unwrap();
    assert_eq!(plan.inherited, [WipeStep { disk: 0, kind: password() }]);
    // Once it is erased, the password is of no use any more.
    let last = story.wipes(20, &name, &data, &request(&["only"])).unwrap();
    let welcome = story.boots_hercules(3, &data);
    story.given_wipe(3, welcome.sequence).unwrap();
    story.journals(3, last, WipeStepKind::Over { verdict: Verdict::Erased }).unwrap();
    assert!(story.reports(3, last, Verdict::Erased));
    let plan = story.fleet.plan_wipe(&name, &inventory(&data), &idle, story.now()).unwrap();
    assert!(plan.inherited.is_empty());
}

#[test]
fn only_the_right_system_is_told() {
    let mut story = Story::new();
    let (name, data, id) = ordered(&mut story);
    let welcome = story.says_as(2, &data, mac(1), true, Some("AtlasOS")).unwrap();
    assert_eq!(story.asks(2, welcome.sequence, Ok(())), Ok(None), "it is neither");
    assert!(story.fleet.find_order(id).unwrap().1.held_back.is_some());
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)).unwrap();
    let install = story.installs(2, &name, &data, &installs::request("only", true)).unwrap();
    let welcome = story.boots_hercules(3, &data);
    let next = story.asks(3, welcome.sequence, Ok(())).unwrap().unwrap();
    assert_eq!(next.verb, Verb::Reboot {}, "HerculesOS is not told to install");
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    let welcome = story.boots(4, &data);
    assert_eq!(story.given(4, welcome.sequence), Some(install));
}

#[test]
fn who_boots_sunshineos_again_and_again_is_left_alone() {
    let mut story = Story::new();
    let (_, data, id) = ordered(&mut story);
    for session in 2..4 {
        let welcome = story.boots(session, &data);
        let next = story.asks(session, welcome.sequence, Ok(())).unwrap().unwrap();
        assert_eq!(next.verb, Verb::Reboot {});
    }
    let welcome = story.boots(4, &data);
    assert_eq!(story.asks(4, welcome.sequence, Ok(())), Ok(None));
    let held_back = story.fleet.find_order(id).unwrap().1.held_back.clone();
    assert!(held_back.is_some_and(|reason| reason.contains("from the network")));
    let welcome = story.boots_hercules(5, &data);
    assert!(story.given_wipe(5, welcome.sequence).is_some());
}

#[test]
fn herculesos_without_an_order_goes_back() {
    let mut story = Story::new();
    let (_, after) = story.stands_ready(1, ONE);
    assert_eq!(story.polls(1, after).unwrap(), None);
    let welcome = story.boots_hercules(2, ONE);
    assert_eq!(welcome.verb, Verb::RebootAfter { seconds: 60 });
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
}

#[test]
fn a_report_is_taken_late_from_who_had_the_order_and_from_nobody_else() {
    let mut story = Story::new();
    let (_, data, id) = ordered(&mut story);
    assert!(!story.reports(1, id, Verdict::Erased), "it never had it");
    let welcome = story.boots_hercules(2, &data);
    assert!(!story.reports(2, id, Verdict::Erased), "not yet");
    story.given_wipe(2, welcome.sequence).unwrap();
    story.journals(2, id, WipeStepKind::Canaries {}).unwrap();
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)).unwrap();
    assert_eq!(story.journals(2, id, WipeStepKind::Verify {}), Err(StepError::NotItsOrder));
    story.seconds += 100_000;
    assert!(story.reports(2, id, Verdict::NotErased));
    assert!(matches!(story.state(id), OrderState::Wiped { .. }));
    assert_eq!(story.decides_for(mac(1)), SUNSHINE, "who failed waits");
}

#[test]
fn nothing_is_handed_out_or_wiped_by_others_words() {
    let mut story = Story::new();
    let (_, data, id) = ordered(&mut story);
    let welcome = story.boots_hercules(2, &data);
    let asked = story.asks(2, welcome.sequence, Err("the clock".to_owned()));
    assert_eq!(asked, Ok(None));
    story.given_wipe(2, welcome.sequence).unwrap();
    story.tells(2, &crate::machine::disk_order::tests::installed(1));
    assert!(matches!(story.state(id), OrderState::Given { .. }), "no install is done by that");
    let other = OrderId([9; 16]);
    assert_eq!(story.journals(2, other, password()), Err(StepError::NotItsOrder));
    let failed = EventKind::OrderFailed { order: id, reason: "no disk".to_owned(), touched: false };
    story.tells(2, &failed);
    assert!(matches!(story.state(id), OrderState::Failed { touched: false, .. }));
}

#[test]
fn a_change_of_the_machine_voids_a_wipe_that_was_begun_too() {
    let mut story = Story::new();
    let (name, data, id) = ordered(&mut story);
    let welcome = story.boots_hercules(2, &data);
    story.given_wipe(2, welcome.sequence).unwrap();
    let changed = format!("{data} disk=z:data");
    let welcome = story.boots_hercules(3, &changed);
    assert_eq!(welcome.machine, name);
    assert_eq!(story.given_wipe(3, welcome.sequence), None);
    assert!(matches!(story.state(id), OrderState::Failed { touched: true, .. }));
}

#[test]
fn every_refusal_of_a_wipe_is_said() {
    let mut story = Story::new();
    let two = ONE.replace("disk=a:blank", "disk=a:data disk=b:blank");
    let (name, _) = story.stands_ready(1, &two);
    let refused = |request: &WipeRequest| {
        let lot = story.fleet.plan_wipe(&name, &inventory(&two), request, story.now());
        lot.unwrap_err()
    };
    let one = request(&["S3Z1NB0K-a"]);
    let both = WipeRequest { all: true, ..one.clone() };
    assert_eq!(refused(&both), WipeRefusal::WhichDisks);
    let none = WipeRequest { all: false, ..request(&[]) };
    assert_eq!(refused(&none), WipeRefusal::WhichDisks);
    let blank_only = WipeRequest { overwrite: false, ..one.clone() };
    assert!(matches!(refused(&blank_only), WipeRefusal::Disk(ChoiceError::HasData { .. })));
    let kernels = request(&["/dev/sda"]);
    assert!(matches!(refused(&kernels), WipeRefusal::Disk(ChoiceError::KernelName(_))));
    let long = WipeRequest { within_seconds: 86_401, ..one.clone() };
    assert_eq!(refused(&long), WipeRefusal::Order(InstallRefusal::Within(86_401)));
    let passes = WipeOptions { passes: Some(3), ..WipeOptions::default() };
    let passes = WipeRequest { options: passes, ..one.clone() };
    assert_eq!(refused(&passes), WipeRefusal::Passes);
    let there = WipeRequest { missing: vec!["S3Z1NB0K-a".to_owned()], ..one.clone() };
    assert!(matches!(refused(&there), WipeRefusal::NotMissing(_)));
    let unknown = WipeRequest { missing: vec!["X".to_owned()], ..one.clone() };
    assert!(matches!(refused(&unknown), WipeRefusal::NeverSeen(_)));
    let ticket = WipeRequest { ticket: Some("a\nb".to_owned()), ..one };
    assert_eq!(refused(&ticket), WipeRefusal::Ticket);
}

#[test]
fn a_disk_that_went_away_may_be_called_missing() {
    let mut story = Story::new();
    let two = ONE.replace("disk=a:blank", "disk=a:data disk=b:data");
    let (name, _) = story.stands_ready(1, &two);
    let one = ONE.replace("blank", "data");
    story.boots(2, &one);
    story.approve(&name).unwrap();
    let request =
        WipeRequest { missing: vec!["s3z1nb0k-b".to_owned()], ..request(&["S3Z1NB0K-a"]) };
    let plan = story.fleet.plan_wipe(&name, &inventory(&one), &request, story.now()).unwrap();
    assert_eq!(plan.missing[0].serial.as_deref(), Some("S3Z1NB0K-b"));
    assert_eq!(plan.missing[0].size_bytes, Bytes(480 << 30));
}

#[test]
fn a_dying_disk_that_is_called_missing_may_come_and_go() {
    let mut story = Story::new();
    let two = ONE.replace("disk=a:blank", "disk=a:data disk=b:unread");
    let one = ONE.replace("blank", "data");
    let (name, _) = story.stands_ready(1, &two);
    let request =
        WipeRequest { missing: vec!["S3Z1NB0K-b".to_owned()], ..request(&["S3Z1NB0K-a"]) };
    let id = story.wipes(1, &name, &two, &request).unwrap();
    let welcome = story.boots_hercules(2, &one);
    let wipe = story.given_wipe(2, welcome.sequence).unwrap();
    assert_eq!((wipe.order.id, wipe.missing.len()), (id, 1));
    let welcome = story.boots_hercules(3, &two);
    assert!(story.given_wipe(3, welcome.sequence).is_some(), "continued with it");
    let other = format!("{one} disk=z:data");
    let welcome = story.boots_hercules(4, &other);
    assert_eq!(story.given_wipe(4, welcome.sequence), None, "another one is another machine");
}

#[test]
fn all_fixed_disks_are_all_and_the_rest_is_named() {
    let mut story = Story::new();
    let two = ONE.replace("disk=a:blank", "disk=a:data disk=b:blank");
    let (name, _) = story.stands_ready(1, &two);
    let plan = story.fleet.plan_wipe(&name, &inventory(&two), &request(&[]), story.now()).unwrap();
    assert_eq!((plan.disks.len(), plan.others.len()), (2, 0));
    let one = request(&["S3Z1NB0K-b"]);
    let plan = story.fleet.plan_wipe(&name, &inventory(&two), &one, story.now()).unwrap();
    assert_eq!(plan.others[0].serial.as_deref(), Some("S3Z1NB0K-a"));
}

/// What was seen from outside in one story.
#[derive(Default)]
struct Seen {
    sessions: u8,
    orders: u8,
    /// Which system each session said it is.
    systems: HashMap<u8, Option<&'static str>>,
    shown: HashMap<u8, InventoryDigest>,
    after: HashMap<u8, u64>,
    /// Who was given an order last.
    given: HashMap<OrderId, u8>,
    wipes: usize,
    continued: usize,
}

impl Seen {
    fn announces(&mut self, story: &mut Story, session: u8, text: &str, chance: &mut Chance) {
        let known = self.systems.get(&session).copied();
        let systems = [None, Some("SunshineOS"), Some("HerculesOS"), Some("HerculesOS"), Some("x")];
        let system = known.unwrap_or_else(|| chance.of(&systems));
        self.systems.insert(session, system);
        let complete = chance.below(5) > 0;
        if let Ok(welcome) = story.says_as(session, text, mac(1), complete, system) {
            self.after.insert(session, welcome.sequence);
            if complete {
                self.shown.insert(session, InventoryDigest::of(&inventory(text)));
            }
        }
    }

    /// Whatever leaves the server is checked against what was seen.
    fn asks(&mut self, story: &mut Story, session: u8, chance: &mut Chance) {
        let after = self.after.get(&session).copied().unwrap_or(0);
        let is_fit = chance.below(8) > 0;
        let fit = if is_fit { Ok(()) } else { Err("the clock".to_owned()) };
        let Ok(Some(instruction)) = story.asks(session, after, fit) else { return };
        if chance.below(2) == 0 {
            self.after.insert(session, instruction.sequence);
        }
        let system = self.systems.get(&session).copied().flatten();
        let order = match &instruction.verb {
            Verb::Wipe(wipe) => {
                assert_eq!(system, Some("HerculesOS"), "only HerculesOS wipes");
                self.wipes += 1;
                &wipe.order
            }
            Verb::Install(install) => {
                assert!(matches!(system, None | Some("SunshineOS")), "only SunshineOS installs");
                &install.order
            }
            _ => return,
        };
        assert!(is_fit, "the clock is in doubt");
        let now = story.now().unix_milliseconds;
        assert!(now < order.deadline_unix_milliseconds, "late");
        let (machine, kept) = story.fleet.find_order(order.id).unwrap();
        assert!(machine.is_approved() && kept.is_with(Session([session; 32])));
        assert_eq!(self.shown.get(&session), Some(&order.inventory), "another machine's");
        if let Some(before) = self.given.insert(order.id, session)
            && before != session
        {
            assert!(kept.wipe().is_some(), "an install is given to one boot");
            self.continued += 1;
        }
    }
}

#[test]
fn thousands_of_tangled_stories_wipe_nothing_by_the_wrong_hands() {
    let (mut wipes, mut continued, mut reported) = (0, 0, 0);
    for seed in 0..4_000 {
        let mut chance = Chance(seed);
        let (mut story, mut seen) = (Story::new(), Seen::default());
        let shapes = [ONE.to_owned(), ONE.replace("blank", "data"), TWO.to_owned()];
        for text in [ONE, TWO] {
            seen.sessions += 1;
            let session = seen.sessions;
            seen.announces(&mut story, session, text, &mut chance);
        }
        drop(story.approve("4q5hmp2"));
        for _ in 0..28 {
            let session = 1 + u8::try_from(chance.below(u64::from(seen.sessions))).unwrap();
            let newest = seen.sessions;
            let session = if chance.below(4) > 0 { newest } else { session };
            let number = seen.orders.max(1);
            let id = OrderId([number; 16]);
            match chance.below(20) {
                0..=2 => {
                    seen.sessions += 1;
                    let text = chance.of(&shapes[..2]);
                    seen.announces(&mut story, newest + 1, &text, &mut chance);
                }
                3 => {
                    let text = match chance.below(6) {
                        0 => shapes[2].clone(),
                        1 => format!("{ONE} disk=z:data"),
                        _ => chance.of(&shapes[..2]),
                    };
                    seen.announces(&mut story, session, &text, &mut chance);
                }
                4 => drop(story.approve("4q5hmp2")),
                5 | 6 => {
                    seen.orders += 1;
                    let text = chance.of(&shapes[..2]);
                    drop(story.wipes(seen.orders, "4q5hmp2", &text, &request(&["only"])));
                }
                7 => {
                    seen.orders += 1;
                    let wanted = installs::request("only", true);
                    drop(story.installs(seen.orders, "4q5hmp2", ONE, &wanted));
                }
                8 => drop(
                    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)),
                ),
                9 => story.seconds += chance.of(&[60, 1800, 4000]),
                10 | 11 => {
                    let taken = story.journals(session, id, password());
                    assert!(taken.is_err() || seen.given.get(&id) == Some(&session), "seed {seed}");
                }
                12..=14 => {
                    let taken = story.reports(session, id, Verdict::Erased);
                    assert!(!taken || seen.given.get(&id) == Some(&session), "seed {seed}");
                    reported += usize::from(taken);
                }
                _ => seen.asks(&mut story, session, &mut chance),
            }
            for machine in story.fleet.machines() {
                let open = machine.orders.iter().filter(|order| order.is_open()).count();
                assert!(open <= 1, "seed {seed}");
                let kept = machine.orders.iter().filter(|order| !order.is_open());
                assert!(kept.into_iter().all(|order| order.verb().is_none()), "seed {seed}");
            }
        }
        wipes += seen.wipes;
        continued += seen.continued;
    }
    let seen = format!("{wipes} wipes given, {continued} continued, {reported} reported");
    assert!(wipes > 500 && continued > 20 && reported > 50, "too tame: {seen}");
}
