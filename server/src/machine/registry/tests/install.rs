//! Orders to install from outside: stored before they leave, void in a copy, secret from everybody else.

use protocol::install::{Finish, Secret, Step};

use super::*;
use crate::{
    clock::tests::unsynchronised,
    machine::{
        OrderOverview,
        disk_order::{OrderState, tests::installed},
        install::{ImageFacts, InstallRefusal, InstallRequest},
    },
    seed::Seed,
};

const NAME: &str = "sn000001x";

pub(super) fn with_blank_disk() -> Announce {
    let mut announce = announce(1);
    announce.inventory.disks[0].content =
        Some(protocol::inventory::Content { blank: true, ..Default::default() });
    announce
}

fn request() -> InstallRequest {
    InstallRequest {
        image: "https://images.example/debian.raw".to_owned(),
        mirrors: vec![],
        sha256: None,
        token: Some(Secret("hidden-token".to_owned())),
        map: None,
        disk: "only".parse().unwrap(),
        overwrite: false,
        within_seconds: 3600,
        steps: vec![Step::Seed {
            meta_data: Secret("hidden-meta".to_owned()),
            user_data: Secret("hidden-user".to_owned()),
            network_config: None,
            vendor_data: None,
        }],
        seed: Seed {
            hostname: Some("hidden-host".to_owned()),
            user_data: Some(Secret("#cloud-config\nhidden: seed\n".to_owned())),
            ..Seed::default()
        },
        finish: Finish::Reboot,
        dry_run: false,
    }
}

fn facts() -> ImageFacts {
    request().foreign().unwrap()
}

/// A machine stands ready; returns the number after which its agent listens.
pub(super) fn ready(registry: &Registry) -> u64 {
    let welcome = registry.announce(session(1), address(1), &with_blank_disk()).unwrap();
    registry.approve(NAME, "uid 0").unwrap();
    welcome.sequence
}

pub(super) fn ordered(registry: &Registry) -> OrderOverview {
    let taken = registry.install(NAME, &request(), &facts(), "uid 7", &synchronised());
    taken.unwrap().1.unwrap()
}

pub(super) async fn asks(registry: &Registry, after: u64) -> Option<Instruction> {
    let (patience, clock) = (Duration::ZERO, synchronised());
    registry.wait_for_instruction(session(1), after, patience, &clock).await.unwrap()
}

fn open_at(directory: &tempfile::TempDir, home: &str) -> Registry {
    let database = Database::create(directory.path().join("drydock.redb")).unwrap();
    let settings = Settings { home: Some(home.to_owned()), ..Settings::default() };
    Registry::open(Arc::new(database), settings, silent()).unwrap()
}

#[tokio::test]
async fn that_an_order_was_given_is_on_disk_before_it_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open_at(&directory, "here");
    let after = ready(&registry);
    let id = ordered(&registry).order.id;
    assert!(asks(&registry, after).await.is_some());
    // As after a power cut: nothing is closed, the file is read as it is.
    let copy = tempfile::tempdir().unwrap();
    let file = "drydock.redb";
    std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
    let later = open_at(&copy, "here");
    let state = later.show_order(id).unwrap().order.state;
    assert!(
        matches!(state, OrderState::Given { session: to, .. } if to == session(1)),
        "{state:?}"
    );
    // Another boot of the machine gets nothing.
    let welcome = later.announce(session(2), address(1), &with_blank_disk()).unwrap();
    let (patience, clock) = (Duration::ZERO, synchronised());
    let next = later.wait_for_instruction(session(2), welcome.sequence, patience, &clock).await;
    assert_eq!(next, Ok(None));
    later.close();
    registry.close();
}

#[tokio::test]
async fn a_restored_or_copied_state_directory_has_no_open_order() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open_at(&directory, "here");
    ready(&registry);
    let id = ordered(&registry).order.id;
    registry.close();
    drop(registry);
    let same = open_at(&directory, "here");
    assert!(same.show_order(id).unwrap().order.is_open());
    same.close();
    drop(same);
    let elsewhere = open_at(&directory, "there");
    let state = elsewhere.show_order(id).unwrap().order.state;
    assert!(matches!(state, OrderState::Cancelled { .. }), "{state:?}");
    elsewhere.close();
    drop(elsewhere);
    let back = open_at(&directory, "here");
    assert!(!back.show_order(id).unwrap().order.is_open(), "nor does it come back");
    back.close();
}

/// An agent waits for what comes after a number, for a minute at most.
async fn waits(
    registry: &Registry,
    number: u32,
    after: u64,
) -> tokio::task::JoinHandle<Option<Instruction>> {
    let registry = registry.clone();
    let waiting = tokio::spawn(async move {
        let (patience, clock) = (Duration::from_mins(1), synchronised());
        registry.wait_for_instruction(session(number), after, patience, &clock).await.unwrap()
    });
    tokio::task::yield_now().await;
    waiting
}

#[tokio::test]
async fn an_order_wakes_the_agent_that_waits_and_is_given_when_it_asks_again() {
    let registry = Registry::in_memory(Settings::default(), silent()).unwrap();
    let after = ready(&registry);
    let waiting = waits(&registry, 1, after).await;
    let id = ordered(&registry).order.id;
    assert_eq!(waiting.await.unwrap(), None, "it may be dead, and its line still up");
    assert_eq!(registry.show_order(id).unwrap().order.state, OrderState::Ordered {});
    let heard = asks(&registry, after).await.unwrap();
    let Verb::Install(install) = heard.verb else { panic!("{heard:?}") };
    assert_eq!((install.order.id, install.order.by.as_str()), (id, "uid 7"));
    assert_eq!(install.order.disks.len(), 1);
    registry.agent_says(session(1), &protocol::EventKind::Obeys { sequence: heard.sequence });
    assert!(!registry.may_fetch(session(1), "0"), "an image of somebody else's");
    registry.close();
}

#[tokio::test]
async fn an_order_is_not_used_up_by_a_boot_whose_power_was_cut() {
    let registry = Registry::in_memory(Settings::default(), silent()).unwrap();
    let after = ready(&registry);
    let dead = waits(&registry, 1, after).await;
    let id = ordered(&registry).order.id;
    drop(dead.await.unwrap());
    let welcome = registry.announce(session(2), address(1), &with_blank_disk()).unwrap();
    let (patience, clock) = (Duration::ZERO, synchronised());
    let given = registry.wait_for_instruction(session(2), welcome.sequence, patience, &clock).await;
    let Verb::Install(install) = given.unwrap().unwrap().verb else { panic!() };
    assert_eq!(install.order.id, id);
    registry.close();
}

#[tokio::test]
async fn who_waits_for_an_order_that_is_held_back_does_not_ask_at_every_bell() {
    let registry = Registry::in_memory(Settings::default(), silent()).unwrap();
    let after = ready(&registry);
    ordered(&registry);
    let held_back = {
        let registry = registry.clone();
        tokio::spawn(async move {
            let (patience, clock) = (Duration::from_mins(1), unsynchronised());
            registry.wait_for_instruction(session(1), after, patience, &clock).await
        })
    };
    tokio::task::yield_now().await;
    for number in 2..5 {
        registry.announce(session(number), address(number), &announce(number)).unwrap();
        registry.approve(&format!("sn00000{number}x"), "uid 0").unwrap();
        tokio::task::yield_now().await;
    }
    assert!(!held_back.is_finished());
    held_back.abort();
    drop(held_back.await);
    registry.close();
}

#[test]
fn nothing_is_ordered_by_a_clock_in_doubt_or_only_for_a_look() {
    let registry = Registry::in_memory(Settings::default(), silent()).unwrap();
    ready(&registry);
    let refused = registry.install(NAME, &request(), &facts(), "uid 0", &unsynchronised());
    assert!(matches!(refused, Err(InstallRefusal::Clock(_))), "{refused:?}");
    let look = InstallRequest { dry_run: true, ..request() };
    let (plan, order) =
        registry.install(NAME, &look, &facts(), "uid 0", &unsynchronised()).unwrap();
    assert!(order.is_none());
    assert_eq!(plan.disk.identity, "serial::s3z1nb0k000001");
    assert!(registry.orders().is_empty());
    registry.close();
}

#[test]
fn nobody_but_the_agent_reads_what_is_secret_in_an_order() {
    let registry = Registry::in_memory(Settings::default(), silent()).unwrap();
    ready(&registry);
    let order = ordered(&registry);
    let shown = [
        serde_json::to_string(&order).unwrap(),
        serde_json::to_string(&registry.orders()).unwrap(),
        serde_json::to_string(&registry.list()).unwrap(),
        serde_json::to_string(&registry.show(NAME)).unwrap(),
        format!("{:?}", registry.read().get(NAME)),
    ];
    for text in shown {
        assert!(!text.contains("hidden"), "{text}");
    }
    registry.close();
}

#[tokio::test]
async fn what_came_of_an_order_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open_at(&directory, "here");
    let after = ready(&registry);
    let id = ordered(&registry).order.id;
    asks(&registry, after).await.unwrap();
    let mut report = installed(1);
    if let protocol::EventKind::Installed { order, .. } = &mut report {
        *order = id;
    }
    registry.agent_says(session(1), &report);
    registry.settle().unwrap();
    registry.close();
    drop(registry);
    let registry = open_at(&directory, "here");
    let order = registry.show_order(id).unwrap().order;
    assert!(matches!(order.state, OrderState::Done { .. }));
    assert_eq!(order.by, "uid 7");
    assert_eq!(registry.decide(&traveller(1)), Boot::OwnDisk);
    registry.close();
}
