//! The operators' door from outside: orders, images, explanations, refusals.

use std::{net::Ipv4Addr, path::PathBuf};

use protocol::{
    Announce, BootReport, Bytes,
    inventory::{Disk, Port},
    wipe::PowerLevel,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    api::{
        client::{ClientError, Pieces, ask, segment, send, tell},
        orders::{Answer, WipeAnswer},
        socket::Socket,
    },
    explain::Cause,
    image::Stored,
    journal::What,
    machine::{Approval, OrderOverview, Session, Settings, wipe::Against},
};

const MAC: MacAddress = MacAddress([0x3c, 0xec, 0xef, 0, 0, 1]);
const DISK: &str = "wwn:5002538e40a1b2c3";

/// A server's inside with its operators' door open.
struct Harbour {
    socket: PathBuf,
    registry: Registry,
    journal: Journal,
    server: JoinHandle<()>,
    directory: TempDir,
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
            images: crate::image::tests::empty(),
            journal: journal.clone(),
            key: Arc::new(ServerKey::open(&directory.path().join("ca.key")).unwrap()),
            networks: Vec::new(),
            clock: crate::clock::tests::synchronised(),
            assets: crate::boot::test_assets(directory.path()),
            certificates: crate::certificate::tests::opened(directory.path()),
        };
        let bound = Socket::bind(&socket).await.unwrap();
        let server = tokio::spawn(bound.run(routes(bridge)));
        Self { socket, registry, journal, server, directory }
    }

    /// A machine comes; returns its name.
    fn arrives(&self) -> String {
        self.arrives_as(1)
    }

    /// A machine of this number comes, with a disk of the same name as all of them.
    fn arrives_as(&self, number: u8) -> String {
        let mut inventory = Inventory::default();
        inventory.system.serial = Some(format!("SN00000{number}X"));
        let mac = MacAddress([0x3c, 0xec, 0xef, 0, 0, number]);
        inventory.ports = vec![Port { permanent_mac: Some(mac), ..Port::default() }];
        let wwn = Some("0x5002538e40a1b2c3".to_owned());
        inventory.disks = vec![Disk { wwn, size_bytes: Bytes(1 << 30), ..Disk::default() }];
        let announce = Announce {
            system: None,
            agent_version: "0.1.0".to_owned(),
            kernel_release: None,
            boot: BootReport { mac: Some(mac), ..BootReport::default() },
            inventory,
            complete: true,
        };
        let address = Ipv4Addr::LOCALHOST.into();
        self.registry.announce(Session([number; 32]), address, &announce).unwrap().machine
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

    /// A person orders something of a machine's disk.
    async fn wipes(&self, name: &str, level: &str) -> Result<WipeAnswer, ClientError> {
        let body = serde_json::json!({
            "level": level, "disks": [DISK], "overwrite": true, "confirm": name,
        });
        let path = format!("/v1/machines/{name}/wipe");
        tell(&self.socket, "POST", &path, body.to_string().into()).await
    }

    /// The images of HerculesOS are taken away.
    fn forget_hercules(&self) {
        let kernel = self.directory.path().join("herculesos-x86_64.vmlinuz");
        std::fs::remove_file(kernel).unwrap();
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
        // They want a body, or something that was wiped: other tests have it.
        if ["/install", "/wipe", "/{serial}"].iter().any(|end| path.ends_with(end)) {
            continue;
        }
        let path = path.replace("{machine}", &name).replace("{order}", "wait");
        let path = path.replace("{disk}", DISK).replace("{id}", &order);
        let path = path.replace("{image}", "debian");
        let body = if (method, path.as_str()) == ("POST", "/v1/images/debian") {
            vec![7; 4096].into()
        } else {
            bytes::Bytes::new()
        };
        let answer: serde_json::Value = tell(&harbour.socket, method, &path, body).await.unwrap();
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
async fn an_order_to_wipe_is_planned_confirmed_and_taken_back() {
    let harbour = Harbour::open().await;
    let name = harbour.arrives();
    let approve = format!("/v1/machines/{name}/approve");
    let _approved: Overview = ask(&harbour.socket, "POST", &approve).await.unwrap();
    let wipe = async |more: serde_json::Value| {
        let mut body = serde_json::json!({"level": "full", "disks": [DISK], "overwrite": true});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = format!("/v1/machines/{name}/wipe");
        tell::<WipeAnswer>(&harbour.socket, "POST", &path, body.to_string().into()).await
    };
    let look = wipe(serde_json::json!({"dryRun": true})).await.unwrap();
    assert_eq!((look.plan.disks[0].identity.as_str(), look.order), (DISK, None));
    let look = wipe(serde_json::json!({"dry": true})).await.unwrap();
    assert!(look.order.is_none());
    let error = wipe(serde_json::json!({})).await.unwrap_err();
    assert!(error.to_string().contains("say the machine's name back"), "{error}");
    let taken = wipe(serde_json::json!({"confirm": name})).await.unwrap().order.unwrap();
    assert!(taken.order.by.contains("uid") && taken.order.wipe().is_some());
    assert!(taken.order.wipe().unwrap().wipe.is_none(), "what only the agent reads");
    let path = format!("/v1/orders/{}/cancel", taken.order.id);
    let over: OrderOverview = ask(&harbour.socket, "POST", &path).await.unwrap();
    assert!(over.order.words().starts_with("cancelled"), "{}", over.order.words());
    assert_eq!(harbour.refused("POST", &format!("/v1/machines/{name}/wipe")).await, 400);
    assert_eq!(harbour.refused("GET", "/v1/certificates/1").await, 404);
    assert_eq!(harbour.refused("GET", "/v1/certificates/x").await, 400);
    harbour.forget_hercules();
    let error = wipe(serde_json::json!({"confirm": name})).await.unwrap_err();
    assert!(error.to_string().contains("no HerculesOS image here"), "{error}");
}

#[tokio::test]
async fn what_the_server_would_refuse_of_an_order_is_told_level_by_level() {
    let harbour = Harbour::open().await;
    let name = harbour.arrives();
    let approve = format!("/v1/machines/{name}/approve");
    let _approved: Overview = ask(&harbour.socket, "POST", &approve).await.unwrap();
    let id = harbour.wipes(&name, "idle").await.unwrap().order.unwrap().order.id.to_string();
    let against = async |order: &str| {
        let path = format!("/v1/orders/{order}/against");
        ask::<Vec<Against>>(&harbour.socket, "GET", &path).await.unwrap()
    };
    // Itself, which is open, stands in nobody's way.
    assert_eq!(against(&id).await, []);
    assert_eq!(against(&id[..8]).await, []);
    let cancel = format!("/v1/orders/{id}/cancel");
    let _over: OrderOverview = ask(&harbour.socket, "POST", &cancel).await.unwrap();
    assert_eq!(against(&id).await, [], "nothing speaks against any level");
    // A disk whose name another machine shows too.
    harbour.arrives_as(2);
    let told = against(&id).await;
    let levels = [PowerLevel::Harbour, PowerLevel::Working, PowerLevel::Full, PowerLevel::Redline];
    assert_eq!(told.iter().map(|one| one.level).collect::<Vec<_>>(), levels);
    for one in &told {
        let wwn = one.disk.as_ref().and_then(|disk| disk.wwn.as_deref());
        assert_eq!(wwn, Some("0x5002538e40a1b2c3"));
        assert!(one.words.starts_with("the server: this disk's name is not its alone"), "{one:?}");
    }
    // What has nothing to do with a disk is said of all of them.
    harbour.forget_hercules();
    let told = against(&id).await;
    let whole: Vec<_> = told.iter().filter(|one| one.disk.is_none()).collect();
    assert_eq!(whole.iter().map(|one| one.level).collect::<Vec<_>>(), levels);
    assert!(whole.iter().all(|one| one.words.contains("no HerculesOS image")), "{whole:?}");
    assert_eq!(harbour.refused("GET", "/v1/orders/ffffffff/against").await, 404);
    // Nothing is tried by that, and nothing taken.
    let orders: Vec<OrderOverview> = ask(&harbour.socket, "GET", "/v1/orders").await.unwrap();
    assert_eq!(orders.len(), 1);
}

#[tokio::test]
async fn an_image_is_added_ordered_kept_and_removed() {
    let harbour = Harbour::open().await;
    let name = harbour.arrives();
    let approve = format!("/v1/machines/{name}/approve");
    let _approved: Overview = ask(&harbour.socket, "POST", &approve).await.unwrap();
    let (sender, pieces) = Pieces::new(1);
    let giving = tokio::spawn(async move {
        for _ in 0..100 {
            sender.send(Ok(vec![7; 4096].into())).await.unwrap();
        }
    });
    let path = "/v1/images/debian?source=debian.raw";
    let image: Stored = send(&harbour.socket, "POST", path, pieces).await.unwrap();
    giving.await.unwrap();
    assert_eq!((image.image_bytes, image.source.as_str()), (Bytes(409_600), "debian.raw"));
    assert!(image.by.contains("uid"), "{}", image.by);
    assert_eq!(harbour.refused("POST", "/v1/images/debian").await, 409);
    assert_eq!(harbour.refused("POST", "/v1/images/.hidden").await, 400);
    assert_eq!(harbour.refused("GET", "/v1/images/nothing").await, 404);
    let body = serde_json::json!({"image": "debian", "disk": DISK, "overwrite": true,
        "withinSeconds": 60, "finish": "reboot"});
    let order = format!("/v1/machines/{name}/install");
    let taken: Answer =
        tell(&harbour.socket, "POST", &order, body.to_string().into()).await.unwrap();
    let order = taken.order.unwrap().order;
    assert_eq!(order.install().unwrap().image.manifest, Some(image.manifest));
    assert_eq!(harbour.refused("DELETE", "/v1/images/debian").await, 409);
    let cancel = format!("/v1/orders/{}/cancel", order.id);
    let _over: OrderOverview = ask(&harbour.socket, "POST", &cancel).await.unwrap();
    let _gone: Stored = ask(&harbour.socket, "DELETE", "/v1/images/debian").await.unwrap();
    assert_eq!(harbour.refused("DELETE", "/v1/images/debian").await, 404);
}

#[tokio::test]
async fn what_is_no_image_is_refused_with_the_reason_also_to_who_goes_on_sending() {
    let harbour = Harbour::open().await;
    let (sender, pieces) = Pieces::new(1);
    let giving = tokio::spawn(async move {
        let page = b"<!DOCTYPE html><html><title>404</title></html>".repeat(2048);
        for _ in 0..50 {
            if sender.send(Ok(page.clone().into())).await.is_err() {
                return;
            }
        }
    });
    let sent = send::<Stored>(&harbour.socket, "POST", "/v1/images/page", pieces).await;
    let Err(ClientError::Refused { status, reason }) = sent else { panic!("{sent:?}") };
    assert_eq!(status.as_u16(), 422);
    assert!(reason.contains("not an image"), "{reason}");
    giving.await.unwrap();
    // One that breaks off leaves nothing.
    let (sender, pieces) = Pieces::new(1);
    sender.send(Ok(vec![7; 4096].into())).await.unwrap();
    let breaking = tokio::spawn(async move {
        sender.send(Err(std::io::ErrorKind::Other.into())).await.unwrap();
    });
    let sent = send::<Stored>(&harbour.socket, "POST", "/v1/images/cut", pieces).await;
    assert!(matches!(sent, Err(ClientError::Conversation(_))), "{sent:?}");
    breaking.await.unwrap();
    let listed: Vec<Stored> = ask(&harbour.socket, "GET", "/v1/images").await.unwrap();
    assert!(listed.is_empty(), "{listed:?}");
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
