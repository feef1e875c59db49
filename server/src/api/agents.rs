//! The agents' routes: announce, ask for one's own instruction, tell events; what these need beside that. Nothing else is
//! behind this door.

mod body;
mod wipes;

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use protocol::{
    ANNOUNCE_LIMIT, Announce, Event, EventKind, Instruction,
    wipe::{REPORT_BYTES, WipeStepKind},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use self::body::Bodies;
use super::door::{Peer, PeerKey};
use crate::{
    boot::Assets,
    certificate::Certificates,
    clock::Clock,
    image::Images,
    journal::{Entry, Journal, Unfit, What},
    machine::{AnnounceError, Registry, UnknownSession},
    text::shorten,
};

/// The longest that an agent may wait for an instruction.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// The largest report of events: a kernel log is 256 KiB.
const EVENTS_BYTES: usize = 512 << 10;
/// The same of a boot that was given a wipe: a report, which agents shorten to what is agreed, and what is told with it.
const WIPE_EVENTS_BYTES: usize = REPORT_BYTES + (2 << 20);
/// Events in one report.
const EVENTS: usize = 256;
/// What is kept of any other text in an event.
const TEXT_BYTES: usize = 1 << 10;
/// What is kept of a kernel log, from its end.
const KERNEL_LOG_BYTES: usize = 32 << 10;

/// What the routes need.
#[derive(Debug, Clone)]
struct Harbour {
    registry: Registry,
    journal: Journal,
    clock: Clock,
    certificates: Certificates,
    bodies: Bodies,
    /// Reports of wipes are judged one after the other: each is a tree of values meanwhile.
    reports: Arc<Semaphore>,
}

/// Returns the routes of ARCHITECTURE.md. Every request must carry a [`Peer`].
pub fn routes(
    registry: Registry,
    images: Images,
    assets: Assets,
    journal: Journal,
    clock: Clock,
    certificates: Certificates,
) -> Router {
    let (bodies, reports) = (Bodies::default(), Arc::new(Semaphore::new(1)));
    Router::new()
        .route("/v1/announce", post(announce))
        .route("/v1/instruction", get(instruction))
        .route("/v1/events", post(events))
        .with_state(Harbour {
            registry: registry.clone(),
            journal,
            clock,
            certificates,
            bodies,
            reports,
        })
        .merge(super::frames::routes(registry.clone(), images))
        .merge(super::store::routes(registry, assets))
}

/// Why a request was refused, as JSON.
#[derive(Debug, Serialize)]
struct Refusal {
    error: String,
}

pub(super) fn refuse(status: StatusCode, error: &impl Display) -> Response {
    (status, Json(Refusal { error: format!("{error}") })).into_response()
}

async fn announce(
    State(harbour): State<Harbour>,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Response {
    let limit = usize::try_from(ANNOUNCE_LIMIT.0).unwrap_or(usize::MAX);
    let announce: Announce = match harbour.bodies.read(peer.address, body, limit).await {
        Ok(announce) => announce,
        Err(unread) => {
            if let Some(unfit) = unread.unfit() {
                tell_refused(&harbour, peer, unfit);
            }
            return unread.into_response();
        }
    };
    match harbour.registry.announce(peer.session, peer.address, &announce) {
        Ok(mut welcome) => {
            welcome.clock_unix_milliseconds = harbour.clock.unix_milliseconds();
            Json(welcome).into_response()
        }
        Err(error @ AnnounceError::TooOften) => {
            let mut refusal = refuse(StatusCode::TOO_MANY_REQUESTS, &error);
            refusal
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
            refusal
        }
        Err(error @ AnnounceError::Full) => {
            tell_refused(&harbour, peer, Unfit::NoRoom);
            refuse(StatusCode::SERVICE_UNAVAILABLE, &error)
        }
        Err(error @ AnnounceError::TooMuch) => {
            tell_refused(&harbour, peer, Unfit::TooManyParts);
            refuse(StatusCode::PAYLOAD_TOO_LARGE, &error)
        }
    }
}

/// Tells why an agent will not be heard: it tries again, and a person has to know.
fn tell_refused(harbour: &Harbour, peer: Peer, unfit: Unfit) {
    let entry = Entry::about(None, ipv4(peer.address), What::AnnounceRefused(unfit));
    harbour.journal.record(match harbour.registry.machine_of(peer.session) {
        Some(machine) => entry.of_machine(&machine),
        None => entry,
    });
}

/// `GET /v1/instruction?after=N&wait=SECONDS`.
#[derive(Debug, Deserialize)]
struct Ask {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait: u64,
}

async fn instruction(
    State(harbour): State<Harbour>,
    Extension(peer): Extension<Peer>,
    Query(ask): Query<Ask>,
) -> Response {
    let patience = Duration::from_secs(ask.wait).min(LONGEST_WAIT);
    let (session, clock) = (peer.session, &harbour.clock);
    match harbour.registry.wait_for_instruction(session, ask.after, patience, clock).await {
        Ok(Some(instruction)) => {
            tell_handed_out(&harbour, peer, &instruction);
            Json(instruction).into_response()
        }
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        // 409: the agent announces again, for example after the server lost its state.
        Err(error) => refuse(StatusCode::CONFLICT, &error),
    }
}

fn tell_handed_out(harbour: &Harbour, peer: Peer, instruction: &Instruction) {
    let verb = serde_json::to_value(&instruction.verb).unwrap_or_default();
    let verb = verb.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default().to_owned();
    let what = What::Instructed { verb, sequence: instruction.sequence };
    if let Some(machine) = harbour.registry.machine_of(peer.session) {
        harbour.journal.record(Entry::about(None, ipv4(peer.address), what).of_machine(&machine));
    }
}

async fn events(
    State(harbour): State<Harbour>,
    Extension(peer): Extension<Peer>,
    Extension(key): Extension<PeerKey>,
    body: Body,
) -> Response {
    let Some(machine) = harbour.registry.machine_of(peer.session) else {
        return refuse(StatusCode::CONFLICT, &UnknownSession);
    };
    let wipes = harbour.registry.wipes(peer.session);
    let limit = if wipes { WIPE_EVENTS_BYTES } else { EVENTS_BYTES };
    let events: Vec<Told> = match harbour.bodies.read(peer.address, body, limit).await {
        Ok(events) => events,
        Err(unread) => return unread.into_response(),
    };
    if events.len() > EVENTS {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("more than {EVENTS} events"));
    }
    let mac = harbour.registry.show(&machine).and_then(|machine| machine.machine.last_mac);
    let address = ipv4(peer.address);
    let mut is_over = false;
    let mut is_in_vain = false;
    let mut refusal = None;
    for Told { mut event, signed } in events {
        match &event.kind {
            EventKind::WipeStep { order, step } => {
                if let Err(error) = harbour.registry.journal_step(peer.session, *order, step) {
                    // What comes after it may be the report, which is taken all the same.
                    refusal.get_or_insert_with(|| wipes::refuse_step(error));
                    continue;
                }
                // The agent takes the step when it hears that it is on disk.
                is_over = true;
            }
            EventKind::Wiped { report, signature } => {
                let event = signed.as_deref().map_or("", RawValue::get);
                let told = wipes::Handed { report, signature, event };
                match wipes::certify(&harbour, peer, &key, told).await {
                    None => is_over = true,
                    Some(again) if again.status().is_server_error() => return again,
                    Some(never) => refusal = refusal.or(Some(never)),
                }
                // What it came to stands in the journal already, and its words in the certificate.
                continue;
            }
            _ => {}
        }
        bound(&mut event.kind);
        harbour.registry.agent_says(peer.session, &event.kind);
        is_over |= matches!(
            event.kind,
            EventKind::Installed { .. } | EventKind::OrderFailed { .. } | EventKind::Refused { .. }
        );
        // How far an order is, comes every moment: the journal has its turns only.
        let going_on = match &event.kind {
            EventKind::Progress(progress) => Some(progress.order),
            EventKind::WipeProgress(progress) => Some(progress.order),
            _ => None,
        };
        if let Some(order) = going_on {
            is_in_vain |= !harbour.registry.may_go_on(peer.session, order);
        } else if !wipes::is_watermark(&event.kind) {
            let entry = Entry::about(mac, address, What::Agent(event)).of_machine(&machine);
            harbour.journal.record(entry);
        }
    }
    if is_over {
        // The agent goes away after this: what came of its order must not be lost with us.
        let registry = harbour.registry.clone();
        let stored = tokio::task::spawn_blocking(move || registry.settle()).await;
        if !matches!(stored, Ok(Ok(()))) {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, &"not stored yet: say it again");
        }
    }
    if let Some(refusal) = refusal {
        return refusal;
    }
    if is_in_vain {
        // It was given up: the agent writes no more, and the disk does not become bootable.
        return refuse(StatusCode::GONE, &"the order is over");
    }
    StatusCode::NO_CONTENT.into_response()
}

/// An event, and of a report what it was read from: the agent's signature is over that, and a newer one says more than we
/// know. As text: a tree of values is many times as large.
struct Told {
    event: Event,
    signed: Option<Box<RawValue>>,
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let event: Event = serde_json::from_str(raw.get()).map_err(serde::de::Error::custom)?;
        let is_signed = matches!(event.kind, EventKind::Wiped { .. });
        Ok(Self { event, signed: is_signed.then_some(raw) })
    }
}

fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address.to_canonical() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// The most disks of one wipe whose progress is kept.
const WIPED_DISKS: usize = 4096;
/// What is kept of a disk's name.
const NAME_BYTES: usize = 64;

/// The most steps of one order that are kept. There are as many kinds.
const STEPS: usize = 16;

/// Shortens what an event says to what is kept of it: the journal's entries are counted, not weighed.
fn bound(kind: &mut EventKind) {
    match kind {
        EventKind::Failed { reason, kernel_log } => {
            shorten(reason, TEXT_BYTES);
            keep_end(kernel_log, KERNEL_LOG_BYTES);
        }
        EventKind::Refused { reason: text, .. }
        | EventKind::Leaves { reason: text }
        | EventKind::OrderFailed { reason: text, .. }
        | EventKind::Link { port: text, .. } => shorten(text, TEXT_BYTES),
        EventKind::Installed { report, .. } => {
            report.steps.truncate(STEPS);
            for outcome in &mut report.steps {
                shorten(&mut outcome.step, TEXT_BYTES);
                if let Some(failure) = &mut outcome.failure {
                    shorten(failure, TEXT_BYTES);
                }
            }
        }
        EventKind::WipeProgress(progress) => {
            progress.disks.truncate(WIPED_DISKS);
            for disk in &mut progress.disks {
                shorten(&mut disk.name, NAME_BYTES);
            }
        }
        EventKind::WipeStep { step, .. } => {
            if let WipeStepKind::AtaPassword { password } = &mut step.kind {
                shorten(password, TEXT_BYTES);
            }
        }
        // It stands in a certificate.
        EventKind::Wiped { .. } => *kind = EventKind::Other,
        EventKind::Obeys { .. } | EventKind::Progress(_) | EventKind::Other => {}
    }
}

/// Shortens a text to the end of it, at a character's boundary.
fn keep_end(text: &mut String, bytes: usize) {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.drain(..start);
}

#[cfg(test)]
mod tests {
    use protocol::{BootReport, Inventory, Level, MacAddress, Verb, Welcome};

    use super::*;
    use crate::{
        api::door::tests::{Agent, Harbour as Open},
        machine::{Order, Settings},
    };

    async fn open() -> (Open, Registry) {
        let journal = Journal::in_memory();
        let telling = journal.clone();
        let registry =
            Registry::in_memory(Settings::default(), Arc::new(move |entry| telling.record(entry)))
                .unwrap();
        let images = crate::image::tests::empty();
        let clock = crate::clock::tests::synchronised();
        let certificates = crate::certificate::tests::in_a_directory();
        let assets = crate::boot::test_assets(tempfile::tempdir().unwrap().path());
        let routes = routes(registry.clone(), images, assets, journal.clone(), clock, certificates);
        (Open::open(routes, journal).await, registry)
    }

    fn announcement() -> Announce {
        let mac = MacAddress([0x52, 0x54, 0, 0, 0, 1]);
        let mut inventory = Inventory::default();
        inventory.system.serial = Some("SN-1".to_owned());
        inventory.ports =
            vec![protocol::inventory::Port { permanent_mac: Some(mac), ..Default::default() }];
        Announce {
            system: None,
            agent_version: "0.1.0".to_owned(),
            kernel_release: None,
            boot: BootReport { mac: Some(mac), ..BootReport::default() },
            inventory,
            complete: true,
        }
    }

    async fn announce(harbour: &Open, agent: &Agent) -> Welcome {
        let body = serde_json::to_vec(&announcement()).unwrap();
        let (status, body) =
            agent.ask(harbour.address, "POST", "/v1/announce", body).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body:?}");
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn an_agent_announces_waits_and_is_told() {
        let (harbour, registry) = open().await;
        let agent = Agent::new(harbour.pin);
        let welcome = announce(&harbour, &agent).await;
        assert!(welcome.clock_unix_milliseconds.is_some_and(|clock| clock > 1_700_000_000_000));
        let path = format!("/v1/instruction?after={}&wait=0", welcome.sequence);
        let (status, _) = agent.ask(harbour.address, "GET", &path, "").await.unwrap();
        assert_eq!(status, StatusCode::NO_CONTENT);

        let path = format!("/v1/instruction?after={}&wait=20", welcome.sequence);
        let (told, ()) = tokio::join!(agent.ask(harbour.address, "GET", &path, ""), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            registry.order(&welcome.machine, Order::Reboot, "uid 0").unwrap();
        });
        let (status, body) = told.unwrap();
        assert_eq!(status, StatusCode::OK);
        let instruction: Instruction = serde_json::from_slice(&body).unwrap();
        assert_eq!(instruction.verb, Verb::Reboot {});
    }

    #[tokio::test]
    async fn a_stranger_is_told_to_announce_first() {
        let (harbour, _) = open().await;
        let agent = Agent::new(harbour.pin);
        for (method, path) in [("GET", "/v1/instruction?after=0&wait=0"), ("POST", "/v1/events")] {
            let (status, _) = agent.ask(harbour.address, method, path, "[]").await.unwrap();
            assert_eq!(status, StatusCode::CONFLICT, "{path}");
        }
    }

    #[tokio::test]
    async fn events_stand_in_the_story_of_the_machine() {
        let (harbour, _) = open().await;
        let agent = Agent::new(harbour.pin);
        let welcome = announce(&harbour, &agent).await;
        let event = Event {
            uptime_milliseconds: 1,
            level: Level::Error,
            kind: EventKind::Failed { reason: "panic".to_owned(), kernel_log: "é".repeat(40_000) },
        };
        let body = serde_json::to_vec(&[event]).unwrap();
        let (status, _) = agent.ask(harbour.address, "POST", "/v1/events", body).await.unwrap();
        assert_eq!(status, StatusCode::NO_CONTENT);
        let entries = harbour.journal.recent();
        let entry = entries.iter().find(|entry| matches!(entry.what, What::Agent(_))).unwrap();
        assert_eq!(entry.machine, Some(welcome.machine));
        assert_eq!(entry.mac, Some(MacAddress([0x52, 0x54, 0, 0, 0, 1])));
        assert_eq!(entry.address, Some(Ipv4Addr::LOCALHOST));
        let What::Agent(Event { kind: EventKind::Failed { kernel_log, .. }, .. }) = &entry.what
        else {
            panic!("{entry:?}")
        };
        assert!((KERNEL_LOG_BYTES - 2..=KERNEL_LOG_BYTES).contains(&kernel_log.len()));
    }

    #[test]
    fn no_event_is_longer_than_what_is_kept_of_it() {
        let text = "x".repeat(100_000);
        for mut kind in [
            EventKind::Failed { reason: text.clone(), kernel_log: text.clone() },
            EventKind::Refused { sequence: None, reason: text.clone() },
            EventKind::Leaves { reason: text.clone() },
            EventKind::Link { port: text, up: true },
        ] {
            bound(&mut kind);
            let size = serde_json::to_string(&kind).unwrap().len();
            assert!(size < TEXT_BYTES + KERNEL_LOG_BYTES + 100, "{size}");
        }
    }

    #[tokio::test]
    async fn more_than_four_mebibytes_are_refused_and_what_is_no_announcement_too() {
        let (harbour, registry) = open().await;
        let agent = Agent::new(harbour.pin);
        for (body, expected) in [
            (vec![b' '; 4 << 20 | 1], StatusCode::PAYLOAD_TOO_LARGE),
            (b"{".to_vec(), StatusCode::BAD_REQUEST),
            (b"[]".to_vec(), StatusCode::BAD_REQUEST),
            (vec![b'['; 1 << 20], StatusCode::BAD_REQUEST),
            (vec![0xff; 16], StatusCode::BAD_REQUEST),
        ] {
            let asked = agent.ask(harbour.address, "POST", "/v1/announce", body).await;
            // The server may hang up before all of a body that is too large was sent.
            if let Ok((status, _)) = asked {
                assert_eq!(status, expected);
            } else {
                assert_eq!(expected, StatusCode::PAYLOAD_TOO_LARGE);
            }
        }
        assert!(registry.list().is_empty());
        let told = harbour.journal.recent().into_iter().filter_map(|entry| match entry.what {
            What::AnnounceRefused(unfit) => Some((entry.address, unfit)),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 5, "{told:?}");
        let too_large = Unfit::TooLarge { limit_bytes: 4 << 20 };
        assert_eq!(told[0], (Some(Ipv4Addr::LOCALHOST), too_large));
        assert!(told[1..].iter().all(|(_, unfit)| matches!(unfit, Unfit::Unreadable { .. })));
        announce(&harbour, &agent).await;
    }

    #[tokio::test]
    async fn no_route_of_the_operators_is_behind_this_door() {
        let (harbour, registry) = open().await;
        let agent = Agent::new(harbour.pin);
        let name = announce(&harbour, &agent).await.machine;
        let before = registry.show(&name).unwrap().machine;
        for (method, path) in crate::api::operators::ROUTES {
            let path = path.replace("{machine}", &name).replace("{order}", "reboot");
            let path = path.replace("{id}", &"5a".repeat(16)).replace("{image}", "debian");
            let asked = agent.ask(harbour.address, method, &path, "").await;
            let (status, body) = asked.unwrap();
            // Images have a route on both doors, of another shape: nobody without an order learns anything there.
            let expected = match path.as_str() {
                "/v1/images/debian/verify" => StatusCode::METHOD_NOT_ALLOWED,
                _ => StatusCode::NOT_FOUND,
            };
            assert_eq!(status, expected, "{method} {path}");
            assert!(body.is_empty());
        }
        let after = registry.show(&name).unwrap().machine;
        assert_eq!((after.approval, after.instruction), (before.approval, before.instruction));
        assert!(registry.orders().is_empty());
    }
}
