//! The session with the server: announce, then ask for instructions for ever.
//!
//! ```text
//!            ┌─────────── the machine changed, or the server forgot us ──────────┐
//!            ▼                                                                   │
//!   collect ──► announce ──► ask for the next instruction ──► wait, refuse ──► ask again
//!                  ▲ │                     │
//!                  └─┘ no server:          └──► restart, switch off: the session ends
//!                  wait, try again
//! ```

mod abridgement;
mod bulk;
mod client;
mod http;
mod key;
mod outbox;
mod patience;
mod probe;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::StatusCode;
use protocol::{Announce, Event, EventKind, Level, Pin, Welcome};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{sleep, sleep_until, timeout},
};
use tracing::{info, warn};

pub use self::{
    bulk::{Body, Bulk, BulkError},
    client::ClientError,
    key::{Key, NoRandomness},
    outbox::Ticket,
    probe::key_of,
};
use self::{
    client::Client,
    outbox::{Fate, Outbox},
    patience::Patience,
};
use crate::{
    devices::Findings,
    orders::{Act, Orders},
    work::{self, After, Clock, Job, Master, Worker},
};

/// How long the last words may take before the machine goes down.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(3);

/// The shortest time between two questions that led to nothing.
const BREATH: Duration = Duration::from_secs(1);

/// How long an instruction waits for the work in hand, whose order may be over already: a cancelled one is heard of with
/// the next word of progress, [`bulk::PROGRESS_PERIOD`] later.
const LINGER: Duration = Duration::from_secs(8);

/// How long the announcement waits for a connection that is being made.
const CONTACT_PATIENCE: Duration = Duration::from_millis(500);

/// How often it is looked whether the server took the events.
const TOLD_PAUSE: Duration = Duration::from_millis(50);

/// How the session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The machine is to restart.
    Restart,
    /// The machine is to be switched off.
    SwitchOff,
    /// The kernel that was loaded is to be started: [`kexec::load`](crate::kexec::load).
    Kexec,
}

/// What the session says to the rest of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The server knows the machine.
    Welcome(Welcome),
    /// The server asks for a fresh look at the machine.
    LookAgain,
}

/// A session with one server.
#[derive(Debug, Clone)]
pub struct Session {
    client: Client,
    pins: Arc<[Pin]>,
    events: Arc<Mutex<Outbox>>,
    /// Says that there is a new event.
    news: Arc<Notify>,
    /// Whether the server says that the order in hand is over.
    cancelled: Arc<AtomicBool>,
    /// What this program can do beyond waiting and restarting.
    worker: Option<Worker>,
    /// Which drivers are on their way.
    findings: Findings,
}

impl Session {
    /// Makes the key of this boot. Speaks to nobody yet.
    pub fn new(server: &str, pins: Vec<Pin>) -> Result<Self, ClientError> {
        Ok(Self {
            client: Client::new(server, pins.clone())?,
            pins: pins.into(),
            events: Arc::default(),
            news: Arc::default(),
            cancelled: Arc::default(),
            worker: None,
            findings: Findings::default(),
        })
    }

    /// Has the session carry out what this program can do.
    #[must_use]
    pub fn with_worker(self, worker: Option<Worker>) -> Self {
        Self { worker, ..self }
    }

    /// Has orders wait for drivers that are on their way: a disk that comes in the middle belongs to what they touch.
    #[must_use]
    pub fn with_findings(self, findings: Findings) -> Self {
        Self { findings, ..self }
    }

    /// Holds where the server answers, and has one of the keys.
    pub async fn is_answered(&self) -> bool {
        self.client.greet().await.is_ok()
    }

    /// Returns what the devices' thread noticed.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Returns where the server is.
    pub fn server(&self) -> &str {
        self.client.http.server()
    }

    /// Returns the keys that the server may have.
    pub fn pins(&self) -> &[Pin] {
        &self.pins
    }

    /// Signs with the key of this boot, that of the client certificate: ECDSA over P-256 with SHA-256, as ASN.1
    /// (RFC 3279 §2.2.3).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.client.sign(message)
    }

    /// Makes a second line to the server, for what is large and belongs to the order in hand.
    pub fn bulk(&self) -> Result<Bulk, BulkError> {
        Bulk::new(self.client.for_transfers(), self.cancelled.clone())
    }

    /// Keeps an event until the server takes it.
    pub fn note(&self, level: Level, kind: EventKind) -> Ticket {
        let ticket = self.events().put(event(level, kind));
        self.news.notify_one();
        ticket
    }

    /// Holds while the server has neither taken nor refused an event.
    pub fn waits(&self, ticket: Ticket) -> bool {
        self.events().fate(ticket) == Fate::Waits
    }

    /// Waits until the server has taken an event, for a limited time; says whether it has. One that it refuses it has
    /// not. Blocks.
    pub fn is_told_within(&self, ticket: Ticket, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            match self.events().fate(ticket) {
                Fate::Told => return true,
                Fate::Lost => return false,
                Fate::Waits if Instant::now() >= end => return false,
                Fate::Waits => {}
            }
            std::thread::park_timeout(TOLD_PAUSE);
        }
    }

    /// Waits until there is a way to the server: the link of a port comes up later than its address where the boot program
    /// said that. Whether the server is to be trusted is another question.
    pub async fn finds_way(&self) {
        self.client.finds_way().await;
    }

    /// Says one last thing to the server, for a limited time.
    pub async fn say_last(&self, level: Level, kind: EventKind) {
        self.note(level, kind);
        if timeout(FAREWELL_PATIENCE, self.deliver()).await.is_err() {
            warn!("the server did not take the last words in time");
        }
    }

    /// Announces whatever `picture` holds and follows the server's instructions, through any number of failures.
    ///
    /// `online` changes whenever the machine gained or lost an address: then it is tried again at once.
    pub async fn run(
        &self,
        mut picture: watch::Receiver<Option<Announce>>,
        mut online: watch::Receiver<u64>,
        said: mpsc::UnboundedSender<Said>,
    ) -> End {
        let mut duty = Duty { orders: Orders::default(), clock: Clock::Unknown, work: None };
        let mut patience = Patience::default();
        let mut announced = false;
        let mut pause = Duration::ZERO;
        let latest = picture.clone();
        self.greet(&mut picture, &mut online).await;
        loop {
            // Nothing restarts a machine by itself while it works.
            let Duty { orders, clock, work } = &mut duty;
            let due = orders.restart_at().filter(|_| work.is_none());
            let ended = async {
                match &mut *work {
                    Some(work) => work.await.unwrap_or(After::Stay),
                    None => std::future::pending().await,
                }
            };
            let restart = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            let act = tokio::select! {
                // In this order, so that what is old news already does not interrupt a step.
                biased;
                () = restart => {
                    let reason = "the time to restart has come".to_owned();
                    info!(reason);
                    self.say_last(Level::Info, EventKind::Leaves { reason }).await;
                    return End::Restart;
                }
                after = ended => {
                    *work = None;
                    match after {
                        After::Stay => continue,
                        After::End(end) => return self.leave(end).await,
                    }
                }
                // An answer that is under way is asked for again.
                Ok(()) = picture.changed() => {
                    announced = false;
                    continue;
                }
                () = self.news.notified(), if announced && pause.is_zero() => continue,
                step = async {
                    if !pause.is_zero() {
                        let _either = timeout(pause, online.changed()).await;
                    }
                    self.step(orders, announced, &latest).await
                } => match step {
                    Ok(step) => {
                        pause = Duration::ZERO;
                        if patience.reset() {
                            info!("the server answers again");
                        }
                        match step {
                            Step::Welcome(welcome) => {
                                announced = true;
                                Master::Server.take();
                                *clock = set_clock(&welcome, *clock);
                                let act = orders.welcome(Instant::now(), &welcome);
                                let _nobody_left = said.send(Said::Welcome(welcome));
                                act
                            }
                            Step::Act(act) => act,
                        }
                    }
                    Err(error) => {
                        if matches!(error, client::CallError::UnknownSession) && announced {
                            info!("the server asks who this is: announcing again");
                            announced = false;
                        }
                        pause = patience.next(random());
                        if patience.is_worth_a_line() {
                            warn!(%error, "server");
                        }
                        continue;
                    }
                },
            };
            if let Act::Announce = act {
                let _nobody_left = said.send(Said::LookAgain);
            } else if let Some(end) = self.act(act, &mut duty).await {
                return end;
            }
        }
    }

    /// Does what was said; returns how the session ends, where it does.
    async fn act(&self, act: Act, duty: &mut Duty) -> Option<End> {
        let sequence = duty.orders.sequence();
        if let (Act::Restart | Act::SwitchOff | Act::Work(_), Some(work)) = (&act, &mut duty.work) {
            match (self.last_of(work).await, &act) {
                (None, Act::Restart | Act::SwitchOff) if self.is_cancelled() => {
                    // A disk that answers nothing holds its thread for ever, and nobody shall have to go there.
                    warn!("the order was cancelled and does not end: going down without it");
                }
                (None, _) => {
                    self.refuse(Some(sequence), "an order is being carried out").await;
                    return None;
                }
                (Some(After::End(end)), Act::Work(_)) => {
                    let reason = "the machine goes down".to_owned();
                    self.note(Level::Warn, EventKind::Refused { sequence: Some(sequence), reason });
                    return Some(self.leave(end).await);
                }
                (Some(_), _) => duty.work = None,
            }
        }
        match act {
            Act::Wait | Act::Announce => {}
            Act::Refuse { sequence, reason } => self.refuse(sequence, &reason).await,
            Act::Restart => return Some(self.obey(sequence, End::Restart).await),
            Act::SwitchOff => return Some(self.obey(sequence, End::SwitchOff).await),
            Act::Work(_) if !Master::Server.take() => {
                self.refuse(Some(sequence), "a person at the console has this machine").await;
            }
            Act::Work(verb) => {
                let worker = self.worker.filter(|worker| (worker.order)(&verb).is_some());
                if let Some(worker) = worker {
                    info!(sequence, "obeying");
                    self.note(Level::Info, EventKind::Obeys { sequence });
                    self.cancelled.store(false, Ordering::Relaxed);
                    let job = Job { verb: *verb, session: self.clone(), clock: duty.clock };
                    duty.work = Some(work::begin(worker, job));
                } else {
                    self.refuse(Some(sequence), "this program cannot do that").await;
                }
            }
        }
        None
    }

    /// Waits for the end of work in hand, and says how the machine goes on after it; nothing where it does not end.
    ///
    /// Who knows that an order is over may say at once what is next: the agent hears of the end of its own thread a
    /// moment later, and with its next word to the server that somebody has cancelled it. What is to be told is told
    /// meanwhile, since the work ends only then.
    async fn last_of(&self, work: &mut oneshot::Receiver<After>) -> Option<After> {
        let begun = Instant::now();
        let tell = async {
            loop {
                match self.send_events().await {
                    Ok(()) => self.news.notified().await,
                    Err(_) => sleep(BREATH).await,
                }
            }
        };
        let ended = async {
            loop {
                let cancelled = self.worker.filter(|_| self.is_cancelled());
                let patience = cancelled.map_or(LINGER, |worker| worker.patience);
                let left = patience.saturating_sub(begun.elapsed()).min(TOLD_PAUSE);
                if left.is_zero() {
                    return None;
                }
                if let Ok(after) = timeout(left, &mut *work).await {
                    return Some(after.unwrap_or(After::Stay));
                }
            }
        };
        tokio::select! {
            ended = ended => ended,
            () = tell => None,
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Goes down because the work is done.
    async fn leave(&self, end: End) -> End {
        let reason = "the work is done".to_owned();
        self.say_last(Level::Info, EventKind::Leaves { reason }).await;
        end
    }

    async fn refuse(&self, sequence: Option<u64>, reason: &str) {
        warn!(?sequence, reason, "instruction refused");
        self.note(Level::Warn, EventKind::Refused { sequence, reason: reason.to_owned() });
        sleep(BREATH).await;
    }

    /// Makes the connection while the machine is still being described.
    async fn greet(
        &self,
        picture: &mut watch::Receiver<Option<Announce>>,
        online: &mut watch::Receiver<u64>,
    ) {
        let described = async { picture.wait_for(Option::is_some).await.is_ok() };
        let contact =
            async { while self.client.greet().await.is_err() && online.changed().await.is_ok() {} };
        tokio::pin!(described, contact);
        tokio::select! {
            _ = &mut described => {
                // A connection that is nearly made is not thrown away.
                let _either = timeout(CONTACT_PATIENCE, contact).await;
            }
            () = &mut contact => {
                described.await;
            }
        }
    }

    /// Does the next thing there is to do with the server. May be cancelled at any time.
    async fn step(
        &self,
        orders: &mut Orders,
        announced: bool,
        picture: &watch::Receiver<Option<Announce>>,
    ) -> Result<Step, client::CallError> {
        if !announced {
            let announce = picture.borrow().clone();
            return match announce {
                Some(announce) => self.client.announce(&announce).await.map(Step::Welcome),
                None => std::future::pending().await,
            };
        }
        self.send_events().await?;
        let asked = Instant::now();
        if let Some(json) = self.client.instruction(orders.sequence()).await? {
            return Ok(Step::Act(orders.receive(Instant::now(), &json)));
        }
        // A server that does not hold its answer back is not asked in a busy loop.
        sleep(BREATH.saturating_sub(asked.elapsed())).await;
        Ok(Step::Act(Act::Wait))
    }

    async fn obey(&self, sequence: u64, end: End) -> End {
        info!(sequence, ?end, "obeying");
        self.say_last(Level::Info, EventKind::Obeys { sequence }).await;
        end
    }

    async fn deliver(&self) {
        if let Err(error) = self.send_events().await {
            warn!(%error, "the server did not take the last words");
        }
    }

    /// Sends the events that wait; they stay where the server does not take them now, and are lost where it never will.
    async fn send_events(&self) -> Result<(), client::CallError> {
        let waiting = self.events().waiting();
        if waiting.is_empty() {
            return Ok(());
        }
        let (tickets, events): (Vec<Ticket>, Vec<Event>) = waiting.into_iter().unzip();
        // All at once; where one of them is refused for good, one by one: while it waits nothing else is asked for.
        let (mut at, mut step) = (0, events.len());
        while at < events.len() {
            let fate = match self.client.report(&events[at..at + step]).await {
                Err(client::CallError::Refused { status, text }) if is_final(status) => {
                    if step > 1 {
                        step = 1;
                        continue;
                    }
                    warn!(%status, text, "the server does not take what happened");
                    Fate::Lost
                }
                answer => answer.map(|()| Fate::Told)?,
            };
            for ticket in &tickets[at..at + step] {
                self.events().settle(*ticket, fate);
            }
            at += step;
        }
        Ok(())
    }

    fn events(&self) -> MutexGuard<'_, Outbox> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the session has to remember from one word of the server to the next.
struct Duty {
    orders: Orders,
    clock: Clock,
    /// Answers when the work is done.
    work: Option<oneshot::Receiver<After>>,
}

/// Holds for answers that say that the question itself is wrong, or that it is about an order that is over.
fn is_final(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::GONE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

enum Step {
    Welcome(Welcome),
    Act(Act),
}

fn event(level: Level, kind: EventKind) -> Event {
    let since_boot = linux::clock::since_boot().as_millis();
    Event { uptime_milliseconds: u64::try_from(since_boot).unwrap_or(u64::MAX), level, kind }
}

/// A clock that is this much off, in milliseconds, is set.
const CLOCK_TOLERANCE_MILLISECONDS: u64 = 2_000;

/// Sets the clock to the server's when it is clearly wrong; says what it is worth afterwards.
fn set_clock(welcome: &Welcome, before: Clock) -> Clock {
    let Some(right) = welcome.clock_unix_milliseconds else { return Clock::Unknown };
    let offset = right.saturating_sub(linux::clock::unix_milliseconds());
    if offset.unsigned_abs() <= CLOCK_TOLERANCE_MILLISECONDS {
        return before.taken_over(offset);
    }
    match linux::clock::set_unix_milliseconds(right) {
        Ok(()) => {
            info!(offset_milliseconds = offset, "clock set");
            before.taken_over(offset)
        }
        Err(error) => {
            warn!(offset_milliseconds = offset, %error, "clock cannot be set");
            Clock::Unknown
        }
    }
}

/// Returns a number that machines of one kind do not have in common.
pub(crate) fn random() -> u32 {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 4];
    match ring::rand::SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        // Chance is a courtesy here, not a secret.
        Err(_) => std::process::id(),
    }
}
