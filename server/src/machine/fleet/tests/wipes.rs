//! Stories of orders to wipe: which system gets them, who continues, what is left of them.

use protocol::{
    EventKind, InventoryDigest, OrderId,
    wipe::{Outcome, PowerLevel, Seed, Verdict, WipeFinish, WipeOptions, WipeStep, WipeStepKind},
};

use super::{installs::Chance, *};
use crate::machine::{
    DiskOrder,
    disk_order::OrderState,
    install::{Choice, ChoiceError, InstallRefusal},
    wipe::{Lot, StepError, WipeRefusal, WipeRequest, WipeResult, WipedDisk},
};

mod continued;
mod lost;
mod network;
mod passwords;
mod tangled;

const HERCULES: Boot = Boot::System(System::Hercules);

pub(super) fn request(disks: &[&str]) -> WipeRequest {
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
    pub(super) fn wipes(
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

    /// The boot that had an order is gone for so long that another one may have it.
    fn falls_silent(&mut self) {
        self.seconds += ALIVE.as_secs();
    }

    fn journals(&mut self, session: u8, id: OrderId, kind: WipeStepKind) -> Result<(), StepError> {
        let step = WipeStep { disk: 0, kind };
        let session = Session([session; 32]);
        self.with(|fleet, now, effects| fleet.journal_step(session, id, &step, now, effects))
    }

    fn reports(&mut self, session: u8, id: OrderId, verdict: Verdict) -> bool {
        let session = Session([session; 32]);
        self.with(|fleet, now, effects| {
            let may = fleet.reports(session, id).is_some();
            fleet.take_report(session, id, result(verdict), now, effects);
            may
        })
    }
}

/// What a wipe of one disk came to.
fn result(verdict: Verdict) -> WipeResult {
    let disk = WipedDisk {
        identity: String::new(),
        verdict,
        reached: Outcome::Clear,
        password_went: false,
    };
    WipeResult {
        level: PowerLevel::Full,
        is_done: verdict == Verdict::Erased,
        is_complete: true,
        disks: vec![disk],
        findings: vec![],
        undone: Vec::new(),
        certificate: 1,
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
fn who_boots_herculesos_again_and_again_is_not_restarted_for_an_install_for_ever() {
    let mut story = Story::new();
    let (name, _) = story.stands_ready(1, ONE);
    let install = installs::request("only", false);
    story.boots_hercules(2, ONE);
    let id = story.installs(1, &name, ONE, &install).unwrap();
    for session in 3..5 {
        let welcome = story.boots_hercules(session, ONE);
        let next = story.asks(session, welcome.sequence, Ok(())).unwrap().unwrap();
        assert_eq!(next.verb, Verb::Reboot {});
    }
    let welcome = story.boots_hercules(5, ONE);
    assert_eq!(story.asks(5, welcome.sequence, Ok(())), Ok(None));
    let held_back = story.fleet.find_order(id).unwrap().1.held_back.clone();
    assert!(held_back.is_some_and(|reason| reason.contains("from the network")));
    let welcome = story.boots(6, ONE);
    assert_eq!(story.given(6, welcome.sequence), Some(id));
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
    story.falls_silent();
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
