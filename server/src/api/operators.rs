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
    clock::{Clock, Standing},
    explain::{self, Explanation},
    journal::{Entry, Journal, Subject},
    machine::{Machine, Order, OrderError, Overview, Record, Registry, StoreError},
    moment,
};

/// Every route behind this door; a test tries each from the agents' door.
pub const ROUTES: [(&str, &str); 11] = [
    ("GET", "/v1/status"),
    ("GET", "/v1/machines"),
    ("GET", "/v1/machines/{machine}"),
    ("POST", "/v1/machines/{machine}/{order}"),
    ("POST", "/v1/machines/{machine}/disks/{disk}"),
    ("POST", "/v1/machines/{machine}/install"),
    ("GET", "/v1/orders"),
    ("GET", "/v1/orders/{id}"),
    ("POST", "/v1/orders/{id}/cancel"),
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
    /// The machines.
    pub machines: Vec<Saved>,
    /// Names that are not given again, and when each was taken from its machine: milliseconds since 1970.
    pub retired: Vec<(String, i64)>,
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
    pub fn of(key: &ServerKey, registry: &Registry) -> Result<Self, StoreError> {
        let machines = registry
            .list()
            .into_iter()
            .map(|Overview { machine, .. }| {
                let inventory = registry.inventory(&machine.name)?;
                Ok(Saved { machine, inventory })
            })
            .collect::<Result<_, StoreError>>()?;
        let (kind, key) = (BACKUP_KIND.to_owned(), key.to_pem());
        Ok(Self { kind, key, machines, retired: registry.retired() })
    }
}

/// The word in [`Backup::kind`].
pub const BACKUP_KIND: &str = "drydock-backup-v1";

/// What the routes need.
#[derive(Debug, Clone)]
pub struct Bridge {
    /// The machines.
    pub registry: Registry,
    /// Their stories.
    pub journal: Journal,
    /// The server's key.
    pub key: Arc<ServerKey>,
    /// What the server does where.
    pub networks: Vec<explain::Network>,
    /// The server's clock.
    pub clock: Clock,
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
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pin: bridge.key.pin(),
        networks: bridge.networks,
        waiting_for_approval: machines.iter().filter(|one| !one.machine.is_approved()).count(),
        machines: machines.len(),
        clock: bridge.clock.standing(),
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
    let collecting = tokio::task::spawn_blocking(move || Backup::of(&bridge.key, &bridge.registry));
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
mod tests {
    use std::{net::Ipv4Addr, path::PathBuf};

    use protocol::{
        Announce, BootReport, Bytes,
        inventory::{Disk, Port},
    };
    use tempfile::TempDir;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::{
        api::{
            client::{ClientError, ask, segment, tell},
            orders::Answer,
            socket::Socket,
        },
        explain::Cause,
        journal::What,
        machine::{Approval, OrderOverview, Session, Settings},
    };

    const MAC: MacAddress = MacAddress([0x3c, 0xec, 0xef, 0, 0, 1]);
    const DISK: &str = "wwn:5002538e40a1b2c3";

    /// A server's inside with its operators' door open.
    struct Harbour {
        socket: PathBuf,
        registry: Registry,
        journal: Journal,
        server: JoinHandle<()>,
        _directory: TempDir,
    }

    impl Drop for Harbour {
        fn drop(&mut self) {
            self.server.abort();
        }
    }

    impl Harbour {
        async fn open() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("drydock.sock");
            let journal = Journal::in_memory();
            let tells = journal.clone();
            let teller = Arc::new(move |entry| tells.record(entry));
            let registry = Registry::in_memory(Settings::default(), teller).unwrap();
            let bridge = Bridge {
                registry: registry.clone(),
                journal: journal.clone(),
                key: Arc::new(ServerKey::open(&directory.path().join("ca.key")).unwrap()),
                networks: Vec::new(),
                clock: crate::clock::tests::synchronised(),
            };
            let bound = Socket::bind(&socket).await.unwrap();
            let server = tokio::spawn(bound.run(routes(bridge)));
            Self { socket, registry, journal, server, _directory: directory }
        }

        /// A machine comes; returns its name.
        fn arrives(&self) -> String {
            let mut inventory = Inventory::default();
            inventory.system.serial = Some("SN000001X".to_owned());
            inventory.ports = vec![Port { permanent_mac: Some(MAC), ..Port::default() }];
            let wwn = Some("0x5002538e40a1b2c3".to_owned());
            inventory.disks = vec![Disk { wwn, size_bytes: Bytes(1 << 30), ..Disk::default() }];
            let announce = Announce {
                agent_version: "0.1.0".to_owned(),
                kernel_release: None,
                boot: BootReport { mac: Some(MAC), ..BootReport::default() },
                inventory,
                complete: true,
            };
            let address = Ipv4Addr::LOCALHOST.into();
            self.registry.announce(Session([1; 32]), address, &announce).unwrap().machine
        }

        /// A person orders an install.
        async fn orders(&self, name: &str) -> Result<Answer, ClientError> {
            let body = serde_json::json!({
                "image": "https://images.example/debian.raw",
                "disk": DISK,
                "overwrite": true,
                "withinSeconds": 60,
                "finish": "reboot",
            });
            let path = format!("/v1/machines/{name}/install");
            tell(&self.socket, "POST", &path, body.to_string().into()).await
        }

        async fn refused(&self, method: &str, path: &str) -> u16 {
            match ask::<serde_json::Value>(&self.socket, method, path).await {
                Err(ClientError::Refused { status, .. }) => status.as_u16(),
                other => panic!("{method} {path}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_order_records_who_gave_it() {
        let harbour = Harbour::open().await;
        let name = harbour.arrives();
        let path = format!("/v1/machines/{}/approve", segment(&MAC.to_string()));
        let overview: Overview = ask(&harbour.socket, "POST", &path).await.unwrap();
        assert_eq!(overview.machine.name, name);
        let uid = nix::unistd::geteuid();
        let Approval::Approved { by, .. } = overview.machine.approval else {
            panic!("{:?}", overview.machine.approval)
        };
        assert!(by.contains(&format!("uid {uid}")), "{by}");
        let told = harbour.journal.recent();
        let ordered =
            |entry: &Entry| matches!(&entry.what, What::Ordered { by, .. } if by.contains("uid"));
        assert!(told.iter().any(ordered), "{told:?}");
    }

    #[tokio::test]
    async fn every_route_that_is_listed_is_there() {
        let harbour = Harbour::open().await;
        let name = harbour.arrives();
        let approve = format!("/v1/machines/{name}/approve");
        let _approved: Overview = ask(&harbour.socket, "POST", &approve).await.unwrap();
        let order = harbour.orders(&name).await.unwrap().order.unwrap().order.id.to_string();
        for (method, path) in ROUTES {
            // It wants a body: the order above.
            if path.ends_with("/install") {
                continue;
            }
            let path = path.replace("{machine}", &name).replace("{order}", "wait");
            let path = path.replace("{disk}", DISK).replace("{id}", &order);
            let answer: serde_json::Value = ask(&harbour.socket, method, &path).await.unwrap();
            assert!(!answer.is_null(), "{method} {path}");
        }
    }

    #[tokio::test]
    async fn an_order_to_install_is_taken_shown_and_taken_back() {
        let harbour = Harbour::open().await;
        let name = harbour.arrives();
        let error = harbour.orders(&name).await.unwrap_err();
        assert!(error.to_string().contains("nobody approved"), "{error}");
        let approve = format!("/v1/machines/{name}/approve");
        let _approved: Overview = ask(&harbour.socket, "POST", &approve).await.unwrap();
        let taken = harbour.orders(&name).await.unwrap();
        assert_eq!(taken.plan.disk.identity, DISK);
        let order = taken.order.unwrap().order;
        assert!(order.by.contains("uid"), "{}", order.by);
        let again = harbour.orders(&name).await.unwrap_err();
        assert!(again.to_string().contains("another order"), "{again}");
        let listed: Vec<OrderOverview> = ask(&harbour.socket, "GET", "/v1/orders").await.unwrap();
        assert_eq!(listed[0].order.id, order.id);
        let short = order.id.to_string()[..8].to_owned();
        let path = format!("/v1/orders/{short}/cancel");
        let over: OrderOverview = ask(&harbour.socket, "POST", &path).await.unwrap();
        assert!(over.order.words().starts_with("cancelled"), "{}", over.order.words());
        assert_eq!(harbour.refused("POST", &path).await, 409);
        assert_eq!(harbour.refused("GET", "/v1/orders/ffffffff").await, 404);
        assert_eq!(harbour.refused("POST", &format!("/v1/machines/{name}/install")).await, 400);
    }

    #[tokio::test]
    async fn a_disk_is_chosen_by_its_identity_and_no_other() {
        let harbour = Harbour::open().await;
        let name = harbour.arrives();
        let path = format!("/v1/machines/{name}/disks/{}", segment(DISK));
        let chosen: Overview = ask(&harbour.socket, "POST", &path).await.unwrap();
        assert_eq!(chosen.machine.chosen_disks, [DISK]);
        assert_eq!(harbour.refused("POST", &path.replace("b2c3", "b2c4")).await, 409);
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found_and_what_cannot_be_is_refused() {
        let harbour = Harbour::open().await;
        let name = harbour.arrives();
        assert_eq!(harbour.refused("GET", "/v1/machines/nobody").await, 404);
        assert_eq!(harbour.refused("POST", "/v1/machines/nobody/reboot").await, 404);
        assert_eq!(harbour.refused("POST", &format!("/v1/machines/{name}/dance")).await, 404);
        assert_eq!(harbour.refused("GET", "/v1/explain/nobody").await, 404);
        assert_eq!(harbour.refused("GET", &format!("/v1/machines/{name}/reboot")).await, 405);
        assert_eq!(harbour.refused("POST", "/v1/announce").await, 404);
        let path = format!("/v1/machines/{name}/forget");
        let _forgotten: Overview = ask(&harbour.socket, "POST", &path).await.unwrap();
        assert_eq!(harbour.refused("POST", &format!("/v1/machines/{name}/approve")).await, 404);
    }

    #[tokio::test]
    async fn a_machine_is_explained_by_its_name_and_by_its_port_and_a_port_before_it_has_a_name() {
        let harbour = Harbour::open().await;
        let name = harbour.arrives();
        for subject in [name.clone(), segment(&MAC.to_string())] {
            let path = format!("/v1/explain/{subject}");
            let explanation: Explanation = ask(&harbour.socket, "GET", &path).await.unwrap();
            assert_eq!(explanation.machine.as_ref(), Some(&name));
            assert_eq!(explanation.cause, Cause::UnderWay);
            assert!(explanation.is_whole);
        }
        let path = "/v1/explain/52:54:00:00:00:99";
        let explanation: Explanation = ask(&harbour.socket, "GET", path).await.unwrap();
        assert_eq!(explanation.cause, Cause::NothingSeen);
    }

    #[tokio::test]
    async fn nobody_there_is_said_as_such() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("drydock.sock");
        let error = ask::<Status>(&socket, "GET", "/v1/status").await.unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    }
}
