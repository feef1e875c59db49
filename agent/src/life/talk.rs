//! Speaking to a server: to the one that was said, or to the first of those that were heard of which has the right key.

use std::{
    future::pending,
    pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use protocol::{Announce, Pin};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::timeout,
};
use tracing::{debug, info, warn};

use super::{LifeError, SESSION, race};
use crate::{
    devices::Findings,
    finding::{Offers, Way},
    session::{End, Said, Session},
    work::Worker,
};

/// How long to wait before addresses that did not answer are tried again.
const RETRY_PERIOD: Duration = Duration::from_secs(20);

/// A conversation with a server, which ends with the boot.
pub(crate) type Talk<E> = pin::Pin<Box<dyn Future<Output = Result<End, E>>>>;

/// What it takes to speak to a server, once it is known which.
#[derive(Debug, Clone)]
pub(super) struct Talker {
    pub(super) worker: Option<Worker>,
    /// Which drivers are on their way.
    pub(super) findings: Findings,
    pub(super) heard: watch::Receiver<Offers>,
    pub(super) picture: watch::Receiver<Option<Announce>>,
    pub(super) online: watch::Receiver<u64>,
    pub(super) say: mpsc::UnboundedSender<Said>,
    /// Whether servers are looked for.
    pub(super) seeks: watch::Sender<bool>,
}

impl Talker {
    /// Speaks to a server for the whole boot, as far as it is known whom to trust; says so where not, and waits for ever.
    pub(super) fn speak(&self, way: Way) -> Talk<LifeError> {
        let talker = self.clone();
        Box::pin(async move {
            let session = match way {
                Way::Speak { server, pins } => session(&server, &pins).await?,
                Way::Search(pins) => talker.search(&pins).await?,
                Way::Ask | Way::Nobody => {
                    warn!(
                        "the server is not spoken to: neither command line nor image has its pin"
                    );
                    return pending().await;
                }
            };
            talker.seeks.send_replace(false);
            let Self { worker, findings, picture, online, say, .. } = talker;
            let session = session.with_worker(worker).with_findings(findings);
            Ok(SESSION.get_or_init(|| session).run(picture, online, say).await)
        })
    }

    /// Tries all addresses that are heard of until a server has one of these keys.
    async fn search(&self, pins: &[Pin]) -> Result<Session, LifeError> {
        info!("neither image nor command line name a server: the network is asked where it is");
        let (mut heard, mut online) = (self.heard.clone(), self.online.clone());
        let told = Arc::default();
        loop {
            online.borrow_and_update();
            let (told, shared) = (Arc::clone(&told), Arc::<[Pin]>::from(pins));
            let found = race::first(&mut heard, race::HEAD_START, move |server| {
                attempt(server, Arc::clone(&shared), Arc::clone(&told))
            });
            if let Some(session) = found.await {
                return session;
            }
            // DHCP offers a server before the port has an address to ask it from.
            let news = async {
                tokio::select! {
                    Ok(()) = heard.changed() => {}
                    Ok(()) = online.changed() => {}
                    else => pending().await,
                }
            };
            let _either = timeout(RETRY_PERIOD, news).await;
        }
    }
}

/// Tries a server; returns the session where it answers, and why there is none where that holds for all. `told` are those of
/// whose silence was told.
async fn attempt(
    server: String,
    pins: Arc<[Pin]>,
    told: Arc<Mutex<Vec<String>>>,
) -> Option<Result<Session, LifeError>> {
    let session = match session(&server, &pins).await {
        Ok(session) => session,
        Err(error) => return Some(Err(error)),
    };
    if session.is_answered().await {
        return Some(Ok(session));
    }
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if told.contains(&server) {
        debug!(server, "does not answer");
    } else {
        warn!(server, "does not answer, or has another key than the pinned one");
        told.push(server);
    }
    None
}

/// Makes a session, on a thread of its own, because the key waits for randomness.
async fn session(server: &str, pins: &[Pin]) -> Result<Session, LifeError> {
    let (server, pins) = (server.to_owned(), pins.to_vec());
    let made = spawn_blocking(move || Session::new(&server, pins)).await;
    Ok(made.map_err(|panicked| LifeError::Failed(panicked.to_string()))??)
}
