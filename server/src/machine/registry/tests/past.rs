//! State directories that went back in time where they are: same file, same place, an earlier state.

use protocol::Pin;

use super::{install::*, *};
use crate::machine::{Witness, disk_order::OrderState};

/// A state directory, and a place beside it that ends with the host's boot.
struct Host {
    state: tempfile::TempDir,
    run: tempfile::TempDir,
    boot: &'static str,
}

impl Host {
    fn new() -> Self {
        let (state, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Self { state, run, boot: "first" }
    }

    fn file(&self) -> std::path::PathBuf {
        self.state.path().join("drydock.redb")
    }

    fn starts(&self) -> Registry {
        let database = Database::create(self.file()).unwrap();
        let witness = Witness::new(self.run.path(), self.state.path(), Pin([7; 32]));
        let past = Past { witness: Arc::new(witness), boot: self.boot.to_owned() };
        let home = Some("here".to_owned());
        let settings = Settings { home, past: Some(past), ..Settings::default() };
        Registry::open(Arc::new(database), settings, silent()).unwrap()
    }

    fn snapshot(&self) -> Vec<u8> {
        std::fs::read(self.file()).unwrap()
    }

    /// In place: the file stays the same.
    fn goes_back(&self, to: &[u8]) {
        std::fs::write(self.file(), to).unwrap();
    }

    /// What ends with the boot is gone.
    fn restarts(&mut self, boot: &'static str) {
        self.boot = boot;
        self.run = tempfile::tempdir().unwrap();
    }
}

/// Stops a server, so that another one can open its database.
fn stop(registry: Registry) {
    registry.close();
    drop(registry);
}

fn is_ended(registry: &Registry, id: protocol::OrderId) -> bool {
    let order = registry.show_order(id).unwrap().order;
    !order.is_open() && order.words().contains("went back in time")
}

#[tokio::test]
async fn an_order_that_was_handed_out_after_the_snapshot_is_not_handed_out_again() {
    let host = Host::new();
    let registry = host.starts();
    let after = ready(&registry);
    let id = ordered(&registry).order.id;
    let snapshot = host.snapshot();
    assert!(asks(&registry, after).await.is_some());
    stop(registry);
    host.goes_back(&snapshot);
    let later = host.starts();
    assert!(is_ended(&later, id), "{:?}", later.show_order(id));
    let welcome = later.announce(session(2), address(1), &with_blank_disk()).unwrap();
    let (patience, clock) = (Duration::ZERO, synchronised());
    let next = later.wait_for_instruction(session(2), welcome.sequence, patience, &clock).await;
    assert!(!matches!(next, Ok(Some(Instruction { verb: Verb::Install(_), .. }))), "{next:?}");
    stop(later);
    let again = host.starts();
    assert!(is_ended(&again, id), "nor after another start");
    again.close();
}

#[tokio::test]
async fn an_order_that_was_cancelled_after_the_snapshot_does_not_come_back() {
    let host = Host::new();
    let registry = host.starts();
    ready(&registry);
    let id = ordered(&registry).order.id;
    let snapshot = host.snapshot();
    registry.cancel_order(id, "uid 0").unwrap();
    stop(registry);
    host.goes_back(&snapshot);
    let later = host.starts();
    assert!(is_ended(&later, id));
    later.close();
}

#[tokio::test]
async fn an_ordinary_restart_ends_no_order_whether_the_server_or_the_host() {
    let mut host = Host::new();
    let registry = host.starts();
    let after = ready(&registry);
    let id = ordered(&registry).order.id;
    stop(registry);
    for _ in 0..3 {
        let registry = host.starts();
        assert!(registry.show_order(id).unwrap().order.is_open());
        stop(registry);
    }
    host.restarts("second");
    let registry = host.starts();
    assert!(asks(&registry, after).await.is_some(), "and its machine still gets it");
    registry.close();
}

#[tokio::test]
async fn after_a_restart_of_the_host_an_agent_that_has_the_order_tells_that_the_state_went_back() {
    let mut host = Host::new();
    let registry = host.starts();
    let after = ready(&registry);
    let id = ordered(&registry).order.id;
    let snapshot = host.snapshot();
    let heard = asks(&registry, after).await.unwrap().sequence;
    stop(registry);
    host.goes_back(&snapshot);
    host.restarts("second");
    let later = host.starts();
    assert!(matches!(later.show_order(id).unwrap().order.state, OrderState::Ordered {}));
    let next = asks(&later, heard).await;
    assert!(!matches!(next, Some(Instruction { verb: Verb::Install(_), .. })), "{next:?}");
    assert!(is_ended(&later, id), "{:?}", later.show_order(id));
    later.close();
}
