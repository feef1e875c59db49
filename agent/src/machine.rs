//! The picture of the machine that is announced, and how long its boot took.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use inventory::Root;
use protocol::{Announce, BootReport, Inventory, MacAddress, Phase};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tracing::{info, warn};

use crate::devices::{Findings, News};

/// How long slow disks may hold up the first announcement. They follow in a later one.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

/// Changes that follow each other this closely are announced together.
const GATHERING: Duration = Duration::from_millis(500);

/// The phases of this boot, as they end.
#[derive(Debug, Clone, Default)]
pub struct Phases(Arc<Mutex<Vec<Phase>>>);

impl Phases {
    /// Notes that a phase has ended just now; only its first end counts.
    pub fn end(&self, name: &str) {
        let ended = linux::clock::since_boot().as_millis();
        let mut phases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !phases.iter().any(|phase| phase.name == name) {
            let ended_milliseconds = u64::try_from(ended).unwrap_or(u64::MAX);
            phases.push(Phase { name: name.to_owned(), ended_milliseconds });
        }
    }

    fn all(&self) -> Vec<Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is needed to draw a picture of the machine.
#[derive(Debug, Clone)]
pub struct Painter {
    /// The name of the system that this is.
    pub system: &'static str,
    /// The agent's version.
    pub version: &'static str,
    /// The port that the machine booted through.
    pub boot_port: Option<MacAddress>,
    /// Whether it started from a medium.
    pub from_medium: bool,
    /// What the devices' thread noticed.
    pub findings: Findings,
    /// The phases of this boot.
    pub phases: Phases,
}

impl Painter {
    /// Draws the picture when the devices have settled, and again whenever they change or somebody asks for it.
    /// A picture that shows nothing different is not shown.
    pub async fn run(
        self,
        mut news: mpsc::UnboundedReceiver<News>,
        mut asked: mpsc::UnboundedReceiver<()>,
        picture: watch::Sender<Option<Announce>>,
    ) {
        let mut settled = Whole::No;
        let mut early = None;
        loop {
            let on_request = tokio::select! {
                change = news.recv() => match change {
                    None => return,
                    Some(News::Lull) => {
                        early = self.look().await;
                        continue;
                    }
                    Some(News::Settled) => {
                        self.phases.end("devices");
                        settled = Whole::Yes;
                        false
                    }
                    Some(News::Unsettled) => false,
                    Some(News::Changed) => {
                        while timeout(GATHERING, news.recv()).await.is_ok_and(|more| more.is_some()) {}
                        early = None;
                        false
                    }
                },
                Some(()) = asked.recv() => {
                    early = None;
                    true
                }
            };
            let look = match early.take() {
                Some(look) => Some(look),
                None => self.look().await,
            };
            if let Some(look) = look {
                self.draw(look, settled, on_request, &picture).await;
            }
        }
    }

    /// Looks at the machine, for a limited time. Nothing where a probe panicked: the farewell has begun then.
    async fn look(&self) -> Option<Look> {
        // Before the look: what comes in the middle of it is not seen whole.
        let awaited = self.findings.awaited();
        let mut fast = spawn_blocking(|| inventory::collect_fast(&Root::live())).await.ok()?;
        fast.awaited = awaited;
        let known = fast.clone();
        let mut slow = spawn_blocking(move || inventory::complete(&Root::live(), known));
        match timeout(DISK_PATIENCE, &mut slow).await {
            Ok(whole) => Some(Look::Whole(whole.ok()?)),
            Err(_elapsed) => Some(Look::Slow(fast, slow)),
        }
    }

    async fn draw(
        &self,
        look: Look,
        settled: Whole,
        on_request: bool,
        picture: &watch::Sender<Option<Announce>>,
    ) {
        match look {
            Look::Whole(inventory) => self.show(inventory, settled, on_request, picture),
            Look::Slow(fast, slow) => {
                // A machine that is known already is not shown with less than before.
                if picture.borrow().is_none() {
                    warn!("a disk is slow: it will be announced later");
                    self.show(fast, Whole::No, on_request, picture);
                }
                if let Ok(inventory) = slow.await {
                    self.show(inventory, settled, on_request, picture);
                }
            }
        }
    }

    fn show(
        &self,
        mut inventory: Inventory,
        whole: Whole,
        on_request: bool,
        picture: &watch::Sender<Option<Announce>>,
    ) {
        self.findings.complete(&mut inventory);
        self.phases.end("inventory");
        // What nobody could look at may be there all the same.
        let unanswered = inventory.gaps.iter().any(|gap| gap.source == inventory::UNANSWERED);
        let complete = whole == Whole::Yes && !unanswered;
        let announce = Announce {
            system: Some(self.system.to_owned()),
            agent_version: self.version.to_owned(),
            kernel_release: linux::release::kernel().ok(),
            boot: BootReport {
                mac: self.boot_port,
                clock_unix_seconds: Some(linux::clock::unix_milliseconds() / 1000),
                from_medium: self.from_medium,
                phases: self.phases.all(),
            },
            inventory,
            complete,
        };
        picture.send_if_modified(|shown| {
            let same = shown.as_ref().is_some_and(|shown| {
                shown.inventory == announce.inventory && shown.complete == announce.complete
            });
            if same && !on_request {
                return false;
            }
            info!(
                disks = announce.inventory.disks.len(),
                ports = announce.inventory.ports.len(),
                gaps = announce.inventory.gaps.len(),
                awaited = announce.inventory.awaited.len(),
                complete,
                "machine described"
            );
            *shown = Some(announce);
            true
        });
    }
}

/// What a look at the machine showed.
enum Look {
    /// Everything.
    Whole(Inventory),
    /// What could be seen at once; a disk is still being looked at.
    Slow(Inventory, JoinHandle<Inventory>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    No,
}
