//! Stories of orders to install: who gets them, who does not, what is left of them.

use std::collections::HashMap;

use protocol::{EventKind, InventoryDigest, OrderId, install::Finish};

use super::*;
use crate::machine::{
    disk_order::{
        OrderState,
        tests::{installed, progress},
    },
    install::{Choice, Drawn, ImageFacts, InstallRefusal, InstallRequest},
};

pub(super) fn request(disk: &str, overwrite: bool) -> InstallRequest {
    InstallRequest {
        image: "https://images.example/debian.raw".to_owned(),
        mirrors: vec![],
        sha256: None,
        token: None,
        map: None,
        disk: disk.parse::<Choice>().unwrap(),
        overwrite,
        within_seconds: 3600,
        steps: vec![],
        seed: crate::seed::Seed::default(),
        finish: Finish::Reboot,
        dry_run: false,
    }
}

fn facts(request: &InstallRequest) -> ImageFacts {
    request.foreign().unwrap()
}

impl Story {
    /// A person orders; the order's name is the number.
    pub(super) fn installs(
        &mut self,
        number: u8,
        name: &str,
        text: &str,
        request: &InstallRequest,
    ) -> Result<OrderId, InstallRefusal> {
        let (id, image) = (OrderId([number; 16]), facts(request));
        let drawn = Drawn { id, token: [number; 16] };
        self.with(|fleet, now, effects| {
            let plan = fleet.plan_install(name, &inventory(text), request, &image, now)?;
            let order = plan.order(drawn, "uid 0", now.unix_milliseconds, request, &image)?;
            fleet.take_disk_order(name, order, now, effects);
            Ok(id)
        })
    }

    /// A session asks for what comes after a number.
    pub(super) fn asks(
        &mut self,
        session: u8,
        after: u64,
        fit: Result<(), String>,
    ) -> Result<Option<Instruction>, UnknownSession> {
        let session = Session([session; 32]);
        self.with(|fleet, now, effects| {
            let Some(next) = fleet.poll(session, after, now, effects)? else { return Ok(None) };
            Ok(match fleet.hand_out(session, &next, fit, now, effects) {
                Handing::Out(instruction) => Some(instruction),
                Handing::Not => None,
            })
        })
    }

    /// A session asks, and says which order it was given.
    pub(super) fn given(&mut self, session: u8, after: u64) -> Option<OrderId> {
        match self.asks(session, after, Ok(())).unwrap()?.verb {
            Verb::Install(install) => Some(install.order.id),
            _ => None,
        }
    }

    pub(super) fn tells(&mut self, session: u8, kind: &EventKind) {
        let session = Session([session; 32]);
        self.with(|fleet, now, effects| fleet.agent_says(session, kind, now, effects));
    }

    pub(super) fn state(&self, id: OrderId) -> &OrderState {
        &self.fleet.find_order(id).unwrap().1.state
    }

    /// An approved machine, waiting; returns the number that its agent listens after.
    pub(super) fn stands_ready(&mut self, session: u8, text: &str) -> (String, u64) {
        let welcome = self.boots(session, text);
        self.approve(&welcome.machine).unwrap();
        (welcome.machine, welcome.sequence)
    }
}

#[test]
fn a_machine_that_waits_is_given_its_order_and_then_boots_its_own_disk() {
    let mut story = Story::new();
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    assert_eq!(story.given(1, after), Some(id));
    assert_eq!(story.given(1, after), Some(id), "the answer was lost");
    story.tells(1, &EventKind::Progress(Box::new(progress(1))));
    assert_eq!(story.fleet.get(&name).unwrap().open_order().unwrap().percent(), Some(43));
    story.tells(1, &installed(1));
    assert!(matches!(story.state(id), OrderState::Done { .. }));
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
    let install = story.fleet.find_order(id).unwrap().1.install().unwrap();
    assert!(install.install.is_none(), "its secrets are gone with it");
}

#[test]
fn a_blank_machine_boots_its_own_disk_after_an_install_also_when_firmware_asks_first() {
    let mut story = Story::new();
    let (name, after) = story.stands_ready(1, ONE);
    story.seconds += 600;
    assert_eq!(story.decides_for(mac(1)), SUNSHINE, "all its disks are blank");
    story.installs(1, &name, ONE, &request("only", false)).unwrap();
    story.given(1, after).unwrap();
    story.tells(1, &installed(1));
    // The installed system was never seen by an agent, however often it starts.
    for _ in 0..3 {
        story.seconds += 86_400;
        assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
    }
}

#[test]
fn what_would_be_served_is_forgotten_when_its_time_is_over_or_nothing_comes_of_it() {
    let mut story = Story::new();
    story.fleet.metadata = Some("http://10.0.0.1:7480".to_owned());
    let seed = crate::seed::Seed { phone_home: true, ..crate::seed::Seed::default() };
    let request = InstallRequest { seed, ..request("only", true) };
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request).unwrap();
    let is_kept =
        |story: &Story| story.fleet.find_order(id).unwrap().1.install().unwrap().served.is_some();
    story.given(1, after).unwrap();
    story.tells(1, &installed(1));
    story.seconds += 86_000;
    story.with(Fleet::expire);
    assert!(is_kept(&story));
    story.seconds += 400;
    story.with(Fleet::expire);
    assert!(!is_kept(&story));
    let id = story.installs(2, &name, ONE, &request).unwrap();
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects)).unwrap();
    assert!(story.fleet.find_order(id).unwrap().1.install().unwrap().served.is_none());
}

#[test]
fn a_machine_that_is_off_finds_its_order_at_its_next_boot() {
    let mut story = Story::new();
    let data = ONE.replace("blank", "data");
    let (name, _) = story.stands_ready(1, &data);
    story.seconds += 600;
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
    let id = story.installs(1, &name, &data, &request("only", true)).unwrap();
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    let welcome = story.says(2, &data, mac(1), false).unwrap();
    assert_eq!(story.given(2, welcome.sequence), None, "it has not seen all of itself");
    let welcome = story.says(2, &data, mac(1), true).unwrap();
    assert_eq!(welcome.verb, Verb::Wait {}, "and not: restart after a minute");
    assert_eq!(story.given(2, welcome.sequence), Some(id));
}

#[test]
fn an_order_waits_until_its_deadline_and_not_longer() {
    let mut story = Story::new();
    let data = ONE.replace("blank", "data");
    let (name, _) = story.stands_ready(1, &data);
    let id = story.installs(1, &name, &data, &request("only", true)).unwrap();
    story.seconds += 3600;
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
    let welcome = story.boots(2, &data);
    assert_eq!(story.given(2, welcome.sequence), None);
    assert!(matches!(story.state(id), OrderState::Expired { .. }));
}

#[test]
fn nothing_is_handed_out_while_the_clock_is_in_doubt() {
    let mut story = Story::new();
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    for _ in 0..3 {
        let asked = story.asks(1, after, Err("not synchronised".to_owned()));
        assert_eq!(asked, Ok(None));
    }
    let order = story.fleet.find_order(id).unwrap().1;
    assert_eq!(order.held_back.as_deref(), Some("not synchronised"));
    let said = story.entries.iter().filter(|entry| matches!(entry.what, What::Order { .. }));
    assert_eq!(said.count(), 1, "once");
    assert_eq!(story.given(1, after), Some(id));
    assert_eq!(story.fleet.find_order(id).unwrap().1.held_back, None);
}

#[test]
fn an_answer_that_was_lost_is_not_repeated_while_the_clock_is_in_doubt() {
    let mut story = Story::new();
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    assert_eq!(story.given(1, after), Some(id));
    let asked = story.asks(1, after, Err("behind its own journal".to_owned()));
    assert_eq!(asked, Ok(None));
    assert!(matches!(story.state(id), OrderState::Given { .. }));
    assert_eq!(story.given(1, after), Some(id), "trusted again");
}

#[test]
fn a_change_of_the_machine_voids_its_order() {
    let changes = [
        ONE.replace("disk=a:blank", "disk=a:blank disk=z:blank"),
        ONE.replace("disk=a", "disk=b"),
        ONE.replace("serial=4Q5HMP2", "serial=4Q5HMP2 board=B1"),
        format!("{ONE} mac=9"),
        ONE.replace("mac=2", ""),
    ];
    for changed in changes {
        let mut story = Story::new();
        let (name, _) = story.stands_ready(1, ONE);
        let id = story.installs(1, &name, ONE, &request("S3Z1NB0K-a", false)).unwrap();
        let welcome = story.boots(2, &changed);
        assert_eq!(welcome.machine, name, "{changed}");
        assert_eq!(story.given(2, welcome.sequence), None, "{changed}");
        assert!(matches!(story.state(id), OrderState::Cancelled { .. }), "{changed}");
        let back = story.boots(3, ONE);
        assert_eq!(story.given(3, back.sequence), None, "it does not come back: {changed}");
    }
}

#[test]
fn two_agents_at_once_get_nothing() {
    let mut story = Story::new();
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    let welcome = story.boots(2, ONE);
    assert_eq!(story.asks(1, after, Ok(())).unwrap(), None);
    assert!(matches!(story.approval(&name), Approval::Held { .. }));
    assert_eq!(story.given(2, welcome.sequence), None);
    assert!(matches!(story.state(id), OrderState::Cancelled { .. }));
}

#[test]
fn who_restarts_in_the_middle_stays_where_it_can_be_reached() {
    let mut story = Story::new();
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    assert_eq!(story.given(1, after), Some(id));
    let half = ONE.replace("blank", "data");
    let welcome = story.boots(2, &half);
    assert!(matches!(story.state(id), OrderState::Failed { touched: true, .. }));
    assert_eq!(welcome.verb, Verb::Wait {});
    assert_eq!(story.given(2, welcome.sequence), None);
    story.tells(2, &installed(1));
    story.tells(1, &installed(1));
    assert!(matches!(story.state(id), OrderState::Failed { .. }), "nobody makes it good");
    assert_eq!(story.decides_for(mac(1)), SUNSHINE);
    let again = story.installs(2, &name, &half, &request("only", true)).unwrap();
    let after = welcome.sequence;
    assert_eq!(story.given(2, after), Some(again));
    story.tells(2, &installed(2));
    assert_eq!(story.decides_for(mac(1)), Boot::OwnDisk);
}

#[test]
fn a_machine_whose_order_failed_untouched_goes_its_way_again() {
    let mut story = Story::new();
    let data = ONE.replace("blank", "data");
    let (name, after) = story.stands_ready(1, &data);
    let id = story.installs(1, &name, &data, &request("only", true)).unwrap();
    let given = story.asks(1, after, Ok(())).unwrap().unwrap();
    let reason = "another serial number".to_owned();
    story.tells(1, &EventKind::Refused { sequence: Some(given.sequence), reason });
    assert!(matches!(story.state(id), OrderState::Failed { touched: false, .. }));
    let next = story.asks(1, given.sequence, Ok(())).unwrap().unwrap();
    assert_eq!(next.verb, Verb::RebootAfter { seconds: 60 });
}

#[test]
fn an_order_that_was_not_heard_of_comes_again_after_another_announcement() {
    let mut story = Story::new();
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    assert_eq!(story.given(1, after), Some(id));
    let again = story.boots(1, ONE);
    assert_eq!(story.given(1, again.sequence), Some(id));
    let heard = story.fleet.get(&name).unwrap().sequence;
    assert_eq!(story.given(1, heard), None, "it was heard");
    assert_eq!(story.given(1, again.sequence), None);
}

#[test]
fn simple_orders_neither_lose_an_install_nor_disturb_it() {
    let mut story = Story::new();
    let (name, after) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    story.order(&name, Order::Wait).unwrap();
    assert_eq!(story.given(1, after), Some(id));
    story.order(&name, Order::Release).unwrap();
    for order in [Order::Reboot, Order::PowerOff, Order::Announce] {
        let busy = OrderError::Busy { name: name.clone() };
        assert_eq!(story.order(&name, order), Err(busy));
    }
    assert!(matches!(story.state(id), OrderState::Given { .. }));
}

#[test]
fn a_new_order_waits_for_the_end_of_the_old_one() {
    let mut story = Story::new();
    let (name, _) = story.stands_ready(1, ONE);
    let id = story.installs(1, &name, ONE, &request("only", false)).unwrap();
    let pending = story.installs(2, &name, ONE, &request("only", false));
    assert!(matches!(pending, Err(InstallRefusal::Pending { id: open, .. }) if open == id));
    story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 7", now, effects)).unwrap();
    assert!(
        matches!(story.state(id), OrderState::Cancelled { reason, .. } if reason.contains("uid 7"))
    );
    story.installs(2, &name, ONE, &request("only", false)).unwrap();
}

#[test]
fn every_refusal_that_is_about_the_machine_is_said() {
    let mut story = Story::new();
    let nobody = story.installs(1, "nobody", ONE, &request("only", false));
    assert_eq!(nobody, Err(InstallRefusal::NoMachine("nobody".to_owned())));
    let name = story.says(1, ONE, mac(1), false).unwrap().machine;
    let install = |story: &mut Story, text: &str, request: &InstallRequest| {
        story.installs(1, &name, text, request).unwrap_err()
    };
    let only = request("only", false);
    assert_eq!(install(&mut story, ONE, &only), InstallRefusal::NotApproved(name.clone()));
    story.boots(1, ONE);
    assert_eq!(install(&mut story, ONE, &only), InstallRefusal::NotApproved(name.clone()));
    story.approve(&name).unwrap();
    let other = ONE.replace("disk=a", "disk=b");
    assert_eq!(install(&mut story, &other, &only), InstallRefusal::Unstored(name.clone()));
    for within_seconds in [0, 86_401, u64::MAX] {
        let long = InstallRequest { within_seconds, ..only.clone() };
        assert_eq!(install(&mut story, ONE, &long), InstallRefusal::Within(within_seconds));
    }
    let secret = protocol::install::Secret("x".repeat((256 << 10) + 1));
    let seed = protocol::install::Step::Seed {
        meta_data: secret.clone(),
        user_data: secret,
        network_config: None,
        vendor_data: None,
    };
    let long = InstallRequest { steps: vec![seed], ..only.clone() };
    assert_eq!(install(&mut story, ONE, &long), InstallRefusal::Steps);
    for (path, mode) in
        [("etc/motd", 0o644), ("/etc/../shadow", 0o644), ("/etc//x", 0o644), ("/x", 0o4755)]
    {
        let files = vec![protocol::install::InstalledFile {
            path: path.to_owned(),
            mode,
            content: protocol::install::Secret("ahoy".to_owned()),
        }];
        let step = protocol::install::Step::WriteFiles { partition: None, files };
        let wrong = InstallRequest { steps: vec![step], ..only.clone() };
        assert_eq!(install(&mut story, ONE, &wrong), InstallRefusal::File(path.to_owned()));
    }
    let unknown = install(&mut story, ONE, &request("S3Z1NB0K-x", false));
    assert!(matches!(unknown, InstallRefusal::Disk(_)), "{unknown}");
    story.fleet.amend(&name, |machine| machine.claimed_by = Some("capi/one".to_owned()));
    let claimed = install(&mut story, ONE, &only);
    assert!(matches!(claimed, InstallRefusal::Claimed { .. }), "{claimed}");
    story.fleet.amend(&name, |machine| machine.claimed_by = None);
    story.boots(2, ONE);
    story.polls(1, 0).unwrap();
    let held = install(&mut story, ONE, &only);
    assert!(matches!(held, InstallRefusal::Held { .. }), "{held}");
}

#[test]
fn a_machine_that_nothing_tells_from_others_gets_no_order() {
    let mut story = Story::new();
    let text = format!("{GARBAGE} usb=9 disk=a:blank");
    let (name, _) = story.stands_ready(1, &text);
    let refused = story.installs(1, &name, &text, &request("only", false));
    assert_eq!(refused, Err(InstallRefusal::NoIdentity(name)));
}

#[test]
fn a_disk_that_two_machines_show_is_nobodys_target() {
    let mut story = Story::new();
    let (name, _) = story.stands_ready(1, ONE);
    story.boots(2, &TWO.replace("disk=b", "disk=a"));
    let refused = story.installs(1, &name, ONE, &request("only", false)).unwrap_err();
    assert!(refused.to_string().contains("4q5hmp3 shows it too"), "{refused}");
}

/// Numbers that look like chance and are the same each time (splitmix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        let index = self.below(u64::try_from(choices.len()).unwrap());
        choices[usize::try_from(index).unwrap()].clone()
    }
}

/// What was seen from outside in one story.
#[derive(Default)]
struct Seen {
    sessions: u8,
    orders: u8,
    /// What each session showed completely, last.
    shown: HashMap<u8, InventoryDigest>,
    after: HashMap<u8, u64>,
    /// Who was given an order, as which instruction.
    given: HashMap<OrderId, (u8, u64)>,
    /// Who said of which order that it is done, after it was given.
    reported: HashMap<OrderId, u8>,
}

const SHAPES: [&str; 2] = [ONE, TWO];

fn shape(chance: &mut Chance) -> String {
    let text = chance.of(&SHAPES).to_owned();
    match chance.below(24) {
        0 => format!("{text} disk=z:data"),
        1 => text.replace("serial=", "board=X1 serial="),
        2 => text.replace("blank", "data"),
        3 => text.replace("disk=b", "disk=a"),
        _ => text,
    }
}

fn acts(story: &mut Story, seen: &mut Seen, chance: &mut Chance) {
    // Mostly those of this moment, sometimes anybody's.
    let mut of = |newest: u8, spread: u64| {
        let bound = if chance.below(4) == 0 { u64::from(newest) + 1 } else { spread };
        newest.saturating_sub(u8::try_from(chance.below(bound)).unwrap())
    };
    let (session, number) = (of(seen.sessions, 2), of(seen.orders, 1));
    let name = chance.of(&["4q5hmp2", "4q5hmp3"]);
    match chance.below(20) {
        0 => {
            seen.sessions += 1;
            let (text, complete) = (shape(chance), chance.below(4) > 0);
            announces(story, seen, seen.sessions, &text, complete);
        }
        1 | 2 => {
            let (text, complete) = (shape(chance), chance.below(4) > 0);
            announces(story, seen, session, &text, complete);
        }
        3 | 4 => drop(story.approve(name)),
        5 | 6 => {
            seen.orders += 1;
            let disk = chance.of(&["only", "S3Z1NB0K-a", "S3Z1NB0K-b"]);
            let wanted = request(disk, chance.below(2) == 0);
            let text = shape(chance);
            drop(story.installs(seen.orders, name, &text, &wanted));
        }
        7 => {
            let id = OrderId([number; 16]);
            let cancelled =
                story.with(|fleet, now, effects| fleet.cancel_order(id, "uid 0", now, effects));
            drop(cancelled);
        }
        8 => drop(story.order(name, chance.of(&[Order::Wait, Order::Release, Order::Reboot]))),
        9 => story.seconds += chance.of(&[60, 1800, 4000]),
        10..=14 => asks(story, seen, chance, session),
        _ => {
            let kind = match chance.below(4) {
                0 => EventKind::Obeys { sequence: chance.of(&[0, 1, 1_000_000_000]) },
                1 => EventKind::Progress(Box::new(progress(number))),
                _ => installed(number),
            };
            if let EventKind::Installed { order, .. } = kind
                && seen.given.get(&order).is_some_and(|(given, _)| *given == session)
            {
                seen.reported.insert(order, session);
            }
            story.tells(session, &kind);
        }
    }
}

fn announces(story: &mut Story, seen: &mut Seen, session: u8, text: &str, complete: bool) {
    if session == 0 {
        return;
    }
    if let Ok(welcome) = story.says(session, text, mac(1), complete) {
        seen.after.insert(session, welcome.sequence);
        if complete {
            seen.shown.insert(session, InventoryDigest::of(&inventory(text)));
        }
    }
}

/// The heart of it: whatever leaves the server is checked against what was seen.
fn asks(story: &mut Story, seen: &mut Seen, chance: &mut Chance, session: u8) {
    let after = seen.after.get(&session).copied().unwrap_or(0);
    let fit = if chance.below(8) == 0 { Err("the clock".to_owned()) } else { Ok(()) };
    let is_fit = fit.is_ok();
    let Ok(Some(instruction)) = story.asks(session, after, fit) else { return };
    if chance.below(2) == 0 {
        seen.after.insert(session, instruction.sequence);
    }
    let Verb::Install(install) = &instruction.verb else { return };
    let order = &install.order;
    let now = story.now().unix_milliseconds;
    let (machine, kept) = story.fleet.find_order(order.id).unwrap();
    if let Some(before) = seen.given.insert(order.id, (session, instruction.sequence)) {
        assert_eq!(before, (session, instruction.sequence), "handed out twice");
    } else {
        assert!(is_fit && now < order.deadline_unix_milliseconds);
        assert!(machine.is_approved(), "{:?}", machine.approval);
        assert_eq!(seen.shown.get(&session), Some(&order.inventory), "another machine's");
    }
    assert!(kept.is_with_an_agent());
    assert_eq!(machine.session.as_ref().map(|boot| boot.session), Some(Session([session; 32])));
}

#[test]
fn ten_thousand_tangled_stories_give_no_order_twice_and_to_nobody_else() {
    let (mut given, mut done) = (0, 0);
    for seed in 0..10_000 {
        let mut chance = Chance(seed);
        let (mut story, mut seen) = (Story::new(), Seen::default());
        for text in SHAPES {
            seen.sessions += 1;
            let session = seen.sessions;
            announces(&mut story, &mut seen, session, text, true);
        }
        drop(story.approve("4q5hmp2"));
        for _ in 0..24 {
            acts(&mut story, &mut seen, &mut chance);
            for machine in story.fleet.machines() {
                let open = machine.orders.iter().filter(|order| order.is_open()).count();
                assert!(open <= 1, "seed {seed}");
                for order in &machine.orders {
                    if let OrderState::Done { session, .. } = order.state {
                        let by = seen.reported.get(&order.id);
                        assert_eq!(by, Some(&session.0[0]), "seed {seed}: done by nobody's word");
                    }
                    assert!(order.is_open() || order.verb().is_none(), "seed {seed}: secrets");
                }
            }
        }
        given += seen.given.len();
        let orders = story.fleet.machines().flat_map(|machine| &machine.orders);
        done += orders.filter(|order| matches!(order.state, OrderState::Done { .. })).count();
    }
    assert!(given > 500 && done > 100, "too tame: {given} given, {done} done");
}
