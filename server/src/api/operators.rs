//! The operators' routes: see machines, say what shall happen to them, have a boot explained.

use std::{fmt::Display, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use protocol::{Inventory, MacAddress, Pin};
use serde::{Deserialize, Serialize};

use super::{key::ServerKey, socket::Operator};
use crate::{
    boot::{Assets, Versions},
    certificate::{Certificates, Head},
    clock::{Clock, Standing},
    explain::{self, Explanation},
    image::Images,
    journal::{Entry, Journal, Subject},
    machine::{
        Machine, Order, OrderError, Overview, Record, Registry, StoreError, wipe::LeftPassword,
    },
    moment,
};

/// Every route behind this door; a test tries each from the agents' door.
pub const ROUTES: [(&str, &str); 24] = [
    ("GET", "/v1/status"),
    ("GET", "/v1/machines"),
    ("GET", "/v1/machines/{machine}"),
    ("POST", "/v1/machines/{machine}/{order}"),
    ("POST", "/v1/machines/{machine}/disks/{disk}"),
    ("POST", "/v1/machines/{machine}/install"),
    ("POST", "/v1/machines/{machine}/wipe"),
    ("GET", "/v1/orders"),
    ("GET", "/v1/orders/{id}"),
    ("POST", "/v1/orders/{id}/cancel"),
    ("GET", "/v1/orders/{id}/against"),
    ("GET", "/v1/passwords"),
    ("GET", "/v1/certificates"),
    ("GET", "/v1/certificates/key"),
    ("GET", "/v1/certificates/files"),
    ("GET", "/v1/certificates/report"),
    ("GET", "/v1/certificates/{serial}"),
    ("GET", "/v1/images"),
    ("POST", "/v1/images/{image}"),
    ("GET", "/v1/images/{image}"),
    ("POST", "/v1/images/{image}/verify"),
    ("DELETE", "/v1/images/{image}"),
    ("GET", "/v1/explain/{machine}"),
    ("GET", "/v1/backup"),
];

/// How long a story may take to read: the disk may be full, and then readers wait.
pub(super) const READING_PATIENCE: Duration = Duration::from_secs(5);

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its version.
    pub version: String,
    /// The pin of its key.
    pub pin: Pin,
    /// What it does on which interface.
    pub networks: Vec<explain::Network>,
    /// How many machines it knows.
    pub machines: usize,
    /// How many of them are not approved.
    pub waiting_for_approval: usize,
    /// What is held of the server's clock.
    pub clock: Standing,
    /// What the images are made of that machines get.
    #[serde(default)]
    pub images: Versions,
}

/// A machine with its inventory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// What is known of it.
    #[serde(flatten)]
    pub overview: Overview,
    /// What it is made of, as last reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
}

/// What a lost state directory is made again from. Holds the key: only for files of mode 0600.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backup {
    /// What this is, for whoever finds it: `drydock-backup-v1`.
    pub kind: String,
    /// The CA key, PKCS #8 in PEM.
    pub key: String,
    /// The key that signs certificates, likewise; the certificates themselves are files to copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_key: Option<String>,
    /// The newest certificate that was made: the next one follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_head: Option<Head>,
    /// The machines.
    pub machines: Vec<Saved>,
    /// Names that are not given again, and when each was taken from its machine: milliseconds since 1970.
    pub retired: Vec<(String, i64)>,
    /// Passwords that wipes left on disks of machines that had such names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passwords: Vec<LeftPassword>,
}

/// A machine in a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// What is known of it.
    pub machine: Machine,
    /// What it is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
}

impl Backup {
    /// Collects everything. Reads the disk.
    pub fn of(
        key: &ServerKey,
        certificates: Option<&Certificates>,
        registry: &Registry,
    ) -> Result<Self, StoreError> {
        let certificate_key = certificates.map(Certificates::key_pem);
        let certificate_head = certificates.and_then(Certificates::head);
        let machines = registry
            .list()
            .into_iter()
            .map(|Overview { machine, .. }| {
                let inventory = registry.inventory(&machine.name)?;
                Ok(Saved { machine, inventory })
            })
            .collect::<Result<_, StoreError>>()?;
        let (kind, key) = (BACKUP_KIND.to_owned(), key.to_pem());
        let retired = registry.retired();
        let is_retired =
            |left: &LeftPassword| retired.iter().any(|(name, _)| *name == left.machine);
        let passwords = registry.left_passwords().into_iter().filter(is_retired).collect();
        Ok(Self { kind, key, certificate_key, certificate_head, machines, retired, passwords })
    }
}

/// The word in [`Backup::kind`].
pub const BACKUP_KIND: &str = "drydock-backup-v1";

/// What the routes need.
#[derive(Debug, Clone)]
pub struct Bridge {
    /// The machines.
    pub registry: Registry,
    /// The images.
    pub images: Images,
    /// Their stories.
    pub journal: Journal,
    /// The server's key.
    pub key: Arc<ServerKey>,
    /// What the server does where.
    pub networks: Vec<explain::Network>,
    /// The server's clock.
    pub clock: Clock,
    /// What machines boot.
    pub assets: Assets,
    /// What was wiped.
    pub certificates: Certificates,
}

/// Returns the routes. Every request must carry an [`Operator`].
pub fn routes(bridge: Bridge) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/machines", get(list))
        .route("/v1/machines/{machine}", get(show))
        .route("/v1/machines/{machine}/{order}", post(order))
        .route("/v1/machines/{machine}/disks/{disk}", post(choose_disk))
        .route("/v1/explain/{machine}", get(explain_boot))
        .route("/v1/backup", get(backup))
        .merge(super::orders::routes())
        .merge(super::certificates::routes())
        .merge(super::images::routes())
        .with_state(bridge)
}

pub(super) fn refuse(status: StatusCode, error: &impl Display) -> Response {
    (status, Json(serde_json::json!({ "error": format!("{error}") }))).into_response()
}

pub(super) fn no_machine(name: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, &OrderError::NoMachine { name: name.to_owned() })
}

async fn status(State(bridge): State<Bridge>) -> Json<Status> {
    let machines = bridge.registry.list();
    let assets = bridge.assets.clone();
    let images = tokio::task::spawn_blocking(move || assets.versions()).await;
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pin: bridge.key.pin(),
        networks: bridge.networks,
        waiting_for_approval: machines.iter().filter(|one| !one.machine.is_approved()).count(),
        machines: machines.len(),
        clock: bridge.clock.standing(),
        images: images.unwrap_or_default(),
    })
}

async fn list(State(bridge): State<Bridge>) -> Json<Vec<Overview>> {
    Json(bridge.registry.list())
}

async fn show(State(bridge): State<Bridge>, Path(name): Path<String>) -> Response {
    let Some(overview) = find(&bridge.registry, &name) else { return no_machine(&name) };
    let registry = bridge.registry.clone();
    let machine = overview.machine.name.clone();
    // It may be on disk only.
    let inventory = tokio::time::timeout(
        READING_PATIENCE,
        tokio::task::spawn_blocking(move || registry.inventory(&machine)),
    );
    let inventory = match inventory.await {
        Ok(Ok(Ok(inventory))) => inventory,
        _ => None,
    };
    Json(Detail { overview, inventory }).into_response()
}

async fn order(
    State(bridge): State<Bridge>,
    Extension(operator): Extension<Operator>,
    Path((name, order)): Path<(String, String)>,
) -> Response {
    give(&bridge, &name, move |registry, name| take(registry, name, &order, &operator.name)).await
}

async fn choose_disk(
    State(bridge): State<Bridge>,
    Extension(operator): Extension<Operator>,
    Path((name, disk)): Path<(String, String)>,
) -> Response {
    give(&bridge, &name, move |registry, name| {
        Some(registry.choose_disk(name, &disk, &operator.name))
    })
    .await
}

/// Gives an order; nothing comes back from one that does not exist.
async fn give(
    bridge: &Bridge,
    name: &str,
    order: impl FnOnce(&Registry, &str) -> Option<Result<(), OrderError>> + Send + 'static,
) -> Response {
    let Some(overview) = find(&bridge.registry, name) else { return no_machine(name) };
    let name = overview.machine.name.clone();
    let registry = bridge.registry.clone();
    // Orders are stored before they hold, and the disk may be slow.
    let taken = tokio::task::spawn_blocking(move || order(&registry, &name));
    match tokio::time::timeout(READING_PATIENCE, taken).await {
        // As it is from now on; what was forgotten, as it was.
        Ok(Ok(Some(Ok(())))) => {
            Json(bridge.registry.show(&overview.machine.name).unwrap_or(overview)).into_response()
        }
        Ok(Ok(Some(Err(error @ OrderError::NoMachine { .. })))) => {
            refuse(StatusCode::NOT_FOUND, &error)
        }
        Ok(Ok(Some(Err(error)))) => refuse(StatusCode::CONFLICT, &error),
        Ok(Ok(None)) => refuse(StatusCode::NOT_FOUND, &"no such order"),
        Ok(Err(_)) | Err(_) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            &"the state directory cannot be written now; the order may still be taken",
        ),
    }
}

/// Takes an order by its name; nothing when there is none of that name.
fn take(
    registry: &Registry,
    machine: &str,
    order: &str,
    by: &str,
) -> Option<Result<(), OrderError>> {
    Some(match order {
        "approve" => registry.approve(machine, by),
        "forget" => registry.forget(machine, by),
        other => registry.order(machine, Order::named(other)?, by),
    })
}

async fn explain_boot(State(bridge): State<Bridge>, Path(name): Path<String>) -> Response {
    let found = find(&bridge.registry, &name);
    let subject = match (&found, name.parse::<MacAddress>()) {
        (Some(overview), _) => Subject {
            machine: Some(overview.machine.name.clone()),
            macs: macs_of(&overview.machine),
        },
        (None, Ok(mac)) => Subject { machine: None, macs: vec![mac] },
        (None, Err(_)) => return no_machine(&name),
    };
    let (entries, is_whole) = read(&bridge.journal, &subject).await;
    if entries.is_empty() && !is_whole {
        let problem =
            "the state directory's disk is full or slow, and memory has nothing of this machine";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &problem);
    }
    let context = explain::Context {
        subject: name,
        machine: subject.machine,
        networks: bridge.networks,
        has_record: found
            .is_some_and(|found| matches!(found.machine.record, Record::Written { .. })),
        now_unix_milliseconds: moment::now(),
    };
    let mut explanation: Explanation = explain::explain(&entries, &context);
    explanation.is_whole = is_whole;
    Json(explanation).into_response()
}

/// Reads a story; while the disk cannot be read, what is in memory of it.
async fn read(journal: &Journal, subject: &Subject) -> (Vec<Entry>, bool) {
    let (reader, whose) = (journal.clone(), subject.clone());
    let story = tokio::task::spawn_blocking(move || reader.story_of(&whose));
    match tokio::time::timeout(READING_PATIENCE, story).await {
        Ok(Ok(Ok(entries))) => (entries, true),
        _ => (journal.recent().into_iter().filter(|entry| subject.has(entry)).collect(), false),
    }
}

async fn backup(State(bridge): State<Bridge>) -> Response {
    let collecting = tokio::task::spawn_blocking(move || {
        Backup::of(&bridge.key, Some(&bridge.certificates), &bridge.registry)
    });
    match tokio::time::timeout(READING_PATIENCE, collecting).await {
        Ok(Ok(Ok(backup))) => Json(backup).into_response(),
        Ok(Ok(Err(error))) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error),
        Ok(Err(_)) | Err(_) => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, &"the state directory cannot be read now")
        }
    }
}

/// Finds a machine by its name, or by the address of one of its ports.
pub(super) fn find(registry: &Registry, name: &str) -> Option<Overview> {
    registry.show(name).or_else(|| {
        let mac: MacAddress = name.parse().ok()?;
        registry.list().into_iter().find(|overview| macs_of(&overview.machine).contains(&mac))
    })
}

fn macs_of(machine: &Machine) -> Vec<MacAddress> {
    let mut macs: Vec<MacAddress> = machine.ports.iter().map(|port| port.mac).collect();
    macs.extend(machine.first_mac);
    macs.extend(machine.last_mac);
    macs.sort_unstable();
    macs.dedup();
    macs
}

#[cfg(test)]
mod tests;
