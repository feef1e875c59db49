//! A wipe through the agents' door: restarted for, handed out, journaled, reported, certified.

use std::{net::Ipv4Addr, sync::Arc};

use protocol::{
    Announce, BootReport, Event, EventKind, Instruction, Inventory, InventoryDigest, Level,
    MacAddress, OrderId, Verb, Wipe,
    inventory::{Content, Disk, Port},
    order::{DiskIdentity, MachineEvidence},
    wipe::{Verdict, WipeStep, WipeStepKind},
};

use super::*;
use crate::{
    api::{
        agents,
        door::tests::{Agent, Harbour as Open},
    },
    certificate::{self, Certificates, Problem},
    journal::Journal,
    machine::{
        Approval, Registry, Settings,
        disk_order::OrderState,
        wipe::{WipeRequest, judge::tests as judged},
    },
};

struct Yard {
    open: Open,
    registry: Registry,
    certificates: Certificates,
}

fn announce(system: Option<&str>) -> Announce {
    let mac = MacAddress([0x3c, 0xec, 0xef, 0, 0, 1]);
    let mut inventory = Inventory::default();
    inventory.system.serial = Some("SN000011".to_owned());
    inventory.ports = vec![Port { permanent_mac: Some(mac), ..Port::default() }];
    inventory.disks = vec![Disk {
        serial: Some("S3Z1NB0K1".to_owned()),
        size_bytes: protocol::Bytes(1 << 30),
        content: Some(Content::default()),
        ..Disk::default()
    }];
    Announce {
        system: system.map(str::to_owned),
        agent_version: "0.1.0".to_owned(),
        kernel_release: None,
        boot: BootReport { mac: Some(mac), ..BootReport::default() },
        inventory,
        complete: true,
    }
}

impl Yard {
    /// A machine is ordered to be wiped, and has booted HerculesOS; returns its agent and what it was told.
    async fn open() -> (Self, Agent, Wipe) {
        let journal = Journal::in_memory();
        let registry = Registry::in_memory(Settings::default(), Arc::new(|_| {})).unwrap();
        let certificates = certificate::tests::in_a_directory();
        let clock = crate::clock::tests::synchronised();
        let routes = agents::routes(
            registry.clone(),
            crate::image::tests::empty(),
            crate::boot::test_assets(tempfile::tempdir().unwrap().path()),
            journal.clone(),
            clock.clone(),
            certificates.clone(),
        );
        let yard = Self { open: Open::open(routes, journal).await, registry, certificates };
        let waiting = Agent::new(yard.open.pin);
        let address = Ipv4Addr::LOCALHOST.into();
        let sunshine = announce(Some("SunshineOS"));
        let welcome = yard.registry.announce(waiting.session, address, &sunshine).unwrap();
        yard.registry.approve(&welcome.machine, "uid 0").unwrap();
        let request: WipeRequest = serde_json::from_value(serde_json::json!({
            "level": "full", "disks": ["S3Z1NB0K1"], "overwrite": true, "finish": "reboot",
            "ticket": "T-1", "confirm": welcome.machine,
        }))
        .unwrap();
        let taken =
            yard.registry.wipe(&welcome.machine, &request, |_| Ok(()), "uid 7", &clock).unwrap();
        assert!(taken.1.is_some());
        let told = yard.told(&waiting, welcome.sequence).await;
        assert_eq!(told.unwrap().verb, Verb::Reboot {});
        let agent = Agent::new(yard.open.pin);
        let hercules = announce(Some("HerculesOS"));
        let welcome = yard.registry.announce(agent.session, address, &hercules).unwrap();
        let told = yard.told(&agent, welcome.sequence).await;
        let Some(Instruction { verb: Verb::Wipe(wipe), .. }) = told else { panic!("{told:?}") };
        (yard, agent, *wipe)
    }

    async fn told(&self, agent: &Agent, after: u64) -> Option<Instruction> {
        let path = format!("/v1/instruction?after={after}&wait=0");
        let (_, body) = agent.ask(self.open.address, "GET", &path, "").await.unwrap();
        serde_json::from_slice(&body).ok()
    }

    async fn says(&self, agent: &Agent, kind: EventKind) -> StatusCode {
        self.says_all(agent, [kind]).await
    }

    async fn says_all<const N: usize>(&self, agent: &Agent, kinds: [EventKind; N]) -> StatusCode {
        let event = |kind| Event { uptime_milliseconds: 1, level: Level::Info, kind };
        let body = serde_json::to_vec(&kinds.map(event).to_vec()).unwrap();
        agent.ask(self.open.address, "POST", "/v1/events", body).await.unwrap().0
    }

    fn state(&self, id: OrderId) -> OrderState {
        self.registry.show_order(id).unwrap().order.state
    }
}

fn step(order: OrderId, kind: WipeStepKind) -> EventKind {
    EventKind::WipeStep { order, step: Box::new(WipeStep { disk: 0, kind }) }
}

/// A good report, signed by an agent.
fn wiped(agent: &Agent, wipe: &Wipe, change: impl FnOnce(&mut WipeReport)) -> EventKind {
    let inventory = announce(None).inventory;
    let disk = DiskIdentity::of(&inventory.disks[0]);
    let mut report = judged::report(1);
    report.order = wipe.order.id;
    report.machine = MachineEvidence::of(&inventory);
    report.inventory = InventoryDigest::of(&inventory);
    report.disks.truncate(1);
    report.disks[0].disk = disk;
    report.disks[0].verification.as_mut().unwrap().seed = wipe.seed;
    change(&mut report);
    let signature = certificate::tests::base64(&agent.sign(&canonical(&report).unwrap()));
    EventKind::Wiped { report: Box::new(report), signature }
}

#[tokio::test]
async fn a_wipe_goes_from_the_order_to_its_certificate() {
    let (yard, agent, wipe) = Yard::open().await;
    let id = wipe.order.id;
    assert_eq!(wipe.order.by, "uid 7");
    assert_eq!(
        yard.says(&agent, step(id, WipeStepKind::Canaries {})).await,
        StatusCode::NO_CONTENT
    );
    let shown = yard.registry.show_order(id).unwrap().order;
    assert_eq!(shown.wipe().unwrap().journal.len(), 1, "before the agent hears of it");
    assert!(matches!(shown.state, OrderState::Running { .. }));
    let other = step(OrderId([9; 16]), WipeStepKind::Canaries {});
    assert_eq!(yard.says(&agent, other).await, StatusCode::UNPROCESSABLE_ENTITY);
    let report = wiped(&agent, &wipe, |_| {});
    assert_eq!(yard.says(&agent, report.clone()).await, StatusCode::NO_CONTENT);
    assert_eq!(yard.says(&agent, report).await, StatusCode::NO_CONTENT, "the thanks were lost");
    let OrderState::Wiped { result, .. } = yard.state(id) else { panic!("{:?}", yard.state(id)) };
    assert!(result.is_complete && result.is_done, "{result:?}");
    assert_eq!(yard.certificates.list().len(), 2);
    let bytes = yard.certificates.read(result.certificate).unwrap().unwrap();
    let key = Some(yard.certificates.fingerprint());
    let verified = certificate::verify(&bytes, key).unwrap();
    assert_eq!(verified.certificate.order.ticket.as_deref(), Some("T-1"));
    assert_eq!(verified.certificate.order.journal.len(), 1);
    assert_eq!(verified.certificate.agent.session, agent.session);
}

#[tokio::test]
async fn a_report_that_contradicts_itself_is_certified_as_less() {
    let (yard, agent, wipe) = Yard::open().await;
    let report = wiped(&agent, &wipe, |report| report.disks[0].verification = None);
    assert_eq!(yard.says(&agent, report).await, StatusCode::NO_CONTENT);
    let OrderState::Wiped { result, .. } = yard.state(wipe.order.id) else { panic!() };
    assert_eq!(result.disks[0].verdict, Verdict::NotErased);
    assert!(!result.is_complete && !result.findings.is_empty());
    assert!(yard.certificates.list().iter().all(|one| !one.proves_erasure()));
}

#[tokio::test]
async fn a_report_of_another_key_or_session_is_not_taken() {
    let (yard, agent, wipe) = Yard::open().await;
    let stranger = Agent::new(yard.open.pin);
    let forged = wiped(&stranger, &wipe, |_| {});
    assert_eq!(yard.says(&agent, forged).await, StatusCode::BAD_REQUEST);
    let unsigned = match wiped(&agent, &wipe, |_| {}) {
        EventKind::Wiped { mut report, signature } => {
            report.is_complete = false;
            EventKind::Wiped { report, signature }
        }
        other => other,
    };
    assert_eq!(yard.says(&agent, unsigned).await, StatusCode::BAD_REQUEST);
    let own = wiped(&stranger, &wipe, |_| {});
    assert_eq!(yard.says(&stranger, own).await, StatusCode::CONFLICT, "nobody knows it");
    assert!(yard.registry.show_order(wipe.order.id).unwrap().order.is_open());
    assert!(yard.certificates.list().is_empty());
}

#[tokio::test]
async fn a_wipe_that_was_cancelled_ends_with_its_next_word_and_its_report_is_kept() {
    let (yard, agent, wipe) = Yard::open().await;
    let id = wipe.order.id;
    assert_eq!(
        yard.says(&agent, step(id, WipeStepKind::Canaries {})).await,
        StatusCode::NO_CONTENT
    );
    yard.registry.cancel_order(id, "uid 0").unwrap();
    let verify = step(id, WipeStepKind::Verify {});
    assert_eq!(yard.says(&agent, verify).await, StatusCode::UNPROCESSABLE_ENTITY);
    let progress =
        protocol::wipe::WipeProgress { order: id, elapsed_milliseconds: 1, disks: vec![] };
    let progress = EventKind::WipeProgress(Box::new(progress));
    assert_eq!(yard.says(&agent, progress).await, StatusCode::GONE);
    let report = wiped(&agent, &wipe, |report| {
        report.disks[0].verdict = Verdict::NotErased;
        report.is_complete = false;
    });
    assert_eq!(yard.says(&agent, report).await, StatusCode::NO_CONTENT);
    assert!(matches!(yard.state(id), OrderState::Wiped { .. }));
}

#[tokio::test]
async fn a_report_behind_a_step_that_is_refused_is_taken() {
    let (yard, agent, wipe) = Yard::open().await;
    let id = wipe.order.id;
    yard.says(&agent, step(id, WipeStepKind::Canaries {})).await;
    yard.registry.cancel_order(id, "uid 0").unwrap();
    let over = step(id, WipeStepKind::Over { verdict: Verdict::NotErased });
    let report = wiped(&agent, &wipe, |_| {});
    assert_eq!(yard.says_all(&agent, [over, report]).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(matches!(yard.state(id), OrderState::Wiped { .. }));
    assert_eq!(yard.certificates.list().len(), 2);
}

#[tokio::test]
async fn a_report_of_a_thousand_disks_is_taken_from_who_wipes_and_from_nobody_else() {
    let (yard, agent, wipe) = Yard::open().await;
    let report = wiped(&agent, &wipe, |report| {
        let disk = report.disks[0].clone();
        report.disks.extend(std::iter::repeat_n(disk, 1000));
    });
    assert!(serde_json::to_vec(&report).unwrap().len() > 512 << 10);
    assert_eq!(yard.says(&agent, report).await, StatusCode::NO_CONTENT);
    let OrderState::Wiped { result, .. } = yard.state(wipe.order.id) else { panic!() };
    assert_eq!(result.disks[0].verdict, Verdict::NotErased, "it speaks of one disk twice");
}

#[test]
fn a_certificate_of_nothing_is_none() {
    assert!(matches!(certificate::verify(b"", None), Err(Problem::Form(_))));
    assert!(matches!(certificate::verify(b"{}\n", None), Err(Problem::Form(_))));
}

#[tokio::test]
async fn a_boot_that_was_replaced_and_only_hands_in_its_report_is_a_second_machine() {
    let (yard, agent, wipe) = Yard::open().await;
    let canaries = step(wipe.order.id, WipeStepKind::Canaries {});
    assert_eq!(yard.says(&agent, canaries).await, StatusCode::NO_CONTENT);
    let second = Agent::new(yard.open.pin);
    let hercules = announce(Some("HerculesOS"));
    let address = Ipv4Addr::LOCALHOST.into();
    let name = yard.registry.announce(second.session, address, &hercules).unwrap().machine;
    assert!(yard.registry.show(&name).unwrap().machine.is_approved(), "it may have restarted");
    let report = wiped(&agent, &wipe, |_| {});
    assert_eq!(yard.says(&agent, report).await, StatusCode::UNPROCESSABLE_ENTITY);
    let approval = yard.registry.show(&name).unwrap().machine.approval;
    assert!(matches!(approval, Approval::Held { .. }), "{approval:?}");
}
