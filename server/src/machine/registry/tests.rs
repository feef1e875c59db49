//! The registry from outside: what survives, what wakes whom, what is bounded.

use protocol::{
    BootReport, Verb,
    inventory::{Disk, Port},
};

use super::*;
use crate::{clock::tests::synchronised, decision::System, journal::What, machine::Approval};

mod install;
mod past;

fn announce(number: u32) -> Announce {
    let [_, high, middle, low] = number.to_be_bytes();
    let mac = MacAddress([0x3c, 0xec, 0xef, high, middle, low ^ 0x55]);
    let mut inventory = Inventory::default();
    inventory.system.serial = Some(format!("SN{number:06}X"));
    inventory.ports.push(Port { permanent_mac: Some(mac), ..Port::default() });
    inventory.disks.push(Disk {
        serial: Some(format!("S3Z1NB0K{number:06}")),
        size_bytes: Bytes(1 << 30),
        ..Disk::default()
    });
    Announce {
        system: None,
        agent_version: "0.1.0".to_owned(),
        kernel_release: None,
        boot: BootReport { mac: Some(mac), ..BootReport::default() },
        inventory,
        complete: true,
    }
}

fn session(number: u32) -> Session {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Session(bytes)
}

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number))
}

fn silent() -> Teller {
    Arc::new(|_| {})
}

fn traveller(number: u32) -> Traveller {
    Traveller { mac: announce(number).boot.mac, ..Traveller::default() }
}

fn open(directory: &tempfile::TempDir) -> Registry {
    let database = Database::create(directory.path().join("drydock.redb")).unwrap();
    Registry::open(Arc::new(database), Settings::default(), silent()).unwrap()
}

#[test]
fn everything_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(&directory);
    let welcome = registry.announce(session(1), address(1), &announce(1)).unwrap();
    registry.announce(session(2), address(2), &announce(2)).unwrap();
    registry.approve("sn000001x", "uid 1000").unwrap();
    registry.order("sn000001x", Order::Wait, "uid 1000").unwrap();
    registry.forget("sn000002x", "uid 1000").unwrap();
    let before = registry.show("sn000001x").unwrap();
    registry.close();
    drop(registry);

    let registry = open(&directory);
    let after = registry.show("sn000001x").unwrap();
    assert_eq!(after.machine, before.machine);
    assert_eq!(registry.inventory("sn000001x").unwrap(), Some(announce(1).inventory));
    assert_eq!(registry.decide(&traveller(1)), Boot::System(System::Sunshine));
    let instruction = registry.poll(session(1), welcome.sequence).unwrap();
    assert_eq!(instruction.map(|next| next.verb), Some(Verb::Wait {}), "its agent goes on");
    assert_eq!(registry.poll(session(2), 0), Err(UnknownSession));
    assert_eq!(registry.inventory("sn000002x").unwrap(), None);
    let again = registry.announce(session(3), address(2), &announce(2)).unwrap();
    assert_eq!(again.machine, "sn000002x-2", "a forgotten name is never given again");
    registry.close();
}

#[test]
fn an_order_is_on_disk_when_it_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(&directory);
    registry.announce(session(1), address(1), &announce(1)).unwrap();
    registry.approve("sn000001x", "uid 1000").unwrap();
    // As after a power cut: nothing is closed, the file is read as it is.
    let copy = tempfile::tempdir().unwrap();
    let file = "drydock.redb";
    std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
    let after = open(&copy);
    assert!(after.show("sn000001x").unwrap().machine.is_approved());
    after.close();
    registry.close();
}

#[test]
fn a_row_that_cannot_be_read_costs_its_machine_the_approval_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(&directory);
    registry.announce(session(1), address(1), &announce(1)).unwrap();
    registry.approve("sn000001x", "uid 1000").unwrap();
    registry.close();
    drop(registry);
    store::tests::spoil(&directory.path().join("drydock.redb"), "sn000001x");
    let registry = open(&directory);
    let again = registry.announce(session(2), address(1), &announce(1)).unwrap();
    assert_eq!(again.machine, "sn000001x-2");
    assert!(!registry.show("sn000001x-2").unwrap().machine.is_approved());
    registry.close();
}

#[tokio::test]
async fn an_instruction_wakes_who_waits_for_it() {
    let registry = Registry::in_memory(Settings::default(), silent()).unwrap();
    let welcome = registry.announce(session(1), address(1), &announce(1)).unwrap();
    assert_eq!(
        registry
            .wait_for_instruction(session(1), welcome.sequence, Duration::ZERO, &synchronised())
            .await,
        Ok(None)
    );
    let waiting = {
        let registry = registry.clone();
        tokio::spawn(async move {
            let patience = Duration::from_mins(1);
            registry
                .wait_for_instruction(session(1), welcome.sequence, patience, &synchronised())
                .await
        })
    };
    tokio::task::yield_now().await;
    registry.order("sn000001x", Order::Reboot, "uid 0").unwrap();
    let heard = waiting.await.unwrap().unwrap().unwrap();
    assert_eq!(heard.verb, Verb::Reboot {});
    registry.forget("sn000001x", "uid 0").unwrap();
    let clock = synchronised();
    let gone =
        registry.wait_for_instruction(session(1), heard.sequence, Duration::from_mins(1), &clock);
    assert_eq!(gone.await, Err(UnknownSession));
    registry.close();
}

#[tokio::test]
async fn records_are_named_when_they_changed_and_after_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(&directory);
    registry.announce(session(1), address(1), &announce(1)).unwrap();
    assert!(registry.changed_records().await.contains("sn000001x"));
    let unchanged =
        tokio::time::timeout(Duration::from_millis(20), registry.changed_records()).await;
    assert!(unchanged.is_err());
    registry.forget("sn000001x", "uid 0").unwrap();
    assert!(registry.changed_records().await.contains("sn000001x"));
    registry.announce(session(2), address(2), &announce(2)).unwrap();
    registry.close();
    drop(registry);
    let registry = open(&directory);
    assert!(registry.changed_records().await.contains("sn000002x"));
    registry.close();
}

#[test]
fn the_journal_hears_of_announcements_orders_and_holds() {
    let entries = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&entries);
    let registry =
        Registry::in_memory(Settings::default(), Arc::new(move |entry| lock(&heard).push(entry)))
            .unwrap();
    registry.announce(session(1), address(1), &announce(1)).unwrap();
    registry.approve("sn000001x", "uid 0").unwrap();
    registry.announce(session(2), address(1), &announce(1)).unwrap();
    registry.poll(session(1), 0).unwrap();
    registry.close();
    let kinds: Vec<&str> = lock(&entries)
        .iter()
        .map(|entry| {
            assert_eq!(entry.machine.as_deref(), Some("sn000001x"));
            match entry.what {
                What::Announced { .. } => "announced",
                What::Ordered { .. } => "ordered",
                What::Held { .. } => "held",
                _ => "other",
            }
        })
        .collect();
    assert_eq!(kinds, ["announced", "ordered", "announced", "held"]);
}

#[test]
fn an_address_is_known_by_who_said_it_last_and_hints_are_bounded() {
    let registry = Registry::in_memory(Settings::default(), silent()).unwrap();
    let mac = |number: u32| announce(number).boot.mac.unwrap();
    let home = Ipv4Addr::new(10, 0, 0, 1);
    registry.note_address(mac(1), home);
    registry.note_address(mac(2), home);
    assert_eq!(registry.mac_of(home), Some(mac(2)));
    for number in 0..100_000 {
        registry.note_address(mac(3), Ipv4Addr::from(0x0b00_0000 + number));
    }
    assert_eq!(lock(&registry.0.addresses).len(), ADDRESSES);
    registry.close();
}

#[test]
fn a_hundred_thousand_invented_machines_are_bounded_and_a_known_one_is_served() {
    let registry = Registry::in_memory(Settings::default(), silent()).unwrap();
    registry.announce(session(0), address(0), &announce(0)).unwrap();
    registry.approve("sn000000x", "uid 0").unwrap();
    let started = Instant::now();
    for number in 1..=100_000 {
        // From 5,000 addresses.
        let _refused =
            registry.announce(session(number), address(number % 5000), &announce(number));
    }
    let list = registry.list();
    assert!(list.len() <= 4097, "{}", list.len());
    assert!(list.len() >= 4000, "{}", list.len());
    let again = registry.announce(session(200_000), address(70_000), &announce(0)).unwrap();
    assert_eq!(again.machine, "sn000000x");
    assert_eq!(registry.decide(&traveller(0)), Boot::OwnDisk, "its disk cannot be read");
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_mins(1), "{elapsed:?}");
    registry.close();
}

#[tokio::test]
async fn a_question_left_open_by_a_power_cut_is_no_second_agent() {
    let registry = Registry::in_memory(Settings::default(), silent()).unwrap();
    let welcome = registry.announce(session(1), address(1), &announce(1)).unwrap();
    registry.announce(session(2), address(2), &announce(2)).unwrap();
    let left_open = {
        let registry = registry.clone();
        tokio::spawn(async move {
            let patience = Duration::from_millis(500);
            registry
                .wait_for_instruction(session(1), welcome.sequence, patience, &synchronised())
                .await
        })
    };
    tokio::task::yield_now().await;
    // The machine is back before the server has noticed that its old conversation is dead.
    registry.announce(session(3), address(1), &announce(1)).unwrap();
    registry.order("sn000002x", Order::Wait, "uid 0").unwrap();
    assert_eq!(left_open.await.unwrap(), Ok(None));
    assert_eq!(registry.show("sn000001x").unwrap().machine.approval, Approval::Pending);
    registry.close();
}

#[tokio::test]
async fn the_records_of_forgotten_machines_are_looked_at_after_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(&directory);
    registry.announce(session(1), address(1), &announce(1)).unwrap();
    registry.announce(session(2), address(2), &announce(2)).unwrap();
    registry.forget("sn000001x", "uid 0").unwrap();
    registry.close();
    drop(registry);
    // Killed before the file went; and a machine whose approval was lost with its row.
    store::tests::spoil(&directory.path().join("drydock.redb"), "sn000002x");
    let registry = open(&directory);
    let names = registry.changed_records().await;
    assert!(names.contains("sn000001x") && names.contains("sn000002x"), "{names:?}");
    registry.close();
}

#[test]
fn an_announcement_of_countless_ports_holds_nobody_up() {
    let registry = Registry::in_memory(Settings::default(), silent()).unwrap();
    registry.announce(session(1), address(1), &announce(1)).unwrap();
    let swarm = |number: u32, ports: u32| {
        let mut swarm = announce(number);
        swarm.inventory.ports.extend((0..ports).map(|port| {
            let [_, high, middle, low] = port.to_be_bytes();
            let mac = MacAddress([0x3c, 0xec, 0xf0, high, middle, low]);
            Port { permanent_mac: Some(mac), ..Port::default() }
        }));
        swarm
    };
    let refused = registry.announce(session(2), address(2), &swarm(2, 100_000));
    assert_eq!(refused, Err(AnnounceError::TooMuch));
    let started = Instant::now();
    for number in 3..20 {
        registry.announce(session(number), address(number), &swarm(number, 1000)).unwrap();
        let name = format!("sn{number:06}x");
        registry.contested_ports(&registry.show(&name).unwrap().machine);
        registry.announce(session(number), address(number), &announce(number)).unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    registry.close();
}
