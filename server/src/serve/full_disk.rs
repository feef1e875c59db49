//! What a disk that is really full does to the state directory: a small tmpfs in a mount namespace of its own.

use std::{
    env,
    fs::{self, File},
    io::Write,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use protocol::{
    Announce, BootReport, Inventory,
    inventory::{Disk, Port},
};

use super::*;
use crate::{
    dhcp::lease::{
        Lease, State as LeaseState, UnixTime,
        store::{Store as Leases, Written},
    },
    journal::Subject,
    machine::{Session, Settings},
};

const MACHINES: u8 = 200;
const ENTRIES: u32 = 4_000;
const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);

/// Runs a story on a disk of so many MiB, which nobody else sees. Needs root; left out without, but not where `CI=true`.
#[expect(clippy::print_stderr, reason = "who runs the tests should know what was left out")]
fn on_a_disk(mebibytes: u32, story: impl FnOnce(&Path) + Send) {
    if !nix::unistd::geteuid().is_root() {
        assert!(env::var_os("CI").is_none_or(|it| it != "true"), "cannot be left out: not root");
        eprintln!("skipped: not root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        let run = || {
            // This thread, and those that it starts.
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            let size = format!("size={mebibytes}m,mode=700");
            mount(
                Some("small"),
                directory.path(),
                Some("tmpfs"),
                MsFlags::empty(),
                Some(size.as_str()),
            )
            .unwrap();
            story(directory.path());
        };
        scope.spawn(run).join().unwrap();
    });
}

/// Writes until there is no room left.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [1 << 20, 4096] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {}
    }
}

/// A machine with a report of some 30 KiB.
fn announce(number: u8) -> Announce {
    let mac = MacAddress([0x3c, 0xec, 0xef, 1, 2, number]);
    let mut inventory = Inventory::default();
    inventory.system.serial = Some(format!("SN{number:06}X"));
    inventory.ports.push(Port { permanent_mac: Some(mac), ..Port::default() });
    inventory.disks.push(Disk { model: Some("x".repeat(30_000)), ..Disk::default() });
    let boot = BootReport { mac: Some(mac), ..BootReport::default() };
    let agent_version = "0.1.0".to_owned();
    Announce { system: None, agent_version, kernel_release: None, boot, inventory, complete: true }
}

fn looped(rounds: u32) -> Entry {
    Entry::about(Some(MAC), None, What::BootLoop { rounds })
}

fn lease(last: u8) -> (Ipv4Addr, Lease) {
    let mac = MacAddress([2, 0, 0, 0, 0, last]);
    let state = LeaseState::Leased;
    let lease = Lease { mac, until: UnixTime(i64::MAX), state, reserved: false };
    (Ipv4Addr::new(10, 0, 0, last), lease)
}

/// All that writes to a state directory.
struct Writers {
    state: State,
    journal: Journal,
    registry: Registry,
    leases: Leases,
    stored_leases: usize,
}

impl Writers {
    fn open(path: &Path) -> Self {
        let state = State::open(path).unwrap();
        let journal = Journal::open(Arc::clone(&state.database)).unwrap();
        let registry =
            Registry::open(Arc::clone(&state.database), Settings::default(), Arc::new(|_| {}))
                .unwrap();
        let (leases, stored) = Leases::open(Arc::clone(&state.database), path).unwrap();
        Self { state, journal, registry, leases, stored_leases: stored.len() }
    }

    /// Machines arrive, packets come, an address is lent.
    fn work(&self) -> Written {
        for number in 0..MACHINES {
            let address = IpAddr::from(Ipv4Addr::new(10, 0, 1, number));
            self.registry.announce(Session([number; 32]), address, &announce(number)).unwrap();
        }
        for rounds in 0..ENTRIES {
            self.journal.record(looped(rounds));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (address, lease) = lease(7);
        runtime.block_on(self.leases.write(address, lease))
    }

    fn close(self) {
        let Self { state, journal, registry, leases, .. } = self;
        registry.close();
        journal.close();
        drop(leases);
        drop(state);
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_loses_no_machine_no_lease_and_no_entry() {
    on_a_disk(64, |path| {
        let filler = path.join("filler");
        let writers = Writers::open(path);
        fill(&filler);
        let start = Instant::now();
        assert_eq!(writers.work(), Written::Later);
        assert!(start.elapsed() < Duration::from_secs(30), "nobody waits for the disk");
        assert_eq!(writers.registry.list().len(), usize::from(MACHINES), "served from memory");
        let name = writers.registry.list()[0].machine.name.clone();
        assert!(
            writers.registry.approve(&name, "uid 0").is_err(),
            "an order says that it cannot be kept"
        );

        fs::remove_file(&filler).unwrap();
        // What is written again syncs file after file, on machines that do much else.
        let deadline = Instant::now() + Duration::from_mins(3);
        while writers.registry.settle().is_err() {
            assert!(Instant::now() < deadline, "it recovers by itself");
        }
        writers.close();

        let writers = Writers::open(path);
        assert_eq!(writers.registry.list().len(), usize::from(MACHINES));
        for machine in writers.registry.list() {
            assert!(writers.registry.inventory(&machine.machine.name).unwrap().is_some());
        }
        assert_eq!(writers.stored_leases, 1);
        let subject = Subject { machine: None, macs: vec![MAC] };
        let story = writers.journal.story_of(&subject).unwrap();
        // Of one port, 512 are kept: the newest.
        assert_eq!(story.len(), 512);
        assert_eq!(story.last().unwrap().what, What::BootLoop { rounds: ENTRIES - 1 });
        writers.close();
    });
}

#[test]
fn a_server_that_stops_while_the_disk_is_full_ends_and_what_was_stored_is_there() {
    on_a_disk(64, |path| {
        let writers = Writers::open(path);
        let first = announce(0);
        let address = IpAddr::from(Ipv4Addr::new(10, 0, 1, 250));
        writers.registry.announce(Session([251; 32]), address, &first).unwrap();
        writers.registry.settle().unwrap();
        fill(&path.join("filler"));
        writers.work();
        writers.state.give_up();
        let start = Instant::now();
        writers.close();
        assert!(start.elapsed() < Duration::from_secs(20), "it does not wait for ever");

        fs::remove_file(path.join("filler")).unwrap();
        let writers = Writers::open(path);
        assert!(!writers.registry.list().is_empty());
        writers.close();
    });
}
